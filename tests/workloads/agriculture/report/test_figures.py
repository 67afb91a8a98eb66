"""The figures of a season's fields, by practice."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fieldedge.system.errors import DataError
from fieldloop.report import build_report, period_figures
from fieldloop.workloads.agriculture.report.figures import PRACTICES, practices_of
from tests.workloads.agriculture.report.sample_story import ENVIRONMENT, SECTIONS, outcomes, story

FIELDS = 8
NO_PICTURES = dict.fromkeys(("profit", "yield", "water", "gain"), "")


def test_report_holds_every_figure_that_is_promised() -> None:
    report = build_report([story(2006, "1", FIELDS), story(2007, "2", FIELDS)], SECTIONS, 372.4, ENVIRONMENT)
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
    figures = period_figures(story(2006, "1", FIELDS), SECTIONS)
    for practice in PRACTICES:
        profits = [outcome["profit_usd_ha"] for outcome in outcomes(practice, 2006, FIELDS)]
        assert figures["profit_usd_ha"][practice] == pytest.approx(np.mean(profits), abs=1e-3)
        assert figures["median"]["profit_usd_ha"][practice] == pytest.approx(np.median(profits), abs=1e-3)
    assert sum(region["fields"] for region in figures["regions"].values()) == len(figures["fields"]) == FIELDS


def test_gain_is_the_mean_of_the_paired_differences_inside_its_interval() -> None:
    figures = period_figures(story(2006, "1", FIELDS), SECTIONS)
    for other, gain in figures["gain"].items():
        difference = figures["profit_usd_ha"]["fieldloop"] - figures["profit_usd_ha"][other]
        assert gain["mean_usd_ha"] == pytest.approx(difference, abs=1e-3)
        assert gain["low_usd_ha"] <= gain["mean_usd_ha"] <= gain["high_usd_ha"]
        assert 0 <= gain["fields_better"] <= gain["fields"] == FIELDS


def test_a_practice_on_other_fields_is_refused_by_name() -> None:
    told = story(2006, "1", FIELDS)
    fewer = replace(told, baselines={**told.baselines, "calendar": told.baselines["calendar"][1:]})
    with pytest.raises(DataError, match=r"season 2006: calendar has 7 fields and the fleet 8.*champion-00"):
        build_report([fewer], SECTIONS, 1.0, {})


def test_a_season_that_was_lived_before_there_was_a_tuned_threshold_is_told_without_it() -> None:
    told = story(2006, "1", FIELDS)
    former = replace(told, baselines={name: told.baselines[name] for name in ("threshold", "calendar", "rainfed")})
    figures = [period_figures(one, SECTIONS) for one in (former, story(2007, "2", FIELDS))]
    assert "tuned_threshold" not in figures[0]["profit_usd_ha"]
    assert "tuned_threshold" in figures[1]["gain"]
    assert practices_of(figures) == ("fieldloop", "threshold", "calendar", "rainfed")
    assert "tuned threshold" in SECTIONS.sections({"seasons": figures[1:]}, NO_PICTURES)[0]
    assert "tuned threshold" not in SECTIONS.sections({"seasons": figures[:1]}, NO_PICTURES)[0]


def test_a_missing_practice_is_refused_by_name() -> None:
    told = story(2006, "1", FIELDS)
    without = replace(told, baselines={name: rows for name, rows in told.baselines.items() if name != "rainfed"})
    with pytest.raises(DataError, match="rainfed has 0 fields"):
        period_figures(without, SECTIONS)
