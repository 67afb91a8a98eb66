"""A second workload turns the whole loop, and nothing of the core knows it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fieldloop.closed_loop import live
from fieldloop.core.settings import Settings
from fieldloop.evaluation.predictor import predictor
from fieldloop.rollout.signed import run_of
from fieldloop.stages import compress, deliver, evaluate, ingest, release, run, source, train, validate, version
from fieldloop.stages.access import open_accepted
from fieldloop.stages.context import Loop
from fieldloop.stages.devices import source_of
from fieldloop.stages.opening import new_loop
from fieldloop.workloads import known_workload, load_params
from tests.data.empty_clone import empty_clone

MONTH = 200606
PARAMS: dict[str, Any] = {
    "history": {"seed": 3, "bearings": 16, "months": [200604, 200605]},
    "loop": {"devices": 1, "seasons": [MONTH], "upload_budget_bytes": 20_000},
    "model": {
        **{"hidden": [32, 16], "dropout": 0.0, "epochs": 20, "batch_size": 128},
        **{"learning_rate": 0.01, "weight_decay": 0.0, "seed": 1},
    },
    "gates": {"holdout_seasons": [200605], "bootstrap_draws": 100, "max_error_increase_pct": 5.0},
    "compression": {
        **{"calibration_rows": 64, "candidates_per_decision": 2, "max_error_increase_pct": 1.0},
        **{"max_latency_ratio": 1000.0, "max_p99_ratio": 1000.0, "closed_loop_fields": 4, "timed_calls": 50},
        **{"search": {"keep": []}, "device_classes": {"float32-only": {}}, "fleet_class": "float32-only"},
    },
}
DVC = """
stages:
  history:
    cmd: python -m fieldloop.cli history
    params: [bearing.history]
    outs: [{data/history: {persist: true}}]
"""


@pytest.fixture
def loop(tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch) -> Loop:
    root = empty_clone(tmp_path / "clone", monkeypatch)
    (root / "params.yaml").write_text(yaml.safe_dump({"bearing": PARAMS}))
    (root / "dvc.yaml").write_text(DVC)
    monkeypatch.setenv("FIELDLOOP_ROOT", str(root))
    settings = Settings(root=root, edge_python=installed, workers=2)
    return new_loop(settings, "bearing", load_params(root, "bearing"))


def nothing(*_said: object) -> None: ...


@pytest.mark.slow
def test_bearings_go_from_their_own_source_to_a_device_and_home_again(loop: Loop) -> None:
    history = source.simulate_history(loop, nothing)
    accepted = validate.validate_history(loop, history)
    assert (history.episodes, accepted.quarantined) == (32, 0)
    assert accepted.rows > 32 * 15

    data = version.version_data(loop, accepted, version.next_period(loop))
    trained = train.train_model(loop, data, train.champion_before(loop, data), nothing)
    registered = evaluate.evaluate_and_register(loop, data, trained)
    assert registered.is_promoted, registered.reason

    compressed = compress.compress_champion(loop, data, registered)
    released = release.release_bundle(loop, data, compressed)
    assert (compressed.shipped, released.version) == ("float32", registered.champion_version)
    assert run_of(loop.paths.bundles, "bearing", released.version) == trained.mlflow_run_id, "for a rollout to sign"
    assert deliver.deliver(loop, released, nothing) == 1

    lived = run.upload(loop, run.run_period(loop, released, MONTH, nothing), nothing)
    told = json.loads(Path(lived.report).read_text())
    assert (told["model_version"], told["records_rejected"]) == (released.version, 0)
    assert told["records_acknowledged"] == told["records_selected"] > 0
    assert told["cost_rmse_usd"] is None, "what a call foresees is no outcome"
    workload, (place,) = known_workload("bearing"), source_of(loop).places(MONTH)
    shipped = predictor(Path(compressed.path))
    assert told["outcomes"] == [live(workload.device, place.begin(), shipped)], "here as on the device"

    synced = ingest.sync_period(loop, lived)
    assert (synced.accepted, synced.quarantined, synced.lost) == (told["records_acknowledged"], 0, 0)
    calls = open_accepted(loop).read("calls", [MONTH])
    assert set(calls["bundle_sha256"]) == {released.sha256}
    assert "model" in set(calls["source"])
