"""Where a bundle says so, the rule decides and says why; a condition that this device cannot check is refused."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.cli import main
from fieldedge.contract import Record
from fieldedge.device.config import DeviceConfig, DeviceDirectory, read_config
from fieldedge.inference.bundles import MANIFEST, open_bundle, parse_manifest
from fieldedge.inference.loading import LoadedModel, load, usable
from fieldedge.inference.model import Model
from fieldedge.inference.slices import Condition, Slice, check_slices, doubt_in, parse_slices
from fieldedge.inference.slots import Installed
from fieldedge.page.render import render
from fieldedge.page.view import read_view
from fieldedge.runtime.agent import Agent
from fieldedge.storage.store import Store
from fieldedge.system.errors import ReleaseError
from fieldedge.transfer.updates import update
from tests.edge.sample import (
    AGRICULTURE,
    DEVICE_ID,
    GatewaySimulator,
    Repository,
    bundle_files,
    field_record,
    onnx_model,
    season_messages,
    with_manifest,
    zipped,
)

CONTRACT = AGRICULTURE.contract
DRY = Slice("start_water=dry", "dry at planting", (Condition("context", "initial_water_pct", below=60.0),))
DEAR_IN_CHAMPION = Slice(
    "region=champion and water_price=dear",
    "in champion and where water is dear",
    (Condition("context", "region", one_of=("champion",)), Condition("feature", "water_cost_kg_mm", minimum=11.0)),
)
UNTOLD = Slice("start_water=untold", "untold", (Condition("context", "initial_water_pct", one_of=(None,)),))


def features(**values: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    row = np.zeros(len(CONTRACT.features), np.float32)
    for name, value in values.items():
        row[CONTRACT.feature_names.index(name)] = value
    return row


@pytest.mark.parametrize(
    ("one", "cost_kg_mm", "told", "holds"),
    [
        (DRY, 0.0, {"initial_water_pct": 59.9}, True),
        (DRY, 0.0, {"initial_water_pct": 60.0}, False),  # an interval ends before its end
        (DRY, 0.0, {"initial_water_pct": None}, False),  # what nobody told is in no interval
        (DRY, 0.0, {"initial_water_pct": float("nan")}, False),
        (DRY, 0.0, {}, False),
        (UNTOLD, 0.0, {"initial_water_pct": None}, True),
        (UNTOLD, 0.0, {"initial_water_pct": 50.0}, False),
        (DEAR_IN_CHAMPION, 11.0, {"region": "champion"}, True),
        (DEAR_IN_CHAMPION, 10.9, {"region": "champion"}, False),  # all conditions must hold
        (DEAR_IN_CHAMPION, 11.0, {"region": "tunis"}, False),
    ],
)
def test_a_condition_holds_for_what_the_device_knows(one: Slice, cost_kg_mm: float, told: Record, holds: bool) -> None:
    assert one.holds(features(water_cost_kg_mm=cost_kg_mm), told, CONTRACT) is holds


def test_the_first_slice_that_holds_is_the_reason() -> None:
    doubt = doubt_in((DRY, DEAR_IN_CHAMPION), {"initial_water_pct": 40.0, "region": "champion"}, CONTRACT, "field")
    said = "in a field like this one, dry at planting, it has not shown that it earns more than the rule"
    assert doubt(features(water_cost_kg_mm=20.0)) == said
    assert doubt_in((DRY,), {"initial_water_pct": 80.0}, CONTRACT, "field")(features()) is None


def test_what_a_bundle_carries_comes_back_as_it_was() -> None:
    slices = (DRY, DEAR_IN_CHAMPION, UNTOLD)
    document = json.loads(json.dumps([one.as_record() for one in slices]))
    assert document[0] == {
        "name": "start_water=dry",
        "words": "dry at planting",
        "where": [{"context": "initial_water_pct", "below": 60.0}],
    }
    assert parse_slices(document, "here") == slices
    files = with_manifest(bundle_files(onnx_model(CONTRACT)), slices=slices)
    assert open_bundle(zipped(files), CONTRACT).manifest.slices == slices


def test_a_bundle_without_slices_is_the_one_that_former_devices_and_releases_know() -> None:
    manifest = bundle_files(onnx_model(CONTRACT))[MANIFEST]
    assert "slices" not in json.loads(manifest)
    assert parse_manifest(manifest).slices == ()


def condition(**values: Any) -> list[Record]:
    return [{"name": "a", "words": "b", "where": [values]}]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"a": 1}, "expected a list"),
        ([1], "expected an object with name, words, where"),
        ([{"name": "a", "words": "b", "where": []}], "expected a list of at most"),
        ([{"name": "a", "words": "b"}], "expected an object"),
        ([{"name": "a", "words": "b\n", "where": [{"context": "soil", "in": ["Clay"]}]}], "can be printed"),
        ([{"name": "a", "words": "b" * 121, "where": [{"context": "soil", "in": ["Clay"]}]}], "at most 120"),
        (condition(context="soil"), "expected an object"),
        (condition(context="soil", equals="Clay"), "update fieldedge"),  # a condition of tomorrow
        (condition(context="soil", feature="dap", min=1), "expected an object"),
        (condition(feature="dap", min=1, **{"in": [1]}), "expected an object"),
        (condition(feature="dap", min="1"), "finite number"),
        (condition(feature="dap", min=True), "finite number"),
        (condition(feature="dap", min=float("inf")), "finite number"),
        (condition(feature="dap", min=2, below=2), "nothing is at least 2 and below 2"),
        (condition(context="soil", **{"in": []}), "expected a list"),
        (condition(context="soil", **{"in": [["Clay"]]}), "finite number"),
        (condition(context="soil", **{"in": ["Clay"] * 65}), "at most 64"),
        (condition(context="soil", **{"in": ["Clay"]}) * 2, "two slices have one name"),
        (condition(context="soil", **{"in": ["Clay"]}) * 65, "at most 64"),
    ],
)
def test_what_is_not_in_the_closed_form_is_refused_by_name(values: Any, said: str) -> None:
    with pytest.raises(ReleaseError, match=said):
        parse_slices(values, "here")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (condition(feature="soil", min=1), "feature 'soil' is none of this contract's"),
        (condition(context="vwc", min=1), "context 'vwc' is none"),
        (condition(context="soil", min=1), "soil is text; expected a list of text"),
        (condition(context="soil", **{"in": [1.0]}), "soil is text"),
        (condition(context="initial_water_pct", **{"in": ["dry"]}), "is a number; its list holds text"),
    ],
)
def test_a_condition_that_this_contract_cannot_answer_is_refused_with_its_bundle(values: Any, said: str) -> None:
    slices = parse_slices(values, "here")
    with pytest.raises(ReleaseError, match=said):
        check_slices(slices, CONTRACT, "here")
    with pytest.raises(ReleaseError, match=said):
        open_bundle(zipped(with_manifest(bundle_files(onnx_model(CONTRACT)), slices=slices)), CONTRACT)


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.sampled_from(["soil", "dap"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "words", "where", "feature", "context", "min", "below", "in"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(anything)
def test_whatever_stands_there_is_read_or_refused_and_what_is_read_can_be_asked(values: Any) -> None:
    try:
        slices = parse_slices(values, "here")
        check_slices(slices, CONTRACT, "here")
    except ReleaseError:
        return
    for one in slices:
        assert one.holds(features(), field_record(), CONTRACT) in (True, False)


def decided(path: Path, slices: tuple[Slice, ...], **told: Any) -> list[Record]:
    model = Model(onnx_model(CONTRACT), CONTRACT)
    loaded = LoadedModel(Installed("a", "1", "float32", "", ""), model, None, slices)
    agent = Agent(DeviceConfig(DEVICE_ID, "agriculture"), AGRICULTURE, Store(path), loaded)
    messages = season_messages(4)
    messages[0]["record"] |= told
    answers = agent.answers(json.dumps(message) for message in messages)
    return [answer for answer in answers if answer["kind"] == "recommendation"]


def test_in_a_slice_the_rule_decides_all_episode_as_without_a_model_and_says_why(tmp_path: Path) -> None:
    dry = decided(tmp_path / "dry.db", (DRY,), initial_water_pct=45.0)
    assert {one["source"] for one in dry} == {"fao56"}
    assert {one["model_version"] for one in dry} == {"1"}
    assert {one["reasons"][0] for one in dry} == {
        "The model abstains: in a field like this one, dry at planting, it has not shown that it earns more than the "
        "rule. The FAO-56 balance decides."
    }
    moist = decided(tmp_path / "moist.db", (DRY,), initial_water_pct=90.0)
    assert {one["source"] for one in moist} == {"model"}


@pytest.fixture
def with_slices(device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator) -> DeviceDirectory:
    repository.release(zipped(with_manifest(bundle_files(onnx_model(CONTRACT)), slices=(DRY, DEAR_IN_CHAMPION))))
    update(device, CONTRACT, gateway.url)
    return device


def test_a_device_keeps_what_its_bundle_says_from_the_update_to_the_model_that_it_loads(
    with_slices: DeviceDirectory,
) -> None:
    found, problem = load(with_slices, AGRICULTURE)
    assert found is not None and problem is None
    assert found.slices == (DRY, DEAR_IN_CHAMPION)


def test_a_model_of_which_nobody_knows_any_more_where_it_must_not_be_followed_is_not_followed(
    with_slices: DeviceDirectory,
) -> None:
    manifest = with_slices.root / "slots" / "a" / MANIFEST
    text = json.loads(manifest.read_bytes())
    manifest.write_bytes(json.dumps({**text, "slices": [{"name": "cut off"}]}).encode())
    found, problem = load(with_slices, AGRICULTURE)
    assert found is None and problem is not None and "slices" in problem
    assert usable(with_slices, AGRICULTURE) == (None, problem)
    manifest.unlink()  # installed before bundles were kept whole: there were no slices then
    found, _ = load(with_slices, AGRICULTURE)
    assert found is not None and found.slices == ()


def test_the_page_and_the_status_say_where_the_rule_decides(
    with_slices: DeviceDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["status", "--dir", str(with_slices.root)]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["left_to_rule"] == [DRY.words, DEAR_IN_CHAMPION.words]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["status", "--dir", str(with_slices.root)]) == 0
    said = f"left to the rule: {DRY.words}; {DEAR_IN_CHAMPION.words}"
    assert f"slot a; {said}" in " ".join(capsys.readouterr().out.split())
    view = read_view(
        with_slices, read_config(with_slices.settings), AGRICULTURE, datetime(2006, 6, 1, tzinfo=UTC), None
    )
    assert said in render(view)
