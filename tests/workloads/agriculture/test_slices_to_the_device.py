"""From gate to field: where a model is worse than the rule, the bundle says so, and a device follows the rule."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fieldedge.device.config import DeviceConfig
from fieldedge.inference.bundles import MODEL, open_bundle
from fieldedge.inference.loading import LoadedModel
from fieldedge.inference.model import Model
from fieldedge.inference.slices import Slice
from fieldedge.inference.slots import Installed
from fieldedge.runtime.agent import Agent
from fieldedge.storage.store import Store
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldloop.core.settings import Settings
from fieldloop.registry.model_registry import ModelRegistry
from fieldloop.stages import compress, evaluate, release, source, train, validate, version
from fieldloop.stages.context import Loop
from fieldloop.stages.opening import new_loop
from fieldloop.training.networks import load_network, network_folder, save_network
from fieldloop.training.trained import Trained
from fieldloop.workloads import known_workload, load_params
from fieldloop.workloads.agriculture.network.model import CropModel
from fieldloop.workloads.agriculture.pretraining.policy_search import TRIGGERS
from fieldloop.workloads.agriculture.pretraining.pretrain import set_weights, weights_of
from tests.data.empty_clone import empty_clone
from tests.edge.sample import AGRICULTURE, DEVICE_ID, season_messages
from tests.flows.small_loop import _small_params

DVC = """
stages:
  history:
    cmd: python -m fieldloop.cli history
    params: [agriculture.history]
    outs: [{data/history: {persist: true}}]
"""


def nothing(*_said: object) -> None: ...


def with_slices(loop: Loop, **terms: float) -> Loop:
    """The same loop, with other terms for slices."""
    gates = loop.params.gates
    slices = gates.slices.model_copy(update=terms)
    return replace(loop, params=loop.params.model_copy(update={"gates": gates.model_copy(update={"slices": slices})}))


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loop:
    root = empty_clone(tmp_path / "clone", monkeypatch)
    params = _small_params(has_int8=False)
    gates = params["agriculture"]["gates"]
    gates["floor"] |= {"fields": 40, "max_loss_to_rule_usd_ha": 5000.0, "max_loss_to_thresholds_usd_ha": 5000.0}
    gates["floor"]["max_error_to_mean_pct"] = 5000.0
    (root / "params.yaml").write_text(yaml.safe_dump({"agriculture": params["agriculture"]}))
    (root / "dvc.yaml").write_text(DVC)
    monkeypatch.setenv("FIELDLOOP_ROOT", str(root))
    settings = Settings(root=root, edge_python=Path(sys.executable), workers=2)
    made: Loop = new_loop(settings, "agriculture", load_params(root, "agriculture"))
    return with_slices(made, least_fields=4, max_loss_usd_ha=0.0, max_risk_usd_ha=0.0)


def irrigate_early(loop: Loop, trained: Trained) -> None:
    """Make a trained model irrigate whenever it may, so that it is worse than the rule where water is dear."""
    workload = known_workload("agriculture")
    folder = network_folder(trained, workload)
    network = load_network(folder, workload)
    assert isinstance(network, CropModel)
    weights = weights_of(network)
    weights[TRIGGERS] = -2.0  # of TAW, at every stage
    set_weights(network, weights)
    save_network(network, workload.name, loop.params.model, folder)


@pytest.mark.slow
def test_a_slice_in_which_the_model_is_worse_is_the_rules_from_the_gate_to_the_advice_and_until_it_is_judged_anew(
    loop: Loop, tmp_path: Path
) -> None:
    source.simulate_history(loop, nothing)
    accepted = validate.validate_history(loop, source.simulate_history(loop, nothing))
    data = version.version_data(loop, accepted, version.next_period(loop))
    trained = train.train_model(loop, data, train.champion_before(loop, data), nothing)
    irrigate_early(loop, trained)
    registered = evaluate.evaluate_and_register(loop, data, trained)
    assert registered.is_promoted, registered.reason

    registry = ModelRegistry(loop.settings.tracking_uri, known_workload("agriculture"))
    on_version = registry.slices(registered.version)
    untried, slices = on_version[:2], on_version[2:]
    assert [one.name for one in untried] == ["roots=shallower", "roots=deeper"]
    told = json.loads(Path(registered.verdict).read_text())["floor"]["slices"]
    worse = [one["words"] for one in told if one["is_worse"] and one["is_known_to_devices"]]
    assert worse and worse == [one.words for one in slices]
    assert all(words in registered.reason for words in worse)

    compressed = compress.compress_champion(loop, data, registered)
    released = release.release_bundle(loop, data, compressed)
    assert release.stands(loop, released)
    bundle = open_bundle(Path(released.bundle).read_bytes(), CONTRACT)
    assert bundle.manifest.slices == on_version
    assert f"| {slices[0].words} |" in bundle.files["model_card.md"].decode()
    advice = advised(tmp_path / "store.db", bundle.files[MODEL], slices)
    assert advice["source"] == "fao56"
    assert advice["reasons"][0].startswith(f"The model abstains: in a field like this one, {slices[0].words}, it has")

    again = evaluate.evaluate_and_register(loop, data, trained)
    same = json.loads(Path(again.verdict).read_text())["floor"]["slices"]
    assert (same, registry.slices(again.version)) == (told, on_version), "alike for the same arguments"
    lenient = with_slices(loop, max_loss_usd_ha=1e6, max_risk_usd_ha=1e6)
    evaluate.evaluate_and_register(lenient, data, trained)
    assert registry.slices(registered.version) == untried
    assert not release.stands(lenient, released)
    anew = release.release_bundle(lenient, data, compress.compress_champion(lenient, data, registered))
    assert (anew.version, release.stands(lenient, anew)) == (released.version, True)
    bare = open_bundle(Path(anew.bundle).read_bytes(), CONTRACT)
    assert bare.manifest.slices == untried and bare.files[MODEL] == bundle.files[MODEL]


def advised(store: Path, model: bytes, slices: tuple[Slice, ...]) -> dict[str, Any]:
    """What a device says to a field of the first slice on planting day."""
    told: dict[str, Any] = {}
    for condition in slices[0].where:
        inside = condition.one_of[0] if condition.one_of else condition.minimum or (condition.below or 0.0) / 2.0
        name = "water_price_usd_mm" if condition.name == "water_cost_kg_mm" else condition.name
        told[name] = inside * 0.181 if name == "water_price_usd_mm" else inside  # type: ignore[operator]  # of a price
    loaded = LoadedModel(Installed("a", "1", "float32", "", ""), Model(model, CONTRACT), None, slices[:1])
    agent = Agent(DeviceConfig(DEVICE_ID, "agriculture"), AGRICULTURE, Store(store), loaded)
    messages = season_messages(2)
    messages[0]["record"] |= told
    answers = agent.answers(json.dumps(message) for message in messages)
    return next(one for one in answers if one["kind"] == "recommendation")
