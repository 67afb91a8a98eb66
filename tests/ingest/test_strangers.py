"""A registered device that sends what is not its own keeps nobody's season out."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from fieldedge.contract import Record
from fieldedge.system.durable import write_durably
from fieldedge.system.errors import ConfigError
from fieldloop.cli import app
from fieldloop.data.withdrawn import withdrawals
from fieldloop.gateway.owners import UnitOwners
from fieldloop.ingest.accept import WITHDRAWN
from fieldloop.validation.expectations import BELONGS_TO_SENDER
from tests.ingest.cloud import Cloud, outcome_of, season_of
from tests.sample_season import RECEIVED, SEASON, WORDS, field_row, season_rows

FIELD = f"{SEASON}/champion-00"
LATER = RECEIVED + timedelta(hours=1)
Tables = dict[str, list[Record]]


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def forged(tables: Tables, **changes: object) -> Tables:
    """The same records with other values: their ids are the owner's, and predictable."""
    return {
        name: [row | {k: v for k, v in changes.items() if k in row} for row in rows] for name, rows in tables.items()
    }


def accepted(cloud: Cloud, table: str = "harvests") -> dict[str, float]:
    rows = cloud.store.read(table)
    return dict(zip(rows["record_id"], rows["yield_t_ha"], strict=True))


def accepted_rows(cloud: Cloud) -> dict[str, str]:
    return {table.name: cloud.store.read(table.name).to_json() for table in cloud.store.contract.tables}


def holder(cloud: Cloud, field_id: str = "champion-00") -> str:
    rows = cloud.store.read("fields")
    return str(rows.loc[rows["field_id"] == field_id, "device_id"].item())


def test_a_batch_that_another_posted_first_is_the_owners_all_the_same(cloud: Cloud) -> None:
    owner, stranger = cloud.sender(), cloud.sender("dev-66")
    data = owner.batch(outcome_of())
    stranger.send(data)
    owner.send(data, LATER)
    report = cloud.ingest()
    assert report.records_accepted == 2
    assert list(report.refused) == [next(iter(cloud.refusals.names()))]
    account = cloud.account(SEASON)
    assert (account.received, account.accepted, account.missing) == (2, 2, ())


def test_stolen_bytes_alone_are_not_home_until_the_owners_come_or_a_person_decides(cloud: Cloud) -> None:
    owner, stranger = cloud.sender(), cloud.sender("dev-66")
    data = owner.batch(outcome_of())
    stranger.send(data)
    cloud.ingest()
    account = cloud.account(SEASON)
    assert (account.received, account.accepted, len(account.missing), len(account.refused)) == (2, 0, 2, 1)
    owner.send(data)
    cloud.ingest()
    assert cloud.account(SEASON).missing == ()


def test_forged_readings_are_quarantined_alone_and_the_honest_ones_get_in(cloud: Cloud) -> None:
    owner, stranger = cloud.sender(), cloud.sender("dev-66")
    tables = season_of()
    cloud.owners.register({FIELD: "dev-00"})
    false = {"fields": outcome_of("dev-66", 9)["fields"], "readings": forged(tables, rain_mm=80.0)["readings"]}
    stranger.send(stranger.batch(false))
    owner.send(owner.batch(tables), LATER)
    report = cloud.ingest()
    assert (report.records_accepted, report.records_quarantined) == (12 + 1, 8)
    assert set(cloud.store.read("readings")["rain_mm"]) == {0.0, 3.0}
    assert set(cloud.quarantined().values()) == {WORDS.say(BELONGS_TO_SENDER)}


def test_the_very_same_rows_from_a_stranger_do_not_stand_for_the_owners(cloud: Cloud) -> None:
    owner, stranger = cloud.sender(), cloud.sender("dev-66")
    tables = season_of()
    stranger.send(stranger.batch({"readings": tables["readings"], "fields": outcome_of("dev-66", 9)["fields"]}))
    owner.send(owner.batch(tables), LATER)
    assert cloud.ingest().records_accepted == 12 + 1
    assert len(cloud.store.read("readings")) == 8


def test_another_fields_record_ids_on_ones_own_field_harm_nobody_else(cloud: Cloud) -> None:
    owner, stranger = cloud.sender(), cloud.sender("dev-66")
    tables, own = season_of(), season_rows(field_row(9, device_id="dev-66"), days=8)
    for mine, theirs in zip(own["readings"], tables["readings"], strict=True):
        mine["record_id"] = theirs["record_id"]
    stranger.send(stranger.batch(own))
    owner.send(owner.batch(tables), LATER)
    report = cloud.ingest()
    assert report.records_quarantined == 8
    assert len(cloud.store.read("readings")) == 8
    assert set(cloud.quarantined().values()) == {"record_id says the row's season, field, table and date"}


@pytest.mark.parametrize("is_first", [True, False])
def test_a_rival_claim_in_the_same_ingest_leaves_the_registered_owners_batch_alone(
    cloud: Cloud, is_first: bool
) -> None:
    owner, stranger = cloud.sender(), cloud.sender("dev-66")
    cloud.owners.register({"champion-00": "dev-00"})
    rival = forged(outcome_of("dev-66"), yield_t_ha=2.0)
    stranger.send(stranger.batch(rival), RECEIVED if is_first else LATER + timedelta(hours=1))
    owner.send(owner.batch(outcome_of()), LATER)
    report = cloud.ingest()
    assert (report.records_accepted, report.records_quarantined) == (2, 2)
    assert list(accepted(cloud).values()) == [11.5]
    assert holder(cloud) == "dev-00"


def test_where_nobody_is_registered_the_first_to_come_is_bound_and_the_other_harms_it_not(cloud: Cloud) -> None:
    owner, stranger = cloud.sender(), cloud.sender("dev-66")
    owner.send(owner.batch(outcome_of()))
    stranger.send(stranger.batch(forged(outcome_of("dev-66"), yield_t_ha=2.0)), LATER)
    assert cloud.ingest().records_accepted == 2
    assert holder(cloud) == "dev-00"
    stranger.send(stranger.batch(forged(outcome_of("dev-66"), yield_t_ha=3.0)), LATER)
    assert cloud.ingest().records_accepted == 0
    assert list(accepted(cloud).values()) == [11.5]


def test_a_field_goes_on_with_its_device_in_the_next_season(cloud: Cloud) -> None:
    owner, stranger = cloud.sender(), cloud.sender("dev-66")
    owner.send(owner.batch({"fields": [field_row(0, season=SEASON - 1, device_id="dev-00")]}, season=SEASON - 1))
    cloud.ingest()
    stranger.send(stranger.batch(outcome_of("dev-66")))
    assert cloud.ingest().records_accepted == 0
    owner.send(owner.batch(outcome_of()), LATER)
    assert cloud.ingest().records_accepted == 2


def test_a_device_that_is_registered_no_more_hands_its_field_on(cloud: Cloud) -> None:
    owner, successor = cloud.sender(), cloud.sender("dev-17")
    owner.send(owner.batch({"fields": [field_row(0, season=SEASON - 1, device_id="dev-00")]}, season=SEASON - 1))
    cloud.ingest()
    keys = cloud.registry.public_keys()
    cloud.registry.path.write_text(json.dumps({"dev-17": keys["dev-17"]}))
    successor.send(successor.batch(outcome_of("dev-17")))
    assert cloud.ingest().records_accepted == 2


@pytest.mark.parametrize("name", [FIELD, "champion-00"])
def test_a_strangers_earlier_claim_is_taken_back_by_registering_the_owner(cloud: Cloud, name: str) -> None:
    owner, stranger = cloud.sender(), cloud.sender("dev-66")
    stranger.send(stranger.batch(forged(outcome_of("dev-66"), yield_t_ha=2.0)))
    cloud.ingest()
    owner.send(owner.batch(season_of()), LATER)
    assert cloud.ingest().records_accepted == 0
    cloud.owners.register({name: "dev-00"})
    report = cloud.ingest()
    assert report.records_accepted == 12
    assert (holder(cloud), list(accepted(cloud).values())) == ("dev-00", [11.5])
    account = cloud.account(SEASON)
    assert (account.accepted, account.missing) == (12, ())
    assert WORDS.say(WITHDRAWN) in " ".join(
        path.read_bytes().decode(errors="replace") for path in cloud.quarantine_dir.glob("withdrawn-*/fields-*.parquet")
    )
    assert cloud.ingest().batches == ()


def ingest_cut_off_at(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, *steps: str) -> None:
    """Ingest once for each of these steps of the store; the power is gone when it comes to it."""

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    for step in steps:
        with monkeypatch.context() as patch:
            patch.setattr(cloud.store, step, power_cut)
            with pytest.raises(KeyboardInterrupt):
                cloud.ingest()


def test_taking_back_that_was_cut_off_is_continued(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, stranger = cloud.sender(), cloud.sender("dev-66")
    stranger.send(stranger.batch(outcome_of("dev-66")))
    owner.send(owner.batch(outcome_of()), LATER)
    cloud.ingest()
    cloud.owners.register({FIELD: "dev-00"})
    ingest_cut_off_at(cloud, monkeypatch, "withdraw", "accept", "note_batch")
    cloud.ingest()
    assert (holder(cloud), cloud.waiting(), cloud.account().missing) == ("dev-00", [], ())


def test_a_season_that_was_withdrawn_by_a_wrong_registration_comes_back_when_it_is_corrected(cloud: Cloud) -> None:
    owner, other = cloud.sender(), cloud.sender("dev-17")
    owner.send(owner.batch(season_of()))
    cloud.ingest()
    before = accepted_rows(cloud)
    for is_heard in (False, True):  # the wrong one has sent nothing of the season, and then its own
        cloud.owners.register({FIELD: "dev-17"}, instead_of="dev-00")
        if is_heard:
            other.send(other.batch(forged(season_of("dev-17"), yield_t_ha=2.0)), LATER)
        cloud.ingest()
        assert list(accepted(cloud).values()) == ([2.0] if is_heard else [])
        cloud.owners.register({FIELD: "dev-00"}, instead_of="dev-17")
        assert cloud.ingest().records_quarantined == 0
        assert accepted_rows(cloud) == before
        assert cloud.ingest().batches == ()
        account = cloud.account(SEASON)
        assert (account.accepted, account.missing) == (12, ())
    cloud.owners.register({FIELD: "dev-17"}, instead_of="dev-00")
    assert cloud.ingest().records_accepted == 12
    assert list(accepted(cloud).values()) == [2.0]


def test_a_season_that_earlier_code_withdrew_comes_back_too(cloud: Cloud) -> None:
    owner = cloud.sender()
    owner.send(owner.batch(season_of()))
    cloud.ingest()
    cloud.owners.register({FIELD: "dev-17"})
    cloud.ingest()
    (folder,) = cloud.quarantine_dir.glob("withdrawn-*")
    (folder / "whose.json").unlink()
    folder.rename(folder.with_name(f"withdrawn-{SEASON}-champion-00"))  # whoever it was of
    cloud.owners.register({FIELD: "dev-00"}, instead_of="dev-17")
    assert cloud.ingest().records_accepted == 12


def test_a_return_that_was_cut_off_is_continued(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = cloud.sender()
    for name, rows in season_of().items():
        owner.send(owner.batch({name: rows}))
        cloud.ingest()
    cloud.owners.register({FIELD: "dev-17"})
    cloud.ingest()
    cloud.owners.register({FIELD: "dev-00"}, instead_of="dev-17")
    ingest_cut_off_at(cloud, monkeypatch, "accept", "note_batch", "settle_withdrawn")
    cloud.ingest()
    assert cloud.account(SEASON).accepted == 12
    assert list(cloud.quarantine_dir.glob("withdrawn-*/*")) == []


def test_what_a_history_had_of_a_season_is_not_mixed_with_what_its_registered_device_sends(cloud: Cloud) -> None:
    owner = cloud.sender()
    for table, rows in season_rows(field_row(), days=8).items():
        cloud.store.accept(table, pd.DataFrame(rows), "history")
    owner.send(owner.batch(forged(outcome_of(), yield_t_ha=3.0)))
    assert cloud.ingest().records_accepted == 0
    cloud.owners.register({FIELD: "dev-00"})
    assert cloud.ingest().records_accepted == 2
    assert (holder(cloud), list(accepted(cloud).values())) == ("dev-00", [3.0])
    assert len(cloud.store.record_ids()) == 2
    (of_history,) = withdrawals(cloud.quarantine_dir)
    assert (of_history.devices, len(of_history.record_ids)) == ({""}, 12)
    assert cloud.ingest().batches == ()


def test_a_withdrawal_that_was_cut_off_and_then_corrected_comes_back_whole(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = cloud.sender()
    owner.send(owner.batch(outcome_of()))
    cloud.ingest()
    before = accepted_rows(cloud)
    cloud.owners.register({FIELD: "dev-17"})

    def power_cut(path: Path, data: bytes) -> None:
        if path.name == "fields.parquet":
            raise KeyboardInterrupt
        write_durably(path, data)

    with monkeypatch.context() as patch:
        patch.setattr("fieldloop.data.accepted.write_durably", power_cut)
        with pytest.raises(KeyboardInterrupt):
            cloud.ingest()
    assert accepted(cloud) == {}
    cloud.owners.register({FIELD: "dev-00"}, instead_of="dev-17")
    assert cloud.ingest().records_accepted == 1
    assert accepted_rows(cloud) == before
    assert withdrawals(cloud.quarantine_dir) == []
    assert cloud.ingest().batches == ()


def test_a_season_comes_back_where_data_of_the_time_of_a_stranger_was_brought_back(cloud: Cloud) -> None:
    owner, stranger = cloud.sender(), cloud.sender("dev-17")
    owner.send(owner.batch(outcome_of()))
    cloud.ingest()
    before = accepted_rows(cloud)
    cloud.owners.register({FIELD: "dev-17"})
    stranger.send(stranger.batch(forged(outcome_of("dev-17"), yield_t_ha=2.0)), LATER)
    cloud.ingest()
    backup = shutil.copytree(cloud.store.root, cloud.directory / "backup")
    cloud.owners.register({FIELD: "dev-00"}, instead_of="dev-17")
    cloud.ingest()
    shutil.rmtree(cloud.store.root)
    shutil.copytree(backup, cloud.store.root)
    assert cloud.ingest().records_accepted == 2
    assert accepted_rows(cloud) == before
    assert cloud.ingest().batches == ()


def test_what_was_judged_one_after_the_other_comes_back_as_it_was(cloud: Cloud) -> None:
    owner = cloud.sender()
    for yield_t_ha, received in ((11.5, RECEIVED), (3.0, LATER)):
        owner.send(owner.batch(forged(outcome_of(), yield_t_ha=yield_t_ha)), received)
        cloud.ingest()
    before = accepted_rows(cloud)
    cloud.owners.register({FIELD: "dev-17"})
    cloud.ingest()
    cloud.owners.register({FIELD: "dev-00"}, instead_of="dev-17")
    cloud.ingest()
    assert accepted_rows(cloud) == before
    assert list(accepted(cloud).values()) == [11.5]
    assert (withdrawals(cloud.quarantine_dir), cloud.ingest().batches) == ([], ())


@pytest.mark.parametrize("is_registered", [True, False])
def test_a_row_of_the_successor_withdraws_no_season_of_the_device_before(
    cloud: Cloud, is_registered: bool, caplog: pytest.LogCaptureFixture
) -> None:
    before, after = cloud.sender(), cloud.sender("dev-17")
    if is_registered:
        cloud.owners.register({"champion-00": "dev-00"})
    before.send(before.batch(season_of()))
    cloud.ingest()
    cloud.owners.register({"champion-00": "dev-17"}, instead_of="dev-00")
    after.send(after.batch({"fields": outcome_of("dev-17")["fields"]}), LATER)
    report = cloud.ingest()
    assert (report.records_accepted, report.records_quarantined, holder(cloud)) == (0, 1, "dev-00")
    assert cloud.account(SEASON).accepted == 12
    (said,) = [record.getMessage() for record in caplog.records]
    assert f"rows of dev-17 about {FIELD} are in quarantine: it was accepted from dev-00" in said
    assert f"fieldloop register-device DEVICE KEY --unit {FIELD}" in said
    cloud.owners.register({FIELD: "dev-00"})
    cloud.ingest()
    assert len(caplog.records) == 1
    cloud.owners.register({FIELD: "dev-17"}, instead_of="dev-00")
    assert (cloud.ingest().records_accepted, holder(cloud)) == (1, "dev-17")


def test_the_seasons_of_the_device_before_stay_when_a_field_gets_another(cloud: Cloud) -> None:
    before, after = cloud.sender(), cloud.sender("dev-17")
    former = season_rows(field_row(0, season=SEASON - 1, device_id="dev-00"), days=8)
    before.send(before.batch({"fields": former["fields"]}, season=SEASON - 1))
    cloud.ingest()
    cloud.owners.register({"champion-00": "dev-17"})
    after.send(after.batch({"fields": outcome_of("dev-17")["fields"]}))
    before.send(before.batch({"operations": former["operations"]}, season=SEASON - 1), LATER)
    assert cloud.ingest().records_quarantined == 0
    rows = cloud.store.read("fields")
    assert dict(zip(rows["season"], rows["device_id"], strict=True)) == {SEASON - 1: "dev-00", SEASON: "dev-17"}


def test_a_person_says_at_the_command_line_whose_a_field_is(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIELDLOOP_ROOT", str(tmp_path))
    monkeypatch.setenv("FIELDLOOP_HOME", str(tmp_path / "home"))
    (tmp_path / "params.yaml").touch()
    cloud.sender()
    key = cloud.registry.public_keys()["dev-00"]
    command = ["register-device", "dev-00", key, "--unit", "champion-00", "--unit", FIELD]
    said = CliRunner().invoke(app, command, catch_exceptions=False).output
    assert f"it speaks for champion-00, {FIELD}" in said
    owners = UnitOwners(tmp_path / "home" / "gateway" / "owners.json")
    assert owners.registered() == {"champion-00": "dev-00", FIELD: "dev-00"}
    command = ["register-device", "dev-17", "11" * 32, "--unit", FIELD, "--instead-of", "dev-00"]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    assert owners.registered()[FIELD] == "dev-17"


def test_a_field_is_taken_from_its_registered_device_by_name_only(cloud: Cloud) -> None:
    cloud.owners.register({FIELD: "dev-00"})
    with pytest.raises(ConfigError, match=r"registered for dev-00 .* --instead-of dev-00"):
        cloud.owners.register({FIELD: "dev-17", "champion-01": "dev-17"})
    assert cloud.owners.registered() == {FIELD: "dev-00"}
    cloud.owners.register({FIELD: "dev-17"}, instead_of="dev-00")
    assert cloud.owners.registered() == {FIELD: "dev-17"}
    with pytest.raises(ConfigError, match="names no unit"):
        cloud.owners.register({"../x": "dev-17"})


def test_data_of_before_that_a_stranger_had_claimed_is_mended_too(cloud: Cloud) -> None:
    """The code of before let the owner's rows in below the stranger's field row, and noted no records."""
    owner, stranger = cloud.sender(), cloud.sender("dev-66")
    batch = owner.send(owner.batch(season_of()))
    cloud.ingest()
    path = next(cloud.store.root.rglob("fields.parquet"))
    rows = cloud.store.read("fields").assign(device_id="dev-66")
    path.unlink()
    cloud.store.accept("fields", rows, "sync")
    (cloud.store.root / "batches" / f"{batch}.records").unlink()
    note = {"device_id": "dev-00", "season": SEASON, "records": {}}
    (cloud.store.root / "batches" / f"{batch}.json").unlink()
    cloud.store.note_batch(batch, note)
    assert stranger.device_id == holder(cloud)
    cloud.owners.register({FIELD: "dev-00"})
    cloud.ingest()
    assert holder(cloud) == "dev-00"
    account = cloud.account()
    assert (account.received, account.accepted, account.quarantined, account.missing) == (13, 12, 1, ())
    assert cloud.ingest().batches == ()


def test_a_forged_row_in_quarantine_does_not_stand_for_a_record_that_is_missing(cloud: Cloud) -> None:
    owner, stranger = cloud.sender(), cloud.sender("dev-66")
    cloud.owners.register({FIELD: "dev-00"})
    batch = owner.send(owner.batch(outcome_of()))
    cloud.ingest()
    (path,) = cloud.store.root.rglob("harvests.parquet")
    lost = cloud.store.read("harvests")["record_id"].item()
    path.unlink()
    assert cloud.account(SEASON).missing == (lost,)
    stranger.send(stranger.batch(forged(outcome_of("dev-66"), yield_t_ha=2.0)), LATER)
    cloud.ingest()
    account = cloud.account(SEASON)
    assert (account.accepted, account.quarantined, account.missing) == (1, 2, (lost,))
    (cloud.store.root / "batches" / f"{batch}.json").unlink()
    cloud.ingest()
    assert cloud.account(SEASON).missing == ()


def test_what_was_withdrawn_of_another_does_not_stand_for_a_record_that_is_missing(cloud: Cloud) -> None:
    owner, stranger = cloud.sender(), cloud.sender("dev-66")
    stranger.send(stranger.batch(forged(outcome_of("dev-66"), yield_t_ha=2.0)))
    cloud.ingest()
    cloud.owners.register({FIELD: "dev-00"})
    owner.send(owner.batch(outcome_of()), LATER)
    cloud.ingest()
    (path,) = cloud.store.root.rglob("harvests.parquet")
    lost = cloud.store.read("harvests")["record_id"].item()
    path.unlink()
    assert cloud.account(SEASON).missing == (lost,)


def test_a_look_at_a_former_version_of_the_data_keeps_no_batch_from_coming_again(cloud: Cloud) -> None:
    sender = cloud.sender()
    sender.send(sender.batch(outcome_of()))
    cloud.ingest()
    shutil.rmtree(cloud.store.root)  # as `dvc checkout` of a version from before does
    assert len(cloud.account(SEASON).missing) == 2
    assert cloud.ingest().records_accepted == 2
