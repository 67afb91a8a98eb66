"""Batches from devices, from the gateway's inbox into the accepted data: each record exactly once.

A batch is verified again here (`received.py`). Whose the unit is, is judged first. Its good rows are stored durably,
its bad rows are in quarantine with the reason, and only then does it leave the inbox; a batch of a contract that is not
known here waits in it. Batches are opened one at a time and judged in groups of bounded size. Whatever a device sent,
the others' batches get in. Every step can be repeated, so a crash anywhere is mended by running again. Receiving is the
gateway's work, judging rows `fieldloop.validation`'s, looking for each record `reconcile.py`'s.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from fieldedge.contract import Contract, Table
from fieldedge.contract.reserved import EXPECTATION, ORIGIN
from fieldedge.system.errors import ConfigError, DataError, StoreBusy
from fieldloop.core.begun import mark_made
from fieldloop.core.stored_names import PERIOD, PERIODS
from fieldloop.data.accepted import Accepted, AcceptedStore
from fieldloop.data.withdrawn import withdrawals
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.inbox import Held, Inbox, read_envelope
from fieldloop.gateway.owners import UnitOwners
from fieldloop.ingest.received import Received, UnknownContractError, open_received
from fieldloop.ingest.refusals import Refusals
from fieldloop.validation import Checked, Ownership, check_frames, quarantine_rows
from fieldloop.validation.expectations import BELONGS_TO_SENDER, IS_WITHIN_CLAIMS
from fieldloop.validation.typed import conform

MAX_ROWS_AT_ONCE = 100_000
LOCK_TIMEOUT_S = 60.0
BEYOND = "unregistered"  # in a note: the episodes that the device might not claim
WITHDRAWN = "the {unit} and {period} are registered for another device"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TableCounts:
    """Records of one table; `received` is the sum of the other three."""

    received: int = 0
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0


@dataclass(frozen=True)
class IngestReport:
    """One ingestion. `duplicates` were accepted before, or came twice.

    `refused` and `waiting` give the reason by batch, as `<device_id>/<sha256>`: what cannot be trusted is in
    quarantine, what is of a contract that is not known here is still in the inbox.
    """

    batches: tuple[str, ...]
    refused: Mapping[str, str]
    tables: Mapping[str, TableCounts]
    periods: tuple[int, ...]
    quarantine_files: tuple[Path, ...]
    docs_index: Path | None
    waiting: Mapping[str, str] = field(default_factory=dict)

    @property
    def records_received(self) -> int:
        return sum(counts.received for counts in self.tables.values())

    @property
    def records_accepted(self) -> int:
        return sum(counts.accepted for counts in self.tables.values())

    @property
    def records_duplicate(self) -> int:
        return sum(counts.duplicates for counts in self.tables.values())

    @property
    def records_quarantined(self) -> int:
        return sum(counts.quarantined for counts in self.tables.values())

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {
            "batches": list(self.batches),
            "refused": dict(self.refused),
            "waiting": dict(self.waiting),
            "tables": {name: asdict(counts) for name, counts in self.tables.items()},
            PERIODS: list(self.periods),
            "records_received": self.records_received,
            "records_accepted": self.records_accepted,
            "records_duplicate": self.records_duplicate,
            "records_quarantined": self.records_quarantined,
            "quarantine_files": [str(path) for path in self.quarantine_files],
            "docs_index": None if self.docs_index is None else str(self.docs_index),
        }


@dataclass(frozen=True)
class _Ingestion:
    """What one ingestion works with."""

    inbox: Inbox
    registry: DeviceRegistry
    store: AcceptedStore
    quarantine_dir: Path
    contract: Contract
    today: date
    docs_dir: Path | None
    refusals: Refusals


@dataclass
class _Tally:
    """What has come of the batches so far."""

    batches: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    tables: dict[str, TableCounts] = field(default_factory=dict)
    periods: set[int] = field(default_factory=set)
    files: list[Path] = field(default_factory=list)
    docs: list[Path] = field(default_factory=list)

    def add(self, table: str, counts: TableCounts) -> None:
        had = asdict(self.tables.get(table, TableCounts()))
        self.tables[table] = TableCounts(**{name: had[name] + count for name, count in asdict(counts).items()})


def ingest_batches(
    inbox_dir: Path,
    registry_path: Path,
    store: AcceptedStore,
    quarantine_dir: Path,
    contract: Contract,
    today: date,
    docs_dir: Path | None = None,
) -> IngestReport:
    """Bring every batch of the inbox into the store, or into quarantine.

    Args:
        inbox_dir: the gateway's inbox; ingested batches go to its `<device_id>/ingested/`.
        registry_path: the devices' public keys; the registered owners of units stand beside it.
        store: gets the good rows.
        quarantine_dir: gets bad rows, and whole batches that cannot be trusted in `batches/`.
        contract: what the rows must be; rows of a former one are read as it says.
        today: the day in UTC, after which nothing may have been seen yet.
        docs_dir: is replaced by this run's Data Docs; none are built without it.

    Raises:
        ConfigError: batches wait, and there is no registry to verify them with; or what was registered is lost.
        DataError: the accepted data is damaged, or of another contract.
        StoreBusy: another process ingests, or holds the store.
    """
    inbox, registry = Inbox(inbox_dir), DeviceRegistry(registry_path)
    work = _Ingestion(inbox, registry, store, quarantine_dir, contract, today, docs_dir, Refusals(quarantine_dir))
    with _alone(inbox_dir):
        inbox.finish_moves()
        if (count := len(inbox.waiting())) and not registry_path.exists():
            raise ConfigError(f"{count} batches wait, but the device registry {registry_path} is missing")
        owners = UnitOwners.beside(registry_path)
        registered = owners.registered()
        for made in (registry.path, owners.path):
            mark_made(made)
        opened = store.read(contract.context_table.name)
        ownership = Ownership.of(registered, opened, registry.public_keys(), owners.former())
        again = _give_back(work, ownership)
        tally = _Tally()
        for group in _groups(work, tally, again):
            _ingest(work, group, ownership, tally)
        store.settle_withdrawn()
        _tell_held_back(work, ownership)
    return IngestReport(
        batches=tuple(tally.batches),
        refused=tally.refused,
        tables=tally.tables,
        periods=tuple(sorted(tally.periods)),
        quarantine_files=tuple(tally.files),
        docs_index=tally.docs[0] if tally.docs else None,
        waiting=tally.waiting,
    )


@contextmanager
def _alone(inbox_dir: Path) -> Iterator[None]:
    lock = FileLock(inbox_dir / ".ingest.lock", timeout=LOCK_TIMEOUT_S)
    try:
        lock.acquire()
    except Timeout:
        raise StoreBusy(
            f"another process ingests {inbox_dir} for over {LOCK_TIMEOUT_S:.0f} s; try again later"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _give_back(work: _Ingestion, ownership: Ownership) -> frozenset[str]:
    """Bring into effect what persons registered since: what a stranger was accepted for goes, the owner's comes again.

    The owners' batches first, so that a crash in between leaves both to be done. A batch that the store does not know
    (any more) comes again too: a version of the data from before it may have been brought back.

    Returns:
        The names of the batches that come again.
    """
    holders = ownership.holders
    taken = {
        name: owner
        for name, holder in holders.items()
        if (owner := ownership.registered.get(f"{name[0]}/{name[1]}")) not in (None, holder)
    }
    lacking = _lacking(work, ownership)
    notes = work.store.noted_batches()
    again: set[str] = set()
    for held in work.inbox.ingested():
        note = notes.get(held.sha256)
        of = tuple(f"{period}/{unit}/" for (period, unit), owner in taken.items() if owner == held.device_id)
        if (
            note is None
            or _has_more_to_say(held.device_id, note, ownership, taken)
            or _brought(work, held, of, lacking.get(held.device_id, frozenset()))
        ):
            work.inbox.move_to_waiting(held)
            again.add(held.name)
    for period, unit in taken:
        _withdraw(work, period, unit)
        del holders[period, unit]
    return frozenset(again)


def _lacking(work: _Ingestion, ownership: Ownership) -> dict[str, frozenset[str]]:
    """By device, the records that were withdrawn and are its to say again, and that the store does not have."""
    lacking: dict[str, frozenset[str]] = {}
    for one in withdrawals(work.quarantine_dir):
        heard = [device_id for device_id in one.devices if ownership.may_speak(device_id, one.period, one.unit)]
        gone = one.record_ids - work.store.record_ids([one.period]) if heard else frozenset()
        for device_id in heard:
            lacking[device_id] = lacking.get(device_id, frozenset()) | gone
    return lacking


def _brought(work: _Ingestion, held: Held, of: tuple[str, ...], ids: frozenset[str]) -> bool:
    """Whether a batch brought records of episodes, or some of these; one that does not say it may have."""
    if not of and not ids:
        return False
    records = work.store.noted_records(held.sha256)
    return records is None or any(
        name in ids or name.startswith(of) for of_table in records.values() for name in of_table
    )


def _has_more_to_say(
    device_id: str, note: Mapping[str, Any], ownership: Ownership, taken: Mapping[tuple[int, str], str | None]
) -> bool:
    """Whether rows of an ingested batch that were a stranger's then are the owner's now, or may be claimed by now."""
    for period, _, unit in (name.partition("/") for name in note.get(BEYOND) or ()):
        if ownership.is_registered(int(period), unit, device_id):
            return True
    if "foreign" not in note:  # from before ownership was judged
        return any(owner == device_id and period == note[PERIOD] for (period, _), owner in taken.items())
    named = (name.partition("/") for name in note["foreign"])
    return any(ownership.may_speak(device_id, int(period), unit) for period, _, unit in named)


def _withdraw(work: _Ingestion, period: int, unit: str) -> None:
    reason = work.store.words.say(WITHDRAWN)
    count = work.store.withdraw(period, unit, reason)
    _log.warning("%d rows of %s/%s are in quarantine: %s", count, period, unit, reason)


def _tell_held_back(work: _Ingestion, ownership: Ownership) -> None:
    """Say of which episodes the unit's registered device is not heard, because another was accepted for them."""
    held_back = {
        (name, str(note["device_id"]))
        for note in work.store.noted_batches().values()
        for name in note.get("foreign", ())
    }
    for name, device_id in sorted(held_back):
        period, _, unit = name.partition("/")
        is_held = not ownership.may_speak(device_id, int(period), unit)
        if is_held and ownership.is_registered(int(period), unit, device_id):
            _log.warning(
                "rows of %s about %s are in quarantine: it was accepted from %s. Say whose that %s is: "
                "fieldloop register-device DEVICE KEY --unit %s",
                device_id,
                name,
                ownership.holders.get((int(period), unit)) or "a history",
                work.store.words.period,
                name,
            )


def _groups(work: _Ingestion, tally: _Tally, again: Collection[str]) -> Iterator[list[Received]]:
    """The batches that can be trusted, in the order in which they came, in groups of bounded size.

    Batches that come `again` were judged one after the other: of one record such a group says one thing, so that what
    stood stands again. What comes for the first time is judged together, however often it says the same.
    """
    group: list[Received] = []
    said: set[tuple[str, str]] = set()
    for held in sorted(work.inbox.waiting(), key=lambda held: (_received_utc(held), held.name)):
        batch = _opened(work, held, tally)
        if batch is None:
            continue
        says = {(held.device_id, name) for ids in batch.records.values() for name in ids if held.name in again}
        if group and (sum(one.rows for one in group) + batch.rows > MAX_ROWS_AT_ONCE or said & says):
            yield group
            group, said = [], set()
        group.append(batch)
        said |= says
    if group:
        yield group


def _received_utc(held: Held) -> str:
    try:
        return read_envelope(held.envelope).received_utc
    except DataError:
        return ""


def _opened(work: _Ingestion, held: Held, tally: _Tally) -> Received | None:
    try:
        return open_received(held, work.registry, work.contract)
    except UnknownContractError as waits:
        tally.waiting[held.name] = str(waits)
    except DataError:
        with work.inbox.alone(held.device_id):
            try:  # once more: a device may have sent whole what lay damaged
                return open_received(held, work.registry, work.contract)
            except DataError as error:
                _refuse(work, held, str(error), tally)
    return None


def _refuse(work: _Ingestion, held: Held, reason: str, tally: _Tally) -> None:
    """Into quarantine with it. For who holds the device's batches alone."""
    work.refusals.keep(work.inbox, held, reason)
    tally.refused[held.name] = reason


def _ingest(work: _Ingestion, group: list[Received], ownership: Ownership, tally: _Tally) -> None:
    for batches, checked, received, judged in _judged(work, group, ownership, tally):
        for (period, unit), holder in judged.holders.items():
            if (before := ownership.holders.get((period, unit))) not in (None, holder):
                _log.info("%d/%s was accepted from %s, and is that of %s", period, unit, before, holder)
                _withdraw(work, period, unit)
        ownership.holders.update(judged.holders)
        stored = _store(work, checked, batches, tally)
        for name, counts in stored.items():
            quarantined = checked.tables[name].quarantined + counts.conflicts
            duplicates = received[name] - counts.added - quarantined
            tally.add(name, TableCounts(received[name], counts.added, duplicates, quarantined))
        foreign, beyond = (_episodes_that(work, checked, broke) for broke in (BELONGS_TO_SENDER, IS_WITHIN_CLAIMS))
        for batch in batches:
            work.store.note_batch(batch.held.sha256, dict(batch.note), batch.records)
            unnamed = batch.note["unnamed"]
            said: dict[str, Any] = {"unnamed": unnamed, "foreign": foreign.get(batch.held.sha256, [])}
            if batch.held.sha256 in beyond or BEYOND in work.store.noted(batch.held.sha256):
                said[BEYOND] = beyond.get(batch.held.sha256, [])
            work.store.amend_note(batch.held.sha256, said)
            work.inbox.move_to_ingested(batch.held)
            tally.batches.append(batch.held.sha256)
            tally.periods |= batch.periods


_Judged = tuple[list[Received], Checked, dict[str, int], Ownership]


def _judged(work: _Ingestion, group: list[Received], ownership: Ownership, tally: _Tally) -> Iterator[_Judged]:
    """The judgement over a group; where there can be none, over each of its batches alone.

    Judging is made to raise for nothing that a device can send. Should it all the same, the batch that it raises for is
    refused and holds up no other. What raises for every batch is no batch's fault, and stops the ingestion.
    """
    try:
        yield _check(work, group, ownership, tally)
        return
    except (OSError, MemoryError, ImportError, ConfigError, StoreBusy):
        raise
    except Exception as error:  # noqa: BLE001 - the edge of a loop; which batch it is about is found out below
        _log.warning("%d batches cannot be judged together", len(group), exc_info=True)
        failure = error
    judged: list[_Judged] = []
    failed: list[tuple[Held, Exception]] = []
    for batch in group:
        try:
            judged.append(_check(work, [batch], ownership, tally))
        except (OSError, MemoryError, ImportError, ConfigError, StoreBusy):
            raise
        except Exception as error:  # noqa: BLE001 - as above
            _log.warning("the batch %s cannot be judged", batch.held.name, exc_info=True)
            failed.append((batch.held, error))
    if len(failed) == len(group) > 1:
        raise failure
    for held, reason in failed:
        with work.inbox.alone(held.device_id):
            _refuse(work, held, f"the batch cannot be judged: {reason!r:.200}", tally)
    yield from judged


def _check(work: _Ingestion, batches: list[Received], ownership: Ownership, tally: _Tally) -> _Judged:
    frames: dict[str, pd.DataFrame] = {}
    received: dict[str, int] = {}
    senders = {batch.held.sha256: str(batch.note["device_id"]) for batch in batches}
    for table in work.contract.tables:
        parts = [batch.frames[table.name] for batch in batches if table.name in batch.frames]
        if parts:
            rows = pd.concat(parts, ignore_index=True)
            received[table.name] = len(rows)
            frames[table.name] = _once(table, rows, senders)
    periods = {period for batch in batches for period in batch.periods}
    judged = replace(ownership, holders=dict(ownership.holders))
    known = work.store.read(work.contract.context_table.name, periods)
    docs_dir = work.docs_dir
    if docs_dir is not None and tally.docs:
        docs_dir = docs_dir.with_name(f"{docs_dir.name}-{len(tally.docs) + 1}")
    checked = check_frames(frames, work.contract, work.today, known, senders, judged, docs_dir)
    return batches, checked, received, judged


def _once(table: Table, rows: pd.DataFrame, senders: Mapping[str, str]) -> pd.DataFrame:
    """The same row twice from one device is one row that came twice; nothing is wrong with it."""
    content = rows[list(table.column_names)].map(ascii).assign(**{ORIGIN: rows[ORIGIN].map(senders)})
    return rows[~content.duplicated()]


def _store(work: _Ingestion, checked: Checked, batches: Sequence[Received], tally: _Tally) -> dict[str, Accepted]:
    """Bad rows first: once the good ones are stored, a crash may not lose the others' reasons."""
    for name, rows in checked.rejected.items():
        _quarantine(work, work.contract.table(name), rows, tally)
    for batch in batches:
        for name, rows in batch.unreadable.items():
            table = work.contract.table(name)
            typed = conform(table, rows)[0]
            _quarantine(work, table, typed.assign(**{name: rows[name] for name in (ORIGIN, EXPECTATION)}), tally)
            tally.add(name, TableCounts(received=len(rows), quarantined=len(rows)))
    stored = {name: work.store.accept(name, rows, "sync") for name, rows in checked.accepted.items()}
    tally.files += [outcome.quarantine_file for outcome in stored.values() if outcome.quarantine_file is not None]
    if checked.docs_index is not None:
        tally.docs.append(checked.docs_index)
    return stored


def _quarantine(work: _Ingestion, table: Table, rows: pd.DataFrame, tally: _Tally) -> None:
    for batch_id, part in rows.groupby(ORIGIN):
        path = quarantine_rows(work.quarantine_dir, f"batch-{str(batch_id)[:16]}", table, part)
        if path is not None:
            tally.files.append(path)


def _episodes_that(work: _Ingestion, checked: Checked, broke: str) -> dict[str, list[str]]:
    """By batch, the episodes of which it has rows that broke this: another's, or more than it may claim."""
    episode = work.contract.episode
    found: dict[str, set[str]] = {}
    for rows in checked.rejected.values():
        theirs = rows[rows[EXPECTATION].str.contains(work.store.words.say(broke), regex=False)]
        for origin, period, unit in theirs[[ORIGIN, episode.period, episode.unit]].itertuples(index=False):
            found.setdefault(str(origin), set()).add(f"{int(period)}/{unit}")
    return {origin: sorted(names) for origin, names in found.items()}
