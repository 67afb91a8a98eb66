"""Every version carries where it came from; `champion` moves only when the gate says so, and once."""

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from fieldloop.compression import Compressed
from fieldloop.evaluation import Scores, Verdict
from fieldloop.registry import ModelRegistry, Registered, git_commit, model_card
from fieldloop.training import Trained
from tests.conftest import CONTRACT, crop_model

COMMIT = "c" * 40
EXAMPLE = np.zeros((4, len(CONTRACT.features)), np.float32)
SCORES = Scores(1.234, -0.1, 79.0, 33.0, 60, 7000)
PROMOTED = Verdict(True, "promoted: there is no champion to compare with", SCORES, None, None, None, None, None)
KEPT_BACK = Verdict(
    False, "kept back: held-out yield error +9.0 %", SCORES, replace(SCORES, yield_rmse_t_ha=1.1), "1", 9.0, 6.0, 12.0
)


@dataclass
class Shelf:
    """A registry in a folder, and trained runs to put into it."""

    folder: Path
    registry: ModelRegistry

    def trained(self, name: str) -> Trained:
        run = self.registry.client.create_run("0", run_name=name)
        checkpoint = self.folder / name / "last.ckpt"
        return Trained("agriculture", str(checkpoint.parent), str(checkpoint), run.info.run_id, "d" * 32, 9000, 80, 0.5)

    def register(
        self, trained: Trained, verdict: Verdict, season: int = 2006, contract_hash: str = CONTRACT.hash
    ) -> Registered:
        path = self.folder / "model.onnx"
        path.write_bytes(crop_model(10.0))
        return self.registry.register(trained, path, EXAMPLE, verdict, contract_hash, COMMIT, season)

    def versions(self) -> list[str]:
        return [str(v.version) for v in self.registry.client.search_model_versions(f"name='{self.registry.name}'")]

    def champion(self, season: int, contract_hash: str = CONTRACT.hash, run_id: str = "another") -> str | None:
        found = self.registry.champion(contract_hash, season, run_id)
        return found.version if found else None


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture
def shelf(tracking: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """One tracking store for the module (it takes seconds to make), one registered model per test."""
    monkeypatch.chdir(tracking)
    name = f"agriculture-{request.node.name[5:60]}"
    return Shelf(tracking, ModelRegistry(f"sqlite:///{tracking}/mlflow.db", name))


@pytest.mark.slow
def test_a_new_registry_has_no_champion(shelf: Shelf) -> None:
    assert shelf.registry.champion_version() is None
    assert shelf.champion(2006) is None


@pytest.mark.slow
def test_a_version_carries_its_lineage_its_scores_its_signature_and_its_card(shelf: Shelf) -> None:
    trained = shelf.trained("first")
    registered = shelf.register(trained, PROMOTED)
    assert registered == shelf.registry.describe(registered.version)
    assert (registered.data_hash, registered.git_commit, registered.mlflow_run_id, registered.checkpoint) == (
        "d" * 32,
        COMMIT,
        trained.mlflow_run_id,
        trained.checkpoint,
    )
    version = shelf.registry.client.get_model_version(registered.name, registered.version)
    assert version.tags["fieldloop.contract_hash"] == CONTRACT.hash
    assert (version.tags["fieldloop.gate"], version.tags["fieldloop.for_season"]) == ("promoted", "2006")
    run = shelf.registry.client.get_run(trained.mlflow_run_id)
    assert run.data.metrics["held_out_yield_rmse_t_ha"] == 1.234
    assert run.info.status == "FINISHED"
    assert "RMSE t/ha" in shelf.registry.card(registered.version)
    assert shelf.registry.created_utc(registered.version).endswith("+00:00")

    import mlflow

    signature = mlflow.models.get_model_info(f"models:/{registered.name}/{registered.version}").signature
    assert [column.name for column in signature.inputs.inputs] == ["features"]


@pytest.mark.slow
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
    champion = shelf.registry.champion(CONTRACT.hash, 2006, "another")
    assert champion is not None
    assert champion.predict(EXAMPLE)[:, 1] == pytest.approx([10.0] * 4)


@pytest.mark.slow
def test_a_champion_is_not_compared_that_learned_from_the_season_is_of_another_contract_or_is_the_challenger(
    shelf: Shelf,
) -> None:
    trained = shelf.trained("first")
    shelf.register(trained, PROMOTED, season=2007)
    assert shelf.champion(2007) == shelf.champion(2008) == "1"
    assert shelf.champion(2006) is None
    assert shelf.champion(2007, contract_hash="0" * 64) is None
    assert shelf.champion(2007, run_id=trained.mlflow_run_id) is None


@pytest.mark.slow
def test_what_ships_and_why_is_written_on_the_version_and_its_run(shelf: Shelf) -> None:
    trained = shelf.trained("first")
    version = shelf.register(trained, PROMOTED).version
    made = Compressed("float32", "float32 ships: too slow", "x.onnx", 90, 26, 90, 0.2, 1.0, 1.0, 60.0, 50.0, 12)
    shelf.registry.note_compression(version, made)
    tags = shelf.registry.client.get_model_version(shelf.registry.name, version).tags
    assert (tags["fieldloop.shipped"], tags["fieldloop.shipping_reason"]) == ("float32", "float32 ships: too slow")
    assert shelf.registry.client.get_run(trained.mlflow_run_id).data.metrics["int8_bytes"] == 26.0


def test_the_model_card_says_what_it_learned_from_how_good_it_is_and_what_the_gate_said() -> None:
    trained = Trained("agriculture", "f", "f/last.ckpt", "run-7", "d" * 32, 9000, 80, 0.5)
    tags = {"data_hash": "d" * 32, "git_commit": COMMIT, "contract_hash": CONTRACT.hash}
    card = model_card("agriculture", "2", trained, KEPT_BACK, tags)
    assert card.startswith("# agriculture, version 2\n")
    assert "80 field-seasons (9000 days)" in card
    for lineage in (trained.data_hash, COMMIT, "run-7", CONTRACT.hash[:12]):
        assert lineage in card
    assert "| this version | 1.23 | -0.10 | 79 % | 60 |" in card
    assert "| champion before (version 1) | 1.10 |" in card
    assert f"Gate: {KEPT_BACK.reason}." in card
    assert "champion before" not in model_card("agriculture", "1", trained, PROMOTED, tags)


def test_the_commit_says_where_files_differ_from_it_and_where_there_is_no_git(tmp_path: Path) -> None:
    assert git_commit(tmp_path / "nowhere") == "unknown"
    (tmp_path / "a.py").write_text("x = 1\n")
    for command in (["init", "-q"], ["add", "a.py"], ["commit", "-q", "-m", "one"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *command], cwd=tmp_path, check=True)
    clean = git_commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "a.py").write_text("x = 2\n")
    assert git_commit(tmp_path) == f"{clean}-dirty"
