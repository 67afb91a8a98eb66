"""Practice: what-if fields come from the tables, the search finds what pays, and pairs differ by their action alone."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
import torch

from fieldedge.system.errors import DataError
from fieldedge.workloads.agriculture.features import FEATURES, INDEX
from fieldloop.workloads.agriculture.network.model import CropModel, Effects
from fieldloop.workloads.agriculture.params import WhatIfParams
from fieldloop.workloads.agriculture.pretraining import policy_search, practice_ranges, start_weights
from fieldloop.workloads.agriculture.pretraining.counterfactuals import fit_effects, live_twice
from fieldloop.workloads.agriculture.pretraining.faults import Faults
from fieldloop.workloads.agriculture.pretraining.followed import FOLLOWED, follow_advice, without_years, years_set_aside
from fieldloop.workloads.agriculture.pretraining.policy_search import (
    DOSES,
    FORECASTS,
    START,
    TRIGGERS,
    best_of,
    follow,
    nearest_dose_kg_ha,
    profits_usd_ha,
    search,
)
from fieldloop.workloads.agriculture.pretraining.pretrain import pretrain, set_weights, weights_of
from fieldloop.workloads.agriculture.pretraining.shipped_start import form, names, shipped_start, why_not
from fieldloop.workloads.agriculture.pretraining.training_world import KnownField, TrainingWorld, Weather
from fieldloop.workloads.agriculture.pretraining.what_if import live
from fieldloop.workloads.agriculture.world.climate import MAX_SEASON_DAYS
from fieldloop.workloads.agriculture.world.practices import Calendar
from fieldloop.workloads.agriculture.world.seasons import live_season
from fieldloop.workloads.agriculture.world.world import field_specs

SEASONS = (1996, 1997, 2001)


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    lived = [
        live_season(spec, Calendar())[1]
        for season in SEASONS
        for spec in field_specs("champion", season, 2, 5, "calendar")
    ]
    names = ("fields", "readings", "operations", "harvests")
    return {name: pd.DataFrame([row for one in lived for row in getattr(one, name)]) for name in names}


@pytest.fixture(scope="module")
def world(tables: dict[str, pd.DataFrame]) -> TrainingWorld:
    return TrainingWorld.of(tables)


def test_readings_of_days_outside_their_season_make_no_weather_and_no_soil_water(
    tables: dict[str, pd.DataFrame], world: TrainingWorld
) -> None:
    readings = tables["readings"]
    field = readings.iloc[0]["field_id"]
    strays = readings[(readings["season"] == SEASONS[0]) & (readings["field_id"] == field)].head(6)
    strays = strays.assign(tmax_c=50.0, vwc_15cm_m3_m3=0.7, vwc_35cm_m3_m3=0.7)
    for days in ("1995-03-01", "1999-03-01"):  # before planting, and later than any season lasts
        dates = pd.date_range(days, periods=len(strays)).strftime("%Y-%m-%d")
        with_strays = pd.concat([readings, strays.assign(date=dates)], ignore_index=True)
        found = TrainingWorld.of({**tables, "readings": with_strays})
        expected = [known.initial_water_pct for known in world.fields]
        assert [known.initial_water_pct for known in found.fields] == pytest.approx(expected)
        assert found.weather.keys() == world.weather.keys()
        for key, weather in world.weather.items():
            assert found.weather[key].first == weather.first
            assert np.array_equal(found.weather[key].days, weather.days)


def test_the_dose_that_is_given_is_the_candidate_next_to_the_one_that_is_due() -> None:
    due, largest = np.float32([0.0, 12.0, 55.0, 130.0, 33.0]), np.float32([90.0, 90.0, 90.0, 90.0, 0.0])
    assert nearest_dose_kg_ha(due, largest).tolist() == [0.0, 20.0, 60.0, 90.0, 0.0]


def test_every_weight_is_searched_once() -> None:
    asked = [index for question in policy_search.QUESTIONS for index in range(len(START))[question.weights]]
    assert sorted(asked) == list(range(len(START)))
    assert sum(question.effort for question in policy_search.QUESTIONS) == pytest.approx(1.0)
    assert {TRIGGERS.stop, DOSES.start} == {FORECASTS.start, FORECASTS.stop}


def test_weights_survive_the_network() -> None:
    network = CropModel(len(FEATURES), [8], 0.0)
    assert weights_of(network) == pytest.approx(START)
    set_weights(network, START + 0.125)
    assert weights_of(network) == pytest.approx(START + 0.125)


@pytest.mark.slow
def test_a_regions_weather_is_what_its_devices_agree_on(tables: dict[str, pd.DataFrame], world: TrainingWorld) -> None:
    own = world.weather["champion", 1997]
    readings = tables["readings"][tables["readings"]["season"] == 1997]
    first = str(own.first)
    assert first == min(readings["date"])
    day = readings[readings["date"] == first]
    assert own.days[0, 3] == pytest.approx(day["et0_mm"].median())
    assert np.isfinite(own.since(own.first)).all()


@pytest.mark.slow
def test_days_that_nobody_sent_lie_between_their_neighbours(tables: dict[str, pd.DataFrame]) -> None:
    readings = tables["readings"]
    days = sorted(readings[readings["season"] == 2001]["date"].unique())
    thinned = {**tables, "readings": readings[~readings["date"].isin(days[20:23])]}
    weather = TrainingWorld.of(thinned).weather["champion", 2001].days
    offset = (pd.Timestamp(days[20]) - pd.Timestamp(days[0])).days
    low, high = sorted((weather[offset - 1, 1], weather[offset + 3, 1]))
    assert ((low - 1e-9 <= weather[offset : offset + 3, 1]) & (weather[offset : offset + 3, 1] <= high + 1e-9)).all()


def test_tables_without_weather_are_refused_in_a_sentence(tables: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(DataError, match="no accepted field has weather: rows of `fields` and `readings`"):
        TrainingWorld.of({**tables, "readings": tables["readings"].iloc[:0]})


@pytest.mark.slow
def test_the_same_seed_draws_the_same_fields_and_another_seed_others(world: TrainingWorld) -> None:
    first, again, other = (world.draw(12, seed) for seed in (4, 4, 5))
    assert np.array_equal(first.water_price_usd_mm, again.water_price_usd_mm)
    assert np.array_equal(first.fields.features(), again.fields.features())
    assert not np.array_equal(first.water_price_usd_mm, other.water_price_usd_mm)


@pytest.mark.slow
def test_fields_of_one_seed_differ_in_nothing_but_their_faults(world: TrainingWorld) -> None:
    nominal, wide = world.draw(40, 4, wide_share=0.0), world.draw(40, 4, wide_share=1.0)
    low = world.draw(40, 4, wide_share=0.0, faults=Faults.of(40, delivered_share=0.8))
    assert np.array_equal(nominal.fields.features(), low.fields.features())
    for one in (wide, low):
        assert np.array_equal(nominal.grain_price_usd_t, one.grain_price_usd_t)
        one.fields.step(np.zeros(40), np.zeros(40))
    nominal.fields.step(np.zeros(40), np.zeros(40))
    assert np.array_equal(nominal.fields.batch.weather, low.fields.batch.weather)
    assert not np.array_equal(nominal.fields.batch.water_m3_m3, wide.fields.batch.water_m3_m3)
    faults = wide.fields.faults
    assert faults is not None
    assert faults.delivered_share.min() < 0.8 < 1.0 == np.median(faults.delivered_share)


@pytest.mark.slow
def test_wide_fields_are_of_many_crops_soils_and_start_waters(world: TrainingWorld) -> None:
    wide = world.draw(120, 6, wide_share=1.0).fields.batch
    start_water = 1.0 - wide.depletion_mm / wide.taw_mm
    assert start_water.min() < 0.4
    assert start_water.max() > 0.95
    while not wide.is_finished.all():
        wide.step(np.full(120, 2.0), np.full(120, 2.0))
    assert wide.root_depth_m.min() < 0.9
    assert np.ptp(wide.root_depth_m) > 1.2


def test_a_blended_climate_lies_between_the_two_and_is_drier_or_warmer_as_asked() -> None:
    first = date(2001, 5, 1)
    wet = np.tile([10.0, 24.0, 3.0, 4.0], (MAX_SEASON_DAYS + 1, 1))
    dry = np.tile([16.0, 34.0, 0.5, 8.0], (MAX_SEASON_DAYS + 1, 1))
    record = {**field_specs("champion", 2001, 1, 5, "calendar")[0].record(), "region": "wet", "season": 2001}
    both = {("wet", 2001): Weather(first, wet), ("dry", 2003): Weather(date(2003, 4, 1), dry)}
    world = TrainingWorld([KnownField(record, 80.0)], both)
    nominal = {one.name: one.nominal for one in practice_ranges.RANGES} | {"chance": 0.3}

    def of(**departures: float) -> np.ndarray:  # type: ignore[type-arg]  # (D, 4)
        return world._shifted(wet, "wet", 2001, first, nominal | departures)

    assert of() is wet
    assert of(blended_share=0.5)[3].tolist() == pytest.approx([13.0, 29.0, 1.75, 6.0], rel=0.02)
    warmer = of(warmer_c=2.0, rain_factor=0.5, et0_factor=1.1)
    assert warmer[3].tolist() == pytest.approx([12.0, 26.0, 1.5, 4.4])
    assert wet[3].tolist() == [10.0, 24.0, 3.0, 4.0]


@pytest.mark.slow
def test_a_search_from_a_bad_start_earns_more_on_fields_that_it_did_not_see(world: TrainingWorld) -> None:
    thirsty = START.copy()
    thirsty[TRIGGERS.start : TRIGGERS.start + 8] -= 0.45  # irrigates far too early
    found = search(world, thirsty, 9, 6, 24, seed=1)

    def earned(weights: np.ndarray) -> float:  # type: ignore[type-arg]  # a test
        drawn = world.draw(100, 99, 1.0, 0.0)
        return float(profits_usd_ha(live(drawn.fields, follow(weights, drawn)), drawn).mean())

    assert earned(found) > earned(thirsty) + 5.0


@pytest.mark.slow
def test_pairs_say_that_water_saves_later_water_and_never_what_was_done_today(world: TrainingWorld) -> None:
    pairs, examples = live_twice(world, START, 160, seed=2)
    assert len(pairs.rows) > 60
    water = pairs.rows[:, INDEX["candidate_irrigation_mm"]] > 0.0
    assert 0.0 > float(pairs.differences[water, 1].mean()) > -40.0
    assert set(np.unique(examples.inputs[:, INDEX["is_advised"]])) == {1.0}
    assert (examples.targets[:, 1:] >= -1e-3).all()
    effects = Effects().requires_grad_(False)
    fit_effects(effects, pairs, seed=0)
    changed = effects(torch.from_numpy(pairs.rows[water]))[:, 3]
    assert float(changed.mean()) == pytest.approx(float(pairs.differences[water, 1].mean()), abs=6.0)


@pytest.mark.slow
def test_practice_is_the_same_for_the_same_seed_and_starts_from_a_champion(
    tables: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_weights, "WEIGHTS", {})
    world, told = TrainingWorld.of(tables), []
    params = WhatIfParams(generations=5, generations_from_champion=0, population=4, seasons=8, pairs=24)
    networks = [CropModel(len(FEATURES), [8], 0.0) for _ in range(3)]
    for network in networks[:2]:
        pretrain(network, world, params, None, 7, lambda done, total: told.append((done, total)))
    assert np.array_equal(weights_of(networks[0]), weights_of(networks[1]))
    assert not np.array_equal(weights_of(networks[0]), START)
    assert told[-1] == (6, 6)
    pretrain(networks[2], world, params, networks[0], 7, lambda *_: None)
    assert np.array_equal(weights_of(networks[2]), weights_of(networks[0]))


@pytest.mark.slow
def test_practice_begins_from_what_is_shipped_or_from_a_champion_that_earns_more(
    world: TrainingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = WhatIfParams(generations=5, generations_from_champion=0, population=4, seasons=8, pairs=24, followed=16)
    network, champion = CropModel(len(FEATURES), [8], 0.0), CropModel(len(FEATURES), [8], 0.0)

    def found() -> np.ndarray:  # type: ignore[type-arg]  # a test
        pretrain(network, world, params, champion, 7, lambda *_: None)
        return weights_of(network)

    shipped = shipped_start()
    assert shipped is not None
    never = shipped.copy()
    never[TRIGGERS.start : TRIGGERS.start + 8] += 1.0  # as good as rainfed
    set_weights(champion, never)
    assert found() == pytest.approx(shipped, abs=1e-6)
    set_weights(champion, shipped)
    as_shipped = dict(zip(names(), never.tolist(), strict=True))
    monkeypatch.setattr(start_weights, "WEIGHTS", as_shipped)
    assert found() == pytest.approx(shipped, abs=1e-6)


@pytest.mark.slow
def test_of_two_policies_the_one_that_earns_more_on_the_same_fields_is_the_better(world: TrainingWorld) -> None:
    never = START.copy()
    never[TRIGGERS.start : TRIGGERS.start + 8] += 1.0
    for order in ([START, never], [never, START]):
        assert best_of(world, order, 40, seed=1) is START


def test_what_is_shipped_is_of_this_policy_and_of_the_past_alone() -> None:
    shipped = shipped_start()
    assert shipped is not None
    assert shipped.shape == START.shape
    past = start_weights.MADE_BY["past"]
    assert isinstance(past, dict)
    assert max(last for _, last in past.values()) < 2006  # later seasons are the devices' and the benchmarks'


def test_weights_of_another_policy_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    weights = dict.fromkeys(names(), 0.0)
    assert why_not(weights, form()) is None
    assert "none of shortage" in str(why_not({n: w for n, w in weights.items() if n != "shortage"}, form()))
    assert "weights of moon" in str(why_not(weights | {"moon": 0.0}, form()))
    assert "when shortage meant" in str(why_not(weights, form() | {"shortage": [7.0, 7.0]}))
    monkeypatch.setattr(start_weights, "WEIGHTS", weights | {"moon": 0.0})
    assert shipped_start() is None
    assert "moon" in caplog.text


def known_years(**regions: range) -> TrainingWorld:
    """A world that knows these years, and nothing else of them."""
    empty = Weather(date(2000, 1, 1), np.zeros((0, 4)))
    known = [(region, year) for region, years in regions.items() for year in years]
    fields = [KnownField({"region": r, "season": y, "practice": "calendar"}, 80.0) for r, y in known]
    return TrainingWorld(fields, dict.fromkeys(known, empty))


def test_every_fifth_year_is_set_aside_and_a_year_that_comes_moves_none() -> None:
    assert years_set_aside(known_years(champion=range(1984, 2004))) == {1986, 1991, 1996, 2001}
    assert years_set_aside(known_years(champion=range(1984, 2006))) == {1986, 1991, 1996, 2001}
    assert years_set_aside(known_years(champion=range(1984, 2007))) == {1986, 1991, 1996, 2001, 2006}
    assert years_set_aside(known_years(champion=range(2000, 2002))) == frozenset()


def test_no_region_loses_all_its_years() -> None:
    world = known_years(champion=range(1984, 2004), cordoba=range(1991, 1992))
    assert years_set_aside(world) == {1986, 1996, 2001}
    fitted = without_years(world, years_set_aside(world))
    assert {known.record["region"] for known in fitted.fields} == {"champion", "cordoba"}
    assert not {season for _, season in fitted.weather} & {1986, 1996, 2001}


@pytest.mark.slow
def test_what_calibrates_follows_the_advice_to_the_harvest_and_all_of_it_is_set_aside(world: TrainingWorld) -> None:
    examples = follow_advice(world, START, 40, seed=4)
    assert examples.is_set_aside.all()
    assert examples.periods == [FOLLOWED]
    assert set(np.unique(examples.inputs[:, INDEX["is_advised"]])) == {1.0}
    assert np.unique(examples.group).size == 40
    assert (examples.targets[:, 1:] >= -1e-3).all()
    again = follow_advice(world, START, 40, seed=4)
    assert np.array_equal(again.inputs, examples.inputs)
    days = examples.inputs[:, INDEX["dap"]]
    assert days.min() < 10.0
    assert days.max() < 150.0


@pytest.mark.slow
def test_practice_sets_the_years_aside_that_it_calibrates_on(world: TrainingWorld) -> None:
    params = WhatIfParams(generations=0, generations_from_champion=0, population=4, seasons=8, pairs=24, followed=16)
    examples = pretrain(CropModel(len(FEATURES), [8], 0.0), world, params, None, 7, lambda *_: None)
    assert examples.set_aside == {FOLLOWED, "2001"}
    assert examples.periods == [FOLLOWED, "what-if"]
