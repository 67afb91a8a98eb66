"""The device through a season: it decides, keeps everything, and finds itself where it was after any end."""

import io
import json
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from fieldedge.contract import Record
from fieldedge.contract.reserved import BESIDE_DECISIONS
from fieldedge.device.config import DeviceConfig, DeviceDirectory
from fieldedge.inference.bundles import Reference
from fieldedge.inference.loading import LoadedModel
from fieldedge.inference.model import Model
from fieldedge.inference.slots import Installed
from fieldedge.runtime.agent import MAX_LINE_CHARACTERS, Agent, bounded_lines
from fieldedge.storage.store import Store
from fieldedge.system.errors import ReleaseError
from fieldedge.transfer.updates import update
from fieldedge.workload import Decision
from fieldedge.workloads.agriculture import Day
from fieldedge.workloads.agriculture.episode import FieldSeason
from tests.edge.sample import (
    AGRICULTURE,
    DEVICE_ID,
    EPISODE,
    SEASON,
    GatewaySimulator,
    Repository,
    bundle_files,
    dated,
    day_of,
    field_record,
    onnx_model,
    reading_record,
    season_messages,
    stored_entries,
    zipped,
)

CONFIG = DeviceConfig(DEVICE_ID, "agriculture")
OPS = "operations"
TIMES = ("latency_ms", "latency_p50_ms", "latency_p99_ms", "bytes_collected")


def loaded(version: str = "1") -> LoadedModel:
    model = Model(onnx_model(AGRICULTURE.contract), AGRICULTURE.contract)
    return LoadedModel(Installed("a", version, "float32", "", ""), model, None)


def agent_on(path: Path, model: LoadedModel | None = None) -> Agent:
    return Agent(CONFIG, AGRICULTURE, Store(path), model)


def tell(agent: Agent, messages: list[Record]) -> list[Record]:
    return list(agent.answers(json.dumps(message) for message in messages))


def untimed(answers: list[Record]) -> list[Record]:
    return [{name: value for name, value in answer.items() if name not in TIMES} for answer in answers]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def test_a_season_gets_a_recommendation_a_day_and_a_summary(path: Path) -> None:
    answers = tell(agent_on(path, loaded()), season_messages(30))
    kinds = [answer["kind"] for answer in answers]
    assert kinds == ["stored", *["recommendation"] * 30, "stored", "summary"]
    for answer in answers[1:31]:
        AGRICULTURE.contract.table("recommendations").check(answer, "test")
        assert answer["reasons"] and answer["latency_ms"] > 0
        assert (answer["source"], answer["model_version"]) == ("model", "1")
    summary = answers[-1]
    assert (summary["recommendations"], summary["records_collected"]) == (30, 1 + 30 + 30 + 4 + 1)
    assert summary["model_version"] == "1"
    assert 0 < summary["latency_p50_ms"] <= summary["latency_p99_ms"]


def test_the_summarys_yield_error_is_that_of_the_models_medians(path: Path) -> None:
    answers = tell(agent_on(path, loaded()), season_messages(10, harvest_t_ha=11.5))
    medians = np.array([answer["yield_p50_t_ha"] for answer in answers if answer["kind"] == "recommendation"])
    assert answers[-1]["yield_rmse_t_ha"] == pytest.approx(np.sqrt(np.mean((medians - 11.5) ** 2)), abs=1e-4)


def test_without_a_model_the_balance_decides(path: Path) -> None:
    answers = tell(agent_on(path), season_messages(5))
    decided = [answer for answer in answers if answer["kind"] == "recommendation"]
    assert {(answer["source"], answer["model_version"]) for answer in decided} == {("fao56", "none")}
    assert all(answer["yield_p50_t_ha"] is None for answer in decided)
    assert answers[-1]["yield_rmse_t_ha"] is None


def test_a_model_that_fails_in_the_field_hands_over_to_the_balance(path: Path) -> None:
    class FailingModel:
        def predict(self, _features: object) -> Any:
            raise ReleaseError("the model gave outputs that are not finite")

    failing = LoadedModel(loaded().installed, FailingModel(), None)  # type: ignore[arg-type]  # it fails as a model fails
    answers = tell(agent_on(path, failing), season_messages(3))
    given = [answer for answer in answers if answer["kind"] == "recommendation"]
    assert [answer["source"] for answer in given] == ["fao56"] * 3
    assert given[0]["reasons"][0].startswith("The model abstains: the model gave outputs that are not finite.")


def test_what_the_device_writes_beside_a_decision_itself_is_no_name_for_a_column(path: Path) -> None:
    answers = tell(agent_on(path), season_messages(1))
    (given,) = (answer for answer in answers if answer["kind"] == "recommendation")
    of_the_workload = {"reasons", "reason_codes", "guardrails", "expected_gain_usd_ha", "learned"}
    own = {*AGRICULTURE.contract.decision_table.column_names, *of_the_workload}
    assert set(given) - own == set(BESIDE_DECISIONS)


def with_bias(bias: float) -> LoadedModel:
    model = Model(onnx_model(AGRICULTURE.contract, bias=bias), AGRICULTURE.contract)
    return replace(loaded(), model=model)


@pytest.mark.parametrize("bias", [1000.0, 1e30, -500.0])
def test_where_the_model_answers_outside_the_contract_the_balance_decides_and_says_why(path: Path, bias: float) -> None:
    answers = tell(agent_on(path, with_bias(bias)), season_messages(10))
    given = [answer for answer in answers if answer["kind"] == "recommendation"]
    assert [answer["source"] for answer in given] == ["fao56"] * 10
    assert "it says that yield_p10_t_ha is" in given[0]["reasons"][0]
    assert "expected -5 to 35 t/ha. The FAO-56 balance decides." in given[0]["reasons"][0]


def test_a_decision_that_the_contract_refuses_is_made_anew_without_the_model(path: Path) -> None:
    class Careless:
        """A workload that takes every answer."""

        def __getattr__(self, name: str) -> Any:
            return getattr(AGRICULTURE, name)

        def begin(self, context: dict[str, Any]) -> "CarelessSeason":
            return CarelessSeason(context)

    class CarelessSeason(FieldSeason):
        def answer(self, *given: Any) -> Decision:
            made = super().answer(*given)
            return replace(made, values=made.values | {"yield_p90_t_ha": 99.0}) if made.source == "model" else made

    agent = Agent(CONFIG, Careless(), Store(path), loaded())
    given = [answer for answer in tell(agent, season_messages(3)) if answer["kind"] == "recommendation"]
    assert [answer["source"] for answer in given] == ["fao56"] * 3
    assert "yield_p90_t_ha is 99.0" in given[0]["reasons"][0]


def test_a_model_that_answers_for_fewer_actions_than_it_was_asked_hands_over_to_the_balance(path: Path) -> None:
    model = onnx.load_from_string(onnx_model(AGRICULTURE.contract))
    model.graph.node[0].output[0] = "all"
    model.graph.node.append(helper.make_node("ReduceMean", ["all"], ["outputs"], axes=[0], keepdims=1))
    one = replace(loaded(), model=Model(model.SerializeToString(), AGRICULTURE.contract))
    given = [answer for answer in tell(agent_on(path, one), season_messages(3)) if answer["kind"] == "recommendation"]
    assert "fao56" in {answer["source"] for answer in given} and len(given) == 3
    assert any("the model answered (1, 5)" in answer["reasons"][0] for answer in given)


def test_what_the_agent_folds_day_by_day_is_what_featurize_says_of_the_whole_season(path: Path) -> None:
    """One feature builder: training calls `featurize`, and must see what the device saw."""
    answers = tell(agent_on(path, loaded()), season_messages(40))
    history = [Day(day_of(day), reading_record(day), 20.0 if day % 7 == 3 else 0.0, 0.0) for day in range(40)]
    rows = AGRICULTURE.featurize(history, field_record())
    names = AGRICULTURE.contract.feature_names
    seen = [[a[f"x_{name}"] for name in names] for a in answers if a["kind"] == "recommendation"]
    np.testing.assert_allclose(seen, rows[:40], atol=1e-4)


def test_the_whole_season_again_gets_the_same_answers_and_adds_nothing(path: Path) -> None:
    first = tell(agent_on(path, loaded()), season_messages(20))
    again = tell(agent_on(path, loaded()), season_messages(20))
    assert again == first


def test_a_decided_day_keeps_its_recommendation_even_under_a_new_model(path: Path) -> None:
    first = tell(agent_on(path, loaded("1")), season_messages(5, harvest_t_ha=None))
    again = tell(agent_on(path, loaded("2")), season_messages(5, harvest_t_ha=None))
    assert again[:-1] == first[:-1]
    assert again[-1]["model_version"] == "2"


@pytest.mark.parametrize("until", [1, 8, 17, 33])
def test_a_field_that_replays_after_a_crash_ends_as_if_there_had_been_none(path: Path, until: int) -> None:
    messages = season_messages(20)
    unbroken = tell(agent_on(path.with_name("unbroken.db"), loaded()), messages)
    interrupted = agent_on(path, loaded())
    for number, message in enumerate(messages[:until]):
        interrupted.answer_line(json.dumps(message), f"line {number}")
    assert untimed(tell(agent_on(path, loaded()), messages)) == untimed(unbroken)


def test_a_reading_that_comes_late_is_used_from_then_on(path: Path) -> None:
    late = agent_on(path, loaded())
    messages = [
        m for m in season_messages(10, harvest_t_ha=None) if m != {"kind": "reading", "record": reading_record(4)}
    ]
    tell(late, messages)
    tell(late, [{"kind": "reading", "record": reading_record(4)}])
    in_time = agent_on(path.with_name("in_time.db"), loaded())
    tell(in_time, season_messages(10, harvest_t_ha=None))
    assert untimed([late.decide(day_of(10))]) == untimed([in_time.decide(day_of(10))])


def test_days_without_readings_are_told_by_the_age_of_the_data(path: Path) -> None:
    agent = agent_on(path, loaded())
    tell(agent, season_messages(10, harvest_t_ha=None))
    assert agent.decide(day_of(10))["data_age_days"] == 0
    stale = agent.decide(day_of(16))
    assert (stale["data_age_days"], stale["source"]) == (6, "fao56")


def forecast_message(day: int, rain_mm: list[float]) -> Record:
    return {"kind": "forecast", "date": day_of(day), "rain_mm": rain_mm, "et0_mm": [5.0] * len(rain_mm)}


def test_a_forecast_is_kept_shortened_day_by_day_and_forgotten_when_too_little_is_left(path: Path) -> None:
    agent = agent_on(path, loaded())
    told = tell(agent, [*season_messages(5)[:-1], forecast_message(4, [0.0, 1.0, 2.0, 4.0, 8.0])])
    assert told[-2] == {"kind": "stored"}
    again = agent_on(path, loaded())  # it survives a restart
    seen = [again.decide(day_of(day)) for day in (5, 6, 7)]
    assert [advice["x_has_forecast"] for advice in seen] == [1.0, 1.0, 0.0]
    assert [advice["x_forecast_rain_2d_mm"] for advice in seen] == [3.0, 6.0, 0.0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rain_mm": [1.0, 2.0]}, "expected a list of 3 to 7 amounts"),
        ({"rain_mm": [1.0, -2.0, 3.0]}, "expected amounts between 0 and 450 mm"),
        ({"rain_mm": [1.0, 2.0, 3.0, 4.0]}, "different lengths"),
        ({"date": "soon"}, "expected a date"),
    ],
)
def test_a_broken_forecast_is_rejected_by_what_is_broken(path: Path, changes: Record, said: str) -> None:
    agent = agent_on(path, loaded())
    (answer, _) = tell(agent, [{**forecast_message(0, [1.0, 2.0, 3.0]), **changes}])
    assert answer["kind"] == "rejected"
    assert said in answer["error"]


def test_the_model_abstains_where_most_of_the_last_week_is_missing(path: Path) -> None:
    agent = agent_on(path, loaded())
    tell(agent, [message for message in season_messages(20) if message["kind"] in ("field",)])
    for day in range(20):
        if day < 12 or day in (14, 17, 19):
            tell(agent, [{"kind": "reading", "record": reading_record(day)}])
    advice = agent.decide(day_of(20))
    assert advice["source"] == "fao56"
    assert advice["reasons"][0].startswith("The model abstains: only 3 of the last 7 days had a usable reading.")


def test_the_model_abstains_far_from_its_training_data_and_names_the_feature(path: Path) -> None:
    contract = AGRICULTURE.contract
    low, high = (np.array([getattr(f, end) for f in contract.features]) for end in ("minimum", "maximum"))
    reference = Reference((low + high) / 2, (high - low) / 4, low, high)
    familiar = replace(loaded(), reference=reference)
    assert agent_with_a_week(path, familiar).decide(day_of(8))["source"] == "model"
    column = contract.feature_names.index("tmax_7d_c")
    reference.p01[column], reference.p99[column] = 5.0, 10.0
    advice = agent_with_a_week(path.with_name("other.db"), familiar).decide(day_of(8))
    assert advice["source"] == "fao56"
    assert "tmax_7d_c is" in advice["reasons"][0]
    assert advice["reason_codes"][0] == {"code": "model_abstains"}


def test_air_with_more_co2_than_the_model_has_learned_from_is_said_and_no_reason_to_abstain(path: Path) -> None:
    contract = AGRICULTURE.contract
    low, high = (np.array([getattr(f, end) for f in contract.features]) for end in ("minimum", "maximum"))
    reference = Reference((low + high) / 2, (high - low) / 4, low, high)
    column = contract.feature_names.index("co2_ppm")
    reference.p01[column], reference.p99[column] = 340.0, 352.0
    advice = agent_with_a_week(path, replace(loaded(), reference=reference)).decide(day_of(8))
    assert advice["source"] == "model"
    assert advice["reasons"][-1] == (
        f"The air's CO2 is {advice['x_co2_ppm']:.0f} ppm, beyond the 340 to 352 that the model has learned from: "
        "its answer is carried on from there."
    )
    assert advice["reason_codes"][-1]["co2_ppm"] == pytest.approx(advice["x_co2_ppm"], abs=0.05)


def agent_with_a_week(path: Path, model: LoadedModel) -> Agent:
    agent = agent_on(path, model)
    tell(agent, season_messages(8)[:-1])
    return agent


def test_reason_codes_carry_the_numbers_behind_the_sentences(path: Path) -> None:
    advice = tell(agent_on(path, loaded()), season_messages(40))[-3]
    by_code = {reason["code"]: reason for reason in advice["reason_codes"]}
    assert len(advice["reason_codes"]) == len(advice["reasons"])
    assert by_code["root_zone_depletion"]["depletion_mm"] == pytest.approx(advice["x_depletion_mm"], abs=0.05)
    assert by_code["root_zone_depletion"]["taw_mm"] == pytest.approx(advice["x_taw_mm"], abs=0.05)


def test_what_another_process_stores_is_seen_by_the_next_decision(path: Path) -> None:
    agent = agent_with_a_week(path, loaded())
    agent.decide(day_of(8))
    with Store(path) as other:
        other.add("operations", dated("operations", 8, irrigation_mm=20.0, nitrogen_kg_ha=0.0, source="override"))
    assert agent.decide(day_of(9))["x_irrigation_season_mm"] >= 20.0


def test_the_next_season_starts_anew_beside_the_former(path: Path) -> None:
    agent = agent_on(path, loaded())
    tell(agent, season_messages(10, SEASON))
    answers = tell(agent, season_messages(5, SEASON + 1))
    assert (answers[-1]["season"], answers[-1]["recommendations"]) == (SEASON + 1, 5)
    assert answers[1]["x_dap"] == 0
    with Store(path) as store:
        assert store.episodes() == [EPISODE, str(SEASON + 1)]


@pytest.mark.parametrize("begins_at", [0, 7])
def test_what_a_source_tells_again_of_a_former_season_is_known_and_not_rejected(path: Path, begins_at: int) -> None:
    """Killed before it could note how far it had come, a source begins again somewhere in the season before."""
    former = season_messages(24, SEASON)
    first = tell(agent_on(path, loaded()), [*former, {"kind": "field", "record": field_record(SEASON + 1)}])
    agent = agent_on(path, loaded())
    again = [agent.answer_line(json.dumps(message), "again") for message in former[begins_at:]]
    with Store(path) as store:
        assert store.rejects() == []
        assert len(store.records(EPISODE, "recommendations")) == 24
    recommended = [answer for answer in again if answer is not None and answer["kind"] == "recommendation"]
    assert recommended == [answer for answer in first if answer["kind"] == "recommendation"][-len(recommended) :]
    assert tell(agent, season_messages(3, SEASON + 1))[-1]["recommendations"] == 3


@pytest.mark.parametrize("is_restarted", [False, True])
def test_what_is_told_late_of_a_former_season_is_stored_with_it_and_changes_nothing_of_the_running_one(
    path: Path, is_restarted: bool
) -> None:
    former, running = season_messages(5, harvest_t_ha=None), season_messages(5, SEASON + 1, harvest_t_ha=None)
    agent = agent_on(path, loaded())
    tell(agent, [*former, *running])
    agent = agent_on(path, loaded()) if is_restarted else agent
    late = [reading(77), operation(), dated_message("harvests", 100)]
    assert "rejected" not in {answer["kind"] for answer in tell(agent, late)}
    assert agent.context == field_record(SEASON + 1)
    undisturbed = agent_on(path.with_name("undisturbed.db"), loaded())
    tell(undisturbed, running)
    assert untimed([agent.decide("2007-05-06")]) == untimed([undisturbed.decide("2007-05-06")])
    with Store(path) as store:
        assert [len(store.records(EPISODE, table)) for table in ("readings", OPS, "harvests")] == [6, 2, 1]


def test_what_cannot_be_of_a_former_season_is_rejected_as_of_the_running_one(path: Path) -> None:
    agent = agent_on(path)
    tell(agent, [*season_messages(5), {"kind": "field", "record": field_record(SEASON + 1)}])
    for message in (
        reading(2, rain_mm=99.0),
        dated_message("readings", -1),
        reading(500),
        dated_message("harvests", 100),
    ):
        answer = agent.answer_line(json.dumps(message), "late")
        assert answer is not None and answer["kind"] == "rejected"


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_season_goes_on_as_it_would_where_next_years_field_is_told_ahead(path: Path, is_restarted: bool) -> None:
    messages = season_messages(12)
    plain = tell(agent_on(path.with_name("plain.db"), loaded()), messages)
    agent = agent_on(path, loaded())
    begun = tell(agent, [*messages[:8], {"kind": "field", "record": field_record(SEASON + 1)}])[:-2]
    agent = agent_on(path, loaded()) if is_restarted else agent
    assert agent.context is not None and agent.context["season"] == (SEASON if is_restarted else SEASON + 1)
    rest = tell(agent, messages[8:])
    assert untimed([*begun, *rest[:-1]]) == untimed(plain[:-1])
    assert (rest[-1]["season"], rest[-1]["recommendations"]) == (SEASON, 12)


@pytest.mark.parametrize("table", ["readings", "operations", "harvests"])
@pytest.mark.parametrize("day", [-365, -1, 401])
def test_a_record_of_a_day_outside_its_season_is_refused_with_the_days_that_it_could_have(
    path: Path, table: str, day: int
) -> None:
    agent = agent_on(path)
    tell(agent, season_messages(3, harvest_t_ha=None))
    (answer, _) = tell(agent, [dated_message(table, day)])
    assert answer["kind"] == "rejected"
    said = f"{table}: date is {day_of(day)}, which is not in 2006/champion-00; expected a day from planting_date on"
    assert said in answer["error"]
    with Store(path) as store:
        assert day_of(day) not in {record["date"] for record in store.records(EPISODE, table)}


@pytest.mark.parametrize("table", ["readings", "operations", "harvests"])
def test_the_first_and_the_last_day_that_a_season_can_have_are_taken(path: Path, table: str) -> None:
    agent = agent_on(path)
    tell(agent, [a_field()])
    for day in (0, 400) if table != "harvests" else (400,):
        assert all(answer["kind"] != "rejected" for answer in tell(agent, [dated_message(table, day)]))


def test_what_a_former_version_stored_of_a_day_outside_the_season_can_be_told_again(path: Path) -> None:
    agent = agent_on(path)
    tell(agent, [a_field()])
    with Store(path) as store:
        store.add("harvests", dated("harvests", -120, yield_t_ha=11.0))
    (answer, _) = tell(agent, [dated_message("harvests", -120)])
    assert answer["kind"] == "stored"


def test_a_second_harvest_of_a_season_is_refused_and_the_same_one_told_again_is_one(path: Path) -> None:
    agent = agent_on(path)
    tell(agent, season_messages(3, harvest_t_ha=11.0))
    again = {"kind": "harvest", "record": dated("harvests", 3, yield_t_ha=11.0)}
    another = {"kind": "harvest", "record": dated("harvests", 4, yield_t_ha=2.0)}
    answers = tell(agent, [again, another])[:2]
    assert [answer["kind"] for answer in answers] == ["stored", "rejected"]
    assert f"2006/champion-00 has 2006/champion-00/harvests/{day_of(3)} already" in answers[1]["error"]
    with Store(path) as store:
        assert [record["yield_t_ha"] for record in store.records(EPISODE, "harvests")] == [11.0]


def test_the_next_season_has_a_harvest_of_its_own(path: Path) -> None:
    agent = agent_on(path)
    answers = tell(agent, season_messages(3) + season_messages(3, SEASON + 1))
    assert "rejected" not in {answer["kind"] for answer in answers}


def dated_message(table: str, day: int) -> Record:
    values: Record = {
        "readings": reading_record(1),
        "operations": dated("operations", 1, irrigation_mm=20.0, nitrogen_kg_ha=0.0, source="override"),
        "harvests": dated("harvests", 1, yield_t_ha=11.0),
    }[table]
    return {"kind": table.removesuffix("s"), "record": {**values, **dated(table, day)}}


def operation(**changes: Any) -> Record:
    done = {"irrigation_mm": 20.0, "nitrogen_kg_ha": 0.0, "source": "override", **changes}
    return {"kind": "operation", "record": dated("operations", 1, **done)}


ASSUMED = dated("operations", 1, irrigation_mm=20.0, nitrogen_kg_ha=0.0, source="recommendation", basis="assumed")


def done_on_the_day(path: Path) -> list[Record]:
    with Store(path) as store:
        return [
            {**row, "record_id": row["record_id"].rpartition("operations/")[2]} for row in store.records(EPISODE, OPS)
        ]


@pytest.mark.parametrize("is_sent", [False, True])
@pytest.mark.parametrize("said", [{"irrigation_mm": 20.0}, {"irrigation_mm": 8.5}], ids=["confirms", "corrects"])
def test_what_a_controller_did_takes_the_place_of_what_was_assumed(path: Path, said: Record, is_sent: bool) -> None:
    agent = agent_on(path)
    tell(agent, [a_field()])
    with Store(path) as store:
        store.add(OPS, ASSUMED)
        if is_sent:
            store.mark_selected("b", EPISODE, 1, stored_entries(store, [ASSUMED["record_id"]]))
    message = operation(**said, source="recommendation")
    for _ in range(2):  # the second time it is known
        assert [answer["kind"] for answer in tell(agent, [message])] == ["summary"]
        *former, last = done_on_the_day(path)
        assert (last["irrigation_mm"], last["basis"]) == (said["irrigation_mm"], "confirmed")
        assert [(row["irrigation_mm"], row["basis"]) for row in former] == ([(20.0, "assumed")] if is_sent else [])
    assert agent.decide(day_of(2))["x_irrigation_season_mm"] == said["irrigation_mm"]


@pytest.mark.parametrize("first", [operation(), operation(basis="confirmed")], ids=["told", "told with its basis"])
def test_two_confirmed_words_that_contradict_each_other_are_a_conflict(path: Path, first: Record) -> None:
    agent = agent_on(path)
    *_, answer, _ = tell(agent, [a_field(), first, first, operation(irrigation_mm=8.5)])
    assert answer["kind"] == "rejected" and "stored with other content" in answer["error"]
    (kept,) = done_on_the_day(path)
    assert (kept["irrigation_mm"], kept["basis"]) == (20.0, "confirmed")


def test_an_assumption_that_a_source_tells_takes_no_ones_place(path: Path) -> None:
    agent = agent_on(path)
    *_, answer, _ = tell(agent, [a_field(), operation(), operation(irrigation_mm=8.5, basis="assumed")])
    assert answer["kind"] == "rejected"
    assert [row["basis"] for row in done_on_the_day(path)] == ["confirmed"]


@pytest.mark.parametrize("source", ["practice", "recommendation", "override"])
def test_what_a_former_agent_stored_of_a_day_is_known_when_it_is_told_again(path: Path, source: str) -> None:
    agent = agent_on(path)
    former = operation(source=source)
    tell(agent, [a_field()])
    with Store(path) as store:
        store.add(OPS, former["record"])
    assert [answer["kind"] for answer in tell(agent, [former])] == ["summary"]
    with Store(path) as store:
        assert store.records(EPISODE, OPS) == [former["record"]]


def a_field(**changes: Any) -> Record:
    return {"kind": "field", "record": {**field_record(), **changes}}


def reading(day: int = 1, **changes: Any) -> Record:
    return {"kind": "reading", "record": {**reading_record(day), **changes}}


@pytest.mark.parametrize(
    ("message", "where", "error"),
    [
        (reading(rain_mm=-4.0), "reading 2006-05-02", "rain_mm is -4.0; expected float between 0 and 450 mm/day"),
        (reading(tmax_c=86.0), "reading 2006-05-02", "tmax_c is 86.0"),
        (reading(vwc_15cm_m3_m3=21.0), "reading 2006-05-02", "vwc_15cm_m3_m3 is 21.0"),
        (reading(et0_mm=None), "reading 2006-05-02", "et0_mm is missing"),
        (reading(tmin_c="12"), "reading 2006-05-02", "tmin_c is '12'"),
        (reading(tmin_c=True), "reading 2006-05-02", "tmin_c is True"),
        (reading(date="2006-05-32"), "reading 2006-05-32", "expected a date"),
        (reading(date="20060502"), "reading 20060502", "expected a date"),
        (
            reading(field_id="other", record_id="2006/other/readings/2006-05-02"),
            "reading 2006-05-02",
            "this device is in season 2006, field_id 'champion-00'",
        ),
        (
            reading(season=2007, record_id="2007/champion-00/readings/2006-05-02"),
            "reading 2006-05-02",
            "the record is of season 2007",
        ),
        (reading(record_id="x"), "reading 2006-05-02", "record_id is 'x'"),
        (reading(0, rain_mm=3.21), "reading 2006-05-01", "stored with other content"),
        ({"kind": "reading"}, "reading", "record is NoneType"),
        ({"kind": "decide", "date": "May"}, "decide May", "expected a date like"),
        ({"kind": "decide"}, "decide", "date is missing; expected date"),
        ({"kind": "decide", "date": "2006-04-30"}, "decide 2006-04-30", "not in the season"),
        ({"kind": "decide", "date": "2036-05-01"}, "decide 2036-05-01", "not in the season"),
        ({"kind": "dance"}, "dance", "kind is 'dance'"),
        (a_field(device_id="dev-09"), "field 2006-05-01", "the record is of device dev-09"),
        (a_field(wilting_point_m3_m3=0.3), "field 2006-05-01", "field_capacity_m3_m3 is above wilting_point_m3_m3"),
        (operation(irrigation_mm=2000.0), "operation 2006-05-02", "irrigation_mm is 2000.0"),
    ],
)
def test_a_message_that_breaks_the_contract_is_kept_with_the_reason_and_life_goes_on(
    path: Path, message: Record, where: str, error: str
) -> None:
    agent = agent_on(path, loaded())
    tell(agent, season_messages(1, harvest_t_ha=None))
    rejected = agent.answer_line(json.dumps(message), "line 9")
    assert rejected is not None
    assert (rejected["kind"], rejected["where"]) == ("rejected", where)
    assert error in rejected["error"]
    with Store(path) as store:
        assert [kept["error"] for kept in store.rejects()] == [rejected["error"]]
    assert agent.decide(day_of(1))["source"] == "model"


def test_nothing_can_be_decided_before_a_field_is_known(path: Path) -> None:
    (rejected, _) = tell(agent_on(path), [{"kind": "decide", "date": day_of(0)}])
    assert "no field is known yet" in rejected["error"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
RECORD_CHANGES = st.dictionaries(st.sampled_from(sorted(reading_record(0))), JSON_VALUES, max_size=4)
LINES = st.one_of(
    st.text(max_size=60),
    JSON_VALUES.map(json.dumps),
    RECORD_CHANGES.map(lambda changes: json.dumps(reading(2, **changes))),
    st.builds(lambda day: json.dumps({"kind": "decide", "date": day}), JSON_VALUES),
    st.builds(
        lambda changes: json.dumps({"kind": "field", "record": {**field_record(), **changes}}),
        st.dictionaries(st.sampled_from(sorted(field_record())), JSON_VALUES, max_size=2),
    ),
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(line=LINES)
def test_no_line_from_the_field_ends_the_season(hardened: Agent, line: str) -> None:
    answer = hardened.answer_line(line, "line 1")
    json.dumps(answer).encode()
    assert answer is None or "this fieldedge cannot handle it" not in answer.get("error", "")


@pytest.fixture
def hardened(path: Path) -> Agent:
    agent = agent_on(path, loaded())
    tell(agent, season_messages(1, harvest_t_ha=None))
    return agent


class Process:
    """A real `fieldedge run`."""

    def __init__(self, directory: DeviceDirectory) -> None:
        command = [sys.executable, "-m", "fieldedge", "run", "--dir", str(directory.root)]
        self.popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, message: Record) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps(message) + "\n")
        self.popen.stdin.flush()

    def answer(self) -> Record:
        assert self.popen.stdout is not None
        return json.loads(self.popen.stdout.readline())

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout):
            assert stream is not None
            stream.close()


def test_what_was_answered_survives_kill_9_and_a_replay_continues(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract))))
    update(device, AGRICULTURE.contract, gateway.url)
    messages = season_messages(12)
    process, answered = Process(device), []
    for message in messages[:16]:
        process.send(message)
        if message["kind"] in ("field", "decide"):
            answered.append(process.answer())
    process.kill()
    with Store(device.store) as store:
        assert store.records(EPISODE, "recommendations") == [
            {name: value for name, value in answer.items() if name != "kind"} for answer in answered[1:]
        ]
    again = Process(device)
    out, _ = again.popen.communicate("".join(json.dumps(message) + "\n" for message in messages))
    answers = [json.loads(line) for line in out.splitlines()]
    assert again.popen.returncode == 0
    assert answers[: len(answered)] == answered
    assert (answers[-1]["kind"], answers[-1]["recommendations"]) == ("summary", 12)
    assert answers[-1]["records_collected"] == 1 + 12 + 12 + 2 + 1


def test_a_line_without_end_is_read_past_and_never_held_whole() -> None:
    asked: list[int] = []

    class Watched(io.StringIO):
        def readline(self, size: int | None = -1) -> str:  # type: ignore[override]  # as text streams are asked
            asked.append(-1 if size is None else size)
            return super().readline(-1 if size is None else size)

    stream = Watched("one\n" + "x" * (5 * MAX_LINE_CHARACTERS) + "\ntwo\n" + "y" * (2 * MAX_LINE_CHARACTERS))
    lines = list(bounded_lines(stream))
    assert [line[:3] for line in lines] == ["one", "xxx", "two", "yyy"]
    assert max(map(len, lines)) == max(asked) == MAX_LINE_CHARACTERS + 1


@pytest.mark.parametrize("closed", [0, 1])
def test_a_stream_that_is_closed_is_as_one_with_nothing(device: DeviceDirectory, closed: int) -> None:
    command = [sys.executable, "-m", "fieldedge", "run", "--dir", str(device.root)]
    sign = {0: "<&-", 1: "</dev/null >&-"}[closed]
    done = subprocess.run(["/bin/sh", "-c", f"{shlex.join(command)} {sign}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (json.loads(done.stdout)["kind"] == "summary") if closed == 0 else done.stdout == ""


def test_a_field_that_is_told_anew_is_corrected_and_all_that_was_folded_is_folded_again(path: Path) -> None:
    agent = agent_on(path)
    tell(agent, season_messages(6, harvest_t_ha=None))
    right = {**field_record(), "field_capacity_m3_m3": 0.30, "planting_date": day_of(2)}
    assert [answer["kind"] for answer in tell(agent, [{"kind": "field", "record": right}])] == ["stored", "summary"]
    assert agent.context == right
    with Store(path) as store:
        former = store.events(1, "replaced")[0]["former"]
    assert former == field_record()
    afresh = agent_on(path.with_name("afresh.db"))
    measured = [one for one in season_messages(6, harvest_t_ha=None) if one["kind"] in ("reading", "operation")]
    tell(afresh, [{"kind": "field", "record": right}, *measured])
    assert untimed([agent.decide(day_of(7))]) == untimed([afresh.decide(day_of(7))])
    again = agent_on(path)
    assert again.context == right


def test_a_field_that_was_sent_is_corrected_no_more_and_one_that_contradicts_itself_is_refused(path: Path) -> None:
    agent = agent_on(path)
    tell(agent, [a_field()])
    with Store(path) as store:
        entries = stored_entries(store, [field_record()["record_id"]])
        store.mark_selected("batch", EPISODE, 1, entries)
    changed = {"kind": "field", "record": {**field_record(), "soil": "Loam"}}
    wrong = {"kind": "field", "record": {**field_record(2072), "planting_date": day_of(0)}}
    answers = tell(agent, [changed, wrong, a_field()])
    assert [answer["kind"] for answer in answers] == ["rejected", "rejected", "stored", "summary"]
    assert "what was sent cannot be changed" in answers[0]["error"]
    assert "season is 2072, and maize planted on 2006-05-01" in answers[1]["error"]
    assert agent.context == field_record()


def test_of_two_fields_that_were_planted_on_one_day_the_one_told_last_counts_after_a_restart(path: Path) -> None:
    """A former version took a season of the wrong year, and it stands in the store for ever."""
    with Store(path) as store:
        wrong = {**field_record(2072), "planting_date": day_of(0)}
        store.add("fields", wrong, day=day_of(0))
    agent = agent_on(path)
    assert agent.context == wrong
    tell(agent, [a_field()])
    assert agent_on(path).context == field_record()
    assert agent_on(path).decide(day_of(1))["season"] == SEASON
