"""What cannot be made again and is gone is damage that is told, and never a beginning."""

import shutil
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fieldedge.system.errors import ConfigError
from fieldedge.system.keys import sign
from fieldloop.core.begun import Mark
from fieldloop.gateway.app import create_app
from fieldloop.ingest.reconcile import Account, reconcile
from fieldloop.release import ReleaseRepository
from tests.ingest.cloud import Cloud, outcome_of
from tests.sample_season import SEASON, Sender

FIELD = f"{SEASON}/champion-00"


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path / "home" / "gateway")


@pytest.fixture
def releases(tmp_path: Path) -> ReleaseRepository:
    return ReleaseRepository(tmp_path / "home" / "tuf")


def acknowledge(cloud: Cloud, releases: ReleaseRepository, sender: Sender, data: bytes) -> str:
    """Send a batch to the gateway; its name."""
    gateway = TestClient(create_app(releases.metadata_dir.parent, cloud.inbox_dir, cloud.registry.path))
    headers = {"Fieldloop-Device": sender.device_id, "Fieldloop-Signature": sign(sender._key, data)}
    answer = gateway.post("/v1/batches", content=data, headers=headers)
    assert answer.status_code == 201
    return f"{sender.device_id}/{answer.json()['acknowledged']}"


def account(cloud: Cloud, releases: ReleaseRepository) -> Account:
    return reconcile(cloud.inbox_dir, cloud.store, cloud.quarantine_dir, SEASON, releases.acknowledged)


def test_lost_owners_let_nobody_claim_a_field(cloud: Cloud) -> None:
    owner, stranger = cloud.sender(), cloud.sender("dev-66")
    cloud.owners.register({FIELD: owner.device_id})
    cloud.owners.path.unlink()
    stranger.send(stranger.batch(outcome_of("dev-66")))
    with pytest.raises(ConfigError, match=r"owners\.json is missing, and was made before: bring it back from a backup"):
        cloud.ingest()
    with pytest.raises(ConfigError, match=r"owners\.json is missing"):
        cloud.owners.register({"champion-01": "dev-01"})
    Mark.of_file(cloud.owners.path).path.unlink()
    cloud.owners.register({FIELD: owner.device_id})
    assert cloud.ingest().records_accepted == 0


def test_a_registry_that_is_gone_with_its_folder_is_not_begun_anew(cloud: Cloud) -> None:
    cloud.sender()
    keys = cloud.registry.public_keys()
    shutil.rmtree(cloud.directory)
    with pytest.raises(ConfigError, match=r"devices\.json is missing, and was made before"):
        cloud.registry.register(keys)
    assert not cloud.registry.path.exists()


def test_a_registry_of_before_there_were_marks_gets_one_with_the_next_ingestion(cloud: Cloud) -> None:
    cloud.sender()
    shutil.rmtree(Mark.of_file(cloud.registry.path).path.parent)
    cloud.ingest()
    cloud.registry.path.unlink()
    with pytest.raises(ConfigError, match="was made before"):
        cloud.ingest()


def test_an_acknowledged_batch_that_went_with_the_inbox_is_missing_until_it_is_back(
    cloud: Cloud, releases: ReleaseRepository, tmp_path: Path
) -> None:
    sender = cloud.sender()
    name = acknowledge(cloud, releases, sender, sender.batch(outcome_of()))
    assert account(cloud, releases).missing == ()
    backup = cloud.inbox_dir.rename(tmp_path / "backup")
    (missing,) = account(cloud, releases).missing
    assert missing.startswith(f"batch {name}, which was acknowledged and is neither in the inbox")
    shutil.rmtree(cloud.inbox_dir)
    backup.rename(cloud.inbox_dir)
    assert account(cloud, releases).missing == ()
    cloud.ingest()
    shutil.rmtree(cloud.inbox_dir)  # by now it is accepted
    assert account(cloud, releases).missing == ()


def test_a_refused_batch_that_went_with_quarantine_is_missing_still_and_a_discarded_one_is_not(
    cloud: Cloud, releases: ReleaseRepository
) -> None:
    sender = cloud.sender()
    name = acknowledge(cloud, releases, sender, sender.batch(outcome_of(), workload="kiosk"))
    assert list(cloud.ingest().refused) == [name]
    assert len(account(cloud, releases).missing) == 2
    kept = cloud.refusals.discard(name, "2007-01-01")
    assert account(cloud, releases).missing == ()
    shutil.rmtree(cloud.quarantine_dir)
    (missing,) = account(cloud, releases).missing
    assert name in missing
    assert not kept.exists()
    releases.acknowledged.path(name).unlink()
    assert account(cloud, releases).missing == ()


def test_what_a_stick_brought_is_noted_too(releases: ReleaseRepository) -> None:
    releases.acknowledge({"dev-00": {"a" * 64, "b" * 64}})
    assert releases.acknowledged.names() == [f"dev-00/{'a' * 64}", f"dev-00/{'b' * 64}"]
