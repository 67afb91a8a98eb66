"""The figures of a run, made from its stories."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.system.errors import DataError
from fieldloop.report import SeasonStory, build_report, season_figures
from fieldloop.report.figures import PRACTICES, as_json_value, records_lost
from tests.report.sample_story import ENVIRONMENT, losing, outcomes, registered, story

FIELDS = 8


def test_report_holds_every_figure_that_is_promised() -> None:
    report = build_report([story(2006, "1", FIELDS), story(2007, "2", FIELDS)], 372.4, ENVIRONMENT)
    assert report["wall_s"] == 372.4
    for season, year in zip(report["seasons"], (2006, 2007), strict=True):
        assert season["season"] == year
        assert set(season["profit_usd_ha"]) == set(season["irrigation_mm"]) == set(PRACTICES)
        for name in ("devices", "recommendations", "records_acknowledged", "bytes_collected", "bytes_sent"):
            assert isinstance(season[name], int)
        assert season["records_lost"] == 0
        assert season["yield_rmse_t_ha"] > 0
        assert season["data_hash"] != season["data_hash_after"]
    assert [season["model_version"] for season in report["seasons"]] == ["1", "2"]
    promised = {"bytes", "float32_bytes", "shipped", "p50_ms", "p99_ms", "error_increase_pct"}
    assert promised <= report["bundle"].keys()
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_means_are_over_the_same_fields_in_every_practice() -> None:
    figures = season_figures(story(2006, "1", FIELDS))
    for practice in PRACTICES:
        profits = [outcome["profit_usd_ha"] for outcome in outcomes(practice, 2006, FIELDS)]
        assert figures["profit_usd_ha"][practice] == pytest.approx(np.mean(profits), abs=1e-3)
        assert figures["median"]["profit_usd_ha"][practice] == pytest.approx(np.median(profits), abs=1e-3)
    assert sum(region["fields"] for region in figures["regions"].values()) == len(figures["fields"]) == FIELDS


def test_gain_is_the_mean_of_the_paired_differences_inside_its_interval() -> None:
    figures = season_figures(story(2006, "1", FIELDS))
    for other, gain in figures["gain"].items():
        difference = figures["profit_usd_ha"]["fieldloop"] - figures["profit_usd_ha"][other]
        assert gain["mean_usd_ha"] == pytest.approx(difference, abs=1e-3)
        assert gain["low_usd_ha"] <= gain["mean_usd_ha"] <= gain["high_usd_ha"]
        assert 0 <= gain["fields_better"] <= gain["fields"] == FIELDS


def test_a_practice_on_other_fields_is_refused_by_name() -> None:
    told = story(2006, "1", FIELDS)
    fewer = replace(told, baselines={**told.baselines, "calendar": told.baselines["calendar"][1:]})
    with pytest.raises(DataError, match=r"season 2006: calendar has 7 fields and the fleet 8.*champion-00"):
        build_report([fewer], 1.0, {})


def test_a_missing_practice_is_refused_by_name() -> None:
    told = story(2006, "1", FIELDS)
    without = replace(told, baselines={name: rows for name, rows in told.baselines.items() if name != "rainfed"})
    with pytest.raises(DataError, match="rainfed has 0 fields"):
        season_figures(without)


def test_a_report_without_seasons_is_refused() -> None:
    with pytest.raises(DataError, match="at least one season"):
        build_report([], 1.0, {})


@given(unacknowledged=st.integers(0, 200), missing=st.integers(0, 20))
def test_lost_records_are_those_unacknowledged_and_those_gone(unacknowledged: int, missing: int) -> None:
    told = losing(story(2006, "1", 4), unacknowledged, tuple(f"2006/{number}" for number in range(missing)))
    assert records_lost(told) == unacknowledged + missing


def test_a_record_acknowledged_in_an_earlier_attempt_hides_no_missing_one() -> None:
    assert records_lost(losing(story(2006, "1", 4), -3, ("2006/gone",))) == 1


def test_numbers_that_are_none_become_null() -> None:
    told = story(2006, "1", 4)
    scores = {**told.verdict["challenger"], "yield_bias_t_ha": math.nan}
    figures = season_figures(replace(told, verdict={**told.verdict, "challenger": scores}))
    assert figures["held_out"]["yield_bias_t_ha"] is None
    assert as_json_value({"a": (np.float32(1.5), math.inf, np.int64(2), None)}) == {"a": [1.5, None, 2, None]}


def test_lineage_leads_to_the_version_that_devices_ran_when_the_newest_was_kept_back() -> None:
    first, second = story(2006, "1", 4), story(2007, "2", 4)
    kept_back = replace(
        second,
        fleet={**second.fleet, "model_version": "1"},
        released={**second.released, "version": "1"},
    )
    season = build_report([first, kept_back], 1.0, {})["seasons"][1]
    lineage = season["lineage"]
    assert (lineage["model_version"], lineage["trained_version"]) == ("1", "2")
    assert lineage["mlflow_run_id"] == first.registered["mlflow_run_id"]
    assert lineage["data_hash"] == season["data_hash"] == first.registered["data_hash"]
    assert season["data_hash_before"] == second.data_hash


def test_lineage_of_a_version_from_an_earlier_run_is_what_the_story_says_was_deployed() -> None:
    told = story(2007, "2", 4)
    earlier = replace(told, fleet={**told.fleet, "model_version": "7"})
    assert season_figures(earlier)["lineage"]["mlflow_run_id"] is None
    deployed = registered("7")
    lineage = season_figures(replace(earlier, deployed=vars(deployed)))["lineage"]
    assert lineage["mlflow_run_id"] == deployed.mlflow_run_id


def test_a_story_survives_json() -> None:
    told = story(2006, "1", 4)
    again = SeasonStory(**json.loads(json.dumps(as_json_value(told.as_dict()))))
    assert build_report([again], 1.0, {}) == build_report([told], 1.0, {})
