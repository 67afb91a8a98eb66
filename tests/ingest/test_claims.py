"""One device may claim so many seasons of fields that nobody registered, and no more."""

from pathlib import Path

import pandas as pd
import pytest

from fieldloop.validation.expectations import BELONGS_TO_SENDER, IS_WITHIN_CLAIMS
from fieldloop.validation.ownership import MAX_UNREGISTERED, Ownership
from tests.ingest.cloud import Cloud
from tests.sample_season import SEASON, WORDS, field_row, season_rows

BOUND = 2


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    monkeypatch.setattr("fieldloop.validation.checks.MAX_UNREGISTERED", BOUND)
    return Cloud(tmp_path)


def test_what_a_device_claims_beyond_the_bound_waits_in_quarantine_until_its_field_is_registered(cloud: Cloud) -> None:
    sender, neighbour = cloud.sender(), cloud.sender("dev-07")
    fields = [field_row(number, device_id="dev-00") for number in range(BOUND + 1)]
    sender.send(sender.batch({"fields": fields}))
    neighbour.send(neighbour.batch({"fields": [field_row(7, device_id="dev-07")]}))
    report = cloud.ingest()
    assert (report.records_accepted, report.records_quarantined) == (BOUND + 1, 1)
    assert cloud.quarantined() == {fields[-1]["record_id"]: WORDS.say(IS_WITHIN_CLAIMS)}
    assert f"no more than {MAX_UNREGISTERED} seasons" in WORDS.say(IS_WITHIN_CLAIMS)
    assert "fieldloop register-device DEVICE KEY --unit UNIT" in WORDS.say(IS_WITHIN_CLAIMS)

    harvests = season_rows(fields[-1], days=3)["harvests"]
    sender.send(sender.batch({"harvests": harvests}))
    assert cloud.ingest().records_quarantined == 1
    assert WORDS.say(IS_WITHIN_CLAIMS) in cloud.quarantined()[harvests[0]["record_id"]]
    assert cloud.ingest().batches == ()

    cloud.owners.register({f"champion-0{BOUND}": "dev-00"})
    report = cloud.ingest()
    assert (len(report.batches), report.records_accepted, report.records_quarantined) == (2, 2, 0)
    assert list(cloud.store.read("harvests")["record_id"]) == [harvests[0]["record_id"]]
    account = cloud.account(SEASON)
    assert (account.received, account.accepted, account.missing) == (BOUND + 3, BOUND + 3, ())
    assert cloud.ingest().batches == ()


def test_what_was_accepted_before_there_was_a_bound_stays_and_comes_again_as_known(cloud: Cloud) -> None:
    sender = cloud.sender()
    with pytest.MonkeyPatch.context() as before:
        before.setattr("fieldloop.validation.checks.MAX_UNREGISTERED", 99)
        fields = [field_row(number, device_id="dev-00") for number in range(BOUND + 2)]
        sender.send(sender.batch({"fields": fields}))
        assert cloud.ingest().records_accepted == BOUND + 2
    sender.send(sender.batch({"fields": fields}, summary={"sent": "again"}))
    report = cloud.ingest()
    assert (report.records_duplicate, report.records_quarantined) == (BOUND + 2, 0)


def test_only_what_nobody_registered_counts_as_claimed() -> None:
    holders = {(2005, "a"): "dev-00", (2006, "a"): "dev-00", (2006, "b"): "dev-00", (2006, "c"): "dev-01"}
    ownership = Ownership({"b": "dev-00", "2005/a": "dev-00"}, holders)
    assert ownership.unregistered() == {"dev-00": 1, "dev-01": 1}


def test_a_season_that_a_history_brought_is_claimed_by_nobody(cloud: Cloud) -> None:
    past, stranger = field_row(0), cloud.sender("dev-66")
    cloud.store.accept("fields", pd.DataFrame([past]), "history")
    stranger.send(stranger.batch(season_rows(field_row(0, device_id="dev-66"), days=3)))
    report = cloud.ingest()
    assert (report.records_accepted, report.records_quarantined) == (0, 6)
    assert set(cloud.quarantined().values()) == {WORDS.say(BELONGS_TO_SENDER)}
