"""Refused batches: not home until a person decides, and never deleted."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldedge.system.errors import DataError
from fieldloop.cli import app
from fieldloop.gateway.inbox import UNKNOWN_SENDER
from tests.ingest.cloud import Cloud, outcome_of
from tests.sample_season import SEASON, Sender


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def refused(cloud: Cloud) -> tuple[Sender, str]:
    """A batch that was refused because of its name on disk, and its name in quarantine."""
    sender = cloud.sender()
    sender.send(sender.batch(outcome_of(), workload="kiosk"))
    (name,) = cloud.ingest().refused
    return sender, name


def test_a_refused_batch_is_missing_record_by_record_until_it_is_discarded(cloud: Cloud) -> None:
    _, name = refused(cloud)
    for season in (SEASON, None):
        account = cloud.account(season)
        assert (account.received, len(account.missing), account.refused) == (2, 2, (name,))
    assert cloud.account(SEASON + 1).missing == ()
    kept = cloud.refusals.discard(name[:9], "2007-01-01")
    assert kept.is_file()
    assert json.loads(kept.with_suffix(".json").read_text())["discarded_utc"] == "2007-01-01"
    assert (cloud.account().received, cloud.account().missing) == (0, ())


def test_a_refused_batch_that_cannot_be_opened_is_missing_as_one(cloud: Cloud) -> None:
    sender = cloud.sender()
    sender.send(b"no batch at all")
    cloud.ingest()
    (missing,) = cloud.account(SEASON).missing
    assert missing.startswith("batch refused dev-00/")


def test_a_released_batch_is_judged_again(cloud: Cloud) -> None:
    sender = cloud.sender()
    batch = sender.send(sender.batch(outcome_of()))
    registered = cloud.registry.path.read_text()
    cloud.registry.path.write_text(json.dumps({"dev-00": "00" * 32}))
    (name,) = cloud.ingest().refused
    cloud.registry.path.write_text(registered)
    cloud.refusals.release(name, cloud.inbox)
    assert cloud.refusals.names() == {}
    assert cloud.ingest().batches == (batch,)
    assert cloud.account().missing == ()


def test_the_same_bytes_refused_of_two_devices_are_kept_apart(cloud: Cloud) -> None:
    sender, stranger = cloud.sender(), cloud.sender("dev-66")
    data = sender.batch(outcome_of(), workload="kiosk")
    for one in (sender, stranger):
        one.send(data)
    assert len(cloud.ingest().refused) == 2
    assert len(cloud.refusals.names()) == 2
    assert len(cloud.account().missing) == 2


def test_batches_refused_before_they_were_kept_by_device_are_found(cloud: Cloud) -> None:
    sender = cloud.sender()
    folder = cloud.quarantine_dir / "batches"
    folder.mkdir(parents=True)
    envelope = json.dumps({"device_id": "dev-00", "signature": "AAAA", "received_utc": "2006-11-01T00:00:00+00:00"})
    for digit, text in (("a", envelope), ("b", "{")):
        (folder / f"{digit * 64}.batch").write_bytes(sender.batch(outcome_of()))
        (folder / f"{digit * 64}.json").write_text(json.dumps({"reason": "of before", "envelope": text}))
    assert list(cloud.refusals.names()) == [f"dev-00/{'a' * 64}", f"{UNKNOWN_SENDER}/{'b' * 64}"]
    assert len(cloud.account().missing) == 2
    for name in list(cloud.refusals.names()):
        cloud.refusals.release(name, cloud.inbox)
    assert len(cloud.waiting()) == 2


def test_a_person_decides_at_the_command_line(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    _, name = refused(cloud)
    monkeypatch.setenv("FIELDLOOP_HOME", str(home))
    monkeypatch.setenv("FIELDLOOP_ROOT", str(tmp_path))
    (tmp_path / "params.yaml").touch()
    runner = CliRunner()
    listed = runner.invoke(app, ["quarantine", "list"], catch_exceptions=False)
    assert name in listed.output
    assert "the batch's workload is 'kiosk'" in listed.output
    with pytest.raises(DataError, match="0 refused batches are called 'nothing'"):
        runner.invoke(app, ["quarantine", "release", "nothing"], catch_exceptions=False)
    assert "judged again" in runner.invoke(app, ["quarantine", "release", name], catch_exceptions=False).output
    assert len(list((home / "gateway" / "inbox").glob("*/*.batch"))) == 1


def lose_the_envelope(batch: Path) -> None:
    batch.with_suffix(".json").unlink()


def cut_the_batch(batch: Path) -> None:
    batch.write_bytes(batch.read_bytes()[:100])


@pytest.mark.parametrize("damage", [lose_the_envelope, cut_the_batch])
def test_a_batch_that_lies_damaged_in_the_inbox_is_told_and_not_home_until_it_comes_again(
    cloud: Cloud, damage: Callable[[Path], None]
) -> None:
    sender = cloud.sender()
    batch = sender.batch(outcome_of())
    name = f"dev-00/{sender.send(batch)}"
    damage(cloud.inbox_dir / f"{name}.batch")
    (missing,) = cloud.account(SEASON).missing
    assert missing.startswith(f"batch {name}, which lies damaged in the inbox: its ")
    assert cloud.account().waiting == {}

    report = cloud.ingest()
    assert list(report.refused) == [name]
    assert cloud.account(SEASON).missing
    sender.send(batch)
    assert cloud.ingest().records_accepted == 2
    assert cloud.account().missing == ()


def test_a_batch_that_comes_again_whole_before_the_ingestion_is_home(cloud: Cloud) -> None:
    sender = cloud.sender()
    batch = sender.batch(outcome_of())
    lose_the_envelope(cloud.inbox_dir / "dev-00" / f"{sender.send(batch)}.batch")
    sender.send(batch)
    report = cloud.ingest()
    assert (report.records_accepted, report.refused, cloud.account().missing) == (2, {}, ())
