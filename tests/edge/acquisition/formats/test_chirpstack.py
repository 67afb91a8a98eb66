"""LoRaWAN uplinks: what a codec decoded is read, what nobody decoded says what to do."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.acquisition.formats import FORMATS
from fieldedge.acquisition.raw import Parsed, RawSample, Unreadable

FORMAT = FORMATS["chirpstack"]
EUI = "a84041000181c2b3"
UP: dict[str, Any] = {
    "deduplicationId": "3ac7e3c4-4401-4b8d-9386-a5c902f9202d",
    "time": "2026-05-01T12:15:00.123456789+00:00",
    "deviceInfo": {"applicationName": "farm", "deviceName": "probe 3", "devEui": EUI, "tags": {}},
    "devAddr": "01f5a3b1",
    "fCnt": 41,
    "fPort": 2,
    "data": "CzYBAAkf",
    "object": {"water": {"15cm": 0.213, "35cm": 0.224}, "Bat": 3.6, "alarm": False},
    "rxInfo": [{"gatewayId": "0016c001f153a14c", "rssi": -97, "snr": 7.5}],
}
TTS: dict[str, Any] = {
    "end_device_ids": {"device_id": "probe-3", "dev_eui": EUI.upper()},
    "received_at": "2026-05-01T12:15:00.123Z",
    "uplink_message": {
        "f_port": 2,
        "frm_payload": "CzYBAAkf",
        "decoded_payload": {"water": {"15cm": 0.213, "35cm": 0.224}, "Bat": 3.6, "alarm": False},
    },
}
FIELDS = {"water.15cm": 0.213, "water.35cm": 0.224, "Bat": 3.6, "alarm": False}


def parsed(payload: bytes) -> list[Parsed]:
    return list(FORMAT.parse(payload, "lora"))


def said_of(event: object) -> str:
    (found,) = parsed(json.dumps(event).encode())
    assert isinstance(found, Unreadable)
    return found.reason


def without(event: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key != name}


def test_a_chirpstack_uplink_is_what_its_codec_decoded() -> None:
    assert parsed(json.dumps(UP).encode()) == [RawSample("lora", UP["time"], FIELDS, EUI)]


def test_an_uplink_of_the_things_stack_reads_the_same_and_is_of_the_same_device() -> None:
    assert parsed(json.dumps(TTS).encode()) == [RawSample("lora", TTS["received_at"], FIELDS, EUI)]
    assert parsed(json.dumps({"result": TTS}).encode()) == parsed(json.dumps(TTS).encode())


def test_uplinks_come_alone_over_many_lines_in_a_list_or_one_a_line() -> None:
    (one,) = parsed(json.dumps(UP, indent=2).encode())
    assert parsed(json.dumps([UP, TTS]).encode()) == [one, *parsed(json.dumps(TTS).encode())]
    lines = parsed(f"{json.dumps(UP)}\r\n{json.dumps(TTS)}\n".encode())
    assert [line.where for line in lines] == ["lora, line 1", "lora, line 2"]
    assert [line.fields for line in lines if isinstance(line, RawSample)] == [FIELDS, FIELDS]


def test_an_uplink_that_nobody_decoded_says_to_set_a_codec() -> None:
    assert "set a codec" in said_of(without(UP, "object"))
    assert EUI in said_of({**UP, "object": None})
    undecoded = {**TTS, "uplink_message": {"frm_payload": "CzYBAAkf"}}
    assert "payload formatter" in said_of(undecoded)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"deviceInfo": {"devEui": EUI}, "devAddr": "01f5a3b1"}, "subscribe to .../event/up"),
        ({"deviceInfo": {"devEui": EUI}, "margin": 10, "batteryLevel": 80.0}, "holds no readings"),
        ({"gatewayId": "0016c001f153a14c"}, "it is no uplink"),
        ({**TTS, "uplink_message": {}}, "holds no readings"),
        ({**UP, "deviceInfo": None}, "deviceInfo is NoneType"),
        ({**UP, "deviceInfo": {"devEui": "\ud800"}}, "expected an EUI"),
        ({**TTS, "end_device_ids": {}}, "expected an EUI"),
        ({**UP, "object": {"x" * 201: 1}}, "more than 200 characters"),
        ("up", "it is str"),
    ],
)
def test_what_holds_no_readings_is_set_aside_with_the_reason(event: object, said: str) -> None:
    reason = said_of(event)
    assert said in reason
    reason.encode()


def test_a_broken_line_takes_no_other_with_it() -> None:
    broken, sample = parsed(b'{"deviceInfo": \n' + json.dumps(UP).encode())
    assert isinstance(broken, Unreadable)
    assert isinstance(sample, RawSample)


@given(st.binary(max_size=300))
def test_no_bytes_raise(payload: bytes) -> None:
    assert all(isinstance(found, RawSample | Unreadable) for found in parsed(payload))


@given(
    st.sampled_from([UP, TTS]),
    st.lists(
        st.tuples(
            st.sampled_from(
                ["deviceInfo", "object", "time", "uplink_message", "end_device_ids", "received_at", "data"]
            ),
            st.none() | st.integers() | st.text(max_size=5) | st.just([]) | st.just({}) | st.floats() | st.just([{}]),
        ),
        max_size=4,
    ),
)
def test_no_change_to_an_uplink_raises(event: dict[str, Any], changes: list[tuple[str, object]]) -> None:
    (found,) = parsed(json.dumps({**event, **dict(changes)}).encode())
    assert isinstance(found, RawSample | Unreadable)


def event(name: str, data: object) -> dict[str, Any]:
    return {"name": name, "time": TTS["received_at"], "identifiers": [{"device_ids": {}}], "data": data}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["thethingsstack", "chirpstack"])
def test_of_what_the_things_stack_s_console_exports_only_the_forwarded_uplink_counts(
    name: str, indent: int | None
) -> None:
    export = [
        event("gs.up.receive", {"message": {}}),
        event("ns.up.data.forward", TTS),
        event("as.up.data.receive", TTS),
        event("as.up.data.forward", {"@type": "type.googleapis.com/ttn.lorawan.v3.ApplicationUp", **TTS}),
        event("ns.down.data.schedule.attempt", {}),
    ]
    expected = [RawSample("lora", TTS["received_at"], FIELDS, EUI)]
    assert list(FORMATS[name].parse(json.dumps(export, indent=indent).encode(), "lora")) == expected
    by_line = "\n".join(json.dumps(one) for one in export)
    (found,) = FORMATS[name].parse(by_line.encode(), "lora")
    assert isinstance(found, RawSample)
    assert found.fields == FIELDS


def test_an_uplink_that_the_things_stack_could_not_decode_is_told_of_and_not_passed_over() -> None:
    assert "it is no uplink" in said_of(event("as.up.data.decode.fail", {"message": "ReferenceError"}))


@pytest.mark.parametrize("indent", [1, 2, "\t"])
def test_a_document_over_many_lines_is_waited_for_until_its_end(indent: int | str) -> None:
    for document in ([UP, TTS], UP):
        whole = json.dumps(document, indent=indent).encode()
        lines = whole.splitlines(keepends=True)
        assert all(FORMAT.awaits_header(b"".join(lines[:count])) for count in range(1, len(lines)))
        assert not FORMAT.awaits_header(whole)
        assert not FORMAT.awaits_header(whole + b"\r\n")


@pytest.mark.parametrize("payload", [b"", b"\n", b"{}\n", b"rubbish\n", b"[1]\n", b"[\n" + b" " * 300_000])
def test_nothing_else_is_waited_for(payload: bytes) -> None:
    assert not FORMAT.awaits_header(payload)
