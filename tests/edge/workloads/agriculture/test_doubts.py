"""What is doubted of a week's levels, and that the weather of real fields is not."""

import csv
import math
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest

from fieldedge.contract.samples import FlaggedSample, Sample
from fieldedge.device.config import Site
from fieldedge.workloads.agriculture.days import summarise_day
from fieldedge.workloads.agriculture.doubts import of_usual_peak, of_usual_rain, of_usual_warmth
from fieldedge.workloads.agriculture.levels import noon_outside_w_m2
from tests.edge.sample import field_record

COUNTIES = Path(__file__).parents[6] / "shared" / "data" / "cybench" / "grain_maize_US_2000_2011.csv"
SITE = Site(latitude_deg=41.2, elevation_m=370.0)
FIRST, DAYS = date(2006, 6, 28), 8
TIPS = (1, 3, 2, 1, 6, 9, 4, 1, 2, 1)  # of a shower, hour by hour


@pytest.mark.parametrize("step_mm", [0.1, 0.2, 0.25, 0.254, 0.3, 0.5])
@pytest.mark.parametrize(("unit_mm", "is_doubted"), [(1.0, False), (25.4, True), (1000.0, True)])
def test_what_no_bucket_tips_is_of_another_unit(step_mm: float, unit_mm: float, is_doubted: bool) -> None:
    values = [tips * step_mm / unit_mm for tips in TIPS]
    assert (of_usual_rain(values, values) is not None) is is_doubted


def test_a_gauge_that_weighs_or_counts_drops_is_believed() -> None:
    weighed = [0.01, 0.02, 0.3, 1.24, 0.77, 0.05, 0.01]
    dropped = [0.017 * tips for tips in TIPS]
    assert of_usual_rain(weighed, weighed) is None and of_usual_rain(dropped, dropped) is None


def test_a_few_values_say_nothing_of_rain() -> None:
    assert of_usual_rain([0.01, 0.02, 0.05, 0.01], [0.01, 0.02, 0.05, 0.01]) is None


def test_one_bright_hour_of_the_week_is_enough() -> None:
    assert of_usual_peak([0.3, 0.31, 0.2, 0.36, 0.3]) is not None
    assert of_usual_peak([0.3, 0.31, 0.2, 0.66, 0.3]) is None


def test_air_that_is_damper_when_warm_is_doubted_on_sunny_days_alone() -> None:
    assert of_usual_warmth([0.6, 0.7, 0.5]) is not None
    assert of_usual_warmth([0.6, 0.7]) is None and of_usual_warmth([-0.9, -0.8, 0.7]) is None


def test_the_sun_at_noon_above_the_atmosphere_is_that_of_fao_56() -> None:
    assert noon_outside_w_m2(0.0, 81) == pytest.approx(1367.0 * (1.0 + 0.033 * math.cos(math.tau * 81 / 365)), rel=5e-3)
    assert noon_outside_w_m2(-33.9, 355) > 1.5 * noon_outside_w_m2(-33.9, 172)


def week(mean_c: float, rain_mm: float, unit_mm: float = 1.0) -> list[FlaggedSample]:
    """Eight days of an hourly station of that mean temperature, with so much rain in tips of 0.254 mm."""
    tips, found = round(rain_mm / 0.254), []
    for hour in range(1, 24 * DAYS + 1):
        at = math.tau * (hour - 21) / 24.0
        fallen = min(tips, TIPS[hour % len(TIPS)]) if hour % 24 in range(2, 11) else 0
        tips -= fallen
        stamp = FIRST + timedelta(days=hour // 24)
        values = {
            "air_temperature_c": mean_c + 6.0 * math.cos(at),
            "relative_humidity_pct": 65.0 - 22.0 * math.cos(at),
            "wind_speed_m_s": 2.4 + 0.7 * math.sin(1.3 * hour),
            "solar_radiation_w_m2": max(0.0, 880.0 * math.cos(math.tau * (hour - 18.5) / 24.0)),
            "rain_mm": round(fallen * 0.254 / unit_mm, 3),
        }
        found.append(FlaggedSample(Sample("station", f"{stamp}T{hour % 24:02d}:00:00Z", values), {}))
    return found


def doubts_of(samples: Sequence[FlaggedSample]) -> Counter[str]:
    """How many of the eight days doubt which channel."""
    found: Counter[str] = Counter()
    for number in range(DAYS):
        day = (FIRST + timedelta(days=number)).isoformat()
        known = [one for one in samples if one.sample.time_utc <= f"{FIRST + timedelta(days=number + 1)}T00:00:00Z"]
        found.update(summarise_day(known, field_record(2006), day, SITE).doubts.keys())
    return found


@pytest.mark.skipif(not COUNTIES.is_file(), reason="the seasons of real counties are not there")
def test_no_season_of_a_real_county_is_doubted_and_its_rain_in_inches_is() -> None:
    """US maize counties from 2000 on: the mean temperature of the warm phases, and the rain of theirs."""
    with COUNTIES.open() as file:
        rows = list(csv.DictReader(file))[::120]
    wet = doubted = 0
    for row in rows:
        for phase in ("p1", "p3"):
            mean_c, rain_mm = float(row[f"avgTAVG{phase}"]), float(row[f"avgPREC{phase}"])
            assert not doubts_of(week(mean_c, rain_mm)), f"{row['adm_id']} {row['year']} {phase}: {mean_c} {rain_mm}"
            if rain_mm >= 10.0:
                wet += 1
                doubted += doubts_of(week(mean_c, rain_mm, unit_mm=25.4))["rain_mm"] > 0
    assert len(rows) > 50 and doubted == wet > 50
