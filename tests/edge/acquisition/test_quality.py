"""Quality control: what is flagged, what is not, and that the order of arrival does not matter."""

import math
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldedge.acquisition.quality import PERSISTS_SAMPLES, Judgement, judge, spans
from fieldedge.contract.samples import Channel, Flag, FlaggedSample, Sample
from fieldedge.system.errors import DataError
from fieldedge.system.instants import instant_utc, parse_instant
from fieldedge.workloads.agriculture.channels import CHANNELS

START = datetime(2026, 5, 1, tzinfo=UTC)
TEMPERATURE = Channel("t", "degC", -45.0, 55.0, max_change_per_h=20.0, flat_after_h=8.0, spike=6.0)
RAIN = Channel("r", "mm", 0.0, 450.0, "sum")


def at(hours: float) -> str:
    return instant_utc(START + timedelta(hours=hours))


def series(values: Iterable[float | None], step_h: float = 0.25, name: str = "t", origin: str = "s") -> list[Sample]:
    return [Sample(origin, at(number * step_h), {name: value}) for number, value in enumerate(values)]


def flags(samples: Sequence[FlaggedSample], name: str = "t") -> list[Flag]:
    return [flagged.flags[name] for flagged in samples]


def flags_of(values: Iterable[float | None], step_h: float = 0.25, channel: Channel = TEMPERATURE) -> list[Flag]:
    judged = judge([], series(values, step_h, channel.name), [channel])
    assert judged.amended == []
    return flags(judged.samples, channel.name)


class Memory:
    """What a store does with a judgement: the first sample of a moment stays, flags are amended."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self.channels = channels
        self.samples: dict[tuple[str, str], FlaggedSample] = {}

    def take(self, arrived: Sequence[Sample]) -> Judgement:
        earlier = [
            flagged
            for span in spans(arrived, self.channels)
            for (origin, time_utc), flagged in self.samples.items()
            if origin == span.origin
            and parse_instant(span.first_utc) <= parse_instant(time_utc) < parse_instant(span.last_utc)
        ]
        judged = judge(earlier, arrived, self.channels)
        for flagged in judged.samples:
            self.samples.setdefault((flagged.sample.origin, flagged.sample.time_utc), flagged)
        for flagged in judged.amended:
            assert (flagged.sample.origin, flagged.sample.time_utc) in self.samples
            self.samples[flagged.sample.origin, flagged.sample.time_utc] = flagged
        return judged

    def flags(self) -> dict[tuple[str, str], dict[str, Flag]]:
        return {key: dict(flagged.flags) for key, flagged in sorted(self.samples.items())}


def test_what_is_in_range_and_moves_as_air_does_is_good() -> None:
    assert set(flags_of([20.0 + 5.0 * math.sin(number / 10.0) for number in range(200)])) == {"good"}


def test_no_number_is_missing_and_never_judged_otherwise() -> None:
    judged = judge([], series([20.0, None, math.nan, math.inf, -math.inf, 20.1]), [TEMPERATURE])
    assert flags(judged.samples) == ["good", "missing", "missing", "missing", "missing", "good"]
    assert [flagged.sample.values["t"] for flagged in judged.samples] == [20.0, None, None, None, None, 20.1]


@pytest.mark.parametrize(
    ("value", "flag"), [(-45.0, "good"), (55.0, "good"), (-45.01, "range"), (55.01, "range"), (6999.0, "range")]
)
def test_beyond_its_range_no_value_is_true(value: float, flag: Flag) -> None:
    assert flags_of([value]) == [flag]


def test_a_value_out_of_range_is_no_measure_for_the_next() -> None:
    assert flags_of([20.0, 6999.0, 20.2, -99.0, 20.1]) == ["good", "range", "good", "range", "good"]


def test_a_value_that_moves_faster_than_it_can_is_flagged() -> None:
    assert flags_of([20.0, 24.9, 20.1]) == ["good", "good", "good"]
    assert flags_of([20.0, 20.2, 25.3]) == ["good", "good", "rate"]


def test_time_that_has_passed_is_time_to_move() -> None:
    assert flags_of([10.0, 29.0], step_h=1.0) == ["good", "good"]
    assert flags_of([10.0, 31.0], step_h=1.0) == ["good", "rate"]


def test_noise_within_seconds_is_no_movement() -> None:
    rng = random.Random(1)  # noqa: S311  (a fixed sequence)
    assert set(flags_of([20.0 + rng.gauss(0.0, 0.3) for _ in range(300)], step_h=1.0 / 3600.0)) == {"good"}


def test_within_a_second_values_are_judged_in_the_order_of_their_instants() -> None:
    told = [("12:15:00Z", 20.0), ("12:15:00.000001Z", 20.1), ("12:15:00.5Z", 40.0), ("12:15:01Z", 20.2)]
    sent = [Sample("s", f"2026-05-01T{time}", {"t": value}) for time, value in told]
    for arrived in (sent, sent[::-1]):
        found = judge([], arrived, [TEMPERATURE])
        flags = {one.sample.time_utc[11:]: one.flags["t"] for one in found.samples}
        assert [flags[time] for time, _ in told] == ["good", "good", "spike", "good"]
    late = judge(judge([], [sent[0], sent[1], sent[3]], [TEMPERATURE]).samples, [sent[2]], [TEMPERATURE])
    assert [one.flags["t"] for one in late.samples] == ["spike"] and late.amended == []


def test_a_jump_that_persists_becomes_good_again() -> None:
    step = flags_of([20.0, 20.1, *(32.0 + 0.1 * number for number in range(6))], step_h=0.25)
    assert step == ["good", "good", "rate", "rate", *["good"] * 4]
    assert step.count("rate") == PERSISTS_SAMPLES - 1


def test_a_burst_of_wrong_values_within_seconds_does_not_persist() -> None:
    burst = [20.0, 20.1, *(45.0 + 0.01 * number for number in range(20)), 20.2]
    assert flags_of(burst, step_h=1.0 / 3600.0) == ["good", "good", *["rate"] * 20, "good"]


def test_a_level_that_was_left_again_must_persist_anew() -> None:
    assert flags_of([20.0, 32.0, 32.1, 20.1, 32.0]) == ["good", "rate", "rate", "good", "rate"]


def test_after_a_wrong_first_value_the_channel_comes_free() -> None:
    assert flags_of([-30.0, *(20.0 + 0.1 * number for number in range(8))])[PERSISTS_SAMPLES:] == ["good"] * 6


def test_a_sensor_that_jumps_about_is_not_believed_but_comes_back() -> None:
    rng = random.Random(2)  # noqa: S311  (a fixed sequence)
    wild = [rng.uniform(-45.0, 55.0) for _ in range(200)]
    found = flags_of([20.0, *wild, *(21.0 + 0.1 * number for number in range(8))])
    assert found[:201].count("good") < 80
    assert found[-4:] == ["good"] * 4


def test_a_value_that_stands_still_is_flat_from_when_it_cannot_be_true() -> None:
    found = flags_of([20.0, *[21.0] * 40, 21.1])
    assert found == ["good"] * 33 + ["flat"] * 8 + ["good"]


def test_rain_may_stand_still_for_ever() -> None:
    assert set(flags_of([0.0] * 2000, channel=RAIN)) == {"good"}


@pytest.mark.parametrize("silence_h", [5.0, 500.0])
def test_a_silence_ends_a_stand(silence_h: float) -> None:
    before = series([21.0] * 30)
    after = [Sample("s", at(7.25 + silence_h + 0.25 * number), {"t": 21.0}) for number in range(30)]
    assert set(flags(judge([], before + after, [TEMPERATURE]).samples)) == {"good"}


def test_a_stand_goes_on_over_many_judgements() -> None:
    memory = Memory([TEMPERATURE])
    for sample in series([20.0, *[21.0] * 100, 21.1]):
        memory.take([sample])
    assert [found["t"] for found in memory.flags().values()] == ["good"] * 33 + ["flat"] * 68 + ["good"]


def test_a_peak_between_two_neighbours_that_agree_is_a_spike() -> None:
    assert flags_of([20.0, 20.1, 29.0, 20.2, 20.3]) == ["good", "good", "spike", "good", "good"]
    assert flags_of([20.0, 20.1, 11.0, 20.2, 20.3], step_h=1.0) == ["good", "good", "spike", "good", "good"]


def test_a_spike_is_known_only_with_the_next_value_and_then_amended() -> None:
    memory = Memory([TEMPERATURE])
    memory.take(series([20.0, 20.1, 26.0 + 0.5], step_h=1.0))
    assert [found["t"] for found in memory.flags().values()] == ["good", "good", "good"]
    judged = memory.take([Sample("s", at(3.0), {"t": 20.3})])
    assert flags(judged.samples) == ["good"]
    assert [(flagged.sample.time_utc, flagged.flags["t"]) for flagged in judged.amended] == [(at(2.0), "spike")]
    assert memory.take([Sample("s", at(4.0), {"t": 20.4})]).amended == []


def test_after_a_spike_values_are_measured_by_what_was_before_it() -> None:
    narrow = Channel("t", "degC", -45.0, 55.0, max_change_per_h=2.0, spike=0.3)
    assert flags_of([20.0, 20.45, 19.95, 20.0], channel=narrow) == ["good", "spike", "good", "good"]


def test_a_front_is_no_spike() -> None:
    assert "spike" not in flags_of([20.0, 27.0, 34.0, 33.0, 32.0], step_h=1.0)
    assert "spike" not in flags_of([20.0, 12.0, 13.0, 14.0], step_h=1.0)
    assert "spike" not in flags_of([20.0, 36.0, 28.0], step_h=1.0)


def test_neighbours_that_are_far_away_in_time_are_none() -> None:
    for hours in ((0.0, 4.0, 4.25), (0.0, 0.25, 4.25)):
        sent = [Sample("s", at(hour), {"t": t}) for hour, t in zip(hours, (20.0, 30.0, 20.0), strict=True)]
        assert "spike" not in flags(judge([], sent, [TEMPERATURE]).samples)


def test_every_other_value_being_wrong_leaves_the_right_ones_good() -> None:
    found = flags_of([20.0, 20.1] + [35.0, 20.2] * 10)
    assert found == ["good", "good"] + ["spike", "good"] * 10


def test_loggers_and_channels_are_judged_apart() -> None:
    both = [Sample("a", at(0), {"t": 20.0, "r": 0.0}), Sample("b", at(0.25), {"t": 45.0, "r": 500.0})]
    judged = judge([], both, [TEMPERATURE, RAIN])
    assert [dict(flagged.flags) for flagged in judged.samples] == [
        {"t": "good", "r": "good"},
        {"t": "good", "r": "range"},
    ]


def test_a_channel_that_nobody_declared_is_only_looked_at_for_being_there() -> None:
    judged = judge([], [Sample("s", at(0), {"x": 1e9, "y": None, "z": math.nan})], [TEMPERATURE])
    assert judged.samples[0].flags == {"x": "good", "y": "missing", "z": "missing"}


def test_a_sample_that_comes_again_keeps_its_flags() -> None:
    memory = Memory([TEMPERATURE])
    sent = series([20.0, 20.1, 29.0, 20.2])
    memory.take(sent)
    again = judge(list(memory.samples.values()), [*sent, *sent], [TEMPERATURE])
    assert flags(again.samples) == ["good", "good", "spike", "good"] * 2
    assert again.amended == []


def test_another_sample_of_a_moment_that_is_taken_disturbs_nothing() -> None:
    memory = Memory([TEMPERATURE])
    memory.take(series([20.0, 20.1]))
    other = [Sample("s", at(0.25), {"t": 40.0}), Sample("s", at(0.5), {"t": 20.2}), Sample("s", at(0.5), {"t": 99.0})]
    judged = judge(list(memory.samples.values()), other, [TEMPERATURE])
    assert flags(judged.samples) == ["good", "good", "range"]
    assert judged.amended == []


def test_a_value_that_comes_late_is_judged_between_its_neighbours_and_they_by_it() -> None:
    memory = Memory([TEMPERATURE])
    values = [20.0, 20.1, 29.0, 20.2, 20.3]
    sent = series(values)
    memory.take([sent[0], sent[2]])
    memory.take([sent[4]])
    judged = memory.take([sent[3], sent[1]])
    assert flags(judged.samples) == ["good", "good"]
    assert [found["t"] for found in memory.flags().values()] == flags_of(values)


def test_a_spike_that_a_late_value_confirms_is_good_after_all() -> None:
    memory = Memory([TEMPERATURE])
    memory.take(series([20.0, 29.0, 20.2], step_h=1.0))
    judged = memory.take([Sample("s", at(1.25), {"t": 29.1})])
    assert flags(judged.samples) == ["good"]
    assert [(flagged.sample.time_utc, flagged.flags["t"]) for flagged in judged.amended] == [(at(1.0), "good")]


def test_a_spike_whose_neighbour_lies_beyond_what_was_read_stays_one() -> None:
    memory = Memory([TEMPERATURE])
    memory.take(series([20.0, 20.1, 29.0, 20.2], step_h=1.0))
    late = Sample("s", at(2.9 - 12.25), {"t": 20.0})
    assert memory.take([late]).amended == []
    assert [found["t"] for found in memory.flags().values()] == ["good", "good", "good", "spike", "good"]


def test_old_samples_do_not_ask_for_all_that_is_between() -> None:
    arrived = [Sample("s", at(0), {"t": 1.0}), Sample("s", at(1), {"t": 1.0}), Sample("s", at(5000), {"t": 1.0})]
    found = spans([*arrived, Sample("o", at(1), {"t": 1.0})], [TEMPERATURE])
    assert [(span.origin, span.first_utc, span.last_utc) for span in found] == [
        ("s", at(-12.25), at(13.25)),
        ("s", at(5000 - 12.25), at(5000 + 12.25)),
        ("o", at(-11.25), at(13.25)),
    ]
    assert spans([], [TEMPERATURE]) == []


@pytest.mark.parametrize(
    "time_utc",
    ["", "yesterday", "2026-05-01T12:15:00", "2026-05-01T12:15:00+00:00", "2026-05-01T12:15:00.50Z", "\ud800" * 20],
)
def test_a_time_that_is_none_is_named(time_utc: str) -> None:
    for act in (spans, lambda arrived, channels: judge([], arrived, channels)):
        with pytest.raises(DataError, match="expected one like 2006-05-01T12:15:00Z"):
            act([Sample("s", time_utc, {"t": 1.0})], [TEMPERATURE])


VALUES = st.none() | st.floats() | st.sampled_from([20.0, 20.1, 20.2, 21.0, 26.5, 29.0, 40.0, 41.0, -40.0, 60.0])


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.tuples(VALUES, VALUES), max_size=40),
    steps=st.lists(
        st.sampled_from([2e-6 / 3.6, 1e-4, 0.01, 0.25, 0.25, 0.25, 1.0, 3.0, 5.0, 40.0]), min_size=40, max_size=40
    ),
    seed=st.integers(0, 1000),
    size=st.integers(1, 40),
    is_shuffled=st.booleans(),
)
def test_the_same_samples_get_the_same_flags_however_they_come(
    values: list[tuple[float | None, float | None]], steps: list[float], seed: int, size: int, is_shuffled: bool
) -> None:
    channels = [TEMPERATURE, RAIN]
    hours = [sum(steps[:number]) for number in range(len(values))]
    sent = [Sample("s", at(h), {"t": t, "r": r}) for h, (t, r) in zip(hours, values, strict=True)]
    expected = Memory(channels)
    expected.take(sent)
    if is_shuffled:
        random.Random(seed).shuffle(sent)  # noqa: S311
    found = Memory(channels)
    for first in range(0, len(sent), size):
        judged = found.take(sent[first : first + size])
        assert len(judged.samples) == len(sent[first : first + size])
    assert found.flags() == expected.flags()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.integers(0, 8),
            st.dictionaries(st.sampled_from([*(channel.name for channel in CHANNELS), "x"]), VALUES, max_size=6),
        ),
        max_size=25,
    ),
    st.integers(1, 10),
)
def test_whatever_comes_is_answered_one_for_one_and_can_be_stored(
    sent: list[tuple[str, int, dict[str, float | None]]], size: int
) -> None:
    samples = [Sample(origin, at(0.25 * number), values) for origin, number, values in sent]
    memory = Memory(CHANNELS)
    for first in range(0, len(samples), size):
        arrived = samples[first : first + size]
        judged = memory.take(arrived)
        assert [(f.sample.origin, f.sample.time_utc) for f in judged.samples] == [
            (s.origin, s.time_utc) for s in arrived
        ]
        for flagged in (*judged.samples, *judged.amended):
            assert flagged.flags.keys() == flagged.sample.values.keys()
            for name, value in flagged.sample.values.items():
                assert (value is None) == (flagged.flags[name] == "missing")
                assert value is None or math.isfinite(value)


SOIL = Channel("t", "m3/m3", 0.0, 0.75, "mean", 0.6, 96.0, 0.08, floor=0.01)
FAILING = Channel("t", "degC", -45.0, 55.0, "mean", 20.0, 8.0, 6.0, error_values=(-40.0, 0.0))


def test_what_lies_below_the_floor_is_a_fault_and_counts_for_no_other_value() -> None:
    assert flags_of([0.24, 0.0, 0.0, 0.241, 0.009, 0.01], channel=SOIL)[:5] == [
        "good", "fault", "fault", "good", "fault"
    ]  # fmt: skip


@pytest.mark.parametrize("step_h", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("error", [-40.0, 0.0])
def test_an_error_value_is_a_fault_where_nothing_leads_there_however_long_it_stays(error: float, step_h: float) -> None:
    warm = [20.0, 20.3, 19.8]
    assert flags_of([*warm, *[error] * 7, *warm], step_h, FAILING) == [*["good"] * 3, *["fault"] * 7, *["good"] * 3]


def test_an_error_value_that_a_winter_leads_to_is_true() -> None:
    assert set(flags_of([2.0, 1.0, 0.0, 0.0, -1.0, 0.0], channel=FAILING)) == {"good"}
    assert set(flags_of([-36.0, -38.0, -40.0, -40.0, -39.5], channel=FAILING)) == {"good"}
    assert flags_of([0.0, 0.0, 0.5], channel=FAILING)[0] == "good", "nothing is known, and winters have many zeros"
    assert flags_of([-40.0], channel=FAILING) == ["fault"]


def test_one_exact_value_beyond_a_jump_is_no_new_level_until_it_moves() -> None:
    stuck = flags_of([20.0, 20.1, *[33.3] * 12], step_h=0.25)
    assert stuck == ["good", "good", *["rate"] * 12]
    assert flags_of([20.0, 20.1, *[33.3] * 5, 33.4, 33.5])[-2:] == ["good"] * 2
    assert flags_of([20.0, 20.1, *[33.3] * 5, 20.2])[-1] == "good"


def test_a_spike_whose_neighbour_turns_out_a_fault_is_none() -> None:
    """The zero after it was believed as long as no other value was known."""
    sent, memory = series([20.0, 0.0, 20.2, 0.0]), Memory([FAILING])
    for index in (2, 1, 3, 0):
        memory.take([sent[index]])
    assert [memory.samples[sample.origin, sample.time_utc].flags["t"] for sample in sent] == [
        "good",
        "fault",
        "good",
        "fault",
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([20.0, 20.2, 19.5, 33.3, 33.4, 0.0, -40.0, None]), min_size=1, max_size=25),
    st.randoms(use_true_random=False),
)
def test_faults_are_the_same_in_any_order_of_arrival(values: list[float | None], order: random.Random) -> None:
    sent = series(values)
    whole = {one.sample.time_utc: one.flags["t"] for one in judge([], sent, [FAILING]).samples}
    memory = Memory([FAILING])
    shuffled = list(sent)
    order.shuffle(shuffled)
    for sample in shuffled:
        memory.take([sample])
    assert {one.sample.time_utc: one.flags["t"] for one in memory.samples.values()} == whole
