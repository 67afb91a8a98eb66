"""A day's samples become one reading, or the reason why there is none."""

import json
import math
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldedge.contract.samples import Flag, FlaggedSample, Sample
from fieldedge.device.config import Site
from fieldedge.workload import Observed
from fieldedge.workloads.agriculture.channels import CHANNELS
from fieldedge.workloads.agriculture.days import summarise_day
from fieldedge.workloads.agriculture.evapotranspiration import hargreaves_mm, penman_monteith_mm, wind_at_2_m_m_s
from fieldedge.workloads.agriculture.tables import READINGS
from tests.edge.sample import field_record

DAY = "2006-07-06"
DAY_OF_YEAR = 187
SITE = Site(latitude_deg=41.2, elevation_m=370.0)


def stamp(hours: float, day: str = DAY) -> str:
    seconds = round(hours * 3600)
    following = date.fromisoformat(day) + timedelta(days=seconds // 86_400)
    rest = seconds % 86_400
    return f"{following}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}Z"


def temperature_c(hours: float) -> float:
    return 20.0 - 8.0 * math.cos((hours - 3.0) * math.pi / 12.0)


def weather(hours: float) -> dict[str, float | None]:
    return {
        "air_temperature_c": temperature_c(hours),
        "relative_humidity_pct": 80.0 - 2.0 * (temperature_c(hours) - 12.0),
        "wind_speed_m_s": 1.9 if int(4.0 * hours) % 2 else 2.1,
        "solar_radiation_w_m2": max(-3.0, 900.0 * math.sin((hours - 6.0) * math.pi / 12.0)),
        "rain_mm": 0.1,
    }


def sample(hours: float, values: dict[str, float | None], origin: str = "station", **bad: Flag) -> FlaggedSample:
    return FlaggedSample(Sample(origin, stamp(hours), values), {name: bad.get(name, "good") for name in values})


def whole_day(step_h: float = 0.25) -> list[FlaggedSample]:
    return [sample(step_h * number, weather(step_h * number)) for number in range(1, round(24 / step_h) + 1)]


def without(samples: list[FlaggedSample], *names: str) -> list[FlaggedSample]:
    return [
        FlaggedSample(
            Sample(
                one.sample.origin,
                one.sample.time_utc,
                {name: value for name, value in one.sample.values.items() if name not in names},
            ),
            one.flags,
        )
        for one in samples
    ]


def summary(samples: list[FlaggedSample]) -> Observed:
    return summarise_day(samples, field_record(), DAY, SITE)


def reading(samples: list[FlaggedSample]) -> dict[str, Any]:
    found = summary(samples)
    assert found.record is not None, found.reason
    assert found.reason is None
    assert READINGS.check(found.record, DAY) == found.record
    return found.record


def reason(samples: list[FlaggedSample]) -> str:
    found = summary(samples)
    assert found.record is None
    assert found.reason is not None
    return found.reason


def test_the_channels_hold_what_the_table_holds() -> None:
    ranges = {column.name: (column.minimum, column.maximum) for column in READINGS.columns}
    channels = {channel.name: (channel.minimum, channel.maximum) for channel in CHANNELS}
    assert channels["air_temperature_c"] == (ranges["tmin_c"][0], ranges["tmax_c"][1])
    assert {name: channels[name] for name in ranges if name in channels} == {
        name: bounds for name, bounds in ranges.items() if name in channels
    }
    assert len([name for name in ranges if name in channels]) == 8


def test_a_day_is_its_extremes_its_sums_and_its_evapotranspiration() -> None:
    found = reading(whole_day())
    assert found["record_id"] == f"2006/champion-00/readings/{DAY}"
    assert (found["season"], found["region"], found["field_id"], found["date"]) == (
        2006,
        "champion",
        "champion-00",
        DAY,
    )
    assert (found["tmin_c"], found["tmax_c"], found["rain_mm"]) == (12.0, 28.0, pytest.approx(9.6))
    solar = sum(max(-3.0, 900.0 * math.sin((number / 4 - 6.0) * math.pi / 12.0)) for number in range(1, 97)) / 96
    expected = penman_monteith_mm(12.0, 28.0, 48.0, 80.0, 2.0, solar * 0.0864, 41.2, 370.0, DAY_OF_YEAR)
    assert found["et0_mm"] == pytest.approx(expected, abs=0.006)
    assert (found["vwc_15cm_m3_m3"], found["ndvi"]) == (None, None)
    assert summary(whole_day()).flags["et0"] == "penman-monteith"


def test_ten_seconds_after_midnight_begin_a_day_and_a_fraction_before_it_ends_one() -> None:
    day = whole_day()
    edges = [
        FlaggedSample(Sample("station", time_utc, {"rain_mm": rain_mm}), {"rain_mm": "good"})
        for time_utc, rain_mm in (
            *((f"{DAY}T00:00:00Z", 1.0), (f"{DAY}T00:00:10Z", 2.0), (f"{DAY}T23:59:59.999999Z", 4.0)),
            *(("2006-07-05T23:59:59.999999Z", 8.0), ("2006-07-07T00:00:00.5Z", 16.0)),
            *((f"{DAY}T00:00:09.9Z", 32.0), ("2006-07-07T00:00:10Z", 64.0)),
        )
    ]
    assert reading([*edges, *day])["rain_mm"] == pytest.approx(reading(day)["rain_mm"] + 2.0 + 4.0 + 16.0)


def test_a_sample_at_midnight_ends_the_day_before() -> None:
    day = whole_day()
    assert day[-1].sample.time_utc == "2006-07-07T00:00:00Z"
    before, after = sample(0.0, {"rain_mm": 40.0}), sample(24.25, {"rain_mm": 40.0})
    assert reading([before, *day, after]) == reading(day)


def test_only_good_values_count() -> None:
    wrong: list[FlaggedSample] = [
        sample(12.1, {"air_temperature_c": 50.0, "rain_mm": 300.0}, air_temperature_c="spike", rain_mm="range"),
        sample(12.2, {"air_temperature_c": None, "rain_mm": 0.0}, air_temperature_c="missing"),
        sample(12.3, {"air_temperature_c": 49.0}, air_temperature_c="spike"),
    ]
    assert reading([*whole_day(), *wrong]) == reading(whole_day())
    assert summary([*whole_day(), *wrong]).flags["bad"] == {
        "air_temperature_c": {"spike": 2, "missing": 1},
        "rain_mm": {"range": 1},
    }


@pytest.mark.parametrize("absent", ["solar_radiation_w_m2", "relative_humidity_pct", "wind_speed_m_s"])
def test_without_radiation_humidity_or_wind_temperature_alone_gives_et0(absent: str) -> None:
    found = summary(without(whole_day(), absent))
    assert found.flags["et0"] == "hargreaves"
    assert found.record is not None
    assert found.record["et0_mm"] == pytest.approx(hargreaves_mm(12.0, 28.0, 41.2, DAY_OF_YEAR), abs=0.006)


def test_radiation_that_was_not_measured_at_noon_is_not_averaged() -> None:
    gap = [one for one in whole_day() if not "T08" < one.sample.time_utc[10:] < "T15:30"]
    assert summary([*without(whole_day(), "solar_radiation_w_m2"), *gap]).flags["et0"] == "hargreaves"


def test_et0_that_a_station_gives_is_taken_by_the_hour_or_for_the_day() -> None:
    hourly = [sample(hour + 0.1, {"et0_mm": 0.2}) for hour in range(24)]
    daily = [sample(24.0, {"et0_mm": 5.5}, "other")]
    for given_, expected in ((hourly, 4.8), (daily, 5.5)):
        found = summary([*whole_day(), *given_])
        assert found.flags["et0"] == "given"
        assert found.record is not None
        assert found.record["et0_mm"] == expected
    assert summary([*whole_day(), *hourly[:9]]).flags["et0"] == "penman-monteith"


def test_a_day_without_a_third_of_its_temperature_has_no_reading() -> None:
    day = whole_day()
    assert reading([*day[:20], *day[40:]])["tmax_c"] == 28.0
    assert reason(day[:60]) == ("air_temperature_c has good values for 15.0 h of the day; expected at least 16 h")
    found = summary(day[:60])
    assert found.flags["hours"]["air_temperature_c"] == 15.0
    assert "for 0.0 h of the day" in reason([])


def test_a_logger_that_speaks_every_three_hours_is_enough() -> None:
    assert reading(whole_day(step_h=3.0))["tmin_c"] == 12.0
    assert "12.0 h" in reason(whole_day(step_h=6.0))


def test_a_day_whose_rain_nobody_measured_has_no_reading_but_a_part_of_it_counts() -> None:
    assert reason(without(whole_day(), "rain_mm")) == "rain_mm has no good value; expected at least one"
    day = whole_day()
    assert reading([*day[:10], *without(day[10:], "rain_mm")])["rain_mm"] == pytest.approx(1.0)


def test_a_day_that_no_field_can_have_has_no_reading() -> None:
    flood = [sample(number + 0.1, {"rain_mm": 100.0 - number % 2}) for number in range(24)]
    assert "rain_mm is" in reason([*without(whole_day(), "rain_mm"), *flood])


def test_a_probes_reading_is_the_mean_of_its_evening_as_late_as_there_is_one() -> None:
    probes = [sample(float(hour), {"vwc_15cm_m3_m3": 0.20 + 0.001 * hour}, "probe") for hour in range(1, 25)]
    assert reading([*whole_day(), *probes])["vwc_15cm_m3_m3"] == pytest.approx(0.2215)
    assert reading([*whole_day(), *probes[:6]])["vwc_15cm_m3_m3"] == pytest.approx(0.2035)
    assert reading([*whole_day(), probes[3]])["vwc_15cm_m3_m3"] == pytest.approx(0.204)


def test_a_flight_is_its_last_value() -> None:
    flight = [sample(10.0, {"ndvi": 0.61, "ndre": 0.30}, "drone"), sample(10.1, {"ndvi": 0.62, "ndre": 0.31}, "drone")]
    found = reading([*whole_day(), *flight])
    assert (found["ndvi"], found["ndre"]) == (0.62, 0.31)


def test_two_gauges_are_not_twice_the_rain() -> None:
    second = [sample(float(hour), {"rain_mm": 1.0}, "second") for hour in range(1, 13)]
    found = summary([*whole_day(), *second])
    assert found.record is not None
    assert found.record["rain_mm"] == pytest.approx(9.6)
    assert found.flags["loggers"]["rain_mm"] == "station"


def test_the_order_of_samples_does_not_matter() -> None:
    day = [*whole_day(), *(sample(float(hour), {"rain_mm": 1.0}, "another") for hour in range(1, 25))]
    assert summary(day[::-1]) == summary(day)


NAMES = [channel.name for channel in CHANNELS]
FLAGS: list[Flag] = ["good", "good", "good", "missing", "range", "fault", "rate", "flat", "spike"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.integers(0, 86_400),
            st.dictionaries(
                st.sampled_from(NAMES),
                st.tuples(st.none() | st.floats(-45.0, 450.0), st.sampled_from(FLAGS)),
                max_size=5,
            ),
        ),
        unique_by=lambda one: one[:2],
        max_size=30,
    ),
    st.booleans(),
    st.floats(-90.0, 90.0),
)
def test_any_samples_give_a_sound_reading_or_a_reason(
    sent: list[tuple[str, int, dict[str, tuple[float | None, Flag]]]], is_on_a_day: bool, latitude_deg: float
) -> None:
    samples = [
        FlaggedSample(
            Sample(origin, stamp(seconds / 3600.0), {name: value for name, (value, _) in pairs.items()}),
            {name: flag for name, (_, flag) in pairs.items()},
        )
        for origin, seconds, pairs in sent
    ]
    found = summarise_day(
        [*(whole_day(1.0) if is_on_a_day else []), *samples], field_record(), DAY, Site(latitude_deg, 0.0)
    )
    assert (found.record is None) == (found.reason is not None)
    assert found.record is None or READINGS.check(found.record, DAY) == found.record
    assert json.loads(json.dumps(found.flags, allow_nan=False)) == found.flags


def test_wind_that_was_measured_on_a_mast_is_that_at_two_metres_in_et0() -> None:
    low, mast = (summarise_day(whole_day(), field_record(), DAY, replace(SITE, wind_height_m=h)) for h in (2.0, 10.0))
    assert low.record is not None and mast.record is not None
    slower = [
        replace(one, sample=replace(one.sample, values={**one.sample.values, "wind_speed_m_s": at_2_m}))
        for one in whole_day()
        for at_2_m in [wind_at_2_m_m_s(one.sample.values["wind_speed_m_s"] or 0.0, 10.0)]
    ]
    expected = summarise_day(slower, field_record(), DAY, SITE)
    assert expected.record is not None
    assert mast.record["et0_mm"] == expected.record["et0_mm"] < low.record["et0_mm"]


def et0_of(*given: FlaggedSample, day: list[FlaggedSample] | None = None) -> tuple[str, list[str]]:
    """How ET0 was come by where a station gives some, and which channels are doubted."""
    found = summary([*(whole_day() if day is None else day), *given])
    return found.flags["et0"], sorted(found.doubts)


def test_a_part_of_a_days_et0_is_not_the_days() -> None:
    hourly = [sample(hour + 0.1, {"et0_mm": 0.2}) for hour in range(24)]
    thinned = [
        one if number % 3 == 0 else sample(number + 0.1, {"et0_mm": None}, et0_mm="missing")
        for number, one in enumerate(hourly)
    ]
    alone = [sample(number + 0.1, {"et0_mm": None}, et0_mm="missing") for number in range(23)]
    assert et0_of(*thinned)[0] == "penman-monteith"
    assert et0_of(*alone, sample(23.1, {"et0_mm": 4.8}))[0] == "penman-monteith"
    assert et0_of(*hourly[:10], *hourly[13:])[0] == "penman-monteith", "three hours are not there at all"
    assert et0_of(*hourly) == ("given", ["rain_mm"])


@pytest.mark.parametrize(
    ("given_mm", "is_taken"), [(0.02, False), (0.26, False), (2.5, True), (9.0, True), (19.0, False)]
)
def test_a_single_et0_that_cannot_be_the_days_is_doubted_and_does_not_count(given_mm: float, is_taken: bool) -> None:
    how, doubted = et0_of(sample(24.0, {"et0_mm": given_mm}, "other"))
    assert (how == "given") == is_taken
    assert ("et0_mm" in doubted) != is_taken


def rain_of(values: list[float | None], day: list[FlaggedSample] | None = None) -> Observed:
    step_h = 24.0 / len(values)
    gauge = [
        sample(step_h * (number + 1), {"rain_mm": value}, "gauge", rain_mm="good" if value is not None else "missing")
        for number, value in enumerate(values)
    ]
    return summary([*without(whole_day() if day is None else day, "rain_mm"), *gauge])


@pytest.mark.parametrize(
    "values",
    [
        [2.0] * 24 + [2.4] * 24,  # a running total on a day of little rain
        [2.0] * 48,  # and of none
        [0.2 * number for number in range(1, 49)],
    ],
)
def test_a_counter_that_is_taken_for_rain_has_no_reading_and_the_setting_is_named(values: list[float | None]) -> None:
    found = rain_of(values)
    assert found.record is None
    assert found.reason is not None and "counter = true" in found.reason
    assert "rain_mm" in found.doubts


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=12, max_size=48), st.integers(1, 65_000))
def test_no_running_total_is_ever_summed_without_a_word(tips: list[int], start: int) -> None:
    total, values = start, []
    for one in tips:
        total += one
        values.append(round(0.2 * total, 1))
    found = rain_of(list(values))
    assert found.record is None or "rain_mm" in found.doubts


def test_true_rain_is_used_and_only_what_rains_all_day_is_told() -> None:
    shower: list[float | None] = [0.0] * 20 + [0.4, 3.0, 5.2, 2.0, 0.6, 0.2] + [0.0] * 22
    assert rain_of(shower).doubts == {}
    evening: list[float | None] = [0.0] * 44 + [0.2, 0.2, 0.2, 0.4]
    assert rain_of(evening).doubts == {}
    flood: list[float | None] = [0.0] * 40 + [60.0, 90.0, 70.0, 10.0, 1.0, 0.0, 0.0, 0.0]
    assert "comes to 231 mm" in rain_of(flood).doubts["rain_mm"]
    all_day: list[float | None] = [0.2, 0.6, 0.4] * 16
    found = rain_of(all_day)
    assert found.record is not None and found.record["rain_mm"] == pytest.approx(19.2)
    assert list(found.doubts) == ["rain_mm"] and found.flags["doubts"] == found.doubts


def test_a_gauge_that_failed_for_a_part_of_the_day_is_told() -> None:
    found = rain_of([0.2] * 6 + [None] * 18)
    assert found.record is not None and found.record["rain_mm"] == pytest.approx(1.2)
    assert "18 of 24 values of the day are bad" in found.doubts["rain_mm"]


def changed(channel: str, slope: float, offset: float = 0.0) -> list[FlaggedSample]:
    """The whole day with one channel in another unit."""
    return [
        FlaggedSample(
            Sample(
                one.sample.origin,
                one.sample.time_utc,
                {**one.sample.values, channel: (one.sample.values[channel] or 0.0) * slope + offset},
            ),
            one.flags,
        )
        for one in whole_day()
    ]


@pytest.mark.parametrize(
    ("channel", "slope", "says"),
    [
        ("solar_radiation_w_m2", 0.001, "kW/m2"),
        ("solar_radiation_w_m2", 3.0, "its unit"),
        ("solar_radiation_w_m2", 0.0036, "MJ/m2/h"),
        ("wind_speed_m_s", 10.0, "km/h"),
    ],
)
def test_a_days_level_that_cannot_be_true_does_not_count_and_the_unit_is_asked_for(
    channel: str, slope: float, says: str
) -> None:
    found = summary(changed(channel, slope))
    assert found.flags["et0"] == "hargreaves"
    assert says in found.doubts[channel] and "[source.fields]" in found.doubts[channel]


@pytest.mark.parametrize(
    ("channel", "slope", "offset", "says"),
    [
        ("solar_radiation_w_m2", 0.1, 0.0, "as under a clear sky"),
        ("air_temperature_c", 0.1, 0.0, "moves by 1.6 K on a day that is as good as clear"),
        ("relative_humidity_pct", 0.1, 0.0, "never above 8.0 %"),
        ("wind_speed_m_s", 0.01, 0.0, "mean of 0.02 m/s"),
    ],
)
def test_what_is_hardly_true_of_a_day_is_used_and_told(channel: str, slope: float, offset: float, says: str) -> None:
    found = summary(changed(channel, slope, offset))
    assert found.record is not None and found.flags["et0"] == "penman-monteith"
    assert says in found.doubts[channel]


def test_over_a_silence_the_mean_is_that_of_the_values_beside_it() -> None:
    day = [one for one in whole_day() if not "T11:00" < one.sample.time_utc[10:] < "T14:30"]
    found, whole = summary(day), reading(whole_day())
    assert found.record is not None and found.flags["et0"] == "penman-monteith"
    assert found.record["et0_mm"] == pytest.approx(whole["et0_mm"], rel=0.03)


def test_hours_in_which_nothing_was_heard_are_told_of_what_they_may_have_held() -> None:
    silent = [one for one in whole_day() if not "T01:00" < one.sample.time_utc[10:] < "T06:15"]
    found = summary(silent)
    assert found.record is not None
    assert "is not known from 00:45 to 06:15 UTC" in found.doubts["air_temperature_c"]
    tips = [sample(float(hour), {"rain_mm": 0.2}, "gauge") for hour in (3, 4)]
    assert "rain_mm" not in summary([*without(whole_day(), "rain_mm"), *tips]).doubts, "a gauge that sends its tips"


def test_radiation_that_never_ends_does_not_count_where_the_sun_sets() -> None:
    found = summary(changed("solar_radiation_w_m2", 0.5, 60.0))
    assert found.flags["et0"] == "hargreaves" and "the sun sets" in found.doubts["solar_radiation_w_m2"]
    polar = summarise_day(changed("solar_radiation_w_m2", 0.5, 60.0), field_record(), DAY, Site(69.0, 10.0))
    assert "solar_radiation_w_m2" not in polar.doubts


@pytest.mark.parametrize(("water_m3_m3", "says"), [(0.02, "far below the wilting point, 0.1"), (0.52, "saturation")])
def test_a_probe_that_reads_what_the_fields_soil_cannot_hold_is_told(water_m3_m3: float, says: str) -> None:
    probes = [sample(float(hour), {"vwc_15cm_m3_m3": water_m3_m3}, "probe") for hour in range(1, 25)]
    found = summary([*whole_day(), *probes])
    assert found.record is not None and found.record["vwc_15cm_m3_m3"] == water_m3_m3
    assert says in found.doubts["vwc_15cm_m3_m3"]


def test_a_true_day_of_any_season_and_cloud_is_not_doubted() -> None:
    for clearness in (0.12, 0.3, 0.6, 0.75):
        for range_k in (3.0, 8.0, 16.0) if clearness > 0.2 else (2.0, 5.0):
            day = [
                FlaggedSample(
                    Sample(
                        one.sample.origin,
                        one.sample.time_utc,
                        {
                            **one.sample.values,
                            "rain_mm": 0.0,
                            "air_temperature_c": 15.0
                            + ((one.sample.values["air_temperature_c"] or 0.0) - 20.0) * range_k / 16,
                            "solar_radiation_w_m2": max(one.sample.values["solar_radiation_w_m2"] or 0.0, 0.0)
                            * clearness
                            / 0.6,
                        },
                    ),
                    one.flags,
                )
                for one in whole_day()
            ]
            assert summary(day).doubts == {}, (clearness, range_k)


def test_a_day_that_is_too_hot_for_any_place_has_no_reading() -> None:
    found = summary(changed("air_temperature_c", 0.2, 43.0))
    assert found.record is None and found.reason is not None and 'unit = "degF"' in found.reason
    hot = summary(changed("air_temperature_c", 0.5, 32.0))
    assert hot.record is not None and "air_temperature_c" in hot.doubts


def test_a_logger_that_took_anothers_place_makes_one_day_with_it_and_one_beside_it_does_not() -> None:
    def half(begin: int, end: int, origin: str, rain_mm: float) -> list[FlaggedSample]:
        return [sample(float(hour), {**weather(float(hour)), "rain_mm": rain_mm}, origin) for hour in range(begin, end)]

    first, second = half(1, 13, "Field", 0.4), half(13, 25, "Field #2222", 0.2)
    found = summary([*first, *second])
    assert found.record is not None and found.record["rain_mm"] == pytest.approx(12 * 0.4 + 12 * 0.2)
    assert found.flags["loggers"]["rain_mm"] == "Field"
    beside = summary([*half(1, 25, "Field", 0.2), *second])
    assert beside.record is not None and beside.record["rain_mm"] == pytest.approx(24 * 0.2)
