"""What the loop's own numbers say in words."""

from dataclasses import replace

import pytest

from fieldloop.core.words import Words
from fieldloop.report import period_figures
from fieldloop.report.words import (
    amount,
    counted,
    duration,
    listed,
    rollout_sentence,
    shipping_sentence,
    signed,
    size,
    transfer_sentence,
    version_sentence,
)
from tests.report.bearings import SECTIONS, VIBRATION, losing, story


def test_lost_records_are_told() -> None:
    lossy = period_figures(losing(story(), 2, ("2006/gone",)), SECTIONS)
    assert "none was lost" in transfer_sentence(period_figures(story(), SECTIONS), "windows")
    assert "3 were lost" in transfer_sentence(lossy, "windows")


def test_records_that_wait_are_told_and_are_not_lost() -> None:
    told = story()
    waits = replace(told, account={**told.account, "records_waiting": 12, "waiting": {"dev-00/ab": "its contract"}})
    sentence = transfer_sentence(period_figures(waits, SECTIONS), "windows")
    assert "none was lost, and 12 wait for the version that knows their contract" in sentence


def test_a_version_kept_back_is_told() -> None:
    assert "kept back; devices ran version 1" in version_sentence(
        {"model_version": "1", "trained_version": "2"}, Words("month", "bearing", "hall")
    )


def test_shipping_float32_is_told_with_what_int8_would_have_cost() -> None:
    bundle = {"shipped": "float32", "bytes": 400_000, "float32_bytes": 400_000, "error_increase_pct": 2.4}
    assert shipping_sentence(bundle, VIBRATION) == (
        "The model ships as float32: 400 kB, 100 % of float32's 400 kB; INT8's held-out vibration error is +2.40 % "
        "against float32."
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (amount(1234.5), "1,234"),
        (amount(-0.4), "0"),
        (amount(-12.34, 1), "−12.3"),
        (amount(None), "–"),
        (signed(5.0), "+5"),
        (signed(-5.0), "−5"),
        (signed(0.001, 2), "0.00"),
        (signed(None), "–"),
        (size(999), "999 B"),
        (size(1_000), "1.0 kB"),
        (size(118_204), "118 kB"),
        (size(999_600), "1.0 MB"),
        (size(4_128_000), "4.1 MB"),
        (duration(3.21), "3.2 s"),
        (duration(59.7), "1 min 00 s"),
        (duration(372.4), "6 min 12 s"),
        (duration(7_260), "2 h 01 min"),
        (counted(1, "day"), "1 day"),
        (counted(1_200, "day"), "1,200 days"),
        (counted(2, "batch", "batches"), "2 batches"),
        (listed(["2006"]), "2006"),
        (listed(["2006", "2007", "2008"]), "2006, 2007 and 2008"),
    ],
)
def test_numbers_are_written_for_people(said: str, expected: str) -> None:
    assert said == expected


def test_a_rollout_is_told_stage_by_stage_with_how_it_ended() -> None:
    words = Words("season", "field", "region")
    counts = {"cohort": 3, "confirmed": 3, "failed": 0, "unreached": 0, "why": ""}
    small = {"percentage": 12.5, "since": "2007-05-01", "until": "2007-05-17", **counts}
    whole = {**small, "percentage": 100.0, "since": "2007-05-17", "cohort": 24, "confirmed": 22}
    rollout = {"version": "2", "phase": "finished", "ended_on": "2007-06-02", "stages": [small, whole]}
    assert rollout_sentence(rollout, words) == (
        "Version 2 went out in stages: to 12.5 % of the devices on 2007-05-01 and 100 % of the devices on 2007-05-17; "
        "of 24 devices 22 confirmed it and 0 failed, and it is everyone's since 2007-06-02."
    )
    halted = {**rollout, "phase": "halted", "stages": [{**small, "confirmed": 0, "failed": 3}]}
    assert "was halted on 2007-06-02: of 3 devices 0 confirmed it and 3 failed" in rollout_sentence(halted, words)
    assert rollout_sentence({**rollout, "phase": "running"}, words).endswith("on 2007-06-02 its rollout was running.")
    assert "nothing came of it in the season" in rollout_sentence({**rollout, "stages": []}, words)
