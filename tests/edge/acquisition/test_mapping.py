"""A logger's own fields, units and times become a workload's channels, or say why they cannot."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.acquisition.assumptions import assumed, is_still_asked
from fieldedge.acquisition.mapping import UNITS, Mapper, known_unit, number
from fieldedge.acquisition.raw import RawSample
from fieldedge.contract.samples import Sample
from fieldedge.system.errors import ConfigError, DataError
from fieldedge.system.instants import instant_utc, parse_instant
from fieldedge.workloads.agriculture.channels import CHANNELS

MOMENT = "2026-05-01T12:15:00Z"
WHERE = "device.toml, [[source]] station, fields"


def mapper(utc_offset_h: float = 0.0, **fields: Any) -> Mapper:
    return Mapper.from_config(fields, CHANNELS, utc_offset_h, WHERE)


def value(setting: object, raw: object, channel: str = "air_temperature_c", **units: str) -> float | None:
    fields: Any = {"T": raw}
    return mapper(**{channel: setting}).sample(RawSample("x", MOMENT, fields, None, units), "station").values[channel]


def time_of(raw: Any, utc_offset_h: float = 0.0, **time: Any) -> str:
    made = mapper(utc_offset_h, **({"time": time} if time else {}))
    return made.sample(RawSample("x", raw, {"rain_mm": 0, "when": raw}), "station").time_utc


def test_every_channels_unit_is_known() -> None:
    assert {channel.unit for channel in CHANNELS} <= set(UNITS)


def test_without_a_mapping_fields_that_are_named_like_channels_are_those() -> None:
    raw = RawSample("x", MOMENT, {"air_temperature_c": 21.3, "rain_mm": "0.2", "battery": 3.6})
    assert mapper().sample(raw, "station") == Sample("station", MOMENT, {"air_temperature_c": 21.3, "rain_mm": 0.2})


def test_a_mapping_names_the_fields_and_only_those_count() -> None:
    raw = RawSample("x", MOMENT, {"AirTC_Avg": "21.3", "VWC(1)": "0.2", "rain_mm": "3"})
    made = mapper(air_temperature_c="AirTC_Avg", vwc_15cm_m3_m3={"field": "VWC(1)"}, ndvi="NDVI")
    assert made.sample(raw, "station").values == {"air_temperature_c": 21.3, "vwc_15cm_m3_m3": 0.2}


def test_a_loggers_own_name_goes_before_the_sources() -> None:
    assert mapper().sample(RawSample("x", MOMENT, {"rain_mm": 0}, "a84041000181c2b3"), "lora").origin == (
        "a84041000181c2b3"
    )


@pytest.mark.parametrize(
    ("channel", "unit", "raw", "expected"),
    [
        ("air_temperature_c", "degF", 70.34, 21.3),
        ("air_temperature_c", "K", "294.45", 21.3),
        ("air_temperature_c", "degC", 21.3, 21.3),
        ("relative_humidity_pct", "fraction", 0.62, 62.0),
        ("relative_humidity_pct", "%", 62, 62.0),
        ("vwc_15cm_m3_m3", "%", 21.3, 0.213),
        ("rain_mm", "in", 0.01, 0.254),
        ("rain_mm", "cm", 1.2, 12.0),
        ("wind_speed_m_s", "km/h", 36, 10.0),
        ("wind_speed_m_s", "mph", 10, 4.4704),
        ("wind_speed_m_s", "kn", 10, 5.144444),
        ("solar_radiation_w_m2", "kW/m2", 0.8, 800.0),
        ("solar_radiation_w_m2", "MJ/m2/h", 3.6, 1000.0),
        ("solar_radiation_w_m2", "MJ/m2/d", 8.64, 100.0),
    ],
)
def test_units_are_converted(channel: str, unit: str, raw: object, expected: float) -> None:
    assert value({"field": "T", "unit": unit}, raw, channel) == pytest.approx(expected, abs=1e-6)


def test_the_unit_that_the_logger_states_counts_where_none_is_named() -> None:
    assert value("T", "70.34", T="Deg F") == pytest.approx(21.3)
    assert value("T", "21.3", T="Deg C") == 21.3
    assert value({"field": "T", "unit": "degC"}, "21.3", T="Deg F") == 21.3


@pytest.mark.parametrize(
    ("stated", "unit"),
    [
        ("°C", "degC"), ("Deg C", "degC"), ("deg_C", "degC"), ("degree_F", "degF"), ("C", "degC"), ("K", "K"),
        ("m³/m³", "m3/m3"), ("m^3/m^3", "m3/m3"), ("W/m^2", "W/m2"), ("W m-2", "W/m2"), ("meters/second", "m/s"),
        ("inches", "in"), ("%", "%"), ("MJ/m²", "MJ/m2"), ("Ly", "Ly"), ("mV", None), ("°", None),
        ("Volts", None), ("", None),
    ],
)  # fmt: skip
def test_a_unit_is_known_however_it_is_spelled(stated: str, unit: str | None) -> None:
    assert known_unit(stated) == unit


@pytest.mark.parametrize("stated", ["kPa", "MJ/m^2", "Smp"])
def test_a_stated_unit_that_does_not_fit_is_asked_for_and_never_guessed(stated: str) -> None:
    with pytest.raises(DataError, match=r"'T' in .*; expected a temperature for air_temperature_c: name its unit"):
        value("T", 21.3, T=stated)


@pytest.mark.parametrize(
    "raw", ["NAN", "NaN", "INF", "-INF", "", "#N/A", "1,013", "21,3,4", "1_000", "21.3 V", "٣", "0x1F", None, True,
            math.nan, math.inf, 10**400, "9" * 100, "1e999"],
)  # fmt: skip
def test_what_is_no_number_is_missing(raw: object) -> None:
    assert value("T", raw) is None


def test_a_text_with_its_unit_is_converted_and_one_in_another_unit_than_the_mapping_says_is_missing() -> None:
    assert value("T", "70.34 °F") == 21.3
    mapper = Mapper.from_config({"air_temperature_c": {"field": "T", "unit": "degC"}}, CHANNELS)
    sample = mapper.sample(RawSample("here", "2026-05-01T12:15:00Z", {"T": "70.34 °F"}), "station")
    assert sample.values == {"air_temperature_c": None}


@pytest.mark.parametrize(
    "raw", ["21.3", " 21.3 ", "+2.13e1", 21.3, "21.30", "21,3", "+21,30", "2,13E+01", "21.3 °C", "21,3C"]
)
def test_a_number_is_one_however_it_is_written(raw: object) -> None:
    assert value("T", raw) == 21.3


@pytest.mark.parametrize(
    "raw",
    [
        "2026-05-01T12:15:00Z",
        "2026-05-01T12:15:00.000+00:00",
        "2026-05-01 12:15:00",
        " 2026-05-01T12:15 ",
        1777637700,
        1777637700.0,
        1777637700000,
        "1777637700",
        "1777637700000",
    ],
)
def test_a_time_is_read_as_it_usually_comes(raw: object) -> None:
    assert time_of(raw) == MOMENT


@pytest.mark.parametrize(
    ("raw", "fraction"),
    [
        ("2026-05-01 12:15:00.5", ".5"),  # as TOA5 writes it
        ("2026-05-01T12:15:00.500000Z", ".5"),
        ("2026-05-01T14:15:00,5+02:00", ".5"),
        ("2026-05-01T12:15:00.000001Z", ".000001"),
        ("2026-05-01T14:15:00.123456789+02:00", ".123456"),  # as ChirpStack does
        (1777637700.9, ".9"),
        ("1777637700.123456", ".123456"),
        (1777637700123, ".123"),
        ("1777637700123.456", ".123456"),
    ],
)
def test_a_time_keeps_its_fraction_to_the_microsecond(raw: object, fraction: str) -> None:
    assert time_of(raw) == f"2026-05-01T12:15:00{fraction}Z"


@pytest.mark.parametrize("format_", ["%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M:%S.%f %p"])
def test_a_format_reads_seconds_with_a_fraction_and_without(format_: str) -> None:
    assert time_of("05/01/2026 12:15:00 PM", format=format_) == MOMENT
    assert time_of("05/01/2026 12:15:00.25 PM", format=format_) == "2026-05-01T12:15:00.25Z"
    with pytest.raises(DataError, match="expected the format"):
        time_of("05/01/2026 12:15:00.x PM", format=format_)


@given(
    st.datetimes(datetime(1979, 7, 6), datetime(2099, 12, 31)),  # what tells seconds from milliseconds
    st.sampled_from([UTC, timezone(timedelta(hours=5.5)), timezone(timedelta(hours=-8))]),
)
def test_an_instant_is_one_text_wherever_it_was_read(moment: datetime, zone: timezone) -> None:
    utc = moment.replace(tzinfo=UTC)
    there = utc.astimezone(zone)
    offset_h = there.utcoffset().total_seconds() / 3600.0  # type: ignore[union-attr] - it knows its zone
    us = (utc - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    told = (
        time_of(there.isoformat()),
        time_of(utc.isoformat().replace("+00:00", "Z")),
        time_of(f"{there:%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip("."), offset_h),
        time_of(f"{there:%m/%d/%Y %I:%M:%S.%f %p}", offset_h, format="%m/%d/%Y %I:%M:%S %p"),
        time_of(f"{us // 1_000_000}.{us % 1_000_000:06d}"),
        time_of(us / 1000.0, format="epoch_ms"),
    )
    assert set(told) == {instant_utc(utc)}


def test_a_time_without_a_zone_is_the_sites() -> None:
    assert time_of("2026-05-01 07:15:00", -5.0) == MOMENT
    assert time_of("2026-05-01 17:45:00", 5.5) == MOMENT
    assert time_of("2026-05-01 12:15:00+00:00", -5.0) == MOMENT
    of_the_logger = mapper(-5.0, time={"utc_offset_h": 1})
    assert of_the_logger.sample(RawSample("x", "2026-05-01 13:15:00", {"rain_mm": 0}), "s").time_utc == MOMENT


def test_a_time_may_stand_in_any_field_and_in_any_format() -> None:
    assert time_of("5/1/26 12:15", field="when", format="%m/%d/%y %H:%M") == MOMENT
    assert time_of("05/01/2026 12:15:00 PM", format="%m/%d/%Y %I:%M:%S %p") == MOMENT
    assert time_of("01.05.2026 12:15", format="%d.%m.%Y %H:%M") == MOMENT
    assert time_of("2026-05-01 14:15:00 +0200", format="%Y-%m-%d %H:%M:%S %z") == MOMENT
    assert time_of(1777637700, format="epoch_s") == time_of("1777637700000", format="epoch_ms") == MOMENT
    assert mapper(time="when").sample(RawSample("x", None, {"rain_mm": 0, "when": MOMENT}), "s").time_utc == MOMENT


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (None, "has not a time; it has rain_mm, when"),
        ("5/1/26 12:15", "expected ISO 8601 .* set time = "),
        ("yesterday", "expected ISO 8601"),
        ("2026-02-30T00:00:00Z", "expected ISO 8601"),
        (True, "expected ISO 8601"),
        (math.nan, "expected ISO 8601"),
        (1e300, "expected ISO 8601"),
        (42, "expected ISO 8601"),
        ("x" * 10_000, "expected ISO 8601"),
        ("1900-01-01T00:00:00Z", "is the logger's clock set"),
        ("9999-12-31T23:59:59-14:00", "expected ISO 8601"),
    ],
)
def test_a_time_that_cannot_be_is_refused_and_named(raw: object, said: str) -> None:
    with pytest.raises(DataError, match=said) as refused:
        time_of(raw)
    assert len(str(refused.value)) < 500


def test_a_sample_with_none_of_the_mapped_fields_says_what_it_has() -> None:
    with pytest.raises(DataError, match=r"none of the fields AirTC_Avg; it has AirTC, \\ud800; name the logger's"):
        mapper(air_temperature_c="AirTC_Avg").sample(RawSample("x", MOMENT, {"AirTC": 1, "\ud800": 2}), "station")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"air_temperature": "T"}, "air_temperature is not a channel; expected time or one of air_temperature_c, "),
        ({"rain_mm": 5}, "rain_mm is 5; expected the logger's field like"),
        ({"rain_mm": {"field": "R", "units": "mm"}}, "rain_mm is .*units.*; expected the logger's field like"),
        ({"rain_mm": {"field": ""}}, "rain_mm.field is ''; expected the name"),
        ({"rain_mm": {"field": 3}}, "rain_mm.field is 3; expected the name"),
        ({"rain_mm": {"field": "R", "unit": "tips"}}, "rain_mm.unit is 'tips'; expected a depth of water: mm, cm, in"),
        ({"rain_mm": {"field": "R", "unit": "degC"}}, "rain_mm.unit is 'degC'; expected a depth of water: mm, cm, in"),
        ({"rain_mm": {"field": "R", "unit": 1}}, "rain_mm.unit is 1; expected a depth of water"),
        ({"time": 3}, "time is 3; expected the field that holds it"),
        ({"time": {"timezone": "UTC"}}, "time is .*timezone.*; expected the field that holds it"),
        ({"time": {"zone": "Nebraska"}}, "time.zone is 'Nebraska'; expected a name like America/Chicago"),
        ({"time": {"zone": "../UTC"}}, "time.zone is"),
        ({"time": {"zone": 3}}, "time.zone is 3"),
        ({"time": {"zone": "UTC", "utc_offset_h": 0}}, "time has both zone and utc_offset_h"),
        ({"time": {"ends_day": 1}}, "time.ends_day is 1; expected true or false"),
        ({"rain_mm": {"field": "R", "counter": 1}}, "rain_mm.counter is 1; expected true or false"),
        ({"rain_mm": {"field": "R", "wraps_at": 100}}, "rain_mm.wraps_at is 100; expected .* beside counter = true"),
        ({"rain_mm": {"field": "R", "counter": True, "wraps_at": 0}}, "rain_mm.wraps_at is 0; expected"),
        ({"rain_mm": {"field": "R", "scale": 0}}, "rain_mm.scale is 0; expected what one of the field's counts is"),
        ({"air_temperature_c": {"field": "T", "counter": True}}, "air_temperature_c is no amount that adds up"),
        ({"time": {"field": 3}}, "time.field is 3"),
        ({"time": {"format": "%H:%M"}}, "time.format is '%H:%M'; expected epoch_s, epoch_ms, or a date"),
        ({"time": {"format": "%m/%d/%y %I:%M"}}, "time.format .* with %p where hours are %I"),
        ({"time": {"format": "%d %d"}}, "time.format"),
        ({"time": {"format": "noon"}}, "time.format"),
        ({"time": {"format": 3}}, "time.format"),
        ({"time": {"utc_offset_h": 15}}, "time.utc_offset_h is 15; expected hours between -14 and 14"),
        ({"time": {"utc_offset_h": math.nan}}, "time.utc_offset_h is nan"),
        ({"time": {"utc_offset_h": True}}, "time.utc_offset_h is True"),
    ],
)
def test_a_broken_setting_is_named_with_what_was_expected(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as broken:
        Mapper.from_config(fields, CHANNELS, 0.0, WHERE)
    assert str(broken.value).startswith(WHERE)


TOML = st.recursive(
    st.text(max_size=8) | st.integers() | st.floats() | st.booleans() | st.sampled_from([*UNITS, "%m/%d/%y", "%"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["field", "unit", "format", "utc_offset_h", "x"]), inner, max_size=3
    ),
    max_leaves=6,
)  # fmt: skip
NAMES = st.sampled_from([*(channel.name for channel in CHANNELS), "time", "nothing"])
RAW = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(MOMENT)


@given(st.dictionaries(NAMES, TOML, max_size=4), st.dictionaries(st.text(max_size=8), RAW, max_size=5), RAW, RAW)
def test_nothing_but_the_named_errors_comes_of_any_setting_or_sample(
    settings: dict[str, Any], fields: dict[str, Any], time: Any, one: Any
) -> None:
    try:
        made = Mapper.from_config(settings, CHANNELS)
    except ConfigError:
        made = Mapper.from_config({"rain_mm": {"field": "T", "unit": "in"}}, CHANNELS)
    units = dict(zip(fields, UNITS, strict=False))
    try:
        sample = made.sample(RawSample("x", time, {**fields, "T": one, "rain_mm": one}, None, units), "station")
    except DataError as refused:
        str(refused).encode()
        return
    assert instant_utc(parse_instant(sample.time_utc)) == sample.time_utc
    assert all(value is None or math.isfinite(value) for value in sample.values.values())


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_through_as_it_was_written(true: float) -> None:
    assert number(repr(true)) == number(true) == true


@pytest.mark.parametrize(
    ("written", "format_", "utc"),
    [
        ("2026-05-01 24:00:00", None, "2026-05-02T00:00:00Z"),
        ("2026-05-01T24:00:00Z", None, "2026-05-02T00:00:00Z"),
        ("2026-05-01 24:00", None, "2026-05-02T00:00:00Z"),
        ("2026-12-31 24:00:00.0", None, "2027-01-01T00:00:00Z"),
        ("02/28/26 24:00", "%m/%d/%y %H:%M", "2026-03-01T00:00:00Z"),
        ("24:00:00 01.05.2026", "%H:%M:%S %d.%m.%Y", "2026-05-02T00:00:00Z"),
    ],
)
def test_the_midnight_that_ends_a_day_is_the_one_that_begins_the_next(
    written: str, format_: str | None, utc: str
) -> None:
    time = {} if format_ is None else {"format": format_}
    mapper = Mapper.from_config({"rain_mm": "r", "time": time}, CHANNELS)
    assert mapper.sample(RawSample("x", written, {"r": 1.0}), "o").time_utc == utc


@pytest.mark.parametrize("written", ["2026-05-01 24:00:01", "2026-05-01 24:15:00", "24:00"])
def test_no_other_hour_is_a_midnight(written: str) -> None:
    mapper = Mapper.from_config({"rain_mm": "r"}, CHANNELS)
    with pytest.raises(DataError, match="the time is"):
        mapper.sample(RawSample("x", written, {"r": 1.0}), "o")


@pytest.mark.parametrize(
    ("unit", "interval_min", "said", "w_m2"),
    [
        ("MJ/m2", 15, 0.45, 500.0),
        ("kJ/m2", 60, 1800.0, 500.0),
        ("Ly", 30, 21.51, 499.9924),
        ("Wh/m2", 15, 125.0, 500.0),
        ("J/cm2", 60, 180.0, 500.0),
    ],
)
def test_a_total_of_radiation_over_an_interval_is_its_mean_rate(
    unit: str, interval_min: float, said: float, w_m2: float
) -> None:
    """1 MJ in 900 s is 1111.1 W; a langley is 41 840 J/m2."""
    raw = RawSample("x", "2026-05-01T12:00:00Z", {"S": said})
    setting = {"field": "S", "interval_min": interval_min}
    named = Mapper.from_config({"solar_radiation_w_m2": {**setting, "unit": unit}}, CHANNELS)
    stated = Mapper.from_config({"solar_radiation_w_m2": setting}, CHANNELS)
    for found in (named.sample(raw, "o"), stated.sample(replace(raw, units={"S": unit}), "o")):
        assert found.values["solar_radiation_w_m2"] == pytest.approx(w_m2, abs=0.01)


def test_a_total_without_its_interval_is_asked_for_it() -> None:
    with pytest.raises(ConfigError, match=r"MJ/m2 is a total: say of how long, interval_min = 15"):
        Mapper.from_config({"solar_radiation_w_m2": {"field": "S", "unit": "MJ/m2"}}, CHANNELS)
    raw = RawSample("x", "2026-05-01T12:00:00Z", {"S": 0.4}, units={"S": "MJ/m²"})
    with pytest.raises(DataError, match=r"'S' in 'MJ/m²'.*interval_min = 15 beside field"):
        Mapper.from_config({"solar_radiation_w_m2": "S"}, CHANNELS).sample(raw, "o")


@pytest.mark.parametrize("interval_min", [0, -15, 1441, "15", True])
def test_an_interval_that_is_none_is_named(interval_min: object) -> None:
    with pytest.raises(ConfigError, match="interval_min"):
        Mapper.from_config({"solar_radiation_w_m2": {"field": "S", "interval_min": interval_min}}, CHANNELS)


def test_an_interval_is_for_radiation_alone() -> None:
    with pytest.raises(ConfigError, match="only radiation"):
        Mapper.from_config({"air_temperature_c": {"field": "T", "interval_min": 15}}, CHANNELS)


def test_the_zone_that_a_logger_states_goes_before_the_site_s_and_behind_the_mapping_s() -> None:
    raw = RawSample("x", "2026-05-01 12:00:00", {"r": 1.0}, utc_offset_h=-5.0)
    of_site = Mapper.from_config({"rain_mm": "r"}, CHANNELS, zone="Europe/Rome")
    of_source = Mapper.from_config({"rain_mm": "r", "time": {"utc_offset_h": 0}}, CHANNELS)
    assert of_site.sample(raw, "o").time_utc == "2026-05-01T17:00:00Z"
    assert of_source.sample(raw, "o").time_utc == "2026-05-01T12:00:00Z"


def sample_of(fields: dict[str, Any], **mapping: Any) -> dict[str, float | None]:
    return dict(mapper(**mapping).sample(RawSample("x", MOMENT, fields), "station").values)


def elements(*pairs: tuple[str, float], at: str = "messages.{}") -> dict[str, Any]:
    """A list of elements as the formats flatten it."""
    return {
        f"{at.format(place)}.{name}": value
        for place, (identity, measured) in enumerate(pairs)
        for name, value in (("id", identity), ("value", measured))
    }


@given(st.permutations([("4097", 11.99), ("4098", 34.0), ("4099", 0.2)]), st.booleans())
def test_an_element_of_a_list_is_named_by_what_it_says_of_itself(
    order: list[tuple[str, float]], is_nested: bool
) -> None:
    place = "messages.*" if is_nested else "messages"
    fields = elements(*order, at="messages.1.{}" if is_nested else "messages.{}")
    found = sample_of(
        fields,
        air_temperature_c=f"{place}[id=4097].value",
        relative_humidity_pct=f"{place}[id=4098].value",
        vwc_15cm_m3_m3=f"{place}[id=5000].value",
    )
    assert found == {"air_temperature_c": 11.99, "relative_humidity_pct": 34.0}


def test_a_selector_that_means_two_elements_is_refused_and_a_name_with_brackets_is_a_name() -> None:
    with pytest.raises(DataError, match=r"means 2 elements, messages\.0\.value and messages\.1\.value"):
        sample_of(elements(("7", 1.0), ("7", 2.0)), air_temperature_c="messages[id=7].value")
    assert sample_of({"Temp [unit=C]": 20.0}, air_temperature_c="Temp [unit=C]") == {"air_temperature_c": 20.0}
    assert sample_of({"sensors.0.id": 7, "sensors.0.v": 1.5}, rain_mm="sensors[id=7].v") == {"rain_mm": 1.5}


@given(
    st.dictionaries(st.text(st.sampled_from("ab.0*[]=1"), max_size=12), st.integers(0, 9), max_size=8),
    st.text(st.sampled_from("ab.0*[]=1"), min_size=1, max_size=12),
)
def test_no_name_of_a_field_and_no_selector_breaks_a_mapping(fields: dict[str, Any], selector: str) -> None:
    try:
        found = sample_of(fields, rain_mm=selector)
    except DataError:
        return
    assert found["rain_mm"] in [float(value) for value in fields.values()]


def test_a_counter_is_kept_as_its_total_in_the_channels_unit() -> None:
    assert sample_of({"tips": 40}, rain_mm={"field": "tips", "scale": 0.2, "counter": True}) == {"rain_mm.count": 8.0}
    wraps = {"field": "tips", "unit": "in", "scale": 0.01, "counter": True, "wraps_at": 65_536}
    assert sample_of({"tips": 100}, rain_mm=wraps) == {"rain_mm.count.16646.144": 25.4}
    assert sample_of({"tips": 40}, rain_mm={"field": "tips", "scale": 0.2}) == {"rain_mm": 8.0}


@given(st.dates(), st.sampled_from([-12.0, -6.0, 0.0, 5.5, 13.0]))
def test_a_date_is_that_day_in_every_zone(day: Any, utc_offset_h: float) -> None:
    if not 1951 <= day.year <= 2099:
        return
    expected = f"{day.isoformat()}T23:59:59.999999Z"
    assert time_of(day.isoformat(), utc_offset_h) == expected
    assert time_of(f"{day:%d/%m/%Y}", format="%d/%m/%Y", utc_offset_h=utc_offset_h) == expected
    midnight = f"{(day + timedelta(days=1)).isoformat()} 00:00:00"
    assert time_of(midnight, utc_offset_h=utc_offset_h, ends_day=True) == expected


def test_a_named_zone_has_its_summer_time_and_a_stated_one_goes_before_it() -> None:
    assert time_of("2026-07-01 12:00:00", zone="America/Chicago") == "2026-07-01T17:00:00Z"
    assert time_of("2026-12-01 12:00:00", zone="America/Chicago") == "2026-12-01T18:00:00Z"
    assert time_of("2026-07-01T12:00:00+02:00", zone="America/Chicago") == "2026-07-01T10:00:00Z"
    assert time_of(1_800_000_000, zone="America/Chicago") == time_of(1_800_000_000)


def test_only_the_hour_that_comes_twice_has_a_second_time() -> None:
    made = mapper(time={"zone": "Europe/Berlin"})
    times = {
        local: made.second(RawSample("x", f"2026-{local}:00", {"rain_mm": 0}), "s")
        for local in ("10-25 01:59", "10-25 02:00", "10-25 02:59", "10-25 03:00", "03-29 02:30")
    }
    assert {local: None if second is None else second.time_utc for local, second in times.items()} == {
        "10-25 01:59": None,
        "10-25 02:00": "2026-10-25T01:00:00Z",
        "10-25 02:59": "2026-10-25T01:59:00Z",
        "10-25 03:00": None,
        "03-29 02:30": None,
    }
    assert mapper().second(RawSample("x", "2026-10-25 02:30:00", {"rain_mm": 0}), "s") is None


@pytest.mark.parametrize(
    ("channel", "field", "is_told"),
    [
        ("wind_speed_m_s", "windgustmph", True),
        ("wind_speed_m_s", "Wind / Rafale", True),
        ("wind_speed_m_s", "Böe", True),
        ("wind_speed_m_s", "wind_avg_10min", False),
        ("air_temperature_c", "AirTC_Max", True),
        ("air_temperature_c", "tempinf", True),
        ("air_temperature_c", "Température de rosée", True),
        ("air_temperature_c", "MAX31865_temp", False),
        ("air_temperature_c", "LoRa_temp", False),
        ("air_temperature_c", "High-Res Temp", False),
        ("rain_mm", "rainratein", True),
        ("rain_mm", "dailyrainin", True),
        ("rain_mm", "Rain_mm_Tot", False),
        ("vwc_15cm_m3_m3", "soil_raw", True),
        ("solar_radiation_w_m2", "diffuse_wm2", True),
    ],
)
def test_a_name_of_another_quantity_is_told_whatever_its_unit_until_it_is_meant(
    channel: str, field: str, is_told: bool
) -> None:
    unit = next(one.unit for one in CHANNELS if one.name == channel)
    raw = RawSample("x", MOMENT, {field: 1.0}, None, {})
    told = [one.said for one in assumed(raw, mapper(**{channel: {"field": field, "unit": unit}}))]
    assert any("another quantity" in said for said in told) is is_told
    meant = mapper(**{channel: {"field": field, "unit": unit, "is_meant": True}})
    assert not assumed(raw, meant) and not is_still_asked(channel, field, meant)


def test_a_running_total_of_rain_is_told_unless_it_is_mapped_as_a_counter() -> None:
    raw = RawSample("x", MOMENT, {"dailyrainmm": 1.0}, None, {})
    assert not assumed(raw, mapper(rain_mm={"field": "dailyrainmm", "unit": "mm", "counter": True}))


def test_a_row_that_is_stamped_at_its_begin_is_a_sample_at_its_end() -> None:
    assert time_of("2026-05-01T23:00:00Z", begins_min=60) == "2026-05-02T00:00:00Z"
    assert time_of("2026-05-01", begins_min=60) == time_of("2026-05-01")
    for wrong in (-1, 1440, "60", True):
        with pytest.raises(ConfigError, match="begins_min"):
            mapper(time={"begins_min": wrong})
    with pytest.raises(ConfigError, match="is_meant"):
        mapper(rain_mm={"field": "r", "is_meant": "yes"})
