from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.presentation.facts import EpisodeRecords
from fieldedge.workloads.agriculture import AGRICULTURE
from tests.edge.sample import dated, field_record

TODAY = date(2006, 5, 11)

JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
COLUMNS = (
    "date",
    "irrigation_mm",
    "nitrogen_kg_ha",
    "reasons",
    "guardrails",
    "source",
    "model_version",
    "data_age_days",
    "yield_p10_t_ha",
    "yield_p50_t_ha",
    "yield_p90_t_ha",
    "x_depletion_mm",
    "x_taw_mm",
    "x_raw_fraction",
    "rain_mm",
    "yield_t_ha",
    "latency_ms",
    "rule_share",
    "why",
    "planting_date",
    "soil",
    "crop",
    "water_allowance_mm",
)
RECORD = st.dictionaries(st.sampled_from(COLUMNS), JUNK)
DAYS = st.one_of(st.just("2006-05-10"), st.just("2006-05-11"), st.text(max_size=10))


def advice_of(day: int, **values: Any) -> dict[str, Any]:
    sound = {
        "irrigation_mm": 0.0,
        "nitrogen_kg_ha": 0.0,
        "source": "model",
        "model_version": "3",
        "data_age_days": 0,
        "reasons": ["The root zone lacks 40 mm of 100 mm."],
        "guardrails": ["below_raw"],
        "yield_p10_t_ha": 9.0,
        "yield_p50_t_ha": 11.0,
        "yield_p90_t_ha": 13.0,
        "x_depletion_mm": 40.0,
        "x_taw_mm": 100.0,
        "x_raw_fraction": 0.5,
    }
    return dated("recommendations", day, **{**sound, **values})


@given(RECORD, st.lists(RECORD, max_size=4), st.lists(RECORD, max_size=4), DAYS)
def test_no_record_makes_the_presenter_raise(
    field: dict[str, Any], records: list[dict[str, Any]], others: list[dict[str, Any]], day: str
) -> None:
    records = [{"date": day, **record} for record in records]
    season = EpisodeRecords({**field_record(), **field}, others, records, records, others)
    AGRICULTURE.presenter.place(season, TODAY)
    AGRICULTURE.presenter.advice(season, TODAY)
    AGRICULTURE.presenter.figures(season)
    AGRICULTURE.presenter.chart(season)
    AGRICULTURE.presenter.history(season, 10)


@pytest.mark.parametrize(
    ("water_mm", "nitrogen_kg_ha", "said"),
    [
        (0.0, 0.0, "No irrigation today"),
        (22.0, 0.0, "Irrigate 22 mm today"),
        (22.4, 0.0, "Irrigate 22.4 mm today"),
        (0.0, 60.0, "Apply 60 kg/ha of nitrogen today"),
        (22.0, 60.0, "Irrigate 22 mm and apply 60 kg/ha of nitrogen today"),
    ],
)
def test_the_headline_says_what_to_do(water_mm: float, nitrogen_kg_ha: float, said: str) -> None:
    advice = AGRICULTURE.presenter.advice(
        EpisodeRecords(
            field_record(), decisions=[advice_of(10, irrigation_mm=water_mm, nitrogen_kg_ha=nitrogen_kg_ha)]
        ),
        TODAY,
    )
    assert advice is not None and advice.headline == said
    assert advice.is_action == (said != "No irrigation today")


def test_the_last_advice_stands_in_where_there_is_none_for_today_and_does_not_say_today() -> None:
    later = [advice_of(7), advice_of(8, irrigation_mm=12.0), advice_of(14, irrigation_mm=30.0)]
    advice = AGRICULTURE.presenter.advice(EpisodeRecords(field_record(), decisions=later), TODAY)
    assert advice is not None and not advice.is_today
    assert (advice.date, advice.headline) == ("2006-05-09", "Irrigate 12 mm")


def test_advice_tells_its_range_its_guardrails_its_basis_and_what_was_done() -> None:
    season = EpisodeRecords(
        field_record(),
        decisions=[advice_of(10, irrigation_mm=20.0, data_age_days=2)],
        actions=[dated("operations", 10, irrigation_mm=15.0, nitrogen_kg_ha=0.0, source="override")],
    )
    advice = AGRICULTURE.presenter.advice(season, TODAY)
    assert advice is not None and advice.expected is not None and advice.gauge is not None
    assert (advice.expected.low, advice.expected.high) == (9.0, 13.0)
    assert advice.guardrails == ("No irrigation while most of the readily available water is there",)
    assert advice.basis[:2] == ("Model 3", "last reading 3 days old")
    assert advice.done == "15 mm"
    assert (advice.gauge.left, advice.gauge.limit, advice.gauge.full) == (60.0, 50.0, 100.0)


LEARNED = [
    {"name": "field_capacity", "times": 0.88, "low": 0.83, "high": 0.93, "is_clear": True},
    {"name": "delivered_share", "times": 0.82, "low": 0.74, "high": 0.9, "is_clear": True},
    {"name": "gauge", "times": 1.04, "low": 0.9, "high": 1.2, "is_clear": False},
]


def test_what_the_season_taught_is_said_on_page_and_terminal_where_it_is_clear() -> None:
    record = advice_of(10, learned=LEARNED, latency_ms=1.0)
    advice = AGRICULTURE.presenter.advice(EpisodeRecords(field_record(), decisions=[record]), TODAY)
    said = (
        "The soil holds less water than you told me. Its field capacity is about 88 % of what was told (80 % sure: 83 "
        "to 93 %).",
        "Not all of your irrigation arrives: about 82 % of it, perhaps less. Look at the nozzles and the meter.",
    )
    assert advice is not None and advice.reasons[-2:] == said
    assert [line.strip() for line in AGRICULTURE.presenter.lines(record) if line.strip() in said] == list(said)


@pytest.mark.parametrize("learned", [None, 3, "much", [4], [{}], [{"name": "gauge", "is_clear": True, "times": "x"}]])
def test_what_is_nothing_learned_is_not_said(learned: object) -> None:
    record = advice_of(10, learned=learned)
    advice, without = (
        AGRICULTURE.presenter.advice(EpisodeRecords(field_record(), decisions=[one]), TODAY)
        for one in (record, advice_of(10))
    )
    assert advice == without


def test_a_fallback_is_said_and_has_no_range() -> None:
    fallen_back = advice_of(
        10, source="fao56", yield_p10_t_ha=None, guardrails=["below_raw", "model_abstains", "a_rule_of_tomorrow"]
    )
    advice = AGRICULTURE.presenter.advice(EpisodeRecords(field_record(), decisions=[fallen_back]), TODAY)
    assert advice is not None and advice.expected is None
    assert advice.basis[0] == "FAO-56 balance"
    assert advice.guardrails[1:] == ("The model abstains, the FAO-56 balance decides", "a rule of tomorrow")


@pytest.mark.parametrize(
    ("source", "share", "said"),
    [
        ("model", 0.4, "60 % model 3, 40 % FAO-56 balance"),
        ("fao56", 0.6, "60 % FAO-56 balance, 40 % model 3"),
    ],
)
def test_a_decision_that_model_and_rule_share_says_so_with_the_greater_share_first(
    source: str, share: float, said: str
) -> None:
    shared = advice_of(10, source=source, rule_share=share, guardrails=["leans_on_rule"], latency_ms=0.4)
    advice = AGRICULTURE.presenter.advice(EpisodeRecords(field_record(), decisions=[shared]), TODAY)
    assert advice is not None
    assert advice.basis[0] == said
    assert "the FAO-56 balance has a share in the decision" in advice.guardrails[0]
    assert AGRICULTURE.presenter.lines(shared)[-1].startswith(f"  By {source} (model 3, the FAO-56 rule has")


def test_the_chart_has_each_day_of_the_season_with_gaps_where_nothing_is_known() -> None:
    season = EpisodeRecords(
        field_record(),
        observations=[dated("readings", 1, rain_mm=4.0)],
        actions=[
            dated("operations", 2, irrigation_mm=25.0, nitrogen_kg_ha=60.0, source="override"),
            dated("operations", 400, irrigation_mm=25.0, nitrogen_kg_ha=0.0, source="override"),
        ],
        decisions=[advice_of(0), advice_of(2, x_depletion_mm=55.0)],
    )
    chart = AGRICULTURE.presenter.chart(season)
    assert chart is not None and chart.first_day == "2006-05-01"
    lines = {line.role: line.values[:4] for line in chart.lines}
    assert lines["level"] == (40.0, None, 55.0, None)
    assert lines["limit"] == (50.0, None, 50.0, None)
    bars = {series.role: series.values[:4] for series in chart.bars}
    assert bars["fallen"] == (None, 4.0, None, None) and bars["given"] == (None, None, 25.0, None)
    assert [mark.label for mark in chart.marks] == ["60"]
    assert "lacks 55 of 100 mm" in chart.about and "1 day." in chart.about


def test_history_sets_what_was_done_beside_what_was_recommended() -> None:
    season = EpisodeRecords(
        field_record(),
        decisions=[advice_of(8, irrigation_mm=25.0), advice_of(9, source="fao56"), advice_of(10)],
        actions=[
            {**dated("operations", 8, irrigation_mm=0.0, nitrogen_kg_ha=0.0, source="override"), "why": "pump broke"},
            dated("operations", 3, irrigation_mm=9.0, nitrogen_kg_ha=0.0, source="practice"),
        ],
    )
    today, fallback, overridden, earlier = AGRICULTURE.presenter.history(season, 10)
    assert (today.recommended, today.done, today.note) == ("nothing", None, "")
    assert fallback.note == "FAO-56 balance"
    assert (overridden.recommended, overridden.done, overridden.note) == ("25 mm", "nothing", "pump broke")
    assert overridden.is_override and not earlier.is_override
    assert (earlier.recommended, earlier.done) == (None, "9 mm")
    assert len(AGRICULTURE.presenter.history(season, 2)) == 2


def test_a_field_without_irrigation_is_told_nothing_of_an_allowance() -> None:
    field = {**field_record(), "irrigation_capacity_mm": 0.0}
    figures = AGRICULTURE.presenter.figures(EpisodeRecords(field, decisions=[advice_of(10)]))
    assert [figure.name for figure in figures] == ["Rain", "Nitrogen given"]


def test_the_place_is_told_by_crop_soil_and_day_and_by_the_harvest_at_the_end() -> None:
    season = EpisodeRecords(field_record())
    assert (
        AGRICULTURE.presenter.place(season, TODAY) == "Maize on sandy loam · field champion-00 · day 10 after planting"
    )
    over = EpisodeRecords(field_record(), outcomes=[dated("harvests", 130, yield_t_ha=11.52)])
    assert AGRICULTURE.presenter.place(over, TODAY).endswith("harvested 8 Sep: 11.5 t/ha")


@pytest.mark.parametrize(
    ("name", "label", "unit"),
    [
        ("air_temperature_c", "Air temperature", "°C"),
        ("vwc_15cm_m3_m3", "Soil water 15 cm", "m³/m³"),
        ("relative_humidity_pct", "Relative humidity", "%"),
        ("ndvi", "NDVI", ""),
        ("tmax_c", "Highest temperature", "°C"),
        ("", "", ""),
    ],
)
def test_a_channel_is_named_by_what_its_own_name_says(name: str, label: str, unit: str) -> None:
    assert AGRICULTURE.presenter.channel(name) == (label, unit)
