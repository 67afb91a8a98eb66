"""Every version carries where it came from; `champion` moves only when the gate says so, and once."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow.utils import requirements_utils

from fieldedge.inference.slices import Condition
from fieldedge.system.errors import ReleaseError, StoreBusy
from fieldloop.compression import Compressed
from fieldloop.core.dataset import save_dataset
from fieldloop.core.git import git_commit
from fieldloop.core.settings import load_settings
from fieldloop.evaluation.gate import Absent, Floor, Verdict
from fieldloop.evaluation.slices import SliceFound
from fieldloop.evaluation.terms import Terms
from fieldloop.registry.card import model_card
from fieldloop.registry.model_registry import (
    BUNDLE,
    LEARNABLE_HASH,
    REPORT,
    Champion,
    ModelRegistry,
    Registered,
)
from fieldloop.release import ReleaseRepository
from fieldloop.stages.context import Loop
from fieldloop.stages.evaluate import _behind_what_came_after, _none_lost
from fieldloop.training.networks import save_network
from fieldloop.training.trained import NETWORK, WHAT_IFS, Trained
from fieldloop.training.trainer import train
from fieldloop.workload import Scores
from fieldloop.workloads import known_workload, load_params
from fieldloop.workloads.agriculture.card import CARD
from fieldloop.workloads.agriculture.metrics import PROFIT, YIELD_ERROR
from tests.conftest import CONTRACT, BundleMaker, crop_model
from tests.postgres import PostgresServer, postgres_server, why_no_postgres
from tests.sample_season import WORDS
from tests.training.small_training import DATA_HASH, PARAMS, small_examples

COMMIT = "c" * 40
HELD_OUT = (2004, 2005)
EXAMPLE = np.zeros((4, len(CONTRACT.features)), np.float32)

MADE = Compressed(
    "float32", "float32 ships: too slow", "x.onnx", 90, 26, 90, 0.2, 1.0, 1.0, 60.0, 50.0, 12, YIELD_ERROR, PROFIT
)


def scored(yield_rmse_t_ha: float = 1.234) -> Scores:
    figures = {
        YIELD_ERROR.key: yield_rmse_t_ha,
        **{"yield_bias_t_ha": -0.1, "interval_coverage_pct": 79.0, "water_to_come_rmse_mm": 33.0},
        **{"field_seasons": 60, "examples": 7000},
    }
    return Scores(YIELD_ERROR, np.full(60, yield_rmse_t_ha**2), figures)


SCORES = scored()
PROMOTED = Verdict(True, "promoted: there is no champion to compare with", SCORES, None, None, None, None, None)
BETTER = Verdict(True, "promoted: held-out yield error -1.0 %", SCORES, SCORES, "1", -1.0, -2.0, 0.0)
KEPT_BACK = Verdict(False, "kept back: held-out yield error +9.0 %", SCORES, scored(1.1), "1", 9.0, 6.0, 12.0)


@dataclass
class Shelf:
    """A registry in a folder, and trained runs to put into it."""

    folder: Path
    registry: ModelRegistry
    experiment: str = "0"

    def trained(self, name: str, learnable_hash: str = "") -> Trained:
        tags = {LEARNABLE_HASH: learnable_hash}
        run = self.registry.client.create_run(self.experiment, run_name=name, tags=tags)
        checkpoint = self.folder / run.info.run_id / "last.ckpt"
        torch.manual_seed(len(self.versions()))
        network = known_workload("agriculture").learner.network(PARAMS.hidden, PARAMS.dropout)
        save_network(network, "agriculture", PARAMS, checkpoint.parent)
        save_dataset(small_examples(3, 4), checkpoint.parent / WHAT_IFS)
        return Trained("agriculture", str(checkpoint.parent), str(checkpoint), run.info.run_id, "d" * 32, 9000, 80, 0.5)

    def register(
        self,
        trained: Trained,
        verdict: Verdict,
        season: int = 2006,
        contract_hash: str = CONTRACT.hash,
        judged_beside: str | None = "as it is",
        held_out: tuple[int, ...] = HELD_OUT,
    ) -> Registered:
        path = self.folder / "model.onnx"
        path.write_bytes(crop_model(10.0))
        beside = self.called_champion() if judged_beside == "as it is" else judged_beside
        terms = Terms(contract_hash, season, held_out)
        return self.registry.register(trained, path, EXAMPLE, verdict, terms, COMMIT, beside)

    def called_champion(self) -> str | None:
        found = self.registry.champion_version()
        return None if found is None else str(found.version)

    def gates(self) -> dict[str, str]:
        versions = self.registry.client.search_model_versions(f"name='{self.registry.name}'")
        return {str(one.version): one.tags["fieldloop.gate"] for one in versions}

    def versions(self) -> list[str]:
        return [str(v.version) for v in self.registry.client.search_model_versions(f"name='{self.registry.name}'")]

    def champion(self, season: int, contract_hash: str = CONTRACT.hash, run_id: str = "another") -> str | None:
        found = self.registry.champion(Terms(contract_hash, season, HELD_OUT), run_id)
        return found.version if isinstance(found, Champion) else None

    def why_none(self, season: int = 2006, contract_hash: str = CONTRACT.hash, run_id: str = "another") -> Absent:
        found = self.registry.champion(Terms(contract_hash, season, HELD_OUT), run_id)
        assert isinstance(found, Absent)
        return found

    def anchor(self, champion: str, season: int = 2006, run_id: str = "another") -> str | None:
        found = self.registry.anchor(Terms(CONTRACT.hash, season, HELD_OUT), run_id, champion)
        return found.version if found else None

    def artifacts(self, trained: Trained) -> Path:
        uri = self.registry.client.get_run(trained.mlflow_run_id).info.artifact_uri
        return Path(uri.removeprefix("file://"))

    def untag(self, version: str, *names: str) -> None:
        for name in names:
            self.registry.client.delete_model_version_tag(self.registry.name, version, f"fieldloop.{name}")

    def promote(
        self, version: str, why: str = "it was tried on two farms", is_anchor: bool = False, at_minute: int = 30
    ) -> Registered:
        at = datetime(2026, 5, 4, 7, at_minute, tzinfo=UTC)
        return self.registry.promote(version, CONTRACT.hash, len(CONTRACT.features), "ada", why, at, is_anchor)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture
def shelf(tracking: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """One tracking store for the module (it takes seconds to make), one registered model per test."""
    monkeypatch.chdir(tracking)
    own = hashlib.sha256(request.node.name.encode()).hexdigest()[:6]  # tests of several parameters begin alike
    name = f"agriculture-{request.node.name[5:50]}-{own}"
    return Shelf(tracking, ModelRegistry(f"sqlite:///{tracking}/mlflow.db", known_workload("agriculture"), name))


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    if why := why_no_postgres():
        pytest.skip(why)
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def either_shelf(request: pytest.FixtureRequest, tracking: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """The registry on each of the two databases."""
    if request.param == "sqlite":
        shelf: Shelf = request.getfixturevalue("shelf")
        return shelf
    monkeypatch.chdir(tracking)
    registry = ModelRegistry(
        request.getfixturevalue("postgres").url, known_workload("agriculture"), f"agriculture-{request.node.name[5:40]}"
    )
    name = f"experiment of {request.node.name}"
    return Shelf(tracking, registry, registry.client.create_experiment(name, (tracking / "artifacts").as_uri()))


@pytest.mark.slow
def test_a_new_registry_has_no_champion(shelf: Shelf) -> None:
    assert shelf.registry.champion_version() is None
    assert shelf.why_none() == Absent("there is no champion yet")


@pytest.mark.slow
def test_a_version_carries_its_lineage_its_scores_its_signature_and_its_card(shelf: Shelf) -> None:
    trained = shelf.trained("first")
    registered = shelf.register(trained, PROMOTED)
    assert registered == shelf.registry.describe(registered.version)
    assert trained.mlflow_run_id in shelf.registry.card(registered.version)
    assert trained.mlflow_run_id not in shelf.registry.bundle_card(registered.version)
    assert shelf.registry.card(registered.version).startswith(shelf.registry.bundle_card(registered.version).rstrip())
    assert (registered.data_hash, registered.git_commit, registered.mlflow_run_id) == (
        "d" * 32,
        COMMIT,
        trained.mlflow_run_id,
    )
    version = shelf.registry.client.get_model_version(registered.name, registered.version)
    assert version.tags["fieldloop.contract_hash"] == CONTRACT.hash
    assert not [value for value in version.tags.values() if value.startswith("/")]  # no file of this machine
    assert (version.tags["fieldloop.gate"], version.tags["fieldloop.for_season"]) == ("promoted", "2006")
    run = shelf.registry.client.get_run(trained.mlflow_run_id)
    assert run.data.metrics["held_out_yield_rmse_t_ha"] == 1.234
    assert run.info.status == "FINISHED"
    assert "RMSE t/ha" in shelf.registry.card(registered.version)

    import mlflow

    signature = mlflow.models.get_model_info(f"models:/{registered.name}/{registered.version}").signature
    assert [column.name for column in signature.inputs.inputs] == ["features"]


@pytest.mark.slow
def test_registering_looks_for_no_other_package_than_a_model_names(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    monkeypatch.setattr(requirements_utils, "_init_packages_to_modules_map", lambda: looked.append("everywhere"))
    trained = shelf.trained("first")
    registered = shelf.register(trained, PROMOTED)
    version = shelf.registry.client.get_model_version(registered.name, registered.version)
    files = Path(mlflow.artifacts.download_artifacts(version.source))
    required = (files / "requirements.txt").read_text().split()
    assert [name.partition("==")[0] for name in required] == ["mlflow", "onnxruntime", "numpy"]
    assert looked == []
    assert mlflow.utils.environment.warn_dependency_requirement_mismatches.__module__ == requirements_utils.__name__


def test_champion_moves_only_when_the_gate_says_so_and_challenger_with_every_version(shelf: Shelf) -> None:
    first = shelf.register(shelf.trained("first"), PROMOTED)
    second = shelf.register(shelf.trained("second"), KEPT_BACK)
    assert (first.version, first.is_champion) == ("1", True)
    assert (second.version, second.is_champion) == ("2", False)
    assert second.reason == KEPT_BACK.reason
    assert shelf.champion(2006) == "1"
    challenger = shelf.registry.client.get_model_version_by_alias(shelf.registry.name, "challenger")
    assert str(challenger.version) == "2"
    third = shelf.register(shelf.trained("third"), PROMOTED)
    assert (third.is_champion, shelf.registry.describe("1").is_champion) == (True, False)


@pytest.mark.slow
def test_a_challenger_is_not_promoted_over_another_champion_than_that_which_it_was_judged_beside(shelf: Shelf) -> None:
    shelf.register(shelf.trained("first"), PROMOTED)
    shelf.register(shelf.trained("second"), KEPT_BACK)
    shelf.registry.client.set_registered_model_alias(shelf.registry.name, "champion", "2")  # by hand, in MLflow's UI
    third = shelf.trained("third")
    for verdict in (BETTER, KEPT_BACK):
        with pytest.raises(StoreBusy, match=r"version 2 of .* by now, .* when version 1 was.*Run again"):
            shelf.register(third, verdict, judged_beside="1")
    assert (shelf.called_champion(), shelf.versions()) == ("2", ["2", "1"])
    with pytest.raises(StoreBusy, match="when no version was"):
        shelf.register(third, PROMOTED, judged_beside=None)
    again = shelf.register(third, replace(BETTER, champion_version="2"))
    tags = shelf.registry.client.get_model_version(shelf.registry.name, again.version).tags
    assert (shelf.called_champion(), tags["fieldloop.champion_before"]) == (again.version, "2")
    promotion = json.loads(shelf.registry.client.get_registered_model(shelf.registry.name).tags["fieldloop.promotion"])
    assert (promotion["version"], promotion["from"]) == (again.version, "2")
    assert str(os.getpid()) in promotion["by"]


@pytest.mark.slow
@pytest.mark.parametrize("is_person", [False, True])
@pytest.mark.parametrize("between", ["tag", "alias", "read back"])
def test_of_two_clones_that_promote_at_once_one_is_told_and_the_alias_is_the_others(
    shelf: Shelf, between: str, is_person: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.register(shelf.trained("first"), PROMOTED)
    shelf.register(shelf.trained("second"), KEPT_BACK)
    ours = shelf.trained("third")
    other = ModelRegistry(shelf.registry.client.tracking_uri, shelf.registry.workload, shelf.registry.name)
    steps = {
        "tag": "set_registered_model_tag",
        "alias": "set_registered_model_alias",
        "read back": "get_registered_model",
    }
    real = getattr(shelf.registry.client, steps[between])
    outcome: list[str] = []

    def first_the_other(*arguments: str) -> object:
        if between != "alias" or arguments[1] == "champion":
            monkeypatch.setattr(shelf.registry.client, steps[between], real)
            try:
                if is_person:
                    at = datetime(2026, 5, 4, tzinfo=UTC)
                    other.promote("2", CONTRACT.hash, len(CONTRACT.features), "ada", "it was tried", at)
                else:
                    Shelf(shelf.folder, other).register(shelf.trained("fourth"), BETTER, judged_beside="1")
                outcome.append("promoted")
            except StoreBusy:
                outcome.append("told")
        return real(*arguments)

    monkeypatch.setattr(shelf.registry.client, steps[between], first_the_other)
    try:
        won = shelf.register(ours, BETTER).version
        assert outcome == ["told"] or (is_person and between == "read back")
    except StoreBusy as told:
        won = "2" if is_person else "4"
        assert "Run again" in str(told)
        assert outcome == ["promoted"]
    champion = shelf.called_champion()
    assert champion == ("2" if outcome == ["promoted"] and is_person else won)
    called = {version for version, gate in shelf.gates().items() if gate.startswith("promoted")} - {"1"}
    assert champion in called
    assert len(called) == 1 or between == "read back"


@pytest.mark.slow
@pytest.mark.parametrize("cut", ["before the alias", "after the alias"])
def test_a_promotion_that_is_cut_off_is_promoted_once_the_alias_has_moved_and_not_before(
    shelf: Shelf, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.register(shelf.trained("first"), PROMOTED)
    second = shelf.trained("second")
    real = shelf.registry.client.set_registered_model_alias

    def cut_off(name: str, alias: str, version: str) -> None:
        if alias == "champion":
            if cut == "after the alias":
                real(name, alias, version)
            raise KeyboardInterrupt
        real(name, alias, version)

    with monkeypatch.context() as patch:
        patch.setattr(shelf.registry.client, "set_registered_model_alias", cut_off)
        with pytest.raises(KeyboardInterrupt):
            shelf.register(second, BETTER)
    has_moved = cut == "after the alias"
    assert (shelf.called_champion(), shelf.gates()["2"]) == ("2" if has_moved else "1", "promotion begun")
    shelf.register(second, replace(KEPT_BACK, champion_version="1"))  # judged anew, on other data
    assert shelf.gates()["2"] == ("promoted" if has_moved else "kept back")
    assert shelf.called_champion() == ("2" if has_moved else "1")


@pytest.mark.slow
def test_a_promotion_by_a_person_that_was_overtaken_leaves_no_word_on_the_version(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.register(shelf.trained("first"), PROMOTED)
    shelf.register(shelf.trained("second"), KEPT_BACK)
    before = shelf.registry.describe("2")
    real = shelf.registry._tag

    def moved_by_hand(version: str, key: str, value: str) -> None:
        shelf.registry.client.delete_registered_model_alias(shelf.registry.name, "champion")
        real(version, key, value)

    monkeypatch.setattr(shelf.registry, "_tag", moved_by_hand)
    with pytest.raises(StoreBusy, match=r"no version of .* by now"):
        shelf.promote("2")
    assert (shelf.registry.describe("2"), shelf.registry.last_word()) == (before, "")


@pytest.mark.slow
def test_what_was_promoted_once_stays_an_anchor_when_it_is_judged_again_and_kept_back(shelf: Shelf) -> None:
    first = shelf.trained("first")
    shelf.register(first, PROMOTED)
    shelf.register(shelf.trained("second"), replace(BETTER, challenger=scored(1.25)))
    shelf.register(first, replace(KEPT_BACK, champion_version="2"))
    assert (shelf.called_champion(), shelf.anchor("2"), shelf.gates()["1"]) == ("2", "1", "promoted")
    tags = shelf.registry.client.get_model_version(shelf.registry.name, "1").tags
    assert (tags["fieldloop.reason"], tags["fieldloop.champion_before"]) == (PROMOTED.reason, "")


def test_a_version_that_is_judged_again_stays_behind_one_that_was_registered_or_chosen_after_it() -> None:
    assert _behind_what_came_after(BETTER, "4", "4", None) is BETTER  # a promotion that was cut off
    assert _behind_what_came_after(BETTER, "5", "4", None) is BETTER
    assert _behind_what_came_after(BETTER, "3", None, None) is BETTER
    assert _behind_what_came_after(KEPT_BACK, "3", "10", "2") is KEPT_BACK
    behind = _behind_what_came_after(BETTER, "3", "10", None)
    assert not behind.is_promoted
    assert behind.reason.startswith("kept back: version 10, which was registered after it, is the champion")
    behind = _behind_what_came_after(BETTER, "5", "4", "4")
    assert not behind.is_promoted
    assert behind.reason.startswith("kept back: a person promoted version 4 when there was this one to choose")


@pytest.mark.slow
def test_what_a_person_went_back_from_is_known_until_another_word(shelf: Shelf) -> None:
    shelf.register(shelf.trained("first"), PROMOTED)
    shelf.register(shelf.trained("second"), BETTER)
    assert shelf.registry.chosen_instead_of("2") is None
    shelf.promote("1", "version 2 waters too much")
    shelf.register(shelf.trained("third"), KEPT_BACK)
    assert [shelf.registry.chosen_instead_of(version) for version in ("1", "2", "3")] == [None, "1", None]
    shelf.promote("2", "it was a leak", at_minute=31)
    assert [shelf.registry.chosen_instead_of(version) for version in ("1", "2", "3")] == ["2", None, "2"]


@pytest.mark.slow
def test_a_model_that_may_have_learned_from_a_season_that_judges_now_is_no_rival_and_no_start(shelf: Shelf) -> None:
    shelf.register(shelf.trained("first", "a"), PROMOTED, held_out=(2005,))
    terms = Terms(CONTRACT.hash, 2006, HELD_OUT)
    found = shelf.registry.champion(terms, "another")
    assert found == Absent("the champion, version 1, may have learned from 2004, which judges now", runnable="1")
    assert shelf.registry.start_of_pretraining(terms, "b") is None
    shelf.register(shelf.trained("second", "b"), replace(BETTER, champion_version=None), held_out=HELD_OUT)
    assert shelf.champion(2006) == "2"
    assert shelf.anchor("2") is None
    fewer = shelf.registry.champion(Terms(CONTRACT.hash, 2006, (2005,)), "another")
    assert isinstance(fewer, Champion)
    shelf.untag("2", "held_out_seasons")  # as a version from before that was noted
    assert shelf.champion(2006) == "2"


@pytest.mark.slow
def test_practice_starts_from_the_champion_before_the_data_however_often_it_is_made(shelf: Shelf) -> None:
    def start(learnable_hash: str, season: int = 2006, contract_hash: str = CONTRACT.hash) -> str | None:
        return shelf.registry.start_of_pretraining(Terms(contract_hash, season, HELD_OUT), learnable_hash)

    assert start("a") is None
    shelf.register(shelf.trained("first", "a"), PROMOTED)
    assert (start("a"), start("b")) == (None, "1")
    shelf.register(shelf.trained("second", "b"), BETTER)
    assert (start("b"), start("c")) == ("1", "2")
    shelf.register(shelf.trained("changed code", "b"), replace(BETTER, champion_version="2"))
    assert (start("b"), start("c")) == ("1", "3")
    assert (start("c", season=2005), start("c", contract_hash="f" * 64)) == (None, None)
    shelf.register(shelf.trained("a later season", "c"), replace(BETTER, champion_version="3"), season=2007)
    assert (start("b"), start("c"), start("d", season=2007)) == ("1", "3", "4")
    shelf.promote("1", "the later ones water too much")
    assert (start("b"), start("c")) == ("1", "1")


@pytest.mark.slow
def test_registering_the_same_run_again_changes_nothing(shelf: Shelf) -> None:
    trained = shelf.trained("first")
    first = shelf.register(trained, PROMOTED)
    assert shelf.register(trained, PROMOTED) == first
    assert shelf.versions() == ["1"]


@pytest.mark.slow
def test_registering_goes_on_where_it_was_cut_off_before_the_tags(shelf: Shelf) -> None:
    trained = shelf.trained("first")
    path = shelf.folder / "model.onnx"
    path.write_bytes(crop_model(10.0))
    shelf.registry._log_version(trained, path, EXAMPLE)
    assert shelf.register(trained, PROMOTED).reason == PROMOTED.reason
    assert shelf.versions() == ["1"]


@pytest.mark.slow
def test_a_champion_answers_as_its_file_does(shelf: Shelf) -> None:
    shelf.register(shelf.trained("first"), PROMOTED)
    champion = shelf.registry.champion(Terms(CONTRACT.hash, 2006, HELD_OUT), "another")
    assert isinstance(champion, Champion)
    assert champion.predict(EXAMPLE)[:, 1] == pytest.approx([10.0] * 4)


@pytest.mark.slow
def test_why_a_champion_cannot_be_compared_is_said(shelf: Shelf) -> None:
    trained = shelf.trained("first")
    shelf.register(trained, PROMOTED, season=2007)
    assert shelf.champion(2007) == shelf.champion(2008) == "1"
    later = shelf.why_none(2006)
    assert later.reason == (
        "the champion, version 1, learned from seasons before 2007, and the challenger from those before 2006"
    )
    assert (later.is_damage, later.runnable) == (False, "1")
    other = shelf.why_none(2007, contract_hash="0" * 64)
    assert other.reason == (
        f"the champion, version 1, is of contract {CONTRACT.hash[:12]}, and the challenger of {'0' * 12}"
    )
    assert (other.is_damage, other.runnable) == (False, None)
    itself = shelf.why_none(2007, run_id=trained.mlflow_run_id)
    assert itself.reason == "the champion, version 1, is the challenger itself"


@pytest.mark.slow
def test_a_promotion_that_is_made_again_is_compared_with_what_it_was_compared_with_before(shelf: Shelf) -> None:
    first, second = shelf.trained("first"), shelf.trained("second")
    shelf.register(first, PROMOTED)
    better = replace(BETTER, champion_version="1")
    shelf.register(second, better)
    assert shelf.champion(2006) == "2"
    assert shelf.champion(2006, run_id=second.mlflow_run_id) == "1"
    assert shelf.anchor("1", run_id=second.mlflow_run_id) is None
    assert shelf.register(second, better).is_champion


@pytest.mark.slow
@pytest.mark.parametrize("lost", [("contract_hash",), ("for_season",), ("contract_hash", "for_season", "gate")])
def test_a_champion_that_has_lost_its_tags_is_damage_and_says_which(shelf: Shelf, lost: tuple[str, ...]) -> None:
    shelf.register(shelf.trained("first"), PROMOTED)
    shelf.untag("1", *lost)
    found = shelf.why_none()
    assert found.is_damage
    assert found.runnable is None
    named = " and ".join(name for name in lost if name != "gate")
    assert found.reason == f"the champion, version 1, has lost its tags {named}"


@pytest.mark.slow
def test_an_alias_that_is_gone_is_damage_and_not_a_registry_without_champion(shelf: Shelf) -> None:
    shelf.register(shelf.trained("first"), PROMOTED)
    shelf.register(shelf.trained("second"), KEPT_BACK)
    shelf.registry.client.delete_registered_model_alias(shelf.registry.name, "champion")
    assert shelf.why_none() == Absent("the alias champion is gone, though version 1 was promoted", is_damage=True)
    assert shelf.promote("1").is_champion
    assert shelf.champion(2006) == "1"


@pytest.mark.slow
def test_a_champion_whose_file_is_gone_stops_the_gate(shelf: Shelf) -> None:
    registered = shelf.register(shelf.trained("first"), PROMOTED)
    version = shelf.registry.client.get_model_version(registered.name, "1")
    model = shelf.registry.client.get_logged_model(version.source.rpartition("/")[2])
    (Path(model.artifact_location.removeprefix("file://")) / "model.onnx").unlink()
    with pytest.raises(ReleaseError, match=r"version 1 of .* cannot be read from the registry: its float32 file"):
        shelf.champion(2006)


@pytest.mark.slow
def test_the_anchor_is_the_champion_that_erred_least_and_stays_when_a_little_worse_ones_follow(shelf: Shelf) -> None:
    shelf.register(shelf.trained("first"), PROMOTED)
    assert shelf.anchor("1") is None
    worse = scored(1.25)
    second = replace(BETTER, challenger=worse, champion=SCORES, champion_version="1")
    shelf.register(shelf.trained("second"), second)
    assert (shelf.champion(2006), shelf.anchor("2")) == ("2", "1")
    best = scored(1.2)
    third = replace(
        BETTER,
        challenger=best,
        champion=worse,
        champion_version="2",
        anchor_version="1",
        anchor_value=SCORES.value,
    )
    shelf.register(shelf.trained("third"), third)
    assert (shelf.champion(2006), shelf.anchor("3")) == ("3", None)


@pytest.mark.slow
def test_a_registry_from_before_has_its_best_champion_as_anchor_by_what_its_runs_say(shelf: Shelf) -> None:
    for name, error in (("first", 1.1), ("second", 1.3), ("third", 1.0)):
        verdict = replace(PROMOTED, challenger=scored(error))
        shelf.register(shelf.trained(name), verdict, season=2006 if name != "third" else 2009)
    for version in ("1", "2", "3"):
        shelf.untag(version, "held_out_yield_rmse_t_ha", "champion_before", "anchor_before")
    shelf.registry.client.delete_registered_model_alias(shelf.registry.name, "anchor")
    assert shelf.anchor("2", season=2006) == "1"
    assert shelf.anchor("2", season=2009) == "3"


@pytest.mark.slow
def test_a_registry_without_a_champion_beside_a_release_was_lost_or_is_another_one(
    shelf: Shelf, make_bundle: BundleMaker, tmp_path: Path
) -> None:
    root = tmp_path / "clone"
    root.mkdir()
    shutil.copyfile(Path(__file__).parents[2] / "params.yaml", root / "params.yaml")
    loop = Loop(load_settings(root=root, home=root / "home"), "agriculture", load_params(root, "agriculture"))
    none = shelf.why_none()
    assert _none_lost(loop, shelf.registry, none) == none
    ReleaseRepository(loop.paths.tuf).publish(make_bundle("3"), "agriculture", "3", CONTRACT.hash)
    lost = _none_lost(loop, shelf.registry, none)
    assert isinstance(lost, Absent)
    assert lost.is_damage
    assert lost.reason.startswith("devices are offered version 3, and the registry knows of no champion")
    shelf.register(shelf.trained("first"), PROMOTED, season=2009)
    later = shelf.why_none(2006)
    assert _none_lost(loop, shelf.registry, later) == later


WAITING = replace(
    PROMOTED, is_promoted=False, waits_for_person=True, reason="waiting for a person: it passed the floor"
)


@pytest.mark.slow
def test_a_version_that_waits_for_a_person_is_challenger_until_one_promotes_it_and_who_when_and_why_stand_on_it(
    shelf: Shelf,
) -> None:
    trained = shelf.trained("first")
    registered = shelf.register(trained, WAITING)
    assert (registered.is_champion, registered.gate) == (False, "waiting for a person")
    assert shelf.why_none().reason == "there is no champion yet"
    assert shelf.registry.last_word() == ""
    promoted = shelf.promote("1")
    assert (promoted.is_champion, promoted.gate) == (True, "promoted by a person")
    assert promoted.reason == (
        "promoted by a person, ada: it was tried on two farms; the gate had said: "
        "waiting for a person: it passed the floor"
    )
    tags = shelf.registry.client.get_model_version(shelf.registry.name, "1").tags
    assert (tags["fieldloop.promoted_by"], tags["fieldloop.promoted_why"], tags["fieldloop.promoted_utc"]) == (
        "ada",
        "it was tried on two farms",
        "2026-05-04T07:30:00+00:00",
    )
    assert shelf.registry.last_word() == "1 at 2026-05-04T07:30:00+00:00"
    assert shelf.register(trained, WAITING) == promoted  # the step is made again, and takes nothing back
    assert shelf.champion(2006) == "1"
    assert shelf.anchor("1") is None


@pytest.mark.slow
def test_a_person_may_promote_what_the_gate_kept_back_and_the_anchor_stays_unless_said(shelf: Shelf) -> None:
    shelf.register(shelf.trained("first"), PROMOTED)
    shelf.register(shelf.trained("second"), KEPT_BACK)
    shelf.promote("2")
    assert (shelf.champion(2006), shelf.anchor("2")) == ("2", "1")
    shelf.promote("2", is_anchor=True)
    assert (shelf.champion(2006), shelf.anchor("2")) == ("2", None)


@pytest.mark.slow
def test_the_last_person_who_promoted_a_version_is_the_one_that_its_reason_names(shelf: Shelf) -> None:
    shelf.register(shelf.trained("first"), KEPT_BACK)
    shelf.promote("1", "it was tried on two farms")
    again = shelf.promote("1", "it was mended")
    assert again.reason == f"promoted by a person, ada: it was mended; the gate had said: {KEPT_BACK.reason}"


@pytest.mark.slow
def test_a_challenger_that_was_compared_with_nobody_takes_the_place_of_no_anchor(shelf: Shelf) -> None:
    shelf.register(shelf.trained("first"), PROMOTED, season=2007)
    shelf.register(shelf.trained("second"), replace(PROMOTED, challenger=scored(1.5)), season=2006)
    assert (shelf.called_champion(), shelf.anchor("2", season=2007)) == ("2", "1")


@pytest.mark.slow
def test_a_version_says_where_its_devices_follow_the_rule_and_in_its_card_how_much_worse_it_is_there(
    shelf: Shelf,
) -> None:
    dry = SliceFound(
        "start=dry",
        "dry at planting",
        44,
        -209.0,
        -134.0,
        -199.0,
        True,
        (Condition("context", "initial_water_pct", below=60.0),),
    )
    good = replace(dry, name="start=moist", words="moist at planting", is_worse=False)
    hidden = replace(dry, name="fault=gauge", words="of which the rain gauge is low", where=())
    floor = Floor(True, "it earned", PROFIT, 288, 900.0, (), {}, "fields", (dry, good, hidden))
    trained = shelf.trained("first")
    shelf.register(trained, replace(PROMOTED, floor=floor))
    assert shelf.registry.slices("1") == (dry.for_device(),)
    tags = shelf.registry.client.get_model_version(shelf.registry.name, "1").tags
    assert tags["fieldloop.worse_than_rule_in"] == "dry at planting, of which the rain gauge is low"
    card = shelf.registry.bundle_card("1")
    assert "| dry at planting | 44 | -209 | -134 | -199 | the rule decides |" in card
    assert "| of which the rain gauge is low | 44 | -209 | -134 | -199 | no device can know it |" in card
    assert "moist" not in card
    shelf.register(trained, PROMOTED)  # judged again, and its closed loop was not measured
    assert shelf.registry.slices("1") == (dry.for_device(),)
    shelf.register(trained, replace(PROMOTED, floor=replace(floor, slices=(good,))))
    assert shelf.registry.slices("1") == ()
    shelf.untag("1", "slices")  # as of a version from before slices were judged
    assert shelf.registry.slices("1") == ()
    for nonsense in ("x", "{}", '[{"name": "a"}]'):
        shelf.registry._tag("1", "slices", nonsense)
        with pytest.raises(ReleaseError, match=r"the tag fieldloop\.slices of version 1"):
            shelf.registry.slices("1")


@pytest.mark.slow
def test_a_release_that_stands_again_is_what_the_registry_says_of_the_version(shelf: Shelf) -> None:
    shelf.register(shelf.trained("first"), PROMOTED)
    bundle, report = shelf.folder / "some.zip", shelf.folder / "some.json"
    for key in ("one", "two"):
        bundle.write_bytes(key.encode())
        choice = {"ships": f"file {key}", "reason": f"why {key}", "bytes": 1, "parity_on": "", "timed_on": ""}
        made = replace(MADE, shipped="int8", reason=f"because {key}", by_class={f"class-{key}": choice})
        report.write_text(json.dumps(made.as_dict()))
        shelf.registry.note_compression("1", made)
        shelf.registry.note_release("1", key, bundle, {REPORT: report}, f"data of {key}")
    standing = shelf.registry.standing_bundle("1", "one", shelf.folder / "again")
    tags = shelf.registry.client.get_model_version(shelf.registry.name, "1").tags
    assert standing is not None
    assert (tags["fieldloop.bundle_sha256"], tags["fieldloop.compression_data_hash"]) == (
        standing.sha256,
        "data of one",
    )
    said = {name: text for name, text in tags.items() if "ship" in name}
    assert said == {
        "fieldloop.shipped": "int8",
        "fieldloop.shipping_reason": "because one",
        "fieldloop.ships.class-one": "file one",
        "fieldloop.ships_reason.class-one": "why one",
    }
    card = shelf.registry.card("1")
    assert "In this bundle: because one." in card and "two" not in card
    for nonsense in ("x", "[]", '{"sha": 1}'):
        shelf.registry._tag("1", "bundle.one", nonsense)
        assert shelf.registry.standing_bundle("1", "one", shelf.folder / "nonsense") is None


@pytest.mark.slow
def test_a_person_cannot_promote_what_devices_would_refuse(shelf: Shelf) -> None:
    with pytest.raises(ReleaseError, match=r"there is no version 1 of .* it has no version yet"):
        shelf.promote("1")
    shelf.register(shelf.trained("first"), WAITING, contract_hash="0" * 64)
    with pytest.raises(ReleaseError, match=r"no version 7 .* there are 1"):
        shelf.promote("7")
    with pytest.raises(ReleaseError, match="is of contract 000000000000, and devices have"):
        shelf.promote("1")
    assert shelf.registry.champion_version() is None


@pytest.mark.slow
def test_another_worker_goes_on_from_the_registry_alone(either_shelf: Shelf, make_bundle: BundleMaker) -> None:
    shelf = either_shelf
    folder = shelf.folder / f"run of {shelf.registry.name}"
    url, artifacts = shelf.registry.client.tracking_uri, (shelf.folder / "artifacts").as_uri()
    params = PARAMS.model_copy(update={"epochs": 1})
    trained = train(
        *(shelf.registry.workload, small_examples(), params, folder, url, DATA_HASH, {}, lambda *_: None),
        pretrain=lambda _network: small_examples(3, 4),
        artifact_location=artifacts,
    )
    weights = torch.load(folder / NETWORK, weights_only=True)
    shelf.register(trained, PROMOTED)
    bundle, report = make_bundle(), folder / "report.json"
    report.write_text(json.dumps(MADE.as_dict()))
    of_class = shelf.folder / "of a class.zip"
    of_class.write_bytes(b"for another processor")
    classes = {"x86-64": bundle, "aarch64": of_class}
    sha256 = shelf.registry.note_release("1", "key-1", bundle, {REPORT: report}, "f" * 32, classes)
    shutil.rmtree(folder)
    bundle_bytes = bundle.read_bytes()
    bundle.unlink()
    other = ModelRegistry(shelf.registry.client.tracking_uri, shelf.registry.workload, shelf.registry.name)
    found = other.network("1").state_dict()
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    practised = other.pretraining_examples("1")
    assert practised is not None
    assert np.array_equal(practised.inputs, small_examples(3, 4).inputs)
    standing = other.standing_bundle("1", "key-1", shelf.folder / "elsewhere")
    assert standing is not None
    assert (standing.sha256, standing.bundle.read_bytes()) == (sha256, bundle_bytes)
    assert standing.bundle.name == BUNDLE
    found_classes = {name: path.read_bytes() for name, path in standing.classes.items()}
    assert found_classes == {"x86-64": bundle_bytes, "aarch64": b"for another processor"}
    assert other.standing_bundle("1", "key-2", shelf.folder) is None
    tags = other.client.get_model_version(other.name, "1").tags
    assert (tags["fieldloop.bundle_sha256"], tags["fieldloop.compression_data_hash"]) == (sha256, "f" * 32)
    assert shelf.champion(2006) == "1"


@pytest.mark.slow
def test_a_bundle_that_is_not_what_its_tag_says_does_not_stand(shelf: Shelf, make_bundle: BundleMaker) -> None:
    trained = shelf.trained("first")
    shelf.register(trained, PROMOTED)
    report = shelf.folder / "report.json"
    report.write_text(json.dumps(MADE.as_dict()))
    bundle = make_bundle()
    shelf.registry.note_release("1", "key", bundle, {REPORT: report}, "f" * 32, {"aarch64": bundle})
    assert shelf.registry.standing_bundle("1", "key", shelf.folder / "a") is not None
    kept = shelf.artifacts(trained) / "bundles" / "key"
    for number, name in enumerate((BUNDLE, "bundle-aarch64.zip")):
        whole = (kept / name).read_bytes()
        (kept / name).write_bytes(b"other")
        assert shelf.registry.standing_bundle("1", "key", shelf.folder / f"b{number}") is None
        (kept / name).write_bytes(whole)
    noted = json.loads(shelf.registry.client.get_model_version(shelf.registry.name, "1").tags["fieldloop.bundle.key"])
    del noted["classes"]  # as a release of before noted it: one file for all
    shelf.registry._tag("1", "bundle.key", json.dumps(noted))
    standing = shelf.registry.standing_bundle("1", "key", shelf.folder / "c")
    assert standing is not None and standing.classes == {}
    shelf.registry._tag("1", "bundle.key", json.dumps({**noted, "classes": {"../out": "0"}}))
    assert shelf.registry.standing_bundle("1", "key", shelf.folder / "d") is None


@pytest.mark.slow
def test_the_weights_of_a_version_from_before_are_read_from_its_checkpoint_and_never_as_a_pickle(shelf: Shelf) -> None:
    import lightning

    trained = shelf.trained("first")
    shelf.register(trained, PROMOTED)
    network = shelf.registry.network("1")
    shutil.rmtree(shelf.artifacts(trained) / "network")
    with pytest.raises(ReleaseError, match="are not in the registry"):
        shelf.registry.network("1")
    checkpoint = shelf.folder / "former.ckpt"
    shelf.registry.client.set_model_version_tag(shelf.registry.name, "1", "fieldloop.checkpoint", str(checkpoint))
    with pytest.raises(ReleaseError, match=r"former.ckpt, which its tag names, is not on this machine"):
        shelf.registry.network("1")
    former = {
        "state_dict": {f"network.{name}": tensor for name, tensor in network.state_dict().items()},
        "hyper_parameters": {"workload": "agriculture", "params": PARAMS.model_dump(mode="json")},
        "pytorch-lightning_version": lightning.__version__,
    }
    torch.save(former, checkpoint)
    again = shelf.registry.network("1").state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in network.state_dict().items())

    ran = shelf.folder / "it ran"
    torch.save({**former, "callbacks": _Runs(str(ran))}, checkpoint)
    with pytest.raises(ReleaseError, match="holds more than tensors and plain values"):
        shelf.registry.network("1")
    assert not ran.exists()


class _Runs:
    """Pickled, it writes a file when it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (_write, (self.path,))


def _write(path: str) -> None:
    Path(path).write_text("code from a file ran")


@pytest.mark.slow
def test_what_ships_and_why_is_written_on_the_version_and_its_run(shelf: Shelf) -> None:
    trained = shelf.trained("first")
    version = shelf.register(trained, PROMOTED).version
    shelf.registry.note_compression(version, MADE)
    tags = shelf.registry.client.get_model_version(shelf.registry.name, version).tags
    assert (tags["fieldloop.shipped"], tags["fieldloop.shipping_reason"]) == ("float32", "float32 ships: too slow")
    assert shelf.registry.client.get_run(trained.mlflow_run_id).data.metrics["int8_bytes"] == 26.0


def test_the_model_card_says_what_it_learned_from_how_good_it_is_and_what_the_gate_said() -> None:
    trained = Trained("agriculture", "f", "f/last.ckpt", "run-7", "d" * 32, 9000, 80, 0.5)
    tags = {"data_hash": "d" * 32, "git_commit": COMMIT, "contract_hash": CONTRACT.hash}
    card = model_card("agriculture", "2", trained, KEPT_BACK, tags, CARD, WORDS)
    assert card.startswith("# agriculture, version 2\n")
    assert "80 field-seasons (9000 days)" in card
    for lineage in (trained.data_hash, COMMIT, "run-7", CONTRACT.hash[:12]):
        assert lineage in card
    assert "| this version | 1.23 | -0.10 | 79 % | 60 |" in card
    assert "| champion before (version 1) | 1.10 |" in card
    assert f"Gate: {KEPT_BACK.reason}." in card
    assert "champion before" not in model_card("agriculture", "1", trained, PROMOTED, tags, CARD, WORDS)


def test_the_model_card_names_what_nothing_was_learned_from_and_why() -> None:
    left_out = {f"2006/champion-0{number}": f"reason {number}" for number in range(7)}
    trained = Trained("agriculture", "f", "f/last.ckpt", "run-7", "d" * 32, 9000, 80, 0.5, left_out)
    tags = {"data_hash": "d" * 32, "git_commit": COMMIT, "contract_hash": CONTRACT.hash}
    card = model_card("agriculture", "2", trained, PROMOTED, tags, CARD, WORDS)
    assert "(9000 days), without 7 that cannot be learned from: 2006/champion-00 (reason 0); " in card
    assert "2006/champion-04 (reason 4) and 2 more, data" in card


def test_the_commit_says_where_files_differ_from_it_and_where_there_is_no_git(tmp_path: Path) -> None:
    assert git_commit(tmp_path / "nowhere") == "unknown"
    (tmp_path / "a.py").write_text("x = 1\n")
    for command in (["init", "-q"], ["add", "a.py"], ["commit", "-q", "-m", "one"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *command], cwd=tmp_path, check=True)
    clean = git_commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "a.py").write_text("x = 2\n")
    assert git_commit(tmp_path) == f"{clean}-dirty"
