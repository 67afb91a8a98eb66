"""JSON lines: what is read, what goes to the agent, and what is set aside with its reason."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldedge.acquisition.formats import FORMATS
from fieldedge.acquisition.raw import (
    KEPT_CHARACTERS,
    MAX_DEPTH,
    MAX_FIELDS,
    MAX_LINE_BYTES,
    Message,
    Parsed,
    RawSample,
    Unreadable,
)

FORMAT = FORMATS["jsonlines"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


def parsed(payload: bytes) -> list[Parsed]:
    return list(FORMAT.parse(payload, "station/today.jsonl"))


def only_unreadable(payload: bytes) -> Unreadable:
    (found,) = parsed(payload)
    assert isinstance(found, Unreadable)
    return found


def test_a_line_is_a_sample_with_its_fields_and_its_time() -> None:
    (sample,) = parsed(b'{"time": "2026-05-01T12:15:00Z", "air_temperature_c": 21.3, "rain_mm": null}\n')
    assert isinstance(sample, RawSample)
    assert sample.time == "2026-05-01T12:15:00Z"
    assert sample.fields["air_temperature_c"] == 21.3
    assert sample.fields["rain_mm"] is None
    assert (sample.where, sample.origin, dict(sample.units)) == ("station/today.jsonl, line 1", None, {})


def test_nested_fields_are_named_with_dots() -> None:
    (sample,) = parsed(b'{"time": 1777637700, "soil": {"probe": {"vwc": 0.21}, "ec": [1.5, {"x": 2}]}, "empty": {}}')
    assert isinstance(sample, RawSample)
    assert sample.fields == {"time": 1777637700, "soil.probe.vwc": 0.21, "soil.ec.0": 1.5, "soil.ec.1.x": 2}


def test_a_message_for_the_agent_is_passed_on_untouched() -> None:
    line = '{"kind":  "decide", "date": "2026-05-01"}'
    assert parsed(f"\n{line}\r\n".encode()) == [Message("station/today.jsonl, line 2", line)]


def test_a_logger_may_name_itself() -> None:
    origins = [
        sample.origin
        for sample in parsed(b'{"origin": " node-3 "}\n{"origin": "\\ud800"}\n{"origin": 7}\n{"origin": ""}\n')
        if isinstance(sample, RawSample)
    ]
    assert origins == ["node-3", None, None, None]


def test_a_mark_blank_lines_and_the_zeros_of_a_torn_card_are_passed_over() -> None:
    found = parsed(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n\x00\x00\x00\n\x00{"a": 2}\x00\n')
    assert [sample.fields["a"] for sample in found if isinstance(sample, RawSample)] == [1, 2]
    assert len(found) == 2


def test_a_broken_line_takes_no_other_with_it() -> None:
    first, broken, last = parsed(b'{"a": 1}\n{"a": \n{"a": 3}\n')
    assert isinstance(first, RawSample)
    assert isinstance(broken, Unreadable)
    assert isinstance(last, RawSample)
    assert (broken.where, broken.text) == ("station/today.jsonl, line 2", '{"a":')


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"21.3", "float; expected an object"),
        (b"[1]", "list; expected an object"),
        (b"null", "NoneType; expected an object"),
        (b"air 21.3", "not a readable JSON object"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": ' + b"[" * 50_000 + b"]" * 40_000, "nested too deeply"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} levels"),
        (json.dumps({str(i): i for i in range(MAX_FIELDS + 1)}).encode(), f"more than {MAX_FIELDS} fields"),
        (json.dumps({"n" * 201: 1}).encode(), "more than 200 characters"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not a readable JSON object"),
        (b'{"a": "' + b"x" * MAX_LINE_BYTES + b'"}', f"at most {MAX_LINE_BYTES}"),
    ],
)
def test_what_cannot_be_read_is_set_aside_with_the_reason(payload: bytes, said: str) -> None:
    found = only_unreadable(payload)
    assert said in found.reason
    assert 0 < len(found.text) <= KEPT_CHARACTERS
    found.text.encode()
    found.reason.encode()


def test_a_later_part_of_a_file_is_named_by_its_own_lines() -> None:
    (sample,) = FORMAT.parse(b'{"a": 1}\n', "x", 41)
    assert isinstance(sample, RawSample)
    assert sample.where == "x, line 41"


def test_json_has_no_header() -> None:
    assert FORMAT.header_bytes(b'{"a": 1}\n') == b""
    assert not FORMAT.awaits_header(b"")


@given(st.binary(max_size=300))
def test_no_bytes_raise(payload: bytes) -> None:
    assert all(isinstance(found, RawSample | Message | Unreadable) for found in parsed(payload))


@settings(max_examples=50)
@given(st.lists(st.dictionaries(st.text(max_size=10), JSON, max_size=5), max_size=5))
def test_every_object_is_one_result_and_no_value_is_another(objects: list[dict[str, object]]) -> None:
    found = parsed("\n".join(json.dumps(value) for value in objects).encode())
    assert len(found) == len(objects)
    for value, result in zip(objects, found, strict=True):
        if isinstance(result, RawSample):
            plain = {name: inner for name, inner in value.items() if not isinstance(inner, dict | list)}
            clashing = any("." in name for name in value)
            assert clashing or all(result.fields[name] == inner or inner != inner for name, inner in plain.items())
