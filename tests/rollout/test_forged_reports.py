"""Reports that nobody should believe, from the gateway to the decision: forged, replayed, impossible, in floods."""

import hashlib
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fieldedge.contract.update_report import State, UpdateReport, signed_part
from fieldedge.system.keys import load_or_create_key, public_key_hex, sign
from fieldedge.transfer.cohort import cohort_share
from fieldedge.transfer.reports import REPORTS_PATH
from fieldedge.workloads import known_workload
from fieldloop.core.params import RolloutParams
from fieldloop.gateway.app import create_app
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.reports import Reports
from fieldloop.release import ReleaseRepository
from fieldloop.rollout.engine import Look, Rollouts
from fieldloop.rollout.gateway_fleet import GatewayFleet
from fieldloop.rollout.signed import SignedReleases, bundles_of
from fieldloop.rollout.store import RolloutStore

CONTRACT = known_workload("agriculture").contract
SALT = "a1b2c3"
BEGAN = datetime(2027, 4, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DEVICES = [f"dev-{number:02}" for number in range(12)]
IN = [one for one in DEVICES if cohort_share(one, SALT) < 50]
OUT = [one for one in DEVICES if one not in IN]
PLAN = RolloutParams.model_validate(
    {
        "stages": [{"percentage": 50, "soak_d": 0}, {"percentage": 100, "soak_d": 0}],
        "min_sample": 100,
        "approval": "none",
    }
)


class Office:
    """The gateway over HTTP, the signed repository and a rollout of version 12 to half of twelve devices."""

    def __init__(self, root: Path, make_bundle: Callable[..., Path]) -> None:
        self.now = BEGAN
        bundles = root / "released"
        bundles.mkdir()
        for version in ("11", "12"):
            shutil.copy(make_bundle(version), bundles / f"agriculture-{version}.zip")
        repository = ReleaseRepository(root / "tuf")
        repository.publish(bundles / "agriculture-11.zip", "agriculture", "11", CONTRACT.hash)
        self.keys = {name: load_or_create_key(root / f"{name}.pem") for name in (*DEVICES, "stranger")}
        registry = DeviceRegistry(root / "gateway" / "devices.json")
        registry.register({name: public_key_hex(self.keys[name]) for name in DEVICES})
        inbox = root / "gateway" / "inbox"
        self.gateway = TestClient(create_app(root / "tuf", inbox, registry.path, now=lambda: self.now))
        self.reports, self.ledger = Reports(root / "gateway" / "reports"), RolloutStore(root / "rollouts").ledger
        self.rollouts = Rollouts(
            RolloutStore(root / "rollouts"),
            SignedReleases(repository),
            GatewayFleet(registry, inbox, self.reports, BEGAN),
            lambda workload, version: bundles_of(bundles, workload, version, ("x86-64",)),
            lambda: self.now,
        )

    def start(self) -> None:
        self.rollouts.start("agriculture", "12", PLAN, "someone", salt=SALT)

    def send(self, said: UpdateReport, *, sender: str = "", signed_by: str = "") -> int:
        """What the gateway answers to a report, under a name and with a signature."""
        data = said.as_json()
        headers = {
            "Fieldloop-Device": sender or said.device_id,
            "Fieldloop-Signature": sign(self.keys[signed_by or said.device_id], signed_part(data)),
        }
        return int(self.gateway.post(REPORTS_PATH, content=data, headers=headers).status_code)

    def install(self) -> None:
        """All that are in were online, and have it."""
        for device in IN:
            assert self.send(report(device, "installed", self.now, decisions=0)) == 201

    def look(self) -> Look:
        return self.rollouts.look("agriculture")


@pytest.fixture
def office(tmp_path: Path, make_bundle: Callable[..., Path]) -> Office:
    return Office(tmp_path, make_bundle)


def report(device: str, state: State, at: datetime, version: str = "12", decisions: int = 14) -> UpdateReport:
    return UpdateReport(device, f"{at:%Y-%m-%dT%H:%M:%SZ}", "agriculture", version, "11", state, "", decisions)


def test_there_are_devices_in_and_out() -> None:
    assert len(IN) >= 3 and len(OUT) >= 3


def test_a_report_that_another_devices_key_signed_is_refused_and_counts_for_nobody(office: Office) -> None:
    office.start()
    victim, thief = IN[:2]
    for said in (report(victim, "confirmed", BEGAN), report(victim, "reverted", BEGAN)):
        assert office.send(said, signed_by=thief) == 401
        assert office.send(said, sender=thief, signed_by=thief) == 400, "under his own name it is another device's"
        assert office.send(said, signed_by="stranger") == 401
    unknown = report("stranger", "reverted", BEGAN)
    assert office.send(unknown) == 401
    evidence = office.look().evidence
    assert (evidence.answered, evidence.pending, evidence.unreached) == (0, 0, len(IN))
    assert list(office.reports.all()) == []


def test_a_good_report_that_is_replayed_does_not_hide_what_came_after_it(office: Office) -> None:
    """Sent again by whoever recorded it: it is the same bytes, of the same day."""
    office.start()
    good, bad = report(IN[0], "confirmed", BEGAN + DAY), report(IN[0], "reverted", BEGAN + 2 * DAY)
    office.now = BEGAN + 3 * DAY
    assert [office.send(said) for said in (good, bad)] == [201, 201]
    for days in range(4, 9):
        office.now = BEGAN + days * DAY
        assert office.send(good) == 200, "it is known, and is acknowledged again"
        assert office.look().evidence.reverted == 1
    assert office.look().evidence.confirmed == 0


def test_reports_from_before_a_version_was_offered_count_for_nothing(office: Office) -> None:
    """Of a version that nobody was offered yet, from devices that are in and that are not."""
    for device in DEVICES:
        assert office.send(report(device, "confirmed", BEGAN)) == 201
    office.now = BEGAN + DAY
    office.start()
    office.now += DAY
    office.install()
    look = office.look()
    assert (look.evidence.confirmed, look.evidence.pending, look.state.percentage) == (0, len(IN), 50.0)
    for device in IN:
        assert office.send(report(device, "confirmed", office.now)) == 201
    assert office.look().evidence.confirmed == len(IN), "what they say once they can have it does count"


def test_devices_of_a_later_stage_answer_for_it_once_it_has_come(office: Office) -> None:
    office.start()
    office.now = BEGAN + DAY
    office.install()
    for device in OUT:
        assert office.send(report(device, "confirmed", office.now)) == 201
    assert office.look().evidence.confirmed == 0
    for device in IN:
        office.send(report(device, "confirmed", office.now + DAY))
    office.now = BEGAN + 40 * DAY
    look = office.look()
    assert look.state.percentage == 100.0
    found = office.rollouts.peek("agriculture").evidence
    assert (found.cohort, found.confirmed) == (len(DEVICES), len(IN)), "the others cannot have had it when they spoke"


def test_reports_of_versions_that_were_never_released_change_no_count_and_stand_in_the_ledger(office: Office) -> None:
    office.start()
    for device in IN:
        assert office.send(report(device, "reverted", BEGAN + DAY, version="99")) == 201
        assert office.send(report(device, "reverted", BEGAN + DAY, version="11")) == 201
    evidence = office.look().evidence
    assert (evidence.failed, evidence.answered) == (0, 0)
    lines = [entry.values for entry in office.ledger.entries()]
    assert {(line["version"], line["rollout"]) for line in lines if line["kind"] == "device"} == {
        ("99", None),
        ("11", None),
    }


@pytest.mark.parametrize("state", ["confirmed", "reverted"])
def test_a_flood_from_one_device_is_one_device(office: Office, state: State) -> None:
    """A thousand good or bad reports of one device are one vote; all are kept, and decide nothing for the others."""
    office.start()
    office.now = BEGAN + DAY
    office.install()
    for number in range(1000):
        said = report(IN[0], state, office.now + timedelta(seconds=number)).as_json()
        office.reports.keep(said, IN[0], "A", office.now)
    look = office.look()
    assert (look.evidence.confirmed + look.evidence.reverted, look.evidence.answered) == (1, 1)
    assert (look.state.percentage, look.state.is_open) == (50.0, True)
    hashes = {entry.values["report"] for entry in office.ledger.entries() if entry.values["kind"] == "device"}
    assert len(hashes) == 1000 + len(IN)
    assert hashlib.sha256(said).hexdigest() in hashes


def test_a_watch_of_no_decision_has_confirmed_nothing(office: Office) -> None:
    office.start()
    for device in IN:
        office.send(report(device, "confirmed", BEGAN + DAY, decisions=0))
    evidence = office.look().evidence
    assert (evidence.confirmed, evidence.pending) == (0, len(IN))


@pytest.mark.parametrize("state", ["installed", "watching"])
def test_a_clock_that_says_1970_makes_nobody_silent_and_nobody_ripe(office: Office, state: State) -> None:
    """An honest device without a battery; or one that would like to have had the version for long."""
    office.start()
    office.now = BEGAN + DAY
    office.send(report(IN[0], state, datetime(1970, 1, 1, tzinfo=UTC), decisions=0))
    office.send(report(IN[1], "confirmed", datetime(1970, 1, 1, tzinfo=UTC)))
    evidence = office.look().evidence
    assert (evidence.silent, evidence.pending, evidence.confirmed, evidence.ripe) == (0, 1, 1, 0)
    office.now = BEGAN + (PLAN.ripe_after_d + 1) * DAY
    assert office.look().evidence.ripe == 1


def test_a_device_that_is_registered_no_more_has_no_vote(office: Office, tmp_path: Path) -> None:
    office.start()
    for device in IN:
        office.send(report(device, "reverted", BEGAN))
    path = tmp_path / "gateway" / "devices.json"
    registered = DeviceRegistry(path).public_keys()
    path.unlink()
    shutil.rmtree(path.parent.with_name("gateway.begun"), ignore_errors=True)
    DeviceRegistry(path).register({name: registered[name] for name in OUT})
    assert office.look().evidence.failed == 0
