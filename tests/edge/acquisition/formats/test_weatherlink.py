"""WeatherLink.com's CSV: some rows about the station, then the columns with their units behind a dash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.acquisition.formats import FORMATS
from fieldedge.acquisition.headers import cut
from fieldedge.acquisition.raw import Parsed, RawSample, Unreadable

FORMAT = FORMATS["weatherlink"]
ABOUT = '"Orchard North"\n"Vantage Pro2 Plus"\n\n'
COLUMNS = (
    '"Date & Time","Barometer - in Hg","Temp - °F","Hum - %","Avg Wind Speed - mph","Rain - in","ET - in",'
    '"Solar Rad - W/m^2","Temp - °F","Prevailing Wind Direction"\n'
)
ROWS = (
    '"5/1/26 12:15 PM",29.92,70.3,45.2,4.1,0.01,--,512,71,"NNE"\n"5/1/26 12:30 PM",29.92,--,45.1,4,0,0.002,520,71,"N"\n'
)


def parsed(text: str) -> list[Parsed]:
    return list(FORMAT.parse(text.encode(), "davis.csv"))


@pytest.mark.parametrize("about", ["", ABOUT])
def test_a_column_has_the_unit_that_stands_behind_its_name(about: str) -> None:
    first, second = parsed(about + COLUMNS + ROWS)
    assert isinstance(first, RawSample) and isinstance(second, RawSample)
    assert (first.origin, first.time) == ("Orchard North" if about else None, "5/1/26 12:15 PM")
    assert first.units == {
        "Barometer": "in Hg", "Temp": "°F", "Hum": "%", "Avg Wind Speed": "mph", "Rain": "in", "ET": "in",
        "Solar Rad": "W/m^2", "Temp (2)": "°F",
    }  # fmt: skip
    assert (first.fields["Temp"], first.fields["Temp (2)"], first.fields["Rain"]) == ("70.3", "71", "0.01")
    assert (second.fields["Temp"], second.fields["Hum"]) == ("--", "45.1")  # no number: missing to every mapping


def test_semicolons_and_decimal_commas_are_read() -> None:
    text = f'{ABOUT}"Date & Time";"Temp - °C";"Rain - mm"\n"01.05.26 12:15";"21,3";"0,2"\n'
    (found,) = parsed(text)
    assert isinstance(found, RawSample)
    assert found.fields == {"Date & Time": "01.05.26 12:15", "Temp": "21.3", "Rain": "0.2"}


def test_columns_that_come_again_are_of_the_same_station() -> None:
    *_, last = parsed(ABOUT + COLUMNS + ROWS + COLUMNS + ROWS)
    assert isinstance(last, RawSample)
    assert last.origin == "Orchard North"


def test_rows_about_a_station_without_columns_are_told_of() -> None:
    (found,) = parsed("".join(f"a row about the station {i}\n" for i in range(12)))
    assert isinstance(found, Unreadable)
    assert "no header of a WeatherLink file ends within 12 rows" in found.reason


def test_later_lines_of_a_growing_file_carry_its_header() -> None:
    header = (ABOUT + COLUMNS).encode()
    assert FORMAT.header_bytes(header + ROWS.encode()) == header
    assert cut(FORMAT, header, ROWS.encode(), True).header == header


@given(text=st.text(max_size=300))
def test_whatever_comes_is_read_or_set_aside(text: str) -> None:
    for found in parsed(ABOUT + COLUMNS + text):
        assert isinstance(found, RawSample | Unreadable)
