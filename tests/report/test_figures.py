"""The figures of a run that any workload has, made from its stories."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.system.errors import DataError
from fieldloop.report import PeriodStory, build_report, period_figures
from fieldloop.report.figures import as_json_value, records_lost
from tests.report.bearings import SECTIONS, VIBRATION, losing, registered, story


def test_a_report_without_seasons_is_refused() -> None:
    with pytest.raises(DataError, match="at least one month"):
        build_report([], SECTIONS, 1.0, {})


@given(unacknowledged=st.integers(0, 200), missing=st.integers(0, 20))
def test_lost_records_are_those_unacknowledged_and_those_gone(unacknowledged: int, missing: int) -> None:
    told = losing(story(2006, "1"), unacknowledged, tuple(f"2006/{number}" for number in range(missing)))
    assert records_lost(told) == unacknowledged + missing


def test_a_record_acknowledged_in_an_earlier_attempt_hides_no_missing_one() -> None:
    assert records_lost(losing(story(2006, "1"), -3, ("2006/gone",))) == 1


def test_numbers_that_are_none_become_null() -> None:
    told = story(2006, "1")
    scores = {**told.verdict["challenger"], VIBRATION.key: math.nan}
    figures = period_figures(replace(told, verdict={**told.verdict, "challenger": scores}), SECTIONS)
    assert figures["held_out"][VIBRATION.key] is None
    assert as_json_value({"a": (np.float32(1.5), math.inf, np.int64(2), None)}) == {"a": [1.5, None, 2, None]}


def test_lineage_leads_to_the_version_that_devices_ran_when_the_newest_was_kept_back() -> None:
    first, second = story(2006, "1"), story(2007, "2")
    kept_back = replace(
        second,
        fleet={**second.fleet, "model_version": "1"},
        released={**second.released, "version": "1"},
    )
    season = build_report([first, kept_back], SECTIONS, 1.0, {})["seasons"][1]
    lineage = season["lineage"]
    assert (lineage["model_version"], lineage["trained_version"]) == ("1", "2")
    assert lineage["mlflow_run_id"] == first.registered["mlflow_run_id"]
    assert lineage["data_hash"] == season["data_hash"] == first.registered["data_hash"]
    assert season["data_hash_before"] == second.data_hash


def test_lineage_of_a_version_from_an_earlier_run_is_what_the_story_says_was_deployed() -> None:
    told = story(2007, "2")
    earlier = replace(told, fleet={**told.fleet, "model_version": "7"})
    assert period_figures(earlier, SECTIONS)["lineage"]["mlflow_run_id"] is None
    deployed = registered("7")
    lineage = period_figures(replace(earlier, deployed=deployed), SECTIONS)["lineage"]
    assert lineage["mlflow_run_id"] == deployed["mlflow_run_id"]


def test_a_story_survives_json() -> None:
    told = story(2006, "1")
    again = PeriodStory(**json.loads(json.dumps(as_json_value(told.as_dict()))))
    assert build_report([again], SECTIONS, 1.0, {}) == build_report([told], SECTIONS, 1.0, {})
