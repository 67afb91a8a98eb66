"""What became of a model is told home: over the link, by a stick, once, and until it is acknowledged."""

import json
from pathlib import Path
from typing import Any

import pytest

from fieldedge.cli import main
from fieldedge.contract.update_report import read
from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.pointer import MAX_REPORTS
from fieldedge.inference.slots import Slots
from fieldedge.system.errors import DataError
from fieldedge.transfer.reports import from_stick, report_id
from tests.edge.sample import (
    AGRICULTURE,
    DEVICE_ID,
    GatewaySimulator,
    Repository,
    bundle_files,
    onnx_model,
    season_messages,
    zipped,
)


@pytest.fixture
def updated(device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator) -> DeviceDirectory:
    """A device with version 1 on watch, which has decided nothing."""
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract), "1")))
    assert main(["update", "--dir", str(device.root), "--gateway", gateway.url]) == 0
    return device


def decide(device: DeviceDirectory, days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    lines = "".join(json.dumps(message) + "\n" for message in season_messages(days, harvest_t_ha=None))
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert main(["run", "--dir", str(device.root)]) == 0


def sync(device: DeviceDirectory, gateway: GatewaySimulator) -> int:
    return main(["sync", "--dir", str(device.root), "--gateway", gateway.url])


def waiting(device: DeviceDirectory) -> list[str]:
    return [read(one.encode()).state for one in Slots(device.root).pointer().reports]


def test_what_was_installed_and_how_its_watch_goes_are_told_with_a_sync(
    updated: DeviceDirectory, gateway: GatewaySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert waiting(updated) == ["installed"]
    assert sync(updated, gateway) == 0
    assert [(one.state, one.version, one.device_id) for one in gateway.told] == [("installed", "1", DEVICE_ID)]
    assert waiting(updated) == []
    decide(updated, 3, monkeypatch)
    for _ in range(2):
        assert sync(updated, gateway) == 0
    (_, progress) = gateway.told
    assert (progress.state, progress.decisions, progress.reason) == ("watching", 3, "watching 3 of 14")
    decide(updated, 15, monkeypatch)
    assert sync(updated, gateway) == 0
    assert [one.state for one in gateway.told] == ["installed", "watching", "confirmed"]
    assert gateway.told[-1].decisions == 14
    assert waiting(updated) == []


def test_a_gateway_of_before_takes_no_reports_and_everything_else_goes_on(
    updated: DeviceDirectory, gateway: GatewaySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GatewaySimulator, "take_report", lambda *_: (404, {"detail": "Not Found"}))
    assert sync(updated, gateway) == 0
    assert waiting(updated) == ["installed"]


@pytest.mark.parametrize(
    ("status", "answer", "left"),
    [
        (503, {"error": "busy"}, ["installed"]),
        (401, {"error": "who is it?"}, ["installed"]),
        (201, {"acknowledged": "0" * 64, "signature": "x"}, ["installed"]),
        (201, b"<html>welcome</html>", ["installed"]),
        (400, {"error": "that is no report"}, []),
    ],
)
def test_only_the_gateways_own_word_frees_a_report_and_none_holds_up_a_sync(
    updated: DeviceDirectory,
    gateway: GatewaySimulator,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    answer: Any,
    left: list[str],
) -> None:
    monkeypatch.setattr(GatewaySimulator, "take_report", lambda *_: (status, answer))
    assert sync(updated, gateway) == 0
    assert waiting(updated) == left


def test_a_stick_brings_reports_home_and_its_acknowledgement_frees_them(
    updated: DeviceDirectory,
    repository: Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decide(updated, 2, monkeypatch)
    stick = tmp_path / "stick"
    stick.mkdir()
    for _ in range(2):
        assert main(["export", "--dir", str(updated.root), "--to", str(stick)]) == 0
    files = sorted((stick / "fieldloop" / "devices" / DEVICE_ID).glob("*.report"))
    found = [from_stick(path.read_bytes()) for path in files]
    assert sorted(read(data).state for _, _, data in found) == ["installed", "watching"]
    assert {path.stem for path in files} == {report_id(data) for _, _, data in found}
    assert waiting(updated) == ["installed"], "an export frees nothing"
    del repository, capsys


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"device_id": 1, "signature": "", "report": ""}', b"\xff"])
def test_a_report_that_was_damaged_on_the_stick_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="export it again"):
        from_stick(data)


def test_reports_that_nobody_takes_have_a_bound_and_the_newest_stay(updated: DeviceDirectory) -> None:
    slots = Slots(updated.root)
    (first,) = slots.pointer().reports
    for number in range(MAX_REPORTS + 5):
        said = json.loads(first) | {"reason": f"number {number}"}
        slots.add_report(json.dumps(said, sort_keys=True, separators=(",", ":")).encode())
    reasons = [json.loads(one)["reason"] for one in slots.pointer().reports]
    assert reasons == [f"number {number}" for number in range(5, MAX_REPORTS + 5)]
    assert slots.active() is not None
