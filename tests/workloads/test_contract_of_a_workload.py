"""What the protocols promise of any workload, asked of each: agriculture, and a toy of which the core knows nothing."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import fieldedge.workloads as on_device
import fieldloop.workloads as in_cloud
from fieldedge.contract import MAX_CANDIDATES, MODEL, Contract, Record
from fieldedge.contract.contract import RECORD_ID
from fieldedge.contract.windows import Daily
from fieldedge.workload import Array, Episode, decision_values
from fieldloop.core.dataset import Dataset
from fieldloop.source import Environment
from fieldloop.validation.typed import empty_frame
from fieldloop.workload import Tables, Workload
from fieldloop.workloads import load_params
from tests.workloads.test_toy_loop import PARAMS as TOY_PARAMS

PROJECT = Path(__file__).parents[2]
DAYS = 12
SMALL_PAST: dict[str, Any] = {
    "agriculture": {"seed": 7, "fields_per_region": 1, "regions": {"champion": [2004, 2005]}},
    "bearing": {"seed": 3, "bearings": 2, "months": [200604, 200605]},
}


@dataclass(frozen=True)
class Guest:
    """A workload with a small past of its own source."""

    workload: Workload
    params: Any
    tables: Tables
    dataset: Dataset

    @property
    def contract(self) -> Contract:
        return self.workload.device.contract

    def outputs(self, rows: Array) -> Array:
        """What a fresh network says of scaled rows."""
        torch.manual_seed(1)
        network = self.workload.learner.network((8, 8), 0.0).eval()
        with torch.no_grad():
            answers: Array = network(torch.from_numpy(rows)).numpy()
        return answers

    def environment(self) -> Environment:
        (place,) = self.workload.source(self.params, ["dev-00"]).places(self.params.loop.periods[0])
        place.load()
        return place.begin()


@pytest.fixture(params=["agriculture", "bearing"], scope="module")
def guest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, installed: Path) -> Guest:
    del installed
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    root = folder if name == "bearing" else PROJECT
    if name == "bearing":
        (folder / "params.yaml").write_text(json.dumps({name: TOY_PARAMS}))
    whole = load_params(root, name)
    params = whole.model_validate({**whole.model_dump(), "history": SMALL_PAST[name]})
    workload = in_cloud.known_workload(name)
    workload.source(params).history(folder / "history", 1, lambda _done, _total: None)
    tables = {table.name: _read(folder / "history", table) for table in workload.device.contract.tables}
    return Guest(workload, params, tables, workload.dataset(tables))


def _read(folder: Path, table: Any) -> pd.DataFrame:
    files = sorted(folder.glob(f"*=*/*=*/{table.name}.parquet"))
    return pd.concat([pd.read_parquet(file) for file in files]) if files else empty_frame(table)


def test_both_halves_bear_the_name_under_which_they_are_found(guest: Guest) -> None:
    name = guest.workload.name
    assert guest.workload.device is on_device.known_workload(name)
    assert guest.workload.device.name == guest.contract.workload == name
    assert isinstance(guest.params, guest.workload.Params)


def test_the_contract_is_named_by_what_it_declares(guest: Guest) -> None:
    contract = guest.contract
    assert contract.hash == type(contract)(**_declared(contract)).hash
    assert contract.hash != type(contract)(**{**_declared(contract), "revision": contract.revision + 1}).hash
    assert {"context", "observation", "decision", "outcome"} <= {table.role for table in contract.tables}
    assert contract.episode.closes_on in contract.tables_of("outcome")
    for table in contract.tables:
        assert {*contract.episode.columns, *contract.episode.partition, *table.identity} <= set(table.column_names)
    assert contract.decided_at.name in contract.decision_table.column_names
    (seen,) = contract.tables_of("observation")
    is_daily = isinstance(guest.workload.device.windows, Daily)
    assert contract.table(seen).moment.kind == ("date" if is_daily else "time")


def _declared(contract: Contract) -> dict[str, Any]:
    names = ("workload", "revision", "tables", "features", "outputs", "episode", "constants", "upgrades")
    return {name: getattr(contract, name) for name in names}


def test_what_is_scaled_can_be_read_back_and_lies_where_a_model_was_tried(guest: Guest) -> None:
    features = guest.contract.features
    low, high = (np.array([getattr(one, end) for one in features], np.float32) for end in ("minimum", "maximum"))
    assert (low < high).all()
    rows = low + (high - low) * np.random.default_rng(1).random((5, len(features)), np.float32)
    back = (guest.contract.scale(rows) + 1.0) * (high - low) / 2.0 + low
    np.testing.assert_allclose(back, rows, rtol=1e-4, atol=1e-4)
    assert np.abs(guest.contract.scale(np.stack([low - 1e6, high + 1e6]).astype(np.float32))).max() <= 1.5


def test_what_is_carried_on_beyond_training_is_a_feature(guest: Guest) -> None:
    assert set(guest.workload.device.extrapolated) <= set(guest.contract.feature_names)


def test_every_kind_of_message_is_of_a_table_or_a_note_and_decides_nothing(guest: Guest) -> None:
    device = guest.workload.device
    for table in device.messages.values():
        assert guest.contract.table(table).role != "decision"
    assert guest.contract.context_table.name in device.messages.values()
    assert not {*device.messages, *device.notes} & {"decide"}
    assert not set(device.messages) & set(device.notes)
    assert [device.presenter.channel(channel.name) for channel in device.channels]


def through(guest: Guest, with_outputs: bool) -> list[Record]:
    """The decisions of the first days of an episode, as a device goes through it; every record by the contract."""
    environment, device, contract = guest.environment(), guest.workload.device, guest.contract
    context = contract.record(contract.context_table.name, environment.context()["record"], "context")
    episode, decisions = device.begin(context), []
    for _ in range(DAYS):
        _fold(guest, episode, environment.events())
        asked = environment.question()
        assert asked["kind"] == "decide"
        question = episode.question(asked[contract.decided_at.name], lambda _kind: [])
        assert question.features.shape == (len(contract.features),)
        assert 1 <= len(question.rows) <= MAX_CANDIDATES and question.rows.shape[1] == len(contract.features)
        assert np.isfinite(question.rows).all() and question.data_age_days >= 0
        outputs = guest.outputs(contract.scale(question.rows)) if with_outputs else None
        decision = episode.answer(question, outputs, None if with_outputs else "nobody asked it")
        values = decision_values(contract, context, question, decision, "1", None)
        decisions.append(contract.record(contract.decision_table.name, values, "decision"))
        _fold(guest, episode, environment.apply(decisions[-1]))
        assert not episode.is_over()
        if environment.is_over:
            break
    while not environment.is_over:
        environment.apply(decisions[-1])
        environment.events()
    _fold(guest, episode, [environment.ending()])
    assert episode.is_over()
    assert environment.outcome()
    return decisions


def _fold(guest: Guest, episode: Episode, messages: list[Record]) -> None:
    for message in messages:
        table = guest.workload.device.messages[message["kind"]]
        episode.fold(table, guest.contract.record(table, {"basis": "confirmed", **message["record"]}, table))


def test_where_no_model_is_asked_a_rule_of_the_workload_decides(guest: Guest) -> None:
    decisions, device = through(guest, with_outputs=False), guest.workload.device
    assert MODEL not in {one["source"] for one in decisions}
    assert {device.uncertainty(one) for one in decisions} == {None}


def test_what_a_model_says_becomes_decisions_that_the_contract_takes(guest: Guest) -> None:
    decisions, device = through(guest, with_outputs=True), guest.workload.device
    by_model = [one for one in decisions if one["source"] == MODEL]
    assert by_model
    assert all(isinstance(device.uncertainty(one), float) for one in by_model)
    for one in decisions:
        assumed = device.assumed(one)
        for table in guest.contract.tables_of("action") if assumed is not None else ():
            assert guest.contract.record(table, {**one, **assumed, "record_id": ""}, "assumed")
    assert isinstance(device.summary(decisions, []), dict)


def test_an_episode_says_the_same_whatever_the_order_in_which_its_records_came(guest: Guest) -> None:
    context_table, (seen,) = guest.contract.context_table.name, guest.contract.tables_of("observation")
    context = guest.tables[context_table].to_dict("records")[0]
    rows = guest.tables[seen]
    of_it = rows[
        [guest.contract.episode.of(row) == guest.contract.episode.of(context) for row in rows.to_dict("records")]
    ]
    records = [
        {name: None if value != value else value for name, value in row.items()}
        for row in of_it.sort_values(guest.contract.table(seen).moment.name).head(DAYS).to_dict("records")
    ]
    last = guest.workload.device.windows.window(guest.contract.moment(seen, records[-1]))
    at = guest.contract.decided_at.at(last.end)
    asked = []
    for order in (records, records[::-1]):
        episode = guest.workload.device.begin(context)
        for record in order:
            episode.fold(seen, record)
        asked.append(episode.question(at, lambda _kind: []))
    np.testing.assert_array_equal(asked[0].rows, asked[1].rows)


def test_a_source_yields_its_past_in_the_contract_s_tables(guest: Guest) -> None:
    contract = guest.contract
    for table in contract.tables:
        rows = guest.tables[table.name]
        assert list(rows.columns) == list(table.column_names)
        assert len(rows) or table.role in ("decision", "feedback")
        for row in rows.head(20).to_dict("records"):
            given = {name: None if value != value else value for name, value in row.items()}
            assert contract.record(table.name, given, "history")[RECORD_ID] == given[RECORD_ID]


def test_examples_are_in_the_contracts_units_and_the_same_each_time(guest: Guest) -> None:
    found, again = guest.dataset, guest.workload.dataset(guest.tables)
    assert found.inputs.shape == (len(found), len(guest.contract.features)) and len(found.targets) == len(found)
    assert np.isfinite(found.inputs).all() and np.isfinite(found.targets).all()
    assert set(found.group) == set(range(len(found.groups)))
    assert found.periods == sorted(
        map(str, set(guest.tables[guest.contract.context_table.name][guest.contract.episode.period]))
    )
    assert len(found.periods) == 2
    assert (found.groups, found.inputs.tobytes()) == (again.groups, again.inputs.tobytes())


def test_a_network_gives_the_contracts_outputs_and_a_loss_that_can_be_learned_from(guest: Guest) -> None:
    learner, found = guest.workload.learner, guest.dataset
    network = learner.network((8, 8), 0.0)
    rows = torch.from_numpy(guest.contract.scale(found.inputs[:32]))
    outputs = network(rows)
    assert outputs.shape == (32, len(guest.contract.outputs))
    loss = learner.loss(outputs, torch.from_numpy(found.targets[:32]))
    loss.backward()
    assert loss.ndim == 0 and torch.isfinite(loss)
    assert any(float(weight.grad.abs().sum()) > 0.0 for weight in network.body.parameters())
    assert network.body(network.body_inputs(rows)).shape[0] == 32
    with torch.no_grad():
        learner.calibrate(network, rows, outputs, torch.from_numpy(found.targets[:32]))
        learner.forget_calibration(network)
    assert learner.is_sound(guest.outputs(rows.numpy()))


def test_scores_hold_the_figures_that_are_compared_and_shown(guest: Guest) -> None:
    workload = guest.workload
    scores = workload.score(guest.outputs, guest.dataset)
    assert scores.primary == workload.primary and scores.per_group.shape == (len(guest.dataset.groups),)
    assert scores.value == pytest.approx(float(scores.primary.of(scores.per_group)))
    assert scores.are_numbers
    assert not workload.score(lambda rows: guest.outputs(rows) * np.float32("nan"), guest.dataset).are_numbers
    for column in workload.card.columns:
        assert column.written.format(scores.figures[column.key])
    assert workload.card.examples == workload.report.examples, "a card and a report call examples the same"


def test_two_models_agree_where_they_are_one(guest: Guest) -> None:
    found = guest.workload.agreement(guest.dataset.inputs[:6], guest.outputs, guest.outputs)
    assert found is None or (found.is_same.all() and not found.regret.any())


def test_the_blocks_that_steps_read_are_there(guest: Guest) -> None:
    for names in guest.params.reads.values():
        assert list(guest.params.values_of(names)) == list(names)
