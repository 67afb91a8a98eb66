"""METER ZENTRA's CSV: three header rows, many ports, and what a spreadsheet makes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.acquisition.formats import FORMATS
from fieldedge.acquisition.raw import Parsed, RawSample, Unreadable

FORMAT = FORMATS["zentra"]
HEADER = (
    "z6-12345,Port1,Port1,Port2,Port2,Port2,Port7\r\n"
    "# Records: 2,TEROS 12 Moisture/Temp/EC,TEROS 12 Moisture/Temp/EC,ATMOS 41,ATMOS 41,ATMOS 41,Battery\r\n"
    "Timestamps, m³/m³ Water Content, degree_C Soil Temperature, in Precipitation, RH Relative Humidity,"
    " Lightning Activity,% Battery Percent\r\n"
)
ROWS = "05/01/2026 12:15:00 PM,0.213,18.4,0.01,0.62,0,100\r\n05/01/2026 12:30:00 PM,0.212,,#N/A,0.63,0,100\r\n"


def parsed(text: str, first_line: int = 1) -> list[Parsed]:
    return list(FORMAT.parse(text.encode(), "z6.csv", first_line))


def samples(text: str) -> list[RawSample]:
    found = parsed(text)
    assert all(isinstance(one, RawSample) for one in found), found
    return [one for one in found if isinstance(one, RawSample)]


def test_a_column_is_named_by_its_port_and_its_measurement() -> None:
    first, _ = samples(HEADER + ROWS)
    assert first.fields == {
        "Timestamps": "05/01/2026 12:15:00 PM",
        "Port 1 / Water Content": "0.213",
        "Port 1 / Soil Temperature": "18.4",
        "Port 2 / Precipitation": "0.01",
        "Port 2 / Relative Humidity": "0.62",
        "Port 2 / Lightning Activity": "0",
        "Port 7 / Battery Percent": "100",
    }
    assert (first.time, first.origin, first.where) == ("05/01/2026 12:15:00 PM", "z6-12345", "z6.csv, line 4")


def test_the_logger_states_its_units() -> None:
    first, _ = samples(HEADER + ROWS)
    assert first.units == {
        "Port 1 / Water Content": "m³/m³",
        "Port 1 / Soil Temperature": "degree_C",
        "Port 2 / Precipitation": "in",
        "Port 2 / Relative Humidity": "fraction",
        "Port 7 / Battery Percent": "%",
    }


def test_empty_cells_and_spreadsheet_errors_are_missing_values() -> None:
    _, second = samples(HEADER + ROWS)
    assert second.fields["Port 1 / Soil Temperature"] is None
    assert second.fields["Port 2 / Precipitation"] is None


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1"])
def test_a_mark_or_an_older_encoding_changes_nothing(encoding: str) -> None:
    assert list(FORMAT.parse((HEADER + ROWS).encode(encoding), "z6.csv")) == parsed(HEADER + ROWS)


def test_quoted_cells_and_ports_with_a_space_read_the_same() -> None:
    quoted = "".join(
        ",".join(f'"{cell}"' for cell in line.replace("Port", "Port ").split(",")) + "\n"
        for line in HEADER.splitlines()
    )
    assert [one.fields for one in samples(quoted + ROWS)] == [one.fields for one in samples(HEADER + ROWS)]


def test_a_header_may_come_again_with_other_columns() -> None:
    other = "z6-12345,Port3\n# Records: 1,TEROS 11\nTimestamps, m³/m³ Water Content\n05/02/2026 12:15:00 PM,0.3\n"
    last = samples(HEADER + ROWS + other)[-1]
    assert last.fields == {"Timestamps": "05/02/2026 12:15:00 PM", "Port 3 / Water Content": "0.3"}


def test_two_columns_of_one_name_stay_two() -> None:
    text = "z6,Port1,Port1\n# Records: 1,A,A\nTimestamps, °C Soil Temperature, °C Soil Temperature\n2026-05-01,1,2\n"
    (sample,) = samples(text)
    assert sample.fields == {
        "Timestamps": "2026-05-01",
        "Port 1 / Soil Temperature": "1",
        "Port 1 / Soil Temperature (2)": "2",
    }


def test_a_row_that_was_cut_short_is_set_aside_whole() -> None:
    *_, cut = parsed(HEADER + ROWS + "05/01/2026 12:45:00 PM,0.2")
    assert isinstance(cut, Unreadable)
    assert "has 2 cells, the header 7" in cut.reason
    assert cut.where == "z6.csv, line 6"


def test_empty_cells_beyond_the_last_column_do_no_harm() -> None:
    assert len(samples(HEADER + ROWS.replace("100\r\n", "100,,\r\n"))) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ROWS.splitlines()[0], "before the header rows"),
        ("z6,Port1\n# Records: 1,TEROS 12\nMoments, m³/m³ Water Content\n", "expected Timestamps"),
        ("z6,Port1\n# Records: 1,TEROS 12\nTimestamps, a, b, c\n", "2 and 4 cells"),
        ('"z6,Port1\n', "not readable CSV"),
        ("a," * 1001, "1002 cells"),
    ],
)
def test_what_is_no_zentra_file_is_set_aside_with_the_reason(text: str, said: str) -> None:
    (found,) = parsed(text)
    assert isinstance(found, Unreadable)
    assert said in found.reason


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_growing_file_is_read_in_parts_that_each_carry_the_header(mark: str) -> None:
    whole = (mark + HEADER + ROWS).encode()
    header = FORMAT.header_bytes(whole)
    assert header == (mark + HEADER).encode()
    first, second = ROWS.splitlines(keepends=True)
    parts = [*FORMAT.parse(header + first.encode(), "z6.csv"), *FORMAT.parse(header + second.encode(), "z6.csv", 2)]
    assert parts == list(FORMAT.parse(whole, "z6.csv"))


def test_a_header_that_is_still_being_written_is_waited_for() -> None:
    lines = HEADER.encode().splitlines(keepends=True)
    for count in (1, 2):
        part = b"".join(lines[:count])
        assert FORMAT.awaits_header(part)
        assert FORMAT.header_bytes(part) == b""
    assert not FORMAT.awaits_header(HEADER.encode())
    assert not FORMAT.awaits_header(b"2026-05-01,0.2\n")
    assert FORMAT.header_bytes(b"1,2\n3,4\n5,6\n") == b""


@given(st.binary(max_size=200), st.integers(0, 300))
def test_no_bytes_raise_with_a_header_or_without(payload: bytes, cut: int) -> None:
    for whole in (payload, HEADER.encode()[:cut] + payload, HEADER.encode() + payload):
        assert all(isinstance(found, RawSample | Unreadable) for found in FORMAT.parse(whole, "z6.csv"))
        assert whole.startswith(FORMAT.header_bytes(whole))
        assert FORMAT.awaits_header(whole) in (True, False)


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_what_half_of_europe_and_south_america_export_is_read(separator: str, encoding: str) -> None:
    """The user's locale says the separator and the decimal comma; thousands are set apart by points then."""
    text = (
        "z6-12345;Port1;Port1;Port2\r\n# Records: 1;TEROS 12;TEROS 12;ATMOS 41\r\n"
        "Timestamps; m³/m³ Water Content; degree_C Soil Temperature; kPa Pressure\r\n"
        "01.05.2026 12:15:00;0,213;-18,4;1.013,25\r\n"
    ).replace(";", separator)
    payload = text.encode(encoding)
    (found,) = FORMAT.parse(payload, "z6.csv")
    assert isinstance(found, RawSample)
    assert found.fields == {
        "Timestamps": "01.05.2026 12:15:00",
        "Port 1 / Water Content": "0.213",
        "Port 1 / Soil Temperature": "-18.4",
        "Port 2 / Pressure": "1013.25",
    }
    assert FORMAT.header_bytes(payload) == b"".join(payload.splitlines(keepends=True)[:3])


def test_among_commas_a_decimal_comma_is_read_where_it_can_be_nothing_else() -> None:
    first, _ = samples(HEADER + ROWS.replace("0.213,18.4", '"0,213","1,184"'))
    assert first.fields["Port 1 / Water Content"] == "0.213"
    assert first.fields["Port 1 / Soil Temperature"] == "1,184"  # a thousand, or one: nobody knows
