"""What the core does for a workload that has no way of its own: asked of the toy, which has few."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fieldedge.contract import MODEL, Column, Record, Role
from fieldedge.system.errors import DataError
from fieldedge.workload import Decision, Episode, Question
from fieldloop.closed_loop import live, told
from fieldloop.core.dataset import Array, Dataset
from fieldloop.core.episodes import AcceptedEpisode
from fieldloop.simulated import SimulatedUnit
from fieldloop.source import Environment, Source
from fieldloop.validation.typed import empty_frame
from fieldloop.workload import Metric, Predict, Tables, Workload, answered
from fieldloop.workloads import known_workload, load_params
from tests.workloads.test_toy_loop import PARAMS

LEFT_D, IS_STOPPING = 2, 3


@pytest.fixture(scope="module")
def toy(installed: Path) -> Workload:
    del installed
    return known_workload("bearing")


@pytest.fixture(scope="module")
def params(toy: Workload, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("clone")
    (folder / "params.yaml").write_text(json.dumps({toy.name: PARAMS}))
    whole = load_params(folder, toy.name)
    return whole.model_validate(
        {**whole.model_dump(), "history": {"seed": 3, "bearings": 2, "months": [200604, 200605]}}
    )


@pytest.fixture(scope="module")
def past(toy: Workload, params: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("past")
    toy.source(params).history(folder, 1, lambda _done, _total: None)
    return folder


@pytest.fixture
def tables(toy: Workload, past: Path) -> dict[str, pd.DataFrame]:
    return {
        table.name: pd.concat([empty_frame(table), *map(pd.read_parquet, sorted(past.rglob(f"{table.name}.parquet")))])
        for table in toy.device.contract.tables
    }


def always(toy: Workload, action: int, usd: float = 1.0) -> Predict:
    """A model to which one of the actions costs little, and the other nothing that is little."""

    def predict(rows: Array) -> Array:
        is_it = (rows[:, IS_STOPPING] > 0) == bool(action)
        return np.where(is_it, usd, 2 * usd)[:, None].astype(np.float32)

    return predict


def world_of(toy: Workload, params: Any) -> Callable[[], Environment]:
    (place,) = toy.source(params, ["dev-00"]).places(200606)
    return place.begin


def test_a_model_is_followed_in_this_process_as_far_as_it_says(toy: Workload, params: Any) -> None:
    begin = world_of(toy, params)
    stops, runs = (live(toy.device, begin(), always(toy, action)) for action in (1, 0))
    assert stops["earned_usd"] == 10.0, "it was stopped after its first day"
    assert runs["earned_usd"] == pytest.approx(10.0 * begin().life_d - 300.0)  # type: ignore[attr-defined]  # the toy's


def test_where_no_model_decides_or_none_that_the_contract_takes_the_rule_does(toy: Workload, params: Any) -> None:
    begin = world_of(toy, params)
    by_rule = live(toy.device, begin(), None)
    assert by_rule["earned_usd"] > 10.0
    assert live(toy.device, begin(), always(toy, 1, usd=float("nan"))) == by_rule
    assert live(toy.device, begin(), always(toy, 1, usd=1e6)) == by_rule


def test_where_the_contract_does_not_take_what_a_model_decided_the_rule_decides(
    toy: Workload, params: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, device = world_of(toy, params), toy.device
    by_rule, life = live(device, begin(), None), type(device.begin({"time_utc": ""}))
    answer = life.answer

    def strange(self: Episode, question: Question, outputs: Array | None, abstained: str | None) -> Decision:
        return answer(self, question, None, abstained) if outputs is None else Decision({"action": "sing"}, MODEL)

    monkeypatch.setattr(life, "answer", strange)
    assert live(device, begin(), always(toy, 0)) == by_rule


def test_a_unit_tells_of_columns_that_are_called_like_what_python_and_the_core_say(toy: Workload, params: Any) -> None:
    unit = world_of(toy, params)()
    assert isinstance(unit, SimulatedUnit)
    columns: dict[str, Any] = {"kind": "ball", "self": "one"}
    assert {**unit.tell("window", **columns)["record"], **columns} == unit.tell("window", **columns)["record"]


@pytest.mark.parametrize(("role", "found"), [("action", "confirmed"), ("observation", None)])
def test_only_of_an_action_is_it_said_that_whoever_tells_of_it_did_it(
    toy: Workload, params: Any, monkeypatch: pytest.MonkeyPatch, role: Role, found: str | None
) -> None:
    device = toy.device
    basis = Column("basis", "str", is_nullable=True)
    tables = [
        replace(one, role=role, columns=(*one.columns, basis)) if one.name == "windows" else one
        for one in device.contract.tables
    ]
    monkeypatch.setattr(type(device), "contract", replace(device.contract, tables=tuple(tables)))
    records = told(device, world_of(toy, params)(), lambda _asked: {"action": "run"})
    assert {record["basis"] for table, record in records if table == "windows"} == {found}


def test_a_decision_goes_to_a_unit_as_the_contract_has_it(toy: Workload, params: Any) -> None:
    environment, seen = world_of(toy, params)(), []
    apply = environment.apply

    def kept(decision: Record) -> list[Record]:
        seen.append(decision)
        return apply(decision)

    environment.apply = kept  # type: ignore[method-assign]
    live(toy.device, environment, always(toy, 0))
    contract = toy.device.contract
    assert {one["source"] for one in seen} == {MODEL}
    for one in seen:
        assert contract.record("calls", one, "a decision")["record_id"] == one["record_id"]


def test_a_past_is_written_by_partition_alike_each_time_and_no_former_one_stays(
    toy: Workload, params: Any, tmp_path: Path, past: Path
) -> None:
    former = tmp_path / "month=195001" / "hall=south"
    former.mkdir(parents=True)
    done: list[tuple[int, int]] = []
    toy.source(params).history(tmp_path, 1, lambda *told: done.append(told))
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    files = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    names = [f"month={month}/hall=north/{name}.parquet" for month in (200604, 200605) for name in PAST]
    assert sorted(files) == sorted(names)
    assert files == {name: (past / name).read_bytes() for name in names}
    assert not former.exists()


PAST = ("bearings", "windows", "lives")


def test_the_others_are_the_same_units_under_the_rule(toy: Workload, params: Any) -> None:
    found = toy.source(params, ["dev-00", "dev-01"]).baselines(200606, 1, lambda _done, _total: None)
    assert found["rule"][0] == live(toy.device, world_of(toy, params)(), None)
    assert [one["bearing_id"] for one in found["rule"]] == ["dev-00-bearing", "dev-01-bearing"]


def test_examples_are_each_action_that_could_be_weighed_with_what_came_of_it(toy: Workload, tables: Tables) -> None:
    found = toy.dataset(tables)
    assert found.groups == ("200604/past-0", "200604/past-1", "200605/past-0", "200605/past-1")
    assert len(found) == 2 * len(tables["windows"])
    first = found.group == 0
    (life,) = tables["lives"].query("month == 200604 and bearing_id == 'past-0'")["life_d"]
    assert found.inputs[first, LEFT_D].tolist() == [day for day in range(1, life + 1) for _ in range(2)]
    assert found.targets[first, 0].tolist()[-4:] == [300.0, 5.0, 300.0, 0.0]


def test_where_a_device_decided_its_own_inputs_are_learned_from(toy: Workload, tables: dict[str, pd.DataFrame]) -> None:
    features = {f"x_{name}": 0.5 for name in toy.device.contract.feature_names}
    of = {"month": 200605, "hall": "north", "bearing_id": "past-1", "record_id": "one"}
    calls = pd.DataFrame([{**of, **features, "time_utc": "2006-05-03T00:00:00Z", "x_age_d": 2.0}])
    found = toy.dataset({**tables, "calls": calls})
    assert found.inputs[found.group == 3].tolist() == [[0.5, 0.5, 2.0, 0.5]]
    broken = toy.dataset({**tables, "calls": calls.assign(x_rms_mm_s=float("inf"))})
    assert list(broken.left_out) == ["200605/past-1"] and len(broken.groups) == 3


def test_an_episode_with_two_outcomes_or_no_rows_teaches_nothing_and_is_named(
    toy: Workload, tables: dict[str, pd.DataFrame]
) -> None:
    lives, windows = tables["lives"], tables["windows"]
    twice = pd.concat([lives, lives.head(1).assign(record_id="another", life_d=399)])
    found = toy.dataset({**tables, "lives": twice, "windows": windows[windows["bearing_id"] == "past-0"]})
    assert found.groups == ("200605/past-0",)
    assert found.left_out == {
        "200604/past-0": "it has 2 outcomes, and nobody said which is true",
        "200604/past-1": "nothing was recorded of it before its outcome",
        "200605/past-1": "nothing was recorded of it before its outcome",
    }
    with pytest.raises(DataError, match="nothing can be learned; 200604/past-0 is left out: nothing was recorded"):
        toy.dataset({**tables, "windows": windows.head(0)})
    with pytest.raises(DataError, match=r"no episode with an outcome is accepted, so that nothing can be learned$"):
        toy.dataset({**tables, "lives": lives.head(0)})


def test_a_score_is_of_each_group_alike_and_a_root_where_the_metric_is_one(toy: Workload) -> None:
    held_out = Dataset(
        np.zeros((3, 4), np.float32), np.zeros((3, 1), np.float32), np.array([0, 0, 1], np.int32), ("a", "b")
    )

    def predict(_rows: Array) -> Array:
        return np.array([[1.0], [-3.0], [4.0]], np.float32)

    found = toy.score(predict, held_out)
    assert found.per_group.tolist() == [5.0, 16.0]
    assert found.value == pytest.approx(10.5**0.5)
    told = bare(toy, primary=replace(toy.primary, is_root=False)).score(predict, held_out)
    assert told.per_group.tolist() == [2.0, 4.0] and told.value == 3.0


def bare(toy: Workload, **own: Any) -> Workload:
    """The toy, with other things of its own."""
    made: Workload = type("Bare", (type(toy),), own)()
    return made


def test_the_worth_is_a_figure_of_units_that_are_tried_and_the_floor_has_the_rule_beside_it(
    toy: Workload, params: Any, tables: Tables
) -> None:
    narrow = params.only(["compression"])
    found, again = (toy.value(tables, always(toy, 1), narrow, 5, 1) for _ in range(2))
    assert found is not None and again is not None
    assert found.metric.key == "earned_usd" and found.per_unit.tolist() == [10.0] * 5 == again.per_unit.tolist()
    floor = toy.floor(tables, tables, toy.dataset(tables), always(toy, 1), narrow)
    assert floor is not None
    assert (set(floor.model), floor.units, floor.others[0].name) == ({10.0}, "bearings", "rule")
    assert floor.others[0].values.mean() > 10.0 and floor.others[0].max_loss == 0.0
    assert floor.naive_value == pytest.approx(float(np.std(toy.dataset(tables).targets)), rel=0.2)


def test_nothing_is_worth_anything_where_a_workload_names_no_worth_or_tries_nothing(
    toy: Workload, params: Any, tables: Tables
) -> None:
    world = type(toy.source(params))
    without_trials = type("Elsewhere", (world,), {"trials": Source.trials})
    for workload in (bare(toy, worth=None), bare(toy, source=without_trials)):
        assert workload.value(tables, None, params, 5, 1) is None
        assert workload.floor(tables, tables, toy.dataset(tables), always(toy, 1), params) is None


def test_a_report_without_words_has_the_mean_of_each_figure_by_who_decided(toy: Workload) -> None:
    ours, theirs = [{"id": "a", "usd": 1.0}, {"id": "b", "usd": 3.0}], [{"id": "a", "usd": 5}, {"id": "b", "usd": 6}]
    assert toy.report.figures(200606, ours, {"rule": theirs}) == {"usd_ours": 2.0, "usd_rule": 5.5}
    assert toy.report.words.units == "bearings" and toy.report.primary == toy.primary
    assert isinstance(toy.worth, Metric)


def calls_of(toy: Workload, *told: dict[str, Any]) -> pd.DataFrame:
    """Decisions of `200605/past-1`, each with what is told of it."""
    features = {f"x_{name}": 0.5 for name in toy.device.contract.feature_names}
    of = {"month": 200605, "hall": "north", "bearing_id": "past-1", "action": "run", "loss_usd": 2.0}
    return pd.DataFrame([{**of, **features, **one} for one in told])


def test_a_report_without_words_shows_what_outcomes_were_worth_and_nothing_where_that_is_no_number(
    toy: Workload,
) -> None:
    ours, theirs = [{"earned_usd": 1.0}, {"earned_usd": 3.5}], [{"earned_usd": 3.0}]
    report = toy.report
    period = {"season": 200606, **report.figures(200606, ours, {"rule": theirs})}
    assert period["worth"] == {"ours": 2.25, "rule": 3.0}
    assert [(card.value, card.unit, card.label, card.is_behind) for card in report.cards(period)] == [
        ("2.25", "USD", "mean earnings on devices in 200606", False),
        ("−0.750", "USD", "earnings against the rule in 200606", True),
    ]
    assert report.terminal(period) == {"earnings USD\nours": "2.25", "earnings USD\nrule": "3.00"}
    said = "Mean earnings in 200606: 2.25 USD on devices, 3.00 under the rule."
    assert (report.lead([period]), report.summary([period]), report.markdown(period)) == (said, said, [f"- {said}"])
    broken = {"season": 200606, "worth": {"ours": None, "rule": 3.0}}
    assert (report.cards(broken), report.markdown(broken)) == ((), [])
    assert report.terminal(broken)["earnings USD\nours"] == "–"
    assert bare(toy, worth=None).report.cards(period) == ()


def test_a_report_without_words_follows_back_the_first_decision_of_a_model(toy: Workload, tables: Tables) -> None:
    told = [("c", "2006-05-01T00:00:00Z", "iso10816"), ("b", "2006-05-03T00:00:00Z", "model")]
    told.append(("a", "2006-05-02T00:00:00Z", "model"))
    rows = [{"record_id": name, "time_utc": moment, "source": source} for name, moment, source in told]
    bearings = tables["bearings"].assign(device_id="dev-07")
    found = toy.report.example({**tables, "bearings": bearings, "calls": calls_of(toy, *rows)})
    assert found is not None and (found["record_id"], found["device_id"]) == ("a", "dev-07")
    assert "x_age_d" not in found and "action run" in toy.report.decision(found)
    by_rule = calls_of(toy, rows[0])
    assert toy.report.example({**tables, "bearings": bearings, "calls": by_rule}) is None


def of_feedback(_self: Workload, episode: AcceptedEpisode) -> list[tuple[list[float], list[float]]]:
    device = known_workload("bearing").device
    return [([*known[:3], 1.0], [told["wear_pct"]]) for known, told in answered(device, episode)]


def test_a_decision_with_feedback_of_its_own_is_learned_from_by_that(toy: Workload, tables: Tables) -> None:
    life = {"month": 200605, "hall": "north", "bearing_id": "past-1"}
    moments = ["2006-05-02T00:00:00Z", "2006-05-03T00:00:00Z", "2006-05-04T00:00:00Z"]
    told = [{**life, "record_id": f"i{day}", "time_utc": moments[day], "wear_pct": 10.0 * day} for day in (0, 1)]
    some = {**tables, "inspections": pd.DataFrame(told)}
    workload = bare(toy, examples=of_feedback)
    past = workload.dataset(some)
    assert past.groups == ("200605/past-1",) and past.targets[:, 0].tolist() == [0.0, 10.0]
    assert past.inputs[:, 2:].tolist() == [[1.0, 1.0], [2.0, 1.0]], "what was known on each of these days"
    assert past.left_out["200604/past-0"] == "nothing that was recorded of it is an example"
    calls = [{"record_id": f"c{day}", "time_utc": moments[day], "x_age_d": 7.0 + day} for day in (1, 2)]
    sent = workload.dataset({**some, "calls": calls_of(toy, *calls)})
    assert sent.inputs[:, 2].tolist() == [8.0] and sent.targets.tolist() == [[10.0]], "no other decision's feedback"


def test_the_toy_is_small() -> None:
    files = sorted((Path(__file__).parent / "toy").rglob("*.py"))
    assert [file.name for file in files] == ["bearing_in_cloud.py", "bearing_on_device.py"]
    assert sum(len(file.read_text().splitlines()) for file in files) < 200
