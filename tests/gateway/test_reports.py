"""What devices report is durable before it is acknowledged, kept once, and told apart from what a power cut left."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import fieldloop.gateway.reports
from fieldedge.contract.update_report import MAX_REPORT_BYTES, UpdateReport, signed_part
from fieldedge.system.errors import DataError
from fieldedge.system.keys import load_or_create_key, public_key_hex, sign
from fieldedge.transfer.reports import REPORTS_PATH, on_stick, report_id
from fieldedge.transfer.usb import UsbStick
from fieldloop.gateway.app import create_app
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.inbox import Inbox
from fieldloop.gateway.reports import Received, Reports
from fieldloop.gateway.usb import ingest_usb
from fieldloop.release import ReleaseRepository

NOW = datetime(2027, 7, 3, 6, tzinfo=UTC)
REPORT = UpdateReport("dev-07", "2027-07-03T06:00:04Z", "agriculture", "12", "11", "confirmed", "all is well", 14)


class Office:
    """A gateway with one device that it knows."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.key = load_or_create_key(root / "device.pem")
        self.repository = ReleaseRepository(root / "tuf")
        self.registry = DeviceRegistry(root / "gateway" / "devices.json")
        self.registry.register({"dev-07": public_key_hex(self.key)})
        self.client = TestClient(create_app(root / "tuf", root / "gateway" / "inbox", self.registry.path))

    @property
    def reports(self) -> Reports:
        return Reports(self.root / "gateway" / "reports")

    def post(self, data: bytes, device_id: str = "dev-07", signed: bytes | None = None) -> tuple[int, dict[str, str]]:
        headers = {
            "Fieldloop-Device": device_id,
            "Fieldloop-Signature": sign(self.key, signed_part(data) if signed is None else signed),
        }
        answer = self.client.post(REPORTS_PATH, content=data, headers=headers)
        return answer.status_code, answer.json()


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_a_report_is_kept_once_and_acknowledged_each_time(office: Office) -> None:
    data = REPORT.as_json()
    sha256 = hashlib.sha256(data).hexdigest()
    for status in (201, 200):
        code, answer = office.post(data)
        assert (code, answer["acknowledged"]) == (status, sha256)
        assert answer["signature"] == office.repository.sign_acknowledgement("dev-07", sha256, is_batch=False)
    (held,) = office.reports.all()
    assert (held.report, held.sha256) == (REPORT, sha256)
    assert office.reports.holds("dev-07", sha256)
    assert office.repository.acknowledged.names() == [], "a report is no batch that could be missed"


def test_what_is_not_signed_by_the_device_that_it_is_of_is_refused(office: Office) -> None:
    data = REPORT.as_json()
    assert office.post(data, "dev-08")[0] == 401
    assert office.post(data, signed=data)[0] == 401, "a signature of something else"
    other = replace(REPORT, device_id="dev-08").as_json()
    code, answer = office.post(other)
    assert code == 400 and "dev-08" in answer["error"]
    assert list(office.reports.all()) == []


@pytest.mark.parametrize(
    "data", [b"{}", b"x" * (MAX_REPORT_BYTES + 1), REPORT.as_json()[:-1]], ids=["empty", "large", "cut"]
)
def test_what_is_no_report_is_refused(office: Office, data: bytes) -> None:
    assert office.post(data)[0] in (400, 413)
    assert list(office.reports.all()) == []


def test_a_report_is_no_batch(office: Office) -> None:
    data = signed_part(REPORT.as_json())
    assert not office.registry.is_signed_by("dev-07", data, sign(office.key, data))


def test_reports_come_back_in_the_order_in_which_they_came_by_device(tmp_path: Path) -> None:
    reports = Reports(tmp_path / "reports")
    for version in ("9", "10", "11"):
        for device_id in ("dev-07", "dev-02"):
            data = replace(REPORT, device_id=device_id, version=version).as_json()
            assert reports.keep(data, device_id, "s", NOW)
    again = Reports(tmp_path / "reports")
    assert again.devices() == ["dev-02", "dev-07"]
    assert [one.report.version for one in again.of_device("dev-07")] == ["9", "10", "11"]
    assert len(list(again.all())) == 6


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_a_line_that_a_power_cut_left_half_is_passed_over_and_the_next_one_stands(tmp_path: Path, cut: int) -> None:
    reports = Reports(tmp_path)
    reports.keep(REPORT.as_json(), "dev-07", "s", NOW)
    half = replace(REPORT, version="13")
    reports.keep(half.as_json(), "dev-07", "s", NOW)
    path = tmp_path / "dev-07.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    left = reports.of_device("dev-07")
    assert [one.report.version for one in left] == (["12", "13"] if cut == 1 else ["12"])
    assert reports.keep(half.as_json(), "dev-07", "s", NOW) is (cut != 1), "it is sent again, and kept once"
    reports.keep(replace(REPORT, version="14").as_json(), "dev-07", "s", NOW)
    assert [one.report.version for one in reports.of_device("dev-07")] == ["12", "13", "14"]


def test_one_device_cannot_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldloop.gateway.reports.MAX_REPORTS_OF_A_DEVICE", 2)
    reports = Reports(tmp_path)
    for version in ("1", "2"):
        reports.keep(replace(REPORT, version=version).as_json(), "dev-07", "s", NOW)
    with pytest.raises(DataError, match="no more are kept"):
        reports.keep(replace(REPORT, version="3").as_json(), "dev-07", "s", NOW)


def test_a_stick_brings_reports_and_takes_their_acknowledgement_back(office: Office, tmp_path: Path) -> None:
    stick = UsbStick(tmp_path / "stick")
    folder = stick.device("dev-07")
    folder.mkdir(parents=True)
    data = REPORT.as_json()
    (folder / f"{report_id(data)}.report").write_bytes(on_stick(office.key, "dev-07", data))
    (folder / f"{'0' * 64}.report").write_bytes(b"rotten")
    inbox = Inbox(office.root / "gateway" / "inbox")
    for _ in range(2):
        taken = ingest_usb(stick, inbox, office.registry, office.repository, NOW, office.reports)
        assert taken.reports == {"dev-07": {report_id(data)}}
        assert list(taken.refused) == [f"dev-07/{'0' * 64}.report"]
    assert [one.report for one in office.reports.all()] == [REPORT]
    (target,) = (stick.release / "targets" / "acknowledgements").glob("*dev-07.json")
    assert report_id(data) in target.read_text()
    assert office.repository.acknowledged.names() == []


def test_the_gateway_serves_the_rest_of_a_file(office: Office) -> None:
    """So that a download goes on where it broke off."""
    (office.root / "tuf" / "targets" / "agriculture").mkdir(parents=True, exist_ok=True)
    content = bytes(range(256)) * 100
    (office.root / "tuf" / "targets" / "agriculture" / "x.bundle.zip").write_bytes(content)
    answer = office.client.get("/tuf/targets/agriculture/x.bundle.zip", headers={"Range": "bytes=16384-"})
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes 16384-{len(content) - 1}/{len(content)}"
    assert answer.content == content[16384:]


def test_a_flood_from_one_device_is_kept_to_a_number_and_reads_none_of_what_came_before(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each report would cost as much as all before it, and one stolen key would fill the gateway's day."""
    read_lines: list[int] = []
    real = fieldloop.gateway.reports._received

    def counted(line: bytes, number: int) -> Received | None:
        read_lines.append(number)
        return real(line, number)

    monkeypatch.setattr(fieldloop.gateway.reports, "_received", counted)
    monkeypatch.setattr(fieldloop.gateway.reports, "MAX_REPORTS_OF_A_DEVICE", 40)
    codes = [office.post(replace(REPORT, decisions=number).as_json())[0] for number in range(60)]
    assert codes == [201] * 40 + [400] * 20
    assert read_lines == []
    assert office.post(replace(REPORT, decisions=7).as_json())[0] == 200, "what is held is acknowledged all the same"
    assert read_lines == [8]
