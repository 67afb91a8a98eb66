"""The model registry: one MLflow registered model per workload, every version with its lineage.

The alias `champion` moves only when the gate says so, and the verdict stands on the version either way; `challenger` is
the newest version. Stages are never used. Registering the same training run again changes nothing.
"""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import mlflow.onnx
import numpy as np
import onnx
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature

from fieldloop.compression import Compressed
from fieldloop.evaluation import Predict, Scores, Verdict
from fieldloop.inference import Array, predictor
from fieldloop.training import Trained

CHAMPION = "champion"
CHALLENGER = "challenger"
_TAG = "fieldloop."
_SHIPPING = "## What ships"


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
    checkpoint: str


@dataclass(frozen=True)
class Champion:
    """The version that devices should run, ready to answer."""

    version: str
    contract_hash: str
    predict: Predict


class ModelRegistry:
    """The registered model of one workload in one MLflow tracking store."""

    def __init__(self, tracking_uri: str, workload: str) -> None:
        mlflow.set_tracking_uri(tracking_uri)
        self.name = workload
        self.client = mlflow.MlflowClient(tracking_uri)

    def champion_version(self) -> ModelVersion | None:
        """The version behind the alias `champion`, or None."""
        try:
            return self.client.get_model_version_by_alias(self.name, CHAMPION)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def champion(self, contract_hash: str, season: int, challenger_run_id: str) -> Champion | None:
        """The champion as the device would run it, or None where none can be compared with the challenger.

        It must be of this contract, must not have learned from `season` or later, and must not be the challenger
        itself (which it is where a promotion was cut off and is made again).
        """
        version = self.champion_version()
        if version is None or version.tags.get(f"{_TAG}contract_hash") != contract_hash:
            return None
        if int(version.tags.get(f"{_TAG}for_season", "0")) > season or version.run_id == challenger_run_id:
            return None
        folder = mlflow.artifacts.download_artifacts(f"models:/{self.name}/{version.version}")
        return Champion(str(version.version), contract_hash, predictor(Path(folder) / "model.onnx"))

    def describe(self, version: str) -> Registered:
        """What the registry knows of a version."""
        found = self.client.get_model_version(self.name, version)
        champion = self.champion_version()
        tag = {name.removeprefix(_TAG): value for name, value in found.tags.items()}
        return Registered(
            name=self.name,
            version=str(version),
            is_champion=champion is not None and str(champion.version) == str(version),
            reason=tag["reason"],
            contract_hash=tag["contract_hash"],
            data_hash=tag["data_hash"],
            git_commit=tag["git_commit"],
            mlflow_run_id=str(found.run_id),
            checkpoint=tag["checkpoint"],
        )

    def register(
        self,
        trained: Trained,
        onnx_path: Path,
        example: Array,
        verdict: Verdict,
        contract_hash: str,
        git_commit: str,
        season: int,
    ) -> Registered:
        """Add the trained model as a version with its lineage, and move `champion` if the verdict says so."""
        version = self._version_of_run(trained.mlflow_run_id)
        if version is None:
            version = self._log_version(trained, onnx_path, example)
        tags = {
            "contract_hash": contract_hash,
            "data_hash": trained.data_hash,
            "git_commit": git_commit,
            "checkpoint": trained.checkpoint,
            "for_season": str(season),
            "gate": "promoted" if verdict.is_promoted else "kept back",
            "reason": verdict.reason,
        }
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, version, f"{_TAG}{key}", value)
        self._log_scores(trained.mlflow_run_id, verdict)
        self.client.update_model_version(self.name, version, model_card(self.name, version, trained, verdict, tags))
        self.client.set_registered_model_alias(self.name, CHALLENGER, version)
        if verdict.is_promoted:
            self.client.set_registered_model_alias(self.name, CHAMPION, version)
        return self.describe(version)

    def note_compression(self, version: str, compressed: Compressed, report: Path | None = None) -> None:
        """Write on the version, in its card and in its run what ships to each class of devices, and why.

        Args:
            report: everything that was measured, JSON.
        """
        for key in ("shipped", "bytes", "float32_bytes", "error_increase_pct"):
            self.client.set_model_version_tag(self.name, version, f"{_TAG}{key}", str(compressed.as_dict()[key]))
        self.client.set_model_version_tag(self.name, version, f"{_TAG}shipping_reason", compressed.reason)
        run_id = self.client.get_model_version(self.name, version).run_id
        for name in ("int8_bytes", "float32_bytes", "error_increase_pct", "int8_latency_us", "float32_latency_us"):
            if np.isfinite(compressed.as_dict()[name]):
                self.client.log_metric(run_id, name, float(compressed.as_dict()[name]))
        for name, choice in compressed.by_class.items():
            self.client.set_model_version_tag(self.name, version, f"{_TAG}ships.{name}", choice["ships"])
            self.client.set_model_version_tag(self.name, version, f"{_TAG}ships_reason.{name}", choice["reason"])
        for path in (report, Path(compressed.picture) if compressed.picture else None):
            if path is not None:
                self.client.log_artifact(run_id, str(path), "compression")
        card = self.card(version).partition(_SHIPPING)[0].rstrip()
        self.client.update_model_version(self.name, version, f"{card}\n\n{_SHIPPING}\n\n{shipping_card(compressed)}")

    def created_utc(self, version: str) -> str:
        """When the version was registered."""
        created_ms = self.client.get_model_version(self.name, version).creation_timestamp
        return datetime.fromtimestamp(created_ms / 1000, UTC).isoformat(timespec="seconds")

    def card(self, version: str) -> str:
        """The model card, Markdown."""
        return str(self.client.get_model_version(self.name, version).description or "")

    def _version_of_run(self, run_id: str) -> str | None:
        try:
            versions = self.client.search_model_versions(f"name='{self.name}'")
        except MlflowException:
            return None
        return next((str(v.version) for v in versions if v.run_id == run_id), None)

    def _log_version(self, trained: Trained, onnx_path: Path, example: Array) -> str:
        outputs = predictor(onnx_path)(example)
        with mlflow.start_run(run_id=trained.mlflow_run_id):
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
        for name, value in vars(verdict.challenger).items():
            if np.isfinite(value):
                self.client.log_metric(run_id, f"held_out_{name}", float(value))


def model_card(name: str, version: str, trained: Trained, verdict: Verdict, tags: dict[str, Any]) -> str:
    """The model card of a version, Markdown: what it is for, what it learned from, how good it is, what it is not."""
    rows = [_score_row("this version", verdict.challenger)]
    if verdict.champion is not None:
        rows.append(_score_row(f"champion before (version {verdict.champion_version})", verdict.champion))
    return "\n".join(
        [
            f"# {name}, version {version}",
            "",
            "Scores the day's irrigation and nitrogen actions of one maize field: final yield (p10, p50, p90), water "
            "and nitrogen still to come. It advises within FAO-56 and nitrogen-balance bounds; it never decides alone.",
            "",
            f"Learned from {trained.field_seasons} field-seasons ({trained.examples} days), "
            f"data `{tags['data_hash']}`, code `{tags['git_commit']}`, run `{trained.mlflow_run_id}`, "
            f"contract `{tags['contract_hash'][:12]}`.",
            "",
            "| held-out seasons | yield RMSE t/ha | bias t/ha | coverage of the 80 % interval | field-seasons |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"Gate: {verdict.reason}.",
            "",
            "Limits: maize, soils and climates like those it learned from; sensors with faults as simulated. "
            "Beyond them the device's guardrails hold and the FAO-56 rule stands in.",
        ]
    )


def shipping_card(compressed: Compressed) -> str:
    """What ships to each class of devices and why, Markdown."""
    if not compressed.by_class:
        return compressed.reason
    rows = [
        f"| {name} | {choice['ships']} | {choice['bytes'] / 1000:.0f} kB | {choice['reason']} "
        f"| {choice['parity_on']} | {choice['timed_on']} |"
        for name, choice in compressed.by_class.items()
    ]
    head = "| devices | file | size | why | numbers compared on | timed on |"
    return "\n".join([f"In this bundle: {compressed.reason}.", "", head, "| --- " * 6 + "|", *rows])


def _score_row(label: str, scores: Scores) -> str:
    return (
        f"| {label} | {scores.yield_rmse_t_ha:.2f} | {scores.yield_bias_t_ha:+.2f} "
        f"| {scores.interval_coverage_pct:.0f} % | {scores.field_seasons} |"
    )


def git_commit(root: Path) -> str:
    """The commit of the code that runs, with `-dirty` where files differ from it; `unknown` outside git."""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() if done.returncode == 0 else "unknown"
