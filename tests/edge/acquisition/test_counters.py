"""What a counter counted is what fell, whatever order its totals come in, over every wrap and reset."""

from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.acquisition.counters import with_increments
from fieldedge.contract.samples import Channel, FlaggedSample, Sample, count_name, counted

RAIN = Channel("rain_mm", "mm", 0.0, 450.0, "sum")
NAME = count_name("rain_mm")


def totals(values: list[float | None], name: str = NAME, origin: str = "gauge") -> list[FlaggedSample]:
    return [
        FlaggedSample(Sample(origin, f"2026-05-01T{at // 60:02d}:{at % 60:02d}:00Z", {name: value}), {name: "good"})
        for at, value in enumerate(values)
    ]


def increments(values: list[float | None], before: float | None = None, name: str = NAME) -> list[tuple[Any, Any]]:
    known = {} if before is None else {("gauge", name): before}
    found = with_increments(totals(values, name), known, (RAIN,))
    return [(one.sample.values["rain_mm"], one.flags["rain_mm"]) for one in found if "rain_mm" in one.sample.values]


@pytest.mark.parametrize(
    ("values", "before", "expected"),
    [
        ([2.0, 2.0, 2.4], None, [(0.0, "good"), (0.4, "good")]),
        ([2.0, 2.0, 2.4], 1.5, [(0.5, "good"), (0.0, "good"), (0.4, "good")]),
        ([2.0, None, 2.4], None, [(0.4, "good")]),
        ([120.0, 0.0, 0.2], None, [(0.0, "good"), (0.2, "good")]),
        ([5.0, 4.8, 5.0], None, [(None, "fault"), (0.2, "good")]),
        ([5.0, -1.0], None, [(None, "fault")]),
        ([1.0, 900.0], None, [(899.0, "range")]),
        ([], 3.0, []),
        ([100.0, 0.0, 100.4], None, [(None, "fault"), (0.4, "good")]),
        ([100.0, 60.0, 0.0, 100.4], None, [(None, "fault"), (None, "fault"), (0.4, "good")]),
        ([0.0, 0.0, 100.4], 100.0, [(None, "fault"), (None, "fault"), (0.4, "good")]),
        ([100.0, 327.67, 100.4], None, [(None, "fault"), (0.4, "good")]),
        ([2.0, 13107.0, 2.4], None, [(None, "fault"), (0.4, "good")]),
        ([5.0, -9999.0, 5.2], None, [(None, "fault"), (0.2, "good")]),
        ([30.0, 0.0, 12.0, 40.0], None, [(0.0, "good"), (12.0, "good"), (28.0, "good")]),
        ([0.2, 30.0, 0.4], None, [(29.8, "good"), (0.4, "good")]),
        ([100.0, 0.0], None, [(0.0, "good")]),
    ],
)
def test_an_increment_is_the_rise_or_what_was_counted_since_a_reset(
    values: list[float | None], before: float | None, expected: list[tuple[Any, Any]]
) -> None:
    assert increments(values, before) == expected


def test_a_counter_that_wraps_loses_nothing_at_the_edge_and_one_that_is_reset_there_is_no_flood() -> None:
    name = count_name("rain_mm", 6553.6)
    assert counted(name) == ("rain_mm", 6553.6)
    assert increments([6553.4, 0.4], name=name) == [(0.6, "good")]
    assert increments([20.0, 0.4], name=name) == [(0.4, "good")]


def test_a_channel_that_is_measured_beside_its_counter_stays_as_it_was_measured() -> None:
    (first, second) = totals([1.0, 2.0])
    beside = FlaggedSample(
        Sample(second.sample.origin, second.sample.time_utc, {NAME: 2.0, "rain_mm": 0.3}),
        {NAME: "good", "rain_mm": "range"},
    )
    found = with_increments([first, beside], {}, (RAIN,))[1]
    assert (found.sample.values["rain_mm"], found.flags["rain_mm"]) == (0.3, "range")


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.integers(0, 65_535), st.booleans())
def test_the_increments_add_up_to_what_fell(tips: list[int], start: int, wraps: bool) -> None:
    fallen = list(accumulate([start, *tips]))
    values: list[float | None] = [float(total % 65_536 if wraps else total) for total in fallen]
    found = increments(values, name=count_name("rain_mm", 65_536.0 if wraps else None))
    assert sum(value for value, _ in found) == pytest.approx(sum(tips))
    assert {flag for _, flag in found} <= {"good"}


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 50)), min_size=2, max_size=40),
    st.integers(1, 38),
)
def test_windows_add_up_wherever_they_are_cut_and_each_logger_is_by_itself(
    sent: list[tuple[str, int]], cut: int
) -> None:
    sums: dict[str, int] = {}
    samples = []
    for at, (origin, tips) in enumerate(sent):
        sums[origin] = sums.get(origin, 0) + tips
        samples.append(
            FlaggedSample(Sample(origin, f"2026-05-01T00:{at:02d}:00Z", {NAME: 7.0 + sums[origin]}), {NAME: "good"})
        )
    whole = with_increments(samples, {}, (RAIN,))
    last = {(one.sample.origin, NAME): one.sample.values[NAME] or 0.0 for one in samples[:cut]}
    parts = with_increments(samples[:cut], {}, (RAIN,)) + with_increments(samples[cut:], last, (RAIN,))
    assert parts == whole
