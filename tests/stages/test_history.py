"""History that is judged again: what was taken back from it stays in quarantine."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pandas as pd

from fieldedge.contract import Record
from fieldloop.data import restore, snapshot
from fieldloop.data.accepted import CONFLICT
from fieldloop.data.withdrawn import withdrawals
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.owners import UnitOwners
from fieldloop.ingest.intake import ANOTHERS
from fieldloop.stages.access import open_accepted
from fieldloop.stages.context import Loop
from fieldloop.stages.refs import HistoryRef
from fieldloop.stages.validate import stands, validate_history
from fieldloop.validation.ownership import HISTORY
from tests.sample_season import SEASON, WORDS, field_row, frames, write_partition

FIELD = f"{SEASON}/champion-00"


def history_of(loop: Loop, *fields: Record) -> HistoryRef:
    """A history on disk; the devices that it names are registered."""
    named = sorted({field["device_id"] for field in fields if field["device_id"]})
    DeviceRegistry(loop.paths.device_registry).register({name: sha256(name.encode()).hexdigest() for name in named})
    write_partition(loop.paths.history, frames(*fields, days=3))
    return HistoryRef(str(loop.paths.history), "as it is", len(fields), "field-seasons")


def quarantined(loop: Loop) -> pd.DataFrame:
    return pd.concat(pd.read_parquet(path) for path in (loop.paths.quarantine / "history").glob("*.parquet"))


def test_what_was_withdrawn_stays_in_quarantine_when_code_or_rules_judge_the_history_again(
    loop: Loop,
) -> None:
    fields = [field_row(number, device_id=f"dev-0{number}") for number in (0, 1)]
    history = history_of(loop, *fields)
    first = validate_history(loop, history)
    UnitOwners.beside(loop.paths.device_registry).register({FIELD: "dev-17"})
    store = open_accepted(loop)
    count = store.withdraw(SEASON, "champion-00", "another device is registered")
    again = validate_history(loop, history)
    for table in ("fields", "readings", "operations", "harvests"):
        assert set(store.read(table)["field_id"]) == {"champion-01"}
    assert (first.quarantined, again.quarantined) == (0, count)
    kept = quarantined(loop)
    assert (len(kept), set(kept["expectation"]), set(kept["field_id"])) == (
        count,
        {WORDS.say(ANOTHERS, other="dev-17")},
        {"champion-00"},
    )
    assert stands(loop, again)


def test_a_history_comes_in_as_an_import_does_and_its_report_tells_all_that_was_set_aside(loop: Loop) -> None:
    store = open_accepted(loop)
    store.accept("fields", frames(field_row(0, device_id="dev-00"), field_row(3) | {"soil": "Clay"})["fields"], "sync")
    UnitOwners.beside(loop.paths.device_registry).register({f"{SEASON}/champion-01": "dev-17"})
    fields = [field_row(number) for number in (0, 1, 3, 4)]
    history = history_of(loop, *fields)
    write_partition(loop.paths.history, frames(field_row(2, device_id="dev-77"), *fields, days=3))
    accepted = validate_history(loop, history)
    assert set(store.read("readings")["field_id"]) == {"champion-03", "champion-04"}
    told = json.loads(Path(accepted.report).read_text())
    broken = told["tables"]["fields"]["broken"]
    unregistered = next(words for words in broken if words.startswith("device_id is empty or a device's"))
    anothers = [WORDS.say(ANOTHERS, other=other) for other in ("dev-00", "dev-17")]
    assert broken == dict.fromkeys([unregistered, *anothers, CONFLICT], 1)
    assert sum(table["quarantined"] for table in told["tables"].values()) == accepted.quarantined
    assert sum(len(pd.read_parquet(path)) for path in told["quarantine_files"]) == accepted.quarantined
    assert len(quarantined(loop)) == accepted.quarantined
    assert stands(loop, accepted)


def test_a_history_comes_back_when_the_registration_that_withdrew_it_is_corrected(loop: Loop) -> None:
    history = history_of(loop, field_row(device_id="dev-00"))
    accepted = validate_history(loop, history)
    store, owners = open_accepted(loop), UnitOwners.beside(loop.paths.device_registry)
    before = store.read("readings").to_json()
    owners.register({FIELD: "dev-17"})
    store.withdraw(SEASON, "champion-00", "another device is registered")
    assert stands(loop, accepted)
    owners.register({FIELD: "dev-00"}, instead_of="dev-17")
    assert not stands(loop, accepted)
    again = validate_history(loop, history)
    assert store.read("readings").to_json() == before
    assert list(loop.paths.quarantine.glob("withdrawn-*/*")) == []
    assert stands(loop, again)


def test_a_history_stays_away_while_a_device_is_registered_and_comes_back_by_a_word(loop: Loop) -> None:
    history = history_of(loop, field_row())
    validate_history(loop, history)
    store, owners = open_accepted(loop), UnitOwners.beside(loop.paths.device_registry)
    before = store.read("readings").to_json()
    owners.register({FIELD: "dev-17"})
    store.withdraw(SEASON, "champion-00", "another device is registered")
    store.accept("fields", frames(field_row(device_id="dev-17"))["fields"], "sync")
    accepted = validate_history(loop, history)
    assert (len(store.record_ids()), list(store.read("fields")["device_id"])) == (1, ["dev-17"])
    assert stands(loop, accepted)
    owners.register({FIELD: HISTORY}, instead_of="dev-17")
    assert not stands(loop, accepted)
    again = validate_history(loop, history)
    assert (store.read("readings").to_json(), store.read("fields")["device_id"].count()) == (before, 0)
    assert [one.devices for one in withdrawals(loop.paths.quarantine)] == [{"dev-17"}]
    assert stands(loop, again)


def test_a_history_that_comes_after_a_device_has_the_season_adds_nothing_to_it_until_it_is_taken_back(
    loop: Loop,
) -> None:
    store = open_accepted(loop)
    for table, rows in frames(field_row(device_id="dev-00"), days=2).items():
        store.accept(table, rows, "sync")
    before = store.record_ids()
    history = history_of(loop, field_row(0), field_row(1))
    accepted = validate_history(loop, history)
    assert {name for name in store.record_ids() if name.startswith(FIELD)} == before
    assert set(store.read("harvests")["field_id"]) == {"champion-00", "champion-01"}
    assert accepted.quarantined > 0
    assert stands(loop, accepted)
    UnitOwners.beside(loop.paths.device_registry).register({FIELD: HISTORY})
    assert not stands(loop, accepted)
    validate_history(loop, history)
    assert store.read("fields")["device_id"].count() == 0


def test_a_history_is_done_with_where_its_device_says_it_otherwise_by_now(loop: Loop) -> None:
    history = history_of(loop, field_row(device_id="dev-00"))
    validate_history(loop, history)
    store = open_accepted(loop)
    store.withdraw(SEASON, "champion-00", "another device is registered")
    tables = frames(field_row(device_id="dev-00"), days=3)
    tables["readings"]["tmin_c"] += 0.04
    for table, rows in tables.items():
        store.accept(table, rows, "sync")
    store.settle_withdrawn()
    assert stands(loop, validate_history(loop, history))
    (left,) = withdrawals(loop.paths.quarantine)
    assert left.record_ids == set(tables["readings"]["record_id"])


def test_a_validation_stands_while_all_that_it_accepted_is_there(loop: Loop) -> None:
    root, seasons = loop.settings.root, loop.paths.accepted
    validate_history(loop, history_of(loop, field_row(0)))
    former = snapshot(root, seasons.relative_to(root), "data", False, SEASON)
    pointer = loop.paths.pointer.read_bytes()
    history = history_of(loop, field_row(0), field_row(1))
    accepted = validate_history(loop, history)
    snapshot(root, seasons.relative_to(root), "data", False, SEASON)
    assert stands(loop, accepted)
    shutil.rmtree(seasons)  # as `dvc checkout` of the former version does
    loop.paths.pointer.write_bytes(pointer)
    assert restore(root, seasons)
    assert former.data_hash in pointer.decode()
    assert not stands(loop, accepted)
    assert stands(loop, validate_history(loop, history))
    assert set(open_accepted(loop).read("fields")["field_id"]) == {"champion-00", "champion-01"}
