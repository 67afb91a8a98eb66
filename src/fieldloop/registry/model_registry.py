"""The model registry: one MLflow registered model per workload, every version with its lineage.

The registry is the source of truth: what a version is (its float32 file, its weights and what they belong to, the
periods it practised on, the bundles that were released of it) are artifacts of its run, and no file outside MLflow is
needed to go on from it. The alias `champion` moves only when the gate or a person says so, and the verdict stands on
the version either way; `anchor` is the champion with the lowest held-out error of its contract; `challenger` is the
newest version. Stages are never used. Registering the same training run again changes nothing.

Several clones and persons may move `champion` in one registry: `promotion.py` sees to it that one of them does.
"""

import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from sqlalchemy.exc import SQLAlchemyError

from fieldedge.inference.slices import Slice, parse_slices
from fieldedge.system.errors import ConfigError, ReleaseError, StoreBusy
from fieldloop.core.dataset import Dataset, load_dataset
from fieldloop.core.process_setup import hush
from fieldloop.core.stored_names import LEARNED_BEFORE, LEARNED_NOT
from fieldloop.core.words import Words
from fieldloop.evaluation.gate import Absent, Verdict
from fieldloop.evaluation.predictor import Array, predictor
from fieldloop.evaluation.terms import Terms
from fieldloop.registry.card import IN_REGISTRY, SHIPPING, model_card, shipping_card
from fieldloop.registry.new_store import begin_store
from fieldloop.registry.promotion import check_champion_is, succeed
from fieldloop.training.trained import CONFIG, NETWORK, WHAT_IFS, Trained
from fieldloop.workload import Predict, Workload

if TYPE_CHECKING:
    from torch import nn

    from fieldloop.compression import Compressed

CHAMPION = "champion"
CHALLENGER = "challenger"
ANCHOR = "anchor"
PROMOTED = "promoted"
PROMOTING = "promotion begun"  # until the alias has moved, so that one that was cut off is not taken for one that was
BY_A_PERSON = "promoted by a person"
_GATE_SAID = "; the gate had said: "
OVERTAKEN = "kept back"
_SLICES, _WORSE = "slices", "worse_than_rule_in"  # where its devices follow the rule, as a bundle has it; in words
LEARNABLE_HASH = "learnable_hash"  # of a training run: the content that it learned from
_NETWORK_ARTIFACTS = "network"
_BUNDLE_ARTIFACTS = "bundles"
BUNDLE, REPORT, PICTURE = "bundle.zip", "report.json", "front.png"
_CLASS_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")  # of a device: it becomes the name of a file
_TAG = "fieldloop."
_PROMOTION = f"{_TAG}promotion"  # of the registered model: the note of `promotion.py`
_NEWEST_THEN = "newest_then"  # of a version that a person promoted: the newest that there was to choose


@dataclass(frozen=True)
class Registered:
    """One version in the registry."""

    name: str
    version: str
    is_champion: bool
    reason: str
    contract_hash: str
    data_hash: str
    git_commit: str
    mlflow_run_id: str
    gate: str = ""
    checkpoint: str = ""  # of a version from before its weights were an artifact


@dataclass(frozen=True)
class Champion:
    """The version that devices should run, ready to answer."""

    version: str
    contract_hash: str
    predict: Predict


@dataclass(frozen=True)
class Anchor:
    """The version with the lowest held-out error, ready to answer."""

    version: str
    predict: Predict


@dataclass(frozen=True)
class StandingBundle:
    """A bundle that was released of a version, and what was measured for it, as files.

    `classes` has the bundle of each device class; none where it was released as one file for all.
    """

    sha256: str
    bundle: Path
    report: Path
    picture: Path | None
    classes: Mapping[str, Path] = field(default_factory=dict)


@contextmanager
def store_failures_told(where: str) -> Iterator[None]:
    """What MLflow's store fails with, in one line.

    Raises:
        ConfigError: the store is damaged, cannot be reached, or is none.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise ConfigError(
            f"the models in {where} cannot be read: {reason}. Set FIELDLOOP_MLFLOW_URI to MLflow's database or server, "
            "or bring the store back from a backup"
        ) from error


class ModelRegistry:
    """The registered model of one workload in one MLflow tracking store; it is called as the workload, unless named."""

    def __init__(self, tracking_uri: str, workload: Workload, name: str = "") -> None:
        hush()  # MLflow set its own level when it was imported
        begin_store(tracking_uri)
        mlflow.set_tracking_uri(tracking_uri)
        self.workload, self.name = workload, name or workload.name
        self._words = Words.of(workload.device.contract.episode)
        self.client = mlflow.MlflowClient(tracking_uri)
        self._alias = _ChampionAlias(self)

    def champion_version(self) -> ModelVersion | None:
        """The version behind the alias `champion`, or None."""
        return self._version_by_alias(CHAMPION)

    def anchor_version(self) -> ModelVersion | None:
        """The version behind the alias `anchor`, or None."""
        return self._version_by_alias(ANCHOR)

    def champion(self, terms: Terms, challenger_run_id: str) -> Champion | Absent:
        """The champion as the device would run it, or why none can be compared with the challenger on these terms.

        It must not be the challenger itself: where a promotion was cut off and is made again, it is compared with what
        it was compared with before.

        Raises:
            ReleaseError: its file is not in the registry.
        """
        version = self.champion_version()
        if version is None:
            return self._no_champion()
        if version.run_id == challenger_run_id:
            before = version.tags.get(f"{_TAG}champion_before")
            if not before:
                return Absent(f"the champion, version {version.version}, is the challenger itself")
            version = self.client.get_model_version(self.name, before)
        absent = _why_not_comparable(version, terms, self._words)
        return absent or Champion(str(version.version), terms.contract_hash, self.predict(str(version.version)))

    def start_of_pretraining(self, terms: Terms, learnable_hash: str) -> str | None:
        """The version from whose weights a network starts that learns from these records; None where it starts fresh.

        A champion that learned from the same records, or for a later period, is passed over for the one that it was
        compared with: otherwise a run that is made again would start elsewhere once it was promoted, and learn the
        same twice.
        """
        version = self.champion_version()
        while version is not None and (
            self._learned_from(version) == learnable_hash or _period_of(version) > terms.period
        ):
            before = version.tags.get(f"{_TAG}champion_before") or "0"
            is_older = before.isdigit() and 0 < int(before) < int(version.version)
            version = self.client.get_model_version(self.name, before) if is_older else None
        if version is None or _why_not_comparable(version, terms, self._words) is not None:
            return None
        return str(version.version)

    def _learned_from(self, version: ModelVersion) -> str:
        """The content that a version learned from; empty for one from before that was noted."""
        return str(self.client.get_run(version.run_id).data.tags.get(LEARNABLE_HASH, ""))

    def anchor(self, terms: Terms, challenger_run_id: str, champion_version: str) -> Anchor | None:
        """Of the champions on these terms the one with the lowest held-out error; None where it is the champion itself.

        Where no version is called so, or the one that is cannot be compared, it is the best of those that can.

        Raises:
            ReleaseError: its file is not in the registry.
        """
        named = self.anchor_version()
        if named is not None and named.run_id == challenger_run_id and named.tags.get(f"{_TAG}anchor_before"):
            named = self.client.get_model_version(self.name, named.tags[f"{_TAG}anchor_before"])
        able = {
            str(one.version): one
            for one in self._versions()
            if _was_promoted(one)
            and _why_not_comparable(one, terms, self._words) is None
            and one.run_id != challenger_run_id
        }
        if named is not None and str(named.version) in able:
            version = str(named.version)
        else:
            by_error = sorted(able, key=lambda name: (self._held_out_loss(able[name]), int(name)))
            version = by_error[0] if by_error else champion_version
        return None if version == champion_version else Anchor(version, self.predict(version))

    def predict(self, version: str) -> Predict:
        """The answers of a version's float32 file.

        Raises:
            ReleaseError: the file is not in the registry.
        """
        try:
            with TemporaryDirectory() as scratch:
                folder = mlflow.artifacts.download_artifacts(f"models:/{self.name}/{version}", dst_path=scratch)
                return predictor(Path(folder) / "model.onnx")
        except Exception as error:  # each artifact store and onnxruntime have their own
            raise self._gone(version, "its float32 file", error) from error

    def network(self, version: str) -> "nn.Module":
        """The trained network of a version, from the registry alone.

        Raises:
            ReleaseError: it is not there, or holds more than tensors.
        """
        from fieldloop.training.networks import load_network  # torch: most runs ask only which version is the champion

        with TemporaryDirectory() as scratch:
            folder = self._artifacts(version, _NETWORK_ARTIFACTS, Path(scratch))
            return load_network(self._former_checkpoint(version) if folder is None else folder, self.workload)

    def pretraining_examples(self, version: str) -> Dataset | None:
        """The examples of a version's practice; None where it had none."""
        with TemporaryDirectory() as scratch:
            folder = self._artifacts(version, _NETWORK_ARTIFACTS, Path(scratch))
            kept = (self._former_checkpoint(version).parent if folder is None else folder) / WHAT_IFS
            return load_dataset(kept) if kept.is_file() else None

    def has(self, version: str) -> bool:
        """Whether there is such a version."""
        return any(str(one.version) == version for one in self._versions())

    def describe(self, version: str) -> Registered:
        """What the registry knows of a version.

        Raises:
            ReleaseError: there is no such version, or it has lost its tags.
        """
        found = self._existing(version)
        champion = self.champion_version()
        tag = {name.removeprefix(_TAG): value for name, value in found.tags.items()}
        needed = ("reason", "contract_hash", "data_hash", "git_commit")
        lost = [name for name in needed if name not in tag]
        if lost:
            raise ReleaseError(
                f"version {version} of {self.name} has lost its tags {', '.join(lost)}; set them again in MLflow, or "
                f"promote another version: fieldloop promote {self.name} VERSION"
            )
        return Registered(
            name=self.name,
            version=str(version),
            is_champion=champion is not None and str(champion.version) == str(version),
            reason=tag["reason"],
            contract_hash=tag["contract_hash"],
            data_hash=tag["data_hash"],
            git_commit=tag["git_commit"],
            mlflow_run_id=str(found.run_id),
            gate=tag.get("gate", ""),
            checkpoint=tag.get("checkpoint", ""),
        )

    def register(
        self,
        trained: Trained,
        onnx_path: Path,
        example: Array,
        verdict: Verdict,
        terms: Terms,
        git_commit: str,
        judged_beside: str | None,
    ) -> Registered:
        """Add the trained model as a version with its lineage, and move `champion` if the verdict says so.

        Args:
            judged_beside: the version that was called champion when the challenger was judged, compared with or not.

        Raises:
            StoreBusy: another is called so by now. The alias is not this version's then; run again to have it judged
                beside the one that stands.
        """
        check_champion_is(self._alias, judged_beside)
        version = self.version_of_run(trained.mlflow_run_id)
        if version is None:
            version = self._log_version(trained, onnx_path, example)
        known = self.client.get_model_version(self.name, version).tags
        is_by_person = f"{_TAG}promoted_by" in known
        # Making the step again takes back neither a person's word nor a promotion that devices have followed, and what
        # these were weighed against stays beside them.
        gate = known.get(f"{_TAG}gate")
        was_promoted = gate == PROMOTED or (gate == PROMOTING and self._champion_name() == version)
        is_decided = is_by_person or (was_promoted and not verdict.is_promoted)
        anchor_before = verdict.anchor_version or verdict.champion_version or ""
        said = {
            "champion_before": verdict.champion_version or "",
            "anchor_before": anchor_before,
            "gate": PROMOTING if verdict.is_promoted else verdict.gate,
            "reason": verdict.reason,
        }
        tags = {
            "contract_hash": terms.contract_hash,
            "data_hash": trained.data_hash,
            "git_commit": git_commit,
            LEARNED_BEFORE: str(terms.period),
            LEARNED_NOT: json.dumps(terms.judging_periods),
            f"held_out_{verdict.challenger.primary.key}": repr(verdict.challenger.value),
            **({} if is_decided else said),
            **_told_of_slices(verdict),
            **({"gate": PROMOTED} if was_promoted else {}),
        }
        for key, value in tags.items():
            self._tag(version, key, value)
        self._log_scores(trained.mlflow_run_id, verdict)
        self.client.update_model_version(
            self.name, version, model_card(self.name, version, trained, verdict, tags, self.workload.card, self._words)
        )
        self.client.set_registered_model_alias(self.name, CHALLENGER, version)
        if verdict.is_promoted and not is_by_person:
            try:
                succeed(self._alias, judged_beside, version, _this_process())
            except StoreBusy as overtaken:
                said |= {"gate": OVERTAKEN, "reason": f"{OVERTAKEN}: {overtaken}"}
                if was_promoted:  # it was champion once, and what is said of that stays
                    said = {key: known.get(f"{_TAG}{key}", "") for key in said} | {"gate": PROMOTED}
                for key, value in said.items():
                    self._tag(version, key, value)
                raise
            self._tag(version, "gate", PROMOTED)
            if (anchor := self._anchor_after(version, verdict, terms.contract_hash)) is not None:
                self.client.set_registered_model_alias(self.name, ANCHOR, anchor)
        return self.describe(version)

    def slices(self, version: str) -> tuple[Slice, ...]:
        """Where the devices of a version follow the rule; nowhere for one from before slices were judged.

        Raises:
            ReleaseError: there is no such version, or its tag was changed to something that no device reads.
        """
        told = self._existing(version).tags.get(f"{_TAG}{_SLICES}", "[]")
        where = f"the tag {_TAG}{_SLICES} of version {version} of {self.name}"
        try:
            return parse_slices(json.loads(told), where)
        except ValueError as error:
            raise ReleaseError(f"{where} is not readable JSON: {error}") from error

    def promote(
        self, version: str, contract_hash: str, features: int, by: str, why: str, at: datetime, is_anchor: bool = False
    ) -> Registered:
        """Make a version the champion because a person says so; who, when and why stand on the version.

        Args:
            contract_hash: of the devices, with that many `features`: a model of another one would be refused by them.
            is_anchor: later challengers are compared with this version, though a former one may have erred less.

        Raises:
            ReleaseError: there is no such version, it is of another contract, or it cannot answer.
            StoreBusy: another was promoted meanwhile.
        """
        found = self.describe(version)
        standing = self._champion_name()
        before = dict(self.client.get_model_version(self.name, version).tags)
        if found.contract_hash != contract_hash:
            raise ReleaseError(
                f"version {version} of {self.name} is of contract {found.contract_hash[:12]}, and devices have "
                f"{contract_hash[:12]}: they would refuse it. Train a model on this contract: retrain"
            )
        self.network(version)
        if not np.isfinite(self.predict(version)(np.zeros((1, features), np.float32))).all():
            raise ReleaseError(
                f"the answers of version {version} of {self.name} are not numbers: choose another version"
            )
        tags = {
            "gate": BY_A_PERSON,
            "promoted_by": by,
            "promoted_utc": at.astimezone(UTC).isoformat(timespec="seconds"),
            "promoted_why": why,
            _NEWEST_THEN: str(max(int(one.version) for one in self._versions())),
        }
        for key, value in tags.items():
            self._tag(version, key, value)
        gate_said = found.reason.partition(_GATE_SAID)[2] if found.reason.startswith(BY_A_PERSON) else found.reason
        self._tag(version, "reason", f"{BY_A_PERSON}, {by}: {why}{_GATE_SAID}{gate_said}")
        try:
            succeed(self._alias, standing, version, by)
        except StoreBusy:
            for key in (*tags, "reason"):
                self._retag(version, key, before.get(f"{_TAG}{key}"))
            raise
        anchor = self.anchor_version()
        if is_anchor or anchor is None or anchor.tags.get(f"{_TAG}contract_hash") != contract_hash:
            self.client.set_registered_model_alias(self.name, ANCHOR, version)
        return self.describe(version)

    def _anchor_after(self, version: str, verdict: Verdict, contract_hash: str) -> str | None:
        """The anchor once a version was promoted: who errs least, as measured; None where it stays who it is.

        A challenger that was compared with nobody takes the place of no anchor of its own contract.
        """
        best = verdict.anchor_value
        if best is None and verdict.champion is not None:
            best = verdict.champion.value
        if best is None:
            standing = self.anchor_version()
            is_ours = standing is not None and standing.tags.get(f"{_TAG}contract_hash") == contract_hash
            return None if is_ours else version
        found = verdict.challenger
        is_better = found.value < best if found.primary.lower_is_better else found.value > best
        return version if is_better else verdict.anchor_version or verdict.champion_version

    def _champion_name(self) -> str | None:
        found = self.champion_version()
        return None if found is None else str(found.version)

    def last_word(self) -> str:
        """The last promotion by a person, as text that changes with each; empty where there was none."""
        last = self._last_chosen()
        return "" if last is None else f"{last.version} at {last.tags.get(f'{_TAG}promoted_utc', '')}"

    def chosen_instead_of(self, version: str) -> str | None:
        """The version that a person promoted last, where `version` was to be had then; None where it was not."""
        last = self._last_chosen()
        newest_then = last.tags.get(f"{_TAG}{_NEWEST_THEN}", "") if last is not None else ""
        is_passed_over = newest_then.isdigit() and int(version) <= int(newest_then)
        return str(last.version) if last is not None and is_passed_over and str(last.version) != version else None

    def _last_chosen(self) -> ModelVersion | None:
        spoken = [one for one in self._versions() if f"{_TAG}promoted_by" in one.tags]
        return max(spoken, key=lambda one: one.tags.get(f"{_TAG}promoted_utc", ""), default=None)

    def note_release(
        self,
        version: str,
        key: str,
        bundle: Path,
        compressed: Mapping[str, Path],
        compression_data_hash: str,
        classes: Mapping[str, Path] | None = None,
    ) -> str:
        """Keep a bundle before it is offered, so that what was once released of a version can be released again.

        Args:
            key: names the parameters and the code that compressed it.
            compressed: what was measured, by file name.
            classes: the bundle of each device class.

        Returns:
            The bundle's SHA-256.
        """
        run_id = self._existing(version).run_id
        by_class = dict(sorted((classes or {}).items()))
        sha256 = _sha256(bundle)
        with TemporaryDirectory() as scratch:
            own = {_bundle_name(name): path for name, path in by_class.items()}
            for name, path in {BUNDLE: bundle, **own, **compressed}.items():
                (Path(scratch) / name).write_bytes(path.read_bytes())
            self.client.log_artifacts(run_id, scratch, f"{_BUNDLE_ARTIFACTS}/{key}")
        hashes = {name: _sha256(path) for name, path in by_class.items()}
        noted = {"sha256": sha256, "compression_data_hash": compression_data_hash, "classes": hashes}
        self._tag(version, f"bundle.{key}", json.dumps(noted))
        self._tag(version, "bundle_sha256", sha256)
        self._tag(version, "compression_data_hash", compression_data_hash)
        return sha256

    def standing_bundle(self, version: str, key: str, into: Path) -> StandingBundle | None:
        """What was released of a version under this key, in a folder; None where nothing was, or it is not whole.

        The version says of itself then what this release carries.
        """
        noted = _noted_bundle(self._existing(version).tags.get(f"{_TAG}bundle.{key}", ""))
        folder = None if noted is None else self._artifacts(version, f"{_BUNDLE_ARTIFACTS}/{key}", into)
        if noted is None or folder is None:
            return None
        bundle, report, picture = folder / BUNDLE, folder / REPORT, folder / PICTURE
        sha256 = noted["sha256"]
        classes = {name: folder / _bundle_name(name) for name in noted["classes"]}
        bundles = {bundle: sha256, **{classes[name]: of_class for name, of_class in noted["classes"].items()}}
        if not report.is_file() or any(not path.is_file() or _sha256(path) != known for path, known in bundles.items()):
            return None
        self._say_what_ships(version, json.loads(report.read_bytes()))
        self._tag(version, "bundle_sha256", sha256)
        self._tag(version, "compression_data_hash", noted["compression_data_hash"])
        return StandingBundle(sha256, bundle, report, picture if picture.is_file() else None, classes)

    def note_compression(self, version: str, compressed: "Compressed", report: Path | None = None) -> None:
        """Write on the version, in its card and in its run what ships to each class of devices, and why.

        Args:
            report: everything that was measured, JSON.
        """
        self._say_what_ships(version, compressed.as_dict())
        run_id = self.client.get_model_version(self.name, version).run_id
        for name in ("int8_bytes", "float32_bytes", "error_increase_pct", "int8_latency_us", "float32_latency_us"):
            if np.isfinite(compressed.as_dict()[name]):
                self.client.log_metric(run_id, name, float(compressed.as_dict()[name]))
        for path in (report, Path(compressed.picture) if compressed.picture else None):
            if path is not None:
                self.client.log_artifact(run_id, str(path), "compression")

    def _say_what_ships(self, version: str, report: Mapping[str, Any]) -> None:
        """Have the version and its card say what a report of compression says, and nothing of another one."""
        tags = {key: str(report[key]) for key in ("shipped", "bytes", "float32_bytes", "error_increase_pct")}
        tags["shipping_reason"] = report["reason"]
        for name, choice in report["by_class"].items():
            tags |= {f"ships.{name}": choice["ships"], f"ships_reason.{name}": choice["reason"]}
        for known in self.client.get_model_version(self.name, version).tags:
            key = known.removeprefix(_TAG)
            if key.startswith(("ships.", "ships_reason.")) and key not in tags:
                self._retag(version, key, None)
        for key, value in tags.items():
            self._tag(version, key, value)
        card = self.card(version).partition(SHIPPING)[0].rstrip()
        self.client.update_model_version(self.name, version, f"{card}\n\n{SHIPPING}\n\n{shipping_card(report)}")

    def card(self, version: str) -> str:
        """The model card, Markdown."""
        return str(self.client.get_model_version(self.name, version).description or "")

    def bundle_card(self, version: str) -> str:
        """The card as it goes into a bundle: without the run and without what was timed, which no two makings share."""
        return self.card(version).partition(IN_REGISTRY)[0].partition(SHIPPING)[0].rstrip() + "\n"

    def _version_by_alias(self, alias: str) -> ModelVersion | None:
        try:
            return self.client.get_model_version_by_alias(self.name, alias)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def _versions(self) -> list[ModelVersion]:
        return list(self.client.search_model_versions(f"name='{self.name}'"))

    def _no_champion(self) -> Absent:
        """Why no version is called champion: there never was one, or its alias is gone."""
        promoted = [int(one.version) for one in self._versions() if _was_promoted(one)]
        if not promoted:
            return Absent("there is no champion yet")
        return Absent(f"the alias {CHAMPION} is gone, though version {max(promoted)} was promoted", is_damage=True)

    def _existing(self, version: str) -> ModelVersion:
        try:
            return self.client.get_model_version(self.name, version)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
        there = sorted(int(one.version) for one in self._versions())
        known = f"there are {', '.join(map(str, there))}" if there else "it has no version yet"
        raise ReleaseError(f"there is no version {version} of {self.name} in the registry; {known}")

    def _artifacts(self, version: str, path: str, into: Path) -> Path | None:
        """Fetch a folder of a version's run; None where there is none."""
        run_id = self._existing(version).run_id
        try:
            if not self.client.list_artifacts(run_id, path):
                return None
            into.mkdir(parents=True, exist_ok=True)
            return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path, dst_path=str(into)))
        except Exception as error:  # each artifact store has its own
            raise self._gone(version, f"its {path}", error) from error

    def _former_checkpoint(self, version: str) -> Path:
        """The checkpoint of a version from before its weights were an artifact."""
        checkpoint = self.describe(version).checkpoint
        if checkpoint and Path(checkpoint).is_file():
            return Path(checkpoint)
        where = f"; {checkpoint}, which its tag names, is not on this machine" if checkpoint else ""
        raise ReleaseError(
            f"the weights of version {version} of {self.name} are not in the registry{where}. Restore the artifacts of "
            "its run from a backup, or train anew"
        )

    def _gone(self, version: str, what: str, error: Exception) -> ReleaseError:
        why = " ".join(str(error).split())[:200]
        return ReleaseError(
            f"version {version} of {self.name} cannot be read from the registry: {what}: {why}. Restore the artifacts "
            f"of its run from a backup, or promote another version: fieldloop promote {self.name} VERSION"
        )

    def _held_out_loss(self, version: ModelVersion) -> float:
        """The primary figure of the version when it was judged, so that less is better."""
        primary = self.workload.primary
        name = f"held_out_{primary.key}"
        tag = version.tags.get(f"{_TAG}{name}")
        found = tag or self.client.get_run(version.run_id).data.metrics.get(name)
        if found is None:
            return np.inf
        return float(found) if primary.lower_is_better else -float(found)

    def _tag(self, version: str, key: str, value: str) -> None:
        self.client.set_model_version_tag(self.name, version, f"{_TAG}{key}", value)

    def _retag(self, version: str, key: str, value: str | None) -> None:
        if value is None:
            self.client.delete_model_version_tag(self.name, version, f"{_TAG}{key}")
        else:
            self._tag(version, key, value)

    def version_of_run(self, run_id: str) -> str | None:
        """The version that a training run was registered as; None where it was not."""
        return next((str(v.version) for v in self._versions() if v.run_id == run_id), None)

    def _log_version(self, trained: Trained, onnx_path: Path, example: Array) -> str:
        import onnx  # as torch above

        outputs = predictor(onnx_path)(example)
        folder = Path(trained.folder)
        missing = [name for name in (NETWORK, CONFIG) if not (folder / name).is_file()]
        if missing:
            raise ReleaseError(f"{folder} has no {' and no '.join(missing)}: train the model again to register it")
        with mlflow.start_run(run_id=trained.mlflow_run_id), _requirements_unchecked():
            for name in (NETWORK, CONFIG, WHAT_IFS):
                if (folder / name).is_file():
                    mlflow.log_artifact(str(folder / name), _NETWORK_ARTIFACTS)
            logged = mlflow.onnx.log_model(
                onnx.load(onnx_path),
                name="float32",
                signature=infer_signature({"features": example}, {"outputs": outputs}),
                pip_requirements=["onnxruntime==1.28.0", "numpy"],
                onnx_execution_providers=["CPUExecutionProvider"],
            )
        self._ensure_registered_model()
        made = self.client.create_model_version(
            self.name, logged.model_uri, run_id=trained.mlflow_run_id, model_id=logged.model_id, await_creation_for=None
        )
        return str(made.version)

    def _ensure_registered_model(self) -> None:
        try:
            self.client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _log_scores(self, run_id: str, verdict: Verdict) -> None:
        for name, value in verdict.challenger.figures.items():
            if np.isfinite(value):
                self.client.log_metric(run_id, f"held_out_{name}", float(value))


@contextmanager
def _requirements_unchecked() -> Iterator[None]:
    """MLflow writes down what a model requires, and does not look whether it is installed here.

    It would read the files of every installed package to say so, for seconds; what is installed is the lock's.
    """
    checked = mlflow.utils.environment.warn_dependency_requirement_mismatches
    mlflow.utils.environment.warn_dependency_requirement_mismatches = lambda _requirements: None
    try:
        yield
    finally:
        mlflow.utils.environment.warn_dependency_requirement_mismatches = checked


def _why_not_comparable(version: ModelVersion, terms: Terms, words: Words) -> Absent | None:
    """Why a champion cannot be compared with a challenger on these terms, if so."""
    which = f"the champion, version {version.version},"
    lost = [name for name in ("contract_hash", LEARNED_BEFORE) if f"{_TAG}{name}" not in version.tags]
    if lost:
        return Absent(f"{which} has lost its tags {' and '.join(lost)}", is_damage=True)
    contract = version.tags[f"{_TAG}contract_hash"]
    if contract != terms.contract_hash:
        return Absent(f"{which} is of contract {contract[:12]}, and the challenger of {terms.contract_hash[:12]}")
    learned_before = version.tags[f"{_TAG}{LEARNED_BEFORE}"]
    if not learned_before.isdigit():
        return Absent(
            f"{which} has a tag {LEARNED_BEFORE} that is no {words.period}: {learned_before!r}", is_damage=True
        )
    if int(learned_before) > terms.period:
        then, now = f"{words.periods} before {learned_before}", f"those before {terms.period}"
        return Absent(f"{which} learned from {then}, and the challenger from {now}", runnable=str(version.version))
    held_out = _held_out(version)
    seen = [] if held_out is None else sorted(set(terms.judging_periods) - set(held_out))
    if any(one < int(learned_before) for one in seen):
        judge = f"{', '.join(map(str, seen))}, which judge{'s' if len(seen) == 1 else ''} now"
        return Absent(f"{which} may have learned from {judge}", runnable=str(version.version))
    return None


def _held_out(version: ModelVersion) -> list[int] | None:
    """The periods that a version did not learn from; None for one from before that was noted."""
    try:
        found = json.loads(version.tags.get(f"{_TAG}{LEARNED_NOT}", "null"))
    except ValueError:
        return None
    return found if isinstance(found, list) else None


class _ChampionAlias:
    """Where `promotion.py` looks, notes and moves."""

    def __init__(self, registry: ModelRegistry) -> None:
        self.name, self.registry = registry.name, registry

    def champion(self) -> str | None:
        return self.registry._champion_name()

    def note(self, text: str) -> None:
        self.registry.client.set_registered_model_tag(self.name, _PROMOTION, text)

    def noted(self) -> str:
        return str(self.registry.client.get_registered_model(self.name).tags.get(_PROMOTION, ""))

    def move(self, version: str) -> None:
        self.registry.client.set_registered_model_alias(self.name, CHAMPION, version)


def _told_of_slices(verdict: Verdict) -> dict[str, str]:
    """What a version says of slices; nothing where none was judged, so that what was found before stays."""
    if verdict.floor is None:
        return {}
    return {
        _SLICES: json.dumps([one.as_record() for one in verdict.decided_by_rule]),
        _WORSE: ", ".join(one.words for one in verdict.worse_slices) or "none",
    }


def _this_process() -> str:
    return f"the gate of process {os.getpid()} on {socket.gethostname()}"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _bundle_name(device_class: str) -> str:
    """The file of a device class, beside the one for all."""
    return f"bundle-{device_class}.zip"


def _noted_bundle(tag: str) -> dict[str, Any] | None:
    """What was noted of a release; None where nothing was, or the tag was changed to something else.

    A release of before has no classes.
    """
    try:
        noted = json.loads(tag or "null")
    except ValueError:
        return None
    names = ("sha256", "compression_data_hash")
    if not isinstance(noted, dict) or not noted.keys() >= set(names):
        return None
    classes = noted.get("classes", {})
    if not isinstance(classes, dict) or not all(_CLASS_NAME.fullmatch(name) for name in classes):
        return None
    by_class = {name: str(sha256) for name, sha256 in classes.items()}
    return {**{name: str(noted[name]) for name in names}, "classes": by_class}


def _period_of(version: ModelVersion) -> int:
    """The period that a version was made for; 0 where that is not said."""
    said = version.tags.get(f"{_TAG}{LEARNED_BEFORE}", "")
    return int(said) if said.isdigit() else 0


def _was_promoted(version: ModelVersion) -> bool:
    return version.tags.get(f"{_TAG}gate") in (PROMOTED, BY_A_PERSON)
