"""Training goes on where a kill cut it off, and ends where it would have ended without."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import MLFlowLogger

from fieldedge.system.errors import ReleaseError
from fieldloop.core.dataset import chosen, joined, load_dataset, save_dataset
from fieldloop.training.networks import load_network, save_network
from fieldloop.training.trained import Trained
from fieldloop.training.trainer import GroupedData
from tests.edge.patience import PATIENCE_S
from tests.training.small_training import PARAMS, WORKLOAD, scaled, small_examples, tracking_uri, train_in

SCALE = WORKLOAD.device.contract.scale
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of this module have their folders, beside one tracking store."""
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def undisturbed(runs: Path) -> Trained:
    return train_in(runs / "undisturbed")


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return load_network(Path(trained.checkpoint), WORKLOAD).state_dict()


def kill_in_epoch(folder: Path, epoch: int) -> None:
    command = [sys.executable, "-m", "tests.training.small_training", str(folder), str(epoch)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kills", [(1,), (2, 4)])
def test_a_killed_run_goes_on_and_ends_with_the_weights_of_an_undisturbed_one(
    runs: Path, undisturbed: Trained, kills: tuple[int, ...]
) -> None:
    folder = runs / f"killed-{len(kills)}"
    for epoch in kills:
        kill_in_epoch(folder, epoch)
        assert not (folder / "trained.json").exists()
    seen: list[int] = []
    trained = train_in(folder, lambda done, _total: seen.append(done))
    assert seen == list(range(kills[-1], PARAMS.epochs + 1))
    found, expected = weights(trained), weights(undisturbed)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert trained.validation_loss == undisturbed.validation_loss
    assert_one_run_in_mlflow(trained)


def assert_one_run_in_mlflow(trained: Trained) -> None:
    """However often it was killed: one run, finished, with its lineage and every epoch."""
    import mlflow

    folder = Path(trained.folder)
    client = mlflow.MlflowClient(tracking_uri(folder))
    experiment = client.get_experiment_by_name("fieldloop")
    (run,) = client.search_runs([experiment.experiment_id], f"tags.mlflow.runName = '{folder.name}'")
    assert (run.info.run_id, run.info.status) == (trained.mlflow_run_id, "FINISHED")
    assert (run.data.tags["data_hash"], run.data.tags["git_commit"]) == (trained.data_hash, "c" * 40)
    epochs = client.get_metric_history(run.info.run_id, "epoch")
    assert {int(metric.value) for metric in epochs} == set(range(PARAMS.epochs))
    assert run.data.metrics["field_seasons_left_out"] == len(trained.left_out) == 1
    said = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/left_out.json")
    assert said == trained.left_out == {"2003/champion-99": "it has 2 harvests"}


@pytest.mark.slow
def test_ctrl_c_waits_for_the_write_to_mlflow_that_it_falls_into(
    runs: Path, undisturbed: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, before = runs / "ctrl-c", signal.getsignal(signal.SIGINT)
    log_metrics = MLFlowLogger.log_metrics
    written: list[str] = []

    def pressed_meanwhile(logger: MLFlowLogger, metrics: dict[str, float], step: int | None = None) -> None:
        signal.raise_signal(signal.SIGINT)
        log_metrics(logger, metrics, step)
        written.append("whole")

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(MLFlowLogger, "log_metrics", pressed_meanwhile)
        train_in(folder)
    assert written == ["whole"]
    assert signal.getsignal(signal.SIGINT) is before
    assert all(torch.equal(tensor, weights(undisturbed)[name]) for name, tensor in weights(train_in(folder)).items())


@pytest.mark.slow
def test_a_finished_run_is_returned_as_it_is(undisturbed: Trained) -> None:
    checkpoint = Path(undisturbed.checkpoint)
    before = checkpoint.stat().st_mtime_ns
    assert train_in(Path(undisturbed.folder), lambda *_: pytest.fail("it trained again")) == undisturbed
    assert checkpoint.stat().st_mtime_ns == before
    assert [path.name for path in checkpoint.parent.glob("*.ckpt")] == ["last.ckpt"]


@pytest.mark.slow
def test_the_model_learns_what_the_yields_follow(undisturbed: Trained) -> None:
    unseen = small_examples(seed=9)
    with torch.no_grad():
        outputs = load_network(Path(undisturbed.checkpoint), WORKLOAD)(torch.from_numpy(scaled(unseen))).numpy()
    error = np.sqrt(((outputs[:, 1] - unseen.targets[:, 0]) ** 2).mean())
    assert error < 0.6 * unseen.targets[:, 0].std()


def test_whole_field_seasons_are_set_aside_and_every_day_is_used_once() -> None:
    examples = small_examples()
    data = GroupedData(examples, SCALE, batch_size=64, seed=3)
    fit, aside = ({tuple(row.tolist()) for row in part.tensors[0]} for part in (data.fit_set, data.validation_set))
    assert len(fit) + len(aside) == len(examples)
    by_season = [{tuple(row) for row in scaled(examples)[examples.group == g].tolist()} for g in range(40)]
    assert all(days <= fit or days <= aside for days in by_season)
    assert 0 < sum(days <= aside for days in by_season) < 12


def test_the_same_seed_sets_the_same_field_seasons_aside() -> None:
    first, again, other = (
        GroupedData(small_examples(), SCALE, 64, seed).validation_set.tensors[0] for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)


@pytest.mark.slow
def test_a_run_killed_between_its_last_epoch_and_its_end_says_the_same_of_itself(undisturbed: Trained) -> None:
    (Path(undisturbed.folder) / "trained.json").unlink()
    before = weights(undisturbed)
    again = train_in(Path(undisturbed.folder))
    assert again == undisturbed
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(again).items())


def test_a_network_of_another_workload_is_refused_by_name(tmp_path: Path) -> None:
    network = WORKLOAD.learner.network(PARAMS.hidden, PARAMS.dropout)
    save_network(network, "vineyard", PARAMS, tmp_path)
    with pytest.raises(ReleaseError, match="holds a network of workload 'vineyard'; expected 'agriculture'"):
        load_network(tmp_path, WORKLOAD)


def test_what_is_set_aside_is_what_is_calibrated_on_and_nothing_of_it_is_fitted() -> None:
    fitted = small_examples(field_seasons=6, season=2003)
    aside = small_examples(field_seasons=4, season=2004, seed=5)
    examples = joined(fitted, replace(aside, set_aside=frozenset({"2004"})))
    data = GroupedData(examples, SCALE, batch_size=64, seed=3)
    assert torch.equal(data.fit_set.tensors[1], torch.from_numpy(fitted.targets))
    assert torch.equal(data.validation_set.tensors[1], torch.from_numpy(aside.targets))


@pytest.mark.parametrize("periods", [{"2003"}, {"1999"}])
def test_where_all_or_nothing_would_be_set_aside_some_field_seasons_are(periods: set[str]) -> None:
    data = GroupedData(replace(small_examples(), set_aside=frozenset(periods)), SCALE, batch_size=64, seed=3)
    assert len(data.fit_set) > len(data.validation_set) > 0


def test_what_is_set_aside_is_kept_with_the_examples_and_former_files_set_nothing_aside(tmp_path: Path) -> None:
    examples = replace(small_examples(field_seasons=3), set_aside=frozenset({"2003", "1999"}))
    save_dataset(examples, tmp_path / "now.npz")
    assert load_dataset(tmp_path / "now.npz").set_aside == {"2003", "1999"}
    assert chosen(examples, [1]).set_aside == {"2003", "1999"}
    with np.load(tmp_path / "now.npz") as kept:
        np.savez(tmp_path / "former.npz", **{name: kept[name] for name in kept.files if name != "set_aside"})
    assert load_dataset(tmp_path / "former.npz").set_aside == frozenset()
