import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from fieldedge.workloads.agriculture.tables import READINGS
from fieldloop.workloads.agriculture.world.sensors import FaultRates, Probe, Sensors, TrueDay
from fieldloop.workloads.agriculture.world.world import FieldSpec, field_specs

DAYS = 132
PROBES = ("vwc_15cm_m3_m3", "vwc_35cm_m3_m3", "vwc_75cm_m3_m3", "vwc_105cm_m3_m3")
MIDDLES_M = np.array([0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.75, 1.05, 1.35, 1.65, 1.95, 2.25])
TRUE_VWC = 0.20 + 0.05 * MIDDLES_M


def _truth(day: int, rain_mm: float = 0.0) -> TrueDay:
    return TrueDay(
        date=datetime.date(2006, 5, 1) + datetime.timedelta(days=day),
        tmin_c=12.0,
        tmax_c=28.0,
        rain_mm=rain_mm,
        et0_mm=6.0,
        water_m3_m3=TRUE_VWC,
        compartment_middles_m=MIDDLES_M,
        canopy_cover=min(0.95, day / 60),
        nni=0.9,
    )


def _seasons(fields: int, rates: FaultRates | None = None, rain_every: int = 5) -> list[list[dict[str, Any]]]:
    specs: list[FieldSpec] = field_specs("champion", 2006, fields, 3, "rainfed")
    rain = [8.0 if rain_every and day % rain_every == 0 else 0.0 for day in range(DAYS)]
    return [
        [sensors.read(_truth(day, rain[day])) for day in range(DAYS)]
        for sensors in (Sensors(spec, rates) for spec in specs)
    ]


@pytest.fixture(scope="module")
def seasons() -> list[list[dict[str, Any]]]:
    return _seasons(60)


def _series(seasons: list[list[dict[str, Any]]]) -> list[list[float | None]]:
    return [[day[probe] for day in season] for season in seasons for probe in PROBES]


def _longest_run(values: list[float | None]) -> int:
    longest = run = 1
    for before, after in pairwise(values):
        run = run + 1 if before is not None and before == after else 1
        longest = max(longest, run)
    return longest


def test_every_reading_keeps_the_contract_in_spite_of_its_faults(seasons: list[list[dict[str, Any]]]) -> None:
    identity = {"record_id": "r", "season": 2006, "region": "champion", "field_id": "f", "date": "2006-05-01"}
    for season in seasons:
        for day in season:
            READINGS.check(identity | day, "test")


def test_probes_are_silent_for_days_and_some_die(seasons: list[list[dict[str, Any]]]) -> None:
    series = _series(seasons)
    silent = np.mean([value is None for values in series for value in values])
    dead = [values for values in series if all(value is None for value in values[-10:])]
    assert 0.02 < silent < 0.15
    assert 0 < len(dead) < 0.15 * len(series)


def test_some_probes_stick_for_many_days_and_most_never_do(seasons: list[list[dict[str, Any]]]) -> None:
    runs = np.array([_longest_run(values) for values in _series(seasons)])
    assert 0.05 < np.mean(runs >= 5) < 0.30


def test_probes_are_biased_each_its_own_way(seasons: list[list[dict[str, Any]]]) -> None:
    true = float(np.interp(0.35, MIDDLES_M, TRUE_VWC))
    biases = [
        np.mean([day["vwc_35cm_m3_m3"] for day in season if day["vwc_35cm_m3_m3"] is not None]) - true
        for season in seasons
        if season[0]["vwc_35cm_m3_m3"] is not None
    ]
    assert 0.006 < np.std(biases) < 0.03
    assert abs(np.mean(biases)) < 0.006


def test_probes_drift_over_the_season() -> None:
    drifting = FaultRates(probe_drift_per_day=0.001, stuck_chance=0.0, death_chance=0.0, gap_chance_per_day=0.0)
    slopes = [np.polyfit(np.arange(DAYS), np.array(values, float), 1)[0] for values in _series(_seasons(10, drifting))]
    assert 0.0005 < np.std(slopes) < 0.002


def test_some_probes_sit_at_the_wrong_depth() -> None:
    probes = [Probe(0.35, np.random.default_rng(seed), FaultRates()) for seed in range(300)]
    misplaced = [probe for probe in probes if probe.is_misplaced]
    assert 0.03 < len(misplaced) / 300 < 0.15
    assert all(abs(probe.depth_m - 0.35) > 0.04 for probe in misplaced)


def test_a_perfect_probe_reads_the_truth() -> None:
    perfect = FaultRates(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, gap_chance_per_day=0.0, death_chance=0.0)
    value = Probe(0.35, np.random.default_rng(0), perfect).read(0, _truth(0))
    assert value == pytest.approx(np.interp(0.35, MIDDLES_M, TRUE_VWC), abs=0.0006)


def test_the_drone_flies_every_week_or_two_and_never_in_rain(seasons: list[list[dict[str, Any]]]) -> None:
    for season in seasons:
        flights = [day for day, reading in enumerate(season) if reading["ndvi"] is not None]
        assert 6 <= len(flights) <= 19
        assert min(np.diff(flights)) >= 7
        assert not any(season[day]["rain_mm"] > 2.5 for day in flights)


def test_indices_follow_the_canopy_and_its_nitrogen() -> None:
    bare, full = _truth(0), _truth(100)
    spec = field_specs("champion", 2006, 1, 3, "rainfed")[0]

    def indices(truth: TrueDay) -> tuple[float, float]:
        sensors = Sensors(spec, FaultRates(index_white=0.0, flight_cancelled_chance=0.0))
        seen = [sensors.read(truth) for _ in range(12)]
        flown = next(reading for reading in seen if reading["ndvi"] is not None)
        return flown["ndvi"], flown["ndre"]

    starved = TrueDay(**{**vars(full), "nni": 0.4})
    assert indices(bare)[0] == pytest.approx(0.143, abs=0.001)
    assert indices(full)[0] == pytest.approx(0.897, abs=0.001)
    assert indices(starved)[0] == indices(full)[0]
    assert indices(starved)[1] < indices(full)[1] - 0.1


def test_the_station_fills_its_gaps_and_loses_their_rain() -> None:
    always_raining = _seasons(20, FaultRates(station_gap_chance_per_day=0.1), rain_every=1)
    lost = [day for season in always_raining for day in season if day["rain_mm"] == 0.0]
    assert len(lost) > 50
    assert all(20 < day["tmax_c"] < 35 for day in lost)
