"""`fieldloop rollout` from end to end: the real signed repository, registry and reports, typed as a person does."""

import hashlib
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from fieldedge.contract.update_report import State, UpdateReport
from fieldedge.system.errors import ConfigError, DataError, ReleaseError
from fieldedge.workloads import known_workload
from fieldloop import cli
from fieldloop.core import process_setup
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.reports import Reports
from fieldloop.release import ReleaseRepository
from fieldloop.rollout import engine
from fieldloop.rollout.store import RolloutStore

ROOT = Path(__file__).parents[2]
CONTRACT = known_workload("agriculture").contract
DEVICES = [f"dev-{number:02}" for number in range(12)]
BundleMaker = Callable[..., Path]


class Clone:
    """A clone with version 11 released to all and version 12 made, and its devices."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, printed: Any) -> None:
        self.home, self._patch, self._printed = root / "home", patch, printed
        self.repository = ReleaseRepository(self.home / "tuf")

    def said(self, *arguments: str) -> str:
        done = CliRunner().invoke(cli.app, ["rollout", *arguments], env={"COLUMNS": "200"}, catch_exceptions=False)
        return done.output

    def refused(self, *arguments: str) -> str:
        """What a command says that is refused, as a shell sees it: code 1, one line, and nothing was changed."""
        before = _digest(self.home)
        with self._patch.context() as patch, pytest.raises(SystemExit) as ended:
            patch.setattr(sys, "argv", ["fieldloop", "rollout", *arguments])
            self._printed.readouterr()
            cli.main()
        err = str(self._printed.readouterr().err)
        assert (ended.value.code, err.startswith("fieldloop: "), err.count("\n")) == (1, True, 1), err
        assert _digest(self.home) == before, "nothing half done is left behind"
        return err

    def report(self, device: str, version: str, state: State, at: datetime, **values: Any) -> None:
        said = UpdateReport(device, f"{at:%Y-%m-%dT%H:%M:%SZ}", "agriculture", version, "11", state, "", **values)
        Reports(self.home / "gateway" / "reports").keep(said.as_json(), device, "AAAA", at)

    @property
    def candidate(self) -> tuple[str, float] | None:
        found = self.repository.offers("agriculture").candidate
        return None if found is None else (found.version, found.rollout.percentage)


@pytest.fixture
def clone(tmp_path: Path, make_bundle: BundleMaker, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Clone:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["agriculture"]["rollout"]["stages"] = [
        {"percentage": 50, "soak_d": 0},
        {"percentage": 100, "soak_d": 0},
    ]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.setenv("FIELDLOOP_ROOT", str(tmp_path))
    monkeypatch.setenv("FIELDLOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(process_setup, "settle", lambda _home: None)
    monkeypatch.setattr(engine.secrets, "token_hex", lambda _bytes: "a1b2c3")  # which draws several of the twelve
    (tmp_path / "home" / "bundles").mkdir(parents=True)
    made = Clone(tmp_path, monkeypatch, capsys)
    for version in ("11", "12", "13"):
        bundle = tmp_path / "home" / "bundles" / f"agriculture-{version}.zip"
        shutil.copy(make_bundle(version), bundle)
    made.repository.publish(tmp_path / "home/bundles/agriculture-11.zip", "agriculture", "11", CONTRACT.hash)
    registry = DeviceRegistry(tmp_path / "home" / "gateway" / "devices.json")
    registry.path.parent.mkdir(parents=True)
    keys = {name: Ed25519PrivateKey.generate().public_key() for name in DEVICES}
    registry.register({name: key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex() for name, key in keys.items()})
    return made


def test_a_version_goes_out_stage_by_stage_until_everyone_is_offered_it(clone: Clone) -> None:
    assert "stage 1 of 2, 50 %" in clone.said("start", "12")
    assert clone.candidate == ("12", 50.0)
    assert "none had it long enough" in clone.said("status")
    now = datetime.now(UTC)
    for device in DEVICES:
        clone.report(device, "12", "confirmed", now, decisions=14)
    assert "stage 2 of 2, 100 %" in clone.said("watch")
    assert clone.candidate == ("12", 100.0)
    assert "finished" in clone.said("watch")
    assert clone.candidate is None
    released = clone.repository.current("agriculture")
    assert released is not None
    assert released.version == "12"
    assert "lines, each as it was written" in clone.said("verify")
    assert len(clone.said("history", "--version", "12").splitlines()) == len(DEVICES)


def test_a_bad_version_is_halted_and_signed_as_withdrawn(clone: Clone) -> None:
    clone.said("start", "12")
    now = datetime.now(UTC)
    for device in DEVICES:
        clone.report(device, "12", "reverted", now, decisions=3)
    told = clone.said("watch")
    assert "halted" in told
    assert "halts at 4.6" in told
    offers = clone.repository.offers("agriculture")
    assert (offers.candidate, offers.withdrawn) == (None, ("12",))
    with pytest.raises(ConfigError, match="version 12 of agriculture was withdrawn"):
        clone.said("start", "12")


def test_what_was_deciding_on_a_day_is_answered_from_the_ledger(clone: Clone) -> None:
    clone.said("start", "12")
    july = datetime(2026, 7, 3, 6, tzinfo=UTC)
    clone.report("dev-07", "12", "installed", july)
    clone.report("dev-07", "12", "watching", july + timedelta(days=1), decisions=1)
    clone.report("dev-07", "12", "reverted", july + timedelta(days=2), decisions=2)
    clone.said("watch")

    def on(day: str) -> str:
        return clone.said("history", "--device", "dev-07", "--on", day)

    assert "version 11 of agriculture before the first report until 2026-07-03 06:00" in on("2026-07-02")
    assert len(on("2026-07-03").splitlines()) == 2  # it changed during that day
    assert "version 12 of agriculture since 2026-07-03 06:00 UTC until 2026-07-05 06:00 UTC (rollout 1)" in on(
        "2026-07-04"
    )
    assert "version 11 of agriculture since 2026-07-05 06:00 UTC (reverted 12)" in on("2026-08-01")
    assert "dev-08 has reported no version" in clone.said("history", "--device", "dev-08")


def test_a_person_holds_a_rollout_takes_it_back_and_begins_the_next(clone: Clone) -> None:
    clone.said("start", "12")
    assert "paused" in clone.said("pause", "--why", "harvest", "--by", "someone")
    assert "paused by someone: harvest" in clone.said("status")
    assert "running" in clone.said("resume")
    assert "superseded" not in clone.said("start", "13")
    assert clone.candidate == ("13", 50.0)
    assert "reverted" in clone.said("revert", "--why", "a wet field")
    assert clone.repository.offers("agriculture").withdrawn == ("12", "13")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("start", "99"), "version 99 of agriculture is not released: there is no bundle of it"),
        (("start", "11"), "version 11 of agriculture is what every device is offered already"),
        (("start", "12", "--workload", "maize"), "has no block 'maize'"),
        *(((verb,), "no version of agriculture was ever rolled out") for verb in ("status", "watch", "resume")),
        *(((verb, "--why", "x"), "was ever rolled out") for verb in ("pause", "approve", "revert")),
        *(((verb, "--why", " "), "a reason is needed") for verb in ("pause", "approve", "revert")),
        (("history",), "say one of them"),
        (("history", "--device", "dev-07", "--version", "12"), "say one of them"),
        (("history", "--device", "dev-07", "--on", "July"), "'July' is no day"),
    ],
)
def test_what_cannot_be_is_refused_by_name(clone: Clone, arguments: tuple[str, ...], told: str) -> None:
    assert told in clone.refused(*arguments)
    assert RolloutStore(clone.home / "rollouts").all("agriculture") == []


def test_what_a_rollout_that_is_on_does_not_allow_is_refused_by_name(clone: Clone) -> None:
    clone.said("start", "12")
    assert "is in rollout already: stage 1 of 2, 50 %, running" in clone.refused("start", "12")
    assert "is not paused: it is running" in clone.refused("resume")
    clone.said("pause", "--why", "harvest")
    assert "is paused already, by" in clone.refused("pause", "--why", "again")
    assert "waits for no approval" in clone.refused("approve", "--why", "now")
    clone.said("revert", "--why", "a wet field")
    for verb in ("pause", "approve", "revert"):
        assert f"there is nothing to {verb}: the rollout of version 12" in clone.refused(verb, "--why", "late")
    assert "there is nothing to resume" in clone.refused("resume")
    assert "version 12 of agriculture was withdrawn" in clone.refused("start", "12")


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ([50, 10, 100], "the stages go from 50 % to 10 %; a percentage only grows"),
        ([10, 10, 100], "the stages go from 10 % to 10 %; a percentage only grows"),
        ([10, 50], "the last stage is 50 %; the last one is of all devices, 100 %"),
    ],
)
def test_a_plan_that_shrinks_begins_nothing(clone: Clone, stages: list[int], told: str) -> None:
    path = clone.home.parent / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["agriculture"]["rollout"]["stages"] = [{"percentage": one, "soak_d": 0} for one in stages]
    path.write_text(yaml.safe_dump(params))
    said = clone.refused("start", "12")
    assert told in said and "rollout" in said
    assert clone.candidate is None


def test_a_key_that_is_gone_begins_nothing(clone: Clone) -> None:
    key = clone.home / "tuf" / "keys" / "agriculture.pem"
    own = key.read_bytes()
    key.unlink()
    assert "agriculture.pem is missing" in clone.refused("start", "12")
    key.write_bytes(own)
    key.chmod(0o600)
    assert clone.candidate is None
    clone.said("start", "12")
    assert clone.candidate == ("12", 50.0)


def test_a_passphrase_that_fails_signs_nothing_and_the_next_look_signs_it(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state is kept before it is signed: what was asked for is known, and nobody was offered it yet."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("online\n")
    passphrase.chmod(0o600)
    monkeypatch.setenv("FIELDLOOP_KEY_PASSPHRASE_FILE", str(passphrase))
    assert CliRunner().invoke(cli.app, ["keys", "init"], catch_exceptions=False).exit_code == 0
    passphrase.write_text("a guess\n")
    signed = _digest(clone.home / "tuf" / "metadata")
    with pytest.raises(ReleaseError, match="the passphrase does not open"):
        clone.said("start", "12")
    assert _digest(clone.home / "tuf" / "metadata") == signed, "nothing half-signed"
    passphrase.write_text("online\n")
    assert clone.candidate is None
    assert "version 12, running" in clone.said("watch")
    assert clone.candidate is not None and clone.candidate[0] == "12"


def test_a_ledger_that_was_changed_answers_nothing(clone: Clone) -> None:
    clone.said("start", "12")
    path = clone.home / "rollouts" / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"version":"12"', b'"version":"11"'))
    for arguments in (("verify",), ("status",), ("watch",), ("history", "--version", "12")):
        with pytest.raises(DataError, match="line 1 was changed"):
            clone.said(*arguments)


def test_status_changes_nothing(clone: Clone) -> None:
    clone.said("start", "12")
    clone.report("dev-07", "12", "installed", datetime.now(UTC))
    before = _digest(clone.home)
    assert "1 under way" in clone.said("status") or "0 under way" in clone.said("status")
    assert _digest(clone.home) == before


def _digest(folder: Path) -> str:
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock" and path.name != "lock"
    )
    return hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in files)).hexdigest()
