"""Two loggers of one name are two, the first keeps it, and that stays so over restarts and damage."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.acquisition import known_loggers
from fieldedge.acquisition.known_loggers import KnownLoggers
from fieldedge.contract.samples import name_of


def test_the_first_serial_number_that_is_heard_has_the_name_and_keeps_it_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "loggers.json"
    known = KnownLoggers(path)
    assert known.origin("station", "Field/Hourly", "1048") == "Field/Hourly"
    assert known.origin("station", "Field/Hourly", "2222") == "Field/Hourly #2222"
    known.note("station", "Field/Hourly", ["AirTC"], "2026-05-01T00:00:00Z")
    known.note("station", "Field/Hourly", ["AirTC", "Rain"], "2026-05-02T00:00:00Z")
    known.keep()
    again = KnownLoggers(path)
    assert again.origin("station", "Field/Hourly", "2222") == "Field/Hourly #2222"
    assert again.origin("station", "Field/Hourly", "1048") == "Field/Hourly"
    assert again.by_origin == known.by_origin
    assert again.by_origin["Field/Hourly"].fields == {"AirTC": "2026-05-01T00:00:00Z", "Rain": "2026-05-02T00:00:00Z"}


def test_a_logger_that_is_known_without_its_number_gets_it_and_keeps_its_name() -> None:
    known = KnownLoggers()
    known.note("station", "Field/Hourly", ["AirTC"], "2026-05-01T00:00:00Z")
    assert known.origin("station", "Field/Hourly", "1048") == "Field/Hourly"
    assert known.origin("station", "Field/Hourly", "2222") == "Field/Hourly #2222"


@pytest.mark.parametrize("said", [b"", b"[]", b"{}", b'{"a": 1}', b'{"a": {"source": "s"}}', b"\xff", b'{"a": null}'])
def test_a_file_that_is_damaged_is_begun_anew(tmp_path: Path, said: bytes) -> None:
    path = tmp_path / "loggers.json"
    path.write_bytes(said)
    known = KnownLoggers(path)
    assert known.origin("station", "Field", "1") == "Field"
    known.keep()
    assert json.loads(path.read_text())["Field"]["serial"] == "1"


def test_a_disk_that_refuses_ends_nothing_and_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "away" / "loggers.json"
    known = KnownLoggers(path)
    known.origin("station", "Field", "1")
    known.keep()
    path.parent.mkdir()
    known.keep()
    assert KnownLoggers(path).by_origin["Field"].serial == "1"


def test_no_logger_makes_the_file_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_loggers, "MAX_LOGGERS", 3)
    monkeypatch.setattr(known_loggers, "MAX_NAMES", 4)
    known = KnownLoggers()
    for number in range(10):
        known.note("station", f"logger {number}", [f"field {count}" for count in range(number)], "2026-05-01T00:00:00Z")
        known.note("station", "logger 0", [f"field {number}"], "2026-05-01T00:00:00Z")
    assert len(known.by_origin) == 3
    assert all(len(logger.fields) <= 4 for logger in known.by_origin.values())
    assert known.origin("station", "one more", "1") == "one more"


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2", "3"])), max_size=20))
def test_a_name_and_a_number_are_one_logger_and_no_other(heard: list[tuple[str, str]]) -> None:
    known = KnownLoggers()
    origins = {pair: known.origin("station", *pair) for pair in heard}
    assert len(set(origins.values())) == len(origins)
    assert all(name_of(origin) == name for (name, _), origin in origins.items())
    assert all(known.origin("station", *pair) == origin for pair, origin in origins.items())


def places(*identities: str) -> dict[str, dict[str, str]]:
    """What a list of elements says of itself, for each of its places."""
    said = {f"messages.{place}.id": identity for place, identity in enumerate(identities)}
    return {f"messages.{place}": said for place in range(len(identities))}


def test_an_element_that_stands_where_another_stood_is_known_over_a_restart(tmp_path: Path) -> None:
    known = KnownLoggers(tmp_path / "loggers.json")
    assert known.moved("station", "node", places("4097", "4098")) is None
    assert known.moved("station", "node", places("4097", "4098")) is None
    known.keep()
    again = KnownLoggers(tmp_path / "loggers.json")
    assert (
        again.moved("station", "node", places("4098", "4097")) == "messages.0 says id 4098, where it said 4097 before"
    )
    assert again.moved("station", "node", places("4098")) == "messages.0 says id 4098, where it said 4097 before"
    assert again.moved("station", "node", places("4097", "4098")) is None
    assert again.moved("station", "another", places("4098", "4097")) is None


def test_a_number_that_is_another_in_each_message_is_no_place_that_was_left() -> None:
    known = KnownLoggers()
    for number in range(20):
        assert known.moved("station", "node", places(f"message {2 * number}", f"message {2 * number + 1}")) is None
