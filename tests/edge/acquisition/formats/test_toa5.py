"""Campbell's TOA5: four header rows, records that a logger appends, and headers that come again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.acquisition.formats import FORMATS
from fieldedge.acquisition.raw import Parsed, RawSample, Unreadable

FORMAT = FORMATS["toa5"]
HEADER = (
    '"TOA5","Station","CR1000","1048","CR1000.Std.32","CPU:Weather.CR1","54655","Met15"\r\n'
    '"TIMESTAMP","RECORD","AirTC_Avg","Rain_mm_Tot","VWC(1)","VWC(2)"\r\n'
    '"TS","RN","Deg C","mm","m^3/m^3",""\r\n'
    '"","","Avg","Tot","Smp","Smp"\r\n'
)
ROWS = '"2026-05-01 12:15:00",0,21.3,0,0.213,"NAN"\r\n"2026-05-01 12:30:00",1,"INF",0.2,0.212,7999\r\n'


def parsed(text: str, first_line: int = 1) -> list[Parsed]:
    return list(FORMAT.parse(text.encode(), "met.dat", first_line))


def samples(text: str) -> list[RawSample]:
    found = parsed(text)
    assert all(isinstance(one, RawSample) for one in found), found
    return [one for one in found if isinstance(one, RawSample)]


def test_a_record_is_a_sample_with_its_fields_as_they_stand() -> None:
    first, second = samples(HEADER + ROWS)
    assert first.time == "2026-05-01 12:15:00"
    assert first.fields == {
        "TIMESTAMP": "2026-05-01 12:15:00",
        "RECORD": "0",
        "AirTC_Avg": "21.3",
        "Rain_mm_Tot": "0",
        "VWC(1)": "0.213",
        "VWC(2)": "NAN",
    }
    assert second.fields["AirTC_Avg"] == "INF"
    assert first.units == {"RECORD": "RN", "AirTC_Avg": "Deg C", "Rain_mm_Tot": "mm", "VWC(1)": "m^3/m^3"}


def test_two_tables_of_one_logger_are_two_origins() -> None:
    other = HEADER.replace("Met15", "Soil15")
    assert {one.origin for one in samples(HEADER + ROWS + other + ROWS)} == {"Station/Met15", "Station/Soil15"}


def test_a_header_that_comes_again_counts_from_there_on() -> None:
    again = (
        '"TOA5","Station","CR1000","1048","CR1000.Std.32","CPU:New.CR1","1","Met15"\n"TIMESTAMP","RH"\n'
        '"TS","%"\n"","Smp"\n'
    )
    found = samples(HEADER + ROWS + again + '"2026-05-01 12:45:00",61.5\n')
    assert [len(one.fields) for one in found] == [6, 6, 2]
    assert found[-1].fields["RH"] == "61.5"
    assert found[-1].units == {"RH": "%"}


def test_a_record_that_was_cut_short_is_set_aside_whole() -> None:
    *_, cut = parsed(HEADER + ROWS + '"2026-05-01 12:45:00",2,21')
    assert isinstance(cut, Unreadable)
    assert (cut.where, cut.reason) == (
        "met.dat, line 7",
        "the line has 3 cells, the header 6; it may have been cut short",
    )


def test_a_header_that_lacks_a_row_gives_nothing_a_wrong_name() -> None:
    without_units = "".join(HEADER.splitlines(keepends=True)[:2])
    found = parsed(without_units + ROWS)
    assert all(isinstance(one, Unreadable) for one in found)
    assert "where header row 3" in found[0].reason if isinstance(found[0], Unreadable) else False
    assert len(found) == 2


def test_after_a_broken_header_the_former_one_no_longer_counts() -> None:
    broken = "".join(HEADER.splitlines(keepends=True)[:2])
    assert [type(one) for one in parsed(HEADER + ROWS + broken + ROWS)] == [*[RawSample] * 2, *[Unreadable] * 2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ROWS.splitlines()[0], "before the header rows"),
        (HEADER.replace("TIMESTAMP", "WHEN"), "names no TIMESTAMP; it names WHEN"),
        ('"TOA5","Sta\n', "not readable CSV"),
    ],
)
def test_what_is_no_toa5_file_is_set_aside_with_the_reason(text: str, said: str) -> None:
    (found,) = parsed(text)
    assert isinstance(found, Unreadable)
    assert said in found.reason


def test_a_growing_file_is_read_in_parts_that_each_carry_the_header() -> None:
    whole = (HEADER + ROWS).encode()
    header = FORMAT.header_bytes(whole)
    assert header == HEADER.encode()
    first, second = ROWS.encode().splitlines(keepends=True)
    parts = [*FORMAT.parse(header + first, "met.dat"), *FORMAT.parse(header + second, "met.dat", 2)]
    assert parts == list(FORMAT.parse(whole, "met.dat"))


def test_a_header_that_is_still_being_written_is_waited_for() -> None:
    lines = HEADER.encode().splitlines(keepends=True)
    for count in (1, 2, 3):
        part = b"".join(lines[:count])
        assert FORMAT.awaits_header(part)
        assert FORMAT.header_bytes(part) == b""
    assert not FORMAT.awaits_header(HEADER.encode())
    assert not FORMAT.awaits_header(b'"2026-05-01 12:15:00",0\n')


@given(st.binary(max_size=200), st.integers(0, 250))
def test_no_bytes_raise_with_a_header_or_without(payload: bytes, cut: int) -> None:
    for whole in (payload, HEADER.encode()[:cut] + payload, HEADER.encode() + payload):
        assert all(isinstance(found, RawSample | Unreadable) for found in FORMAT.parse(whole, "met.dat"))
        assert whole.startswith(FORMAT.header_bytes(whole))
        assert FORMAT.awaits_header(whole) in (True, False)
