"""The ledger: what is acknowledged stays, what is torn is healed, what was changed is named."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldedge.system.errors import DataError
from fieldloop.rollout import ledger as ledger_module
from fieldloop.rollout.ledger import Ledger

SAID: list[dict[str, Any]] = [
    {"kind": "device", "device_id": f"dev-{number:02}", "version": "12", "share": number / 7} for number in range(5)
]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path / "ledger.jsonl")
    made.append(SAID[:2])
    made.append(SAID[2:])
    return made


def said(ledger: Ledger) -> list[Any]:
    return [dict(entry.values) for entry in ledger.entries()]


def test_what_was_written_is_read_in_order_and_verified(ledger: Ledger) -> None:
    assert said(ledger) == SAID
    number, sha256 = ledger.verify()
    assert number == 5
    assert json.loads(ledger.head_path.read_text()) == {"number": 5, "sha256": sha256}
    assert Ledger(ledger.path.with_name("none")).verify() == (0, "0" * 64)


def test_a_torn_last_line_is_healed_wherever_it_was_cut_off(ledger: Ledger) -> None:
    whole, head = ledger.path.read_bytes(), ledger.head_path.read_bytes()
    before = len(whole)
    ledger.append([{"kind": "device", "device_id": "dev-09"}])
    longer = ledger.path.read_bytes()
    for kept in range(before, len(longer)):  # the power went before the head was written
        for rest in (longer[before:kept], b"\0" * (kept - before)):
            ledger.path.write_bytes(whole + rest)
            ledger.head_path.write_bytes(head)
            assert said(ledger) == SAID
            ledger.append([{"again": kept}])
            assert said(ledger) == [*SAID, {"again": kept}]
            assert ledger.path.read_bytes().count(b"\n") == 6


def test_a_line_that_was_whole_when_the_power_went_is_kept(ledger: Ledger) -> None:
    head = ledger.head_path.read_bytes()
    ledger.append([{"kind": "last"}])
    ledger.head_path.write_bytes(head)
    ledger.append([{"kind": "next"}])
    assert said(ledger) == [*SAID, {"kind": "last"}, {"kind": "next"}]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_byte_that_changes_is_damage_that_is_named(ledger: Ledger, data: st.DataObject) -> None:
    whole = ledger.path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    line = whole[:place].count(b"\n") + 1
    ledger.path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
    try:
        with pytest.raises(DataError, match=rf"ledger.jsonl: line {line} "):
            ledger.verify()
    finally:
        ledger.path.write_bytes(whole)


def test_a_number_that_became_infinite_is_damage_that_is_named(ledger: Ledger) -> None:
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    changed = re.sub(rb"^{", b'{"x":1e999,', lines[1])
    ledger.path.write_bytes(b"".join([lines[0], changed, *lines[2:]]))
    with pytest.raises(DataError, match=r"ledger.jsonl: line 2 was changed"):
        ledger.verify()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: lines[:1] + lines[2:], "line 2 says that it is line 3"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "line 2 says that it is line 3"),
        (lambda lines: lines[:2] + lines[1:], "line 3 says that it is line 2"),
        (lambda lines: lines[:3], "line 4 to line 5 are missing"),
        (lambda lines: lines[:0], "line 1 to line 5 are missing"),
    ],
)
def test_lines_that_are_left_out_moved_or_doubled_show(ledger: Ledger, change: Any, told: str) -> None:
    ledger.path.write_bytes(b"".join(change(ledger.path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(DataError, match=told):
        ledger.verify()


@pytest.mark.parametrize("kept", [0, 3])
def test_nothing_is_added_to_a_chain_that_is_broken_at_its_end(ledger: Ledger, kept: int) -> None:
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(lines[:kept]))
    with pytest.raises(DataError, match=r"(was|were) written"):
        ledger.append([{"kind": "next"}])
    assert ledger.path.read_bytes() == b"".join(lines[:kept])


def test_a_history_that_was_written_anew_from_the_first_line_shows_by_the_head(ledger: Ledger, tmp_path: Path) -> None:
    other = Ledger(tmp_path / "other.jsonl")
    other.append([{**SAID[0], "version": "13"}, *SAID[1:]])
    ledger.path.write_bytes(other.path.read_bytes())
    with pytest.raises(DataError, match="line 5 has the hash"):
        ledger.verify()


def test_lines_are_on_the_disk_before_the_head_says_so(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append("synced"), fsync(descriptor))[1])
    write = ledger_module.write_durably
    monkeypatch.setattr(ledger_module, "write_durably", lambda *args: (seen.append("head"), write(*args))[1])
    ledger.append([{"kind": "next"}])
    assert seen.index("synced") < seen.index("head")


def test_a_head_that_cannot_be_read_is_damage(ledger: Ledger) -> None:
    ledger.head_path.write_text("{}")
    with pytest.raises(DataError, match=r"ledger.jsonl.head is damaged"):
        ledger.verify()


def test_a_line_cannot_speak_for_the_chain(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="number is the chain's own"):
        ledger.append([{"number": 7}])
    assert said(ledger) == SAID
