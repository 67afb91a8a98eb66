import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from fieldedge.system.errors import ConfigError
from fieldedge.workloads.agriculture.features import Day
from fieldloop.workloads.agriculture.world.practices import (
    Calendar,
    Exploring,
    NitrogenPlan,
    Practice,
    Rainfed,
    Threshold,
    baseline,
    baselines,
    exploring_grower,
    measured_depletion_fraction,
)
from fieldloop.workloads.agriculture.world.world import field_specs

FIELD = {"field_capacity_m3_m3": 0.22, "wilting_point_m3_m3": 0.10, "root_depth_max_m": 2.3}


def _history(days: int, vwc: float | None, **others: float | None) -> list[Day]:
    reading: dict[str, Any] = {f"vwc_{depth}cm_m3_m3": vwc for depth in (15, 35, 75, 105)} | others
    start = datetime.date(2006, 5, 1)
    return [Day(str(start + datetime.timedelta(days=i)), reading, 0.0, 0.0) for i in range(days)]


def _decisions(practice: Practice, days: int, vwc: float | None = 0.16) -> list[tuple[float, float]]:
    return [practice.decide(FIELD, _history(day, vwc), "2006-05-01") for day in range(days)]


def test_rainfed_never_irrigates_and_feeds_for_less() -> None:
    decisions = _decisions(Rainfed(), 132)
    assert all(mm == 0 for mm, _ in decisions)
    assert sum(kg for _, kg in decisions) == pytest.approx(120)


def test_the_calendar_irrigates_by_the_day_alone() -> None:
    wet, dry = _decisions(Calendar(), 132, 0.3), _decisions(Calendar(), 132, 0.1)
    assert wet == dry
    assert [day for day, (mm, _) in enumerate(wet) if mm > 0] == list(range(14, 113, 7))


def test_the_threshold_waits_for_the_stage_s_depletion() -> None:
    practice = Threshold((0.9, 0.5, 0.5, 0.8), 20.0)
    at_60_pct = 0.22 - 0.6 * 0.12
    assert [practice.decide(FIELD, _history(day, at_60_pct), "")[0] for day in (10, 40, 80, 120)] == [
        0.0,
        20.0,
        20.0,
        0.0,
    ]


def test_nitrogen_is_split_as_planned() -> None:
    doses = {day: kg for day, (_, kg) in enumerate(_decisions(Threshold(), 132)) if kg > 0}
    assert doses == pytest.approx({0: 66.0, 40: 134.0})


def test_depletion_is_read_from_the_probes_that_the_roots_reach() -> None:
    assert measured_depletion_fraction(FIELD, _history(90, 0.22)) == 0
    assert measured_depletion_fraction(FIELD, _history(90, 0.10)) == 1
    deep_dry = _history(1, 0.22, vwc_105cm_m3_m3=0.10)
    assert measured_depletion_fraction(FIELD, deep_dry) == 0


def test_a_silent_probe_is_remembered_for_a_week_and_then_left_out() -> None:
    heard = _history(60, 0.10)
    silent = heard[:-1] + _history(1, None)
    assert measured_depletion_fraction(FIELD, silent) == 1
    assert measured_depletion_fraction(FIELD, heard + _history(7, None)) is None


def test_a_grower_who_hears_no_probe_falls_back_on_the_calendar() -> None:
    assert _decisions(Threshold(), 132, None) == _decisions(Calendar(), 132, None)


def test_a_day_without_any_reading_is_no_obstacle() -> None:
    history = [*_history(60, 0.10), Day("2006-07-01", None, 0.0, 0.0)]
    assert measured_depletion_fraction(FIELD, history) == 1


def test_settings_from_a_file_change_a_practice() -> None:
    practice = baseline("calendar", {"interval_days": 9, "nitrogen": {"total_kg_ha": 90, "days": [0], "split": [1.0]}})
    assert practice == Calendar(interval_days=9, nitrogen=NitrogenPlan(90, (0,), (1.0,)))
    assert baseline("threshold", {"depletion_fractions": [0.9, 0.5, 0.5, 0.7]}) == Threshold((0.9, 0.5, 0.5, 0.7))


def test_an_unknown_practice_or_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="'guesswork'; there are rainfed, calendar, threshold"):
        baseline("guesswork")
    with pytest.raises(ConfigError, match=r"calendar: .*every_days"):
        baseline("calendar", {"every_days": 3})


def test_the_project_s_parameters_give_the_three_practices() -> None:
    params = yaml.safe_load((Path(__file__).parents[4] / "params.yaml").read_text(encoding="utf-8"))
    settings = params["agriculture"]["practices"]
    assert baselines(settings) == {"rainfed": Rainfed(), "calendar": Calendar(), "threshold": Threshold()}
    del settings["threshold_depth_mm"]
    with pytest.raises(ConfigError, match="threshold_depth_mm is not set"):
        baselines(settings)


def test_growers_explore_water_and_nitrogen_widely() -> None:
    growers = [exploring_grower(s) for year in range(1990, 2000) for s in field_specs("champion", year, 12, 5, "")]
    names = [grower.name for grower in growers]
    rates = [grower.practice.nitrogen.total_kg_ha for grower in growers]
    assert all(names.count(name) > 8 for name in ("rainfed", "calendar", "threshold"))
    assert min(rates) < 40
    assert max(rates) > 260
    assert {len(grower.practice.nitrogen.days) for grower in growers} == {1, 2, 3}
    assert any(isinstance(g.practice, Calendar) and g.practice.interval_days <= 4 for g in growers)
    assert all(not any(grower.extra_mm) for grower in growers if grower.name == "rainfed")


def test_a_grower_s_moods_are_the_same_in_every_replay() -> None:
    spec = field_specs("champion", 1999, 1, 5, "")[0]
    assert exploring_grower(spec) == exploring_grower(spec)
    moody = Exploring(Calendar(first_day=0, interval_days=1), (True, False), (7.0, 9.0))
    assert [mm for mm, _ in _decisions(moody, 2)] == [0.0, 25.0]
    assert [mm for mm, _ in _decisions(Exploring(Rainfed(), (False,), (7.0,)), 1)] == [7.0]
