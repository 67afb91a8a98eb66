"""`fieldedge check`: an installer sees how a file would be read, and nothing is stored."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fieldedge.acquisition.formats import FORMATS
from fieldedge.cli import main
from tests.edge.test_field_cases import OURS, SETTINGS, cases

SITE = '[site]\nlatitude_deg = 41.0\nelevation_m = 300\nzone = "Europe/Rome"\n'
DEVICE = 'device_id = "dev-07"\nworkload = "agriculture"\n'
TOA5 = (
    '"TOA5","North","CR1000","1048","OS","CPU:x","1","Met15"\n"TIMESTAMP","RECORD","AirTC","Rain"\n'
    '"TS","RN","Deg F","in"\n"","","Avg","Tot"\n'
)
FILES = {
    "toa5": TOA5 + '"2026-05-01 24:00:00",1,70,0.1\n"2026-05-02 00:15:00",2,71,0\n',
    "zentra": "z6-1;Port1;Port2\n# Records: 1;ATMOS 41;ATMOS 41\nTimestamps; degree_F AirTC; in Rain\n"
    "2026-05-01 12:15:00;70,0;0,1\n",
    "hobo": '"#","Date Time, GMT-05:00","AirTC, °F (LGR S/N: 7, SEN S/N: 8)","Rain, in"\n'
    "1,2026-05-01 12:15:00,70,0.1\n",
    "weatherlink": '"North"\n"Date & Time","AirTC - °F","Rain - in"\n"2026-05-01 12:15",70,0.1\n',
    "jsonlines": '{"time": "2026-05-01T12:15:00Z", "AirTC": 21.111111, "Rain": 2.54}\n'
    '{"kind": "field", "record": {}}\n',
    "chirpstack": json.dumps(
        {
            "deviceInfo": {"devEui": "a84041000181c2b3"},
            "time": "2026-05-01T12:15:00Z",
            "object": {"AirTC": 21.111111, "Rain": 2.54},
        }
    ),
    "thethingsstack": json.dumps(
        {
            "end_device_ids": {"device_id": "north"},
            "received_at": "2026-05-01T12:15:00Z",
            "uplink_message": {"decoded_payload": {"AirTC": 21.111111, "Rain": 2.54}},
        },
        indent=2,
    ),
}


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "mapping.toml"
    path.write_text('[fields]\nair_temperature_c = "AirTC"\nrain_mm = "Rain"\n')
    return path


def checked(capsys: Any, *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["check", *map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refused(capsys: Any, *arguments: object) -> str:
    capsys.readouterr()
    assert main(["check", *map(str, arguments)]) == 1
    return str(capsys.readouterr().err)


def test_there_is_a_file_for_every_format() -> None:
    assert set(FILES) == set(FORMATS)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_every_format_is_known_and_shown_as_it_would_be_read(
    name: str, tmp_path: Path, mapping: Path, capsys: Any
) -> None:
    path = tmp_path / "file"
    path.write_text(FILES[name])
    if name == "zentra":
        mapping.write_text('[fields]\nair_temperature_c = "Port 1 / AirTC"\nrain_mm = "Port 2 / Rain"\n')
    found = checked(capsys, path, "--mapping", mapping)
    assert found["format"] == name
    assert found["skips"] == []
    channels = {channel["name"]: channel for channel in found["channels"]}
    assert channels["air_temperature_c"]["first"] == pytest.approx(21.11, abs=0.01)
    assert channels["rain_mm"]["first"] == pytest.approx(2.54)
    assert found["messages"] == (1 if name == "jsonlines" else 0)


def test_what_no_channel_is_made_of_is_shown_with_its_value_and_unit(tmp_path: Path, capsys: Any) -> None:
    """Without a mapping nothing fits, and that is when an installer looks."""
    path = tmp_path / "north.dat"
    path.write_text(FILES["toa5"])
    found = checked(capsys, path)
    assert (found["samples"], found["skipped"]) == (0, 2)
    assert "name the logger's fields in [source.fields]" in found["skips"][0]["reason"]
    assert found["not_mapped"] == [["RECORD", "1", "RN"], ["AirTC", "70", "Deg F"], ["Rain", "0.1", "in"]]
    assert "rain_mm" in found["absent"]


def test_a_device_s_own_source_says_mapping_and_zone_and_days_are_summed_up(tmp_path: Path, capsys: Any) -> None:
    root = tmp_path / "device"
    root.mkdir()
    (root / "device.toml").write_text(
        f'{DEVICE}{SITE}[[source]]\nname = "north"\nkind = "folder"\npath = "in"\nformat = "toa5"\n'
        '[source.fields]\nair_temperature_c = "AirTC"\nrain_mm = { field = "Rain", unit = "mm" }\n'
    )
    path = tmp_path / "north.dat"
    rows = [f'"2026-05-01 {hour:02d}:00:00",{hour},{60 + hour},0.1\n' for hour in range(24)]
    path.write_text(TOA5 + "".join(rows) + '"2026-05-01 24:00:00",24,60,"NAN"\n')
    found = checked(capsys, path, "--dir", root)
    assert found["why"] == "as the source north would"
    assert found["loggers"] == ["North/Met15"]
    times = found["times"]
    assert times["zone"] == "Europe/Rome, by [site]"
    assert (times["first_utc"], times["last_utc"]) == ("2026-04-30T22:00:00Z", "2026-05-01T22:00:00Z")
    assert times["step_s"] == 3600.0
    days = {window["moment"]: window for window in found["windows"]}
    assert days["2026-04-30"]["record"] is None and "16 h" in days["2026-04-30"]["reason"]
    assert days["2026-05-01"]["record"]["rain_mm"] == pytest.approx(2.1)
    assert "rain_mm" in days["2026-05-01"]["doubts"]  # it rains in nearly every sample
    rain = {channel["name"]: channel for channel in found["channels"]}["rain_mm"]
    assert (rain["flags"], rain["is_unit_set"]) == ({"good": 24, "missing": 1}, True)
    assert sorted(path.name for path in root.iterdir()) == ["device.toml"]


def test_on_a_terminal_a_person_reads_it(
    tmp_path: Path, mapping: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "h\x1bobo.csv"
    path.write_text(FILES["hobo"] + "2,2026-05-01 12:30:00\n")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["check", str(path), "--mapping", str(mapping)]) == 0
    said = capsys.readouterr().out
    assert "read as hobo (it looks like Onset HOBO's CSV)" in said
    assert "UTC-5 h, as the file says" in said
    assert "2026-05-01 12:15:00 is 2026-05-01T17:15:00Z" in said
    assert "°F → degC" in said
    assert "line 3: the line has 2 cells" in said
    assert "nothing was stored" in said
    assert "\x1b" not in said


def test_times_that_are_ahead_of_the_clock_are_doubted(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"time": "2099-05-01T12:15:00Z", "rain_mm": 0}\n')
    assert any("no logger measures the future" in note for note in checked(capsys, path)["notes"])


def test_samples_that_are_too_old_to_be_taken_are_told_of(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"time": "2001-05-01T12:15:00Z", "rain_mm": 0}\n')
    found = checked(capsys, path)
    assert found["samples"] == 1
    assert any("1 samples are more than 400 days old" in note for note in found["notes"])


def test_the_hour_that_an_autumn_night_has_twice_is_there_twice(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "device.toml").write_text(f"{DEVICE}{SITE}")
    path = tmp_path / "a.jsonl"
    hours = ("01:30", "02:00", "02:30", "02:00", "02:30", "03:00")
    path.write_text("".join(f'{{"time": "2026-10-25 {hour}:00", "rain_mm": 0.1}}\n' for hour in hours))
    found = checked(capsys, path, "--dir", tmp_path)
    assert not any("of a moment that another one has" in note for note in found["notes"])
    assert found["times"]["step_s"] == 1800.0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'"TOB1","North","CR1000"\n\x00\x01', "binary TOB1: have LoggerNet"),
        (b"PK\x03\x04", "a ZIP file"),
        (b"2026-05-01,21.3\n", "say --format, one of "),
        (b" \n", "is empty"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(content: bytes, said: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert said in refused(capsys, path)


def test_what_is_asked_for_and_is_not_there_is_named(tmp_path: Path, mapping: Path, capsys: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"time": "2026-05-01T12:15:00Z", "rain_mm": 0}\n')
    assert "cannot be read" in refused(capsys, tmp_path / "none")
    assert "expected one of chirpstack" in refused(capsys, path, "--format", "csv")
    (tmp_path / "device.toml").write_text(DEVICE)
    assert checked(capsys, path, "--dir", tmp_path / "not-set-up")["samples"] == 1
    assert "there is no source 'north'" in refused(capsys, path, "--dir", tmp_path, "--source", "north")
    mapping.write_text("[fields]\nrain = 'x'\n")
    assert "rain is not a channel" in refused(capsys, path, "--mapping", mapping)
    mapping.write_text("not TOML")
    assert "cannot be read as TOML" in refused(capsys, path, "--mapping", mapping)


@pytest.mark.parametrize("folder", cases(), ids=lambda folder: folder.name)
def test_every_field_case_can_be_looked_at_before_it_is_stored(folder: Path, tmp_path: Path, capsys: Any) -> None:
    settings = folder / "device.toml"
    (tmp_path / "device.toml").write_text(DEVICE + (settings.read_text() if settings.exists() else SETTINGS))
    case = tomllib.loads((folder / "case.toml").read_text())
    samples = 0
    for path in folder.iterdir():
        if path.name not in OURS:
            capsys.readouterr()
            code = main(["check", str(path), "--dir", str(tmp_path), "--json"])
            said = capsys.readouterr()
            assert code == 0 or said.err.startswith("fieldedge: ")
            samples += json.loads(said.out)["samples"] if code == 0 else 0
    if "arrival" not in case:  # else its files may be pieces of one
        assert samples >= case["expect"].get("samples", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["device.toml"]


def test_a_day_that_was_read_as_the_month_is_told_with_the_format_that_reads_it_rightly(
    tmp_path: Path, capsys: Any
) -> None:
    path, mapping = tmp_path / "north.csv", tmp_path / "order.toml"
    head = '"North"\n"Date & Time","Temp - C"\n'
    path.write_text(head + "".join(f'"{day:02d}/11/26 12:00",20.{day}\n' for day in range(1, 6)))
    for format_, is_told in (("%m/%d/%y %H:%M", True), ("%d/%m/%y %H:%M", False)):
        mapping.write_text(f'[fields]\nair_temperature_c = "Temp"\ntime = {{ format = "{format_}" }}\n')
        notes = checked(capsys, path, "--mapping", mapping)["notes"]
        assert any('perhaps "%d/%m/%y %H:%M"' in note for note in notes) is is_told


def test_loggers_that_speak_in_turns_without_an_origin_are_told(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "two.jsonl"
    lines = [{"time": f"2026-05-01T12:{at:02d}:00Z", "rain_mm": 0, "dev_eui": "ab"[at % 2]} for at in range(4)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert any("dev_eui says a and b in turns" in note for note in checked(capsys, path)["notes"])
    path.write_text("".join(json.dumps({**line, "origin": line["dev_eui"]}) + "\n" for line in lines))
    assert not any("in turns" in note for note in checked(capsys, path)["notes"])
