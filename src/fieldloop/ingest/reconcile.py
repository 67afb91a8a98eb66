"""Where the records of all batches that ever came are now, found by looking for each of them.

What a batch brought stands in the note that its ingestion left; a batch is opened again only where that was before
notes named the records, and then the note is completed. A refused batch is not home, nor is one that lies damaged in
the inbox, and one of an unknown contract waits. One that was acknowledged and lies nowhere is lost: its device sends it
no more.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from fieldedge.contract import Contract, EpisodeKey
from fieldedge.contract.batches import open_batch
from fieldedge.contract.reserved import ORIGIN
from fieldedge.system.errors import DataError
from fieldloop.core.stored_names import PERIOD
from fieldloop.data.accepted import AcceptedStore
from fieldloop.data.withdrawn import WITHDRAWN_PREFIX, withdrawals
from fieldloop.gateway.inbox import Held, Inbox
from fieldloop.ingest.received import named_records
from fieldloop.ingest.refusals import Refusals
from fieldloop.release import AcknowledgedBatches

_PERIOD = re.compile(r"[1-9][0-9]{0,8}")
_CAME_LATER = "it came after the last ingestion"
_OPENED = "opened"  # in a note that is not kept: the record ids of a batch that the store does not know
_Said = frozenset[tuple[str, Any]]


@dataclass(frozen=True)
class Account:
    """Where records are now. `received` is the sum of accepted, quarantined and missing ones.

    What was said otherwise under the id of an accepted record was not taken: it is one more, quarantined. The same said
    again is the same record, wherever a copy of it lies.
    `missing` names, one by one, what is neither in the store nor in quarantine: records by their id, others by their
    batch; those of refused batches count until a person decides (`refused` names the batches). `waiting` gives the
    reason by batch for those that were not ingested; their records are counted apart and are not lost.
    """

    received: int
    accepted: int
    quarantined: int
    missing: tuple[str, ...]
    refused: tuple[str, ...] = ()
    waiting: Mapping[str, str] = field(default_factory=dict)
    records_waiting: int = 0


@dataclass(frozen=True)
class _Quarantined:
    """What was said under each record id that is looked for, by whom, and per batch how many rows have no id."""

    said: Mapping[str, Mapping[_Said, Collection[str]]]
    unnamed: Mapping[str, int]

    def not_taken(self, accepted: Mapping[str, _Said], batches: Collection[str]) -> int:
        """How many records they are: all that differ under an id, but what is accepted of it.

        Only what a batch brought counts, or what was taken back: not what a history has under the id.
        """
        count = 0
        for record_id, by_said in self.said.items():
            stands = accepted.get(record_id)
            count += sum(
                (stands is None or not said <= stands)
                and any(one in batches or one.startswith(WITHDRAWN_PREFIX) for one in origins)
                for said, origins in by_said.items()
            )
        return count


def reconcile(
    inbox_dir: Path,
    store: AcceptedStore,
    quarantine_dir: Path,
    period: int | None = None,
    acknowledged: AcknowledgedBatches | None = None,
) -> Account:
    """Look for every record of every batch, of one period or of all, in the store and in quarantine.

    A refused batch that does not say of which period it is counts in every one, and so does one that is lost, which
    is looked for where it is given what was `acknowledged`.

    Raises:
        DataError: a stored file or a note is damaged.
    """
    inbox = Inbox(inbox_dir)
    counts = _Counts(store.contract.episode, period)
    senders: dict[str, set[str]] = {}
    nameless: list[str] = []
    notes = _complete_notes(inbox, store)
    for batch_id, note in notes.items():
        records = note.get(_OPENED) or store.noted_records(batch_id) or {}
        for record_id in counts.of(note[PERIOD], (name for of_table in records.values() for name in of_table)):
            senders.setdefault(record_id, set()).add(note["device_id"])
    refused: list[str] = []
    refusals = Refusals(quarantine_dir)
    for batch in refusals.undecided():
        concerned = counts.of(batch.period, batch.record_ids)
        is_of_period = counts.has(batch.period)
        if batch.sha256 not in notes:
            for record_id in concerned:
                senders.setdefault(record_id, set()).add(batch.name.partition("/")[0])
            nameless += _without_id(f"refused {batch.name}", batch.unnamed if is_of_period else 0)
        if is_of_period or concerned:
            refused.append(batch.name)
    ids = senders.keys()
    quarantined = _in_quarantine(quarantine_dir, store.contract, ids)
    unnamed_quarantined = 0
    for batch_id, note in notes.items():
        if counts.has(note[PERIOD]):
            found = min(int(note["unnamed"]), quarantined.unnamed.get(batch_id, 0))
            unnamed_quarantined += found
            nameless += _without_id(batch_id, int(note["unnamed"]) - found)
    damaged = {held.name: fault for held in inbox.waiting() if (fault := _fault(inbox, held)) is not None}
    nameless += [f"batch {name}, which lies damaged in the inbox: {fault}" for name, fault in damaged.items()]
    if acknowledged is not None:
        nameless += _lost(acknowledged, inbox, refusals, notes)
    accepted: set[str] = set()
    stands: dict[str, _Said] = {}
    for table in store.contract.tables:
        rows = store.read(table.name, None if period is None else [period])
        accepted.update(rows["record_id"])
        stands.update(_said(rows[rows["record_id"].isin(quarantined.said)]))
    taken_back = {one.folder.name: one for one in withdrawals(quarantine_dir)}

    def is_in_quarantine(record_id: str, device_id: str) -> bool:
        """Whether what this device said under the id is there: what another said says nothing of it."""
        origins = set[str]().union(*quarantined.said.get(record_id, {}).values())
        return any(
            notes[origin]["device_id"] == device_id
            if origin in notes
            else origin in taken_back and taken_back[origin].excuses(device_id)
            for origin in origins
        )

    lost = {name for name in ids - accepted if not all(is_in_quarantine(name, sender) for sender in senders[name])}
    missing = (*sorted(lost), *nameless)
    not_taken = quarantined.not_taken(stands, notes) + unnamed_quarantined
    waiting = dict(_waiting([held for held in inbox.waiting() if held.name not in damaged], store, counts))
    return Account(
        received=len(ids & accepted) + not_taken + len(missing),
        accepted=len(ids & accepted),
        quarantined=not_taken,
        missing=missing,
        refused=tuple(refused),
        waiting={name: reason for name, (reason, _) in waiting.items()},
        records_waiting=sum(records for _, records in waiting.values()),
    )


@dataclass(frozen=True)
class _Counts:
    """Which records an account is about: those of one period, or all.

    A record is of the period that its id says, whatever the header of its batch says; that is taken at its word only
    for what has no id, or one that says no period. A period that is None is every one.
    """

    episode: EpisodeKey
    period: int | None

    def has(self, period: int | None) -> bool:
        return self.period is None or period in (None, self.period)

    def of(self, batch_period: int | None, record_ids: Iterable[str]) -> list[str]:
        return [record_id for record_id in record_ids if self.has(self._said(record_id) or batch_period)]

    def _said(self, record_id: str) -> int | None:
        said = record_id.partition("/")[0]
        return int(said) if _PERIOD.fullmatch(said) else None


def _without_id(batch: str, count: int) -> list[str]:
    return [f"batch {batch}: record {number} without an id" for number in range(1, count + 1)]


def _in_quarantine(quarantine_dir: Path, contract: Contract, ids: Collection[str]) -> _Quarantined:
    columns = {name for table in contract.tables for name in table.column_names}
    said: dict[str, dict[_Said, set[str]]] = {}
    unnamed: Counter[str] = Counter()
    for path in sorted(quarantine_dir.glob("*/*.parquet")):
        try:
            rows = pd.read_parquet(path)
            named = rows["record_id"].notna()
            unnamed.update(rows.loc[~named, ORIGIN])
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            reason = str(error).split("\n", 1)[0]
            raise DataError(
                f"the quarantined rows in {path} cannot be read ({reason}), so nobody can say whether all records are "
                "home. Bring the file back from a backup, or move it away: its records are missing then"
            ) from error
        concerned = rows[named & rows["record_id"].isin(ids)]
        content = _said(concerned[[name for name in concerned if name in columns]])
        for (record_id, words), origin in zip(content, concerned[ORIGIN], strict=True):
            said.setdefault(record_id, {}).setdefault(words, set()).add(str(origin))
    return _Quarantined(said, unnamed)


def _said(rows: pd.DataFrame) -> list[tuple[str, _Said]]:
    """Per row its record id, and each column with its value; None for one that is missing."""
    plain = rows.astype(object).where(rows.notna(), None)
    records: list[dict[Any, Any]] = plain.to_dict("records")
    return [(str(record["record_id"]), frozenset(record.items())) for record in records]


def _complete_notes(inbox: Inbox, store: AcceptedStore) -> dict[str, dict[str, Any]]:
    """The notes of all ingested batches; those from before notes named the records are completed once.

    A batch that the store does not know is noted by its next ingestion alone: the data may be of a version before it.
    """
    notes = store.noted_batches()
    for held in inbox.ingested():
        note = notes.get(held.sha256)
        if note is None or "unnamed" not in note:
            notes[held.sha256] = _completed(held, store, note)
    return {batch_id: note for batch_id, note in notes.items() if "unnamed" in note}


def _completed(held: Held, store: AcceptedStore, note: dict[str, Any] | None) -> dict[str, Any]:
    try:
        period, records, rows = named_records(held.read())
    except DataError:
        period, records, rows = None, {}, 0
    unnamed = rows - sum(len(of_table) for of_table in records.values())
    if note is None:
        return {"device_id": held.device_id, PERIOD: period, "unnamed": unnamed, _OPENED: records}
    store.note_batch(held.sha256, note, {name: list(set(ids)) for name, ids in records.items()})
    store.amend_note(held.sha256, {"unnamed": unnamed})
    return {**note, "unnamed": unnamed}


def _lost(acknowledged: AcknowledgedBatches, inbox: Inbox, refusals: Refusals, notes: Collection[str]) -> Iterator[str]:
    """The batches that were acknowledged and lie nowhere: records that nobody has, how many nobody knows."""
    known = {held.name for held in (*inbox.waiting(), *inbox.ingested())} | refusals.names().keys()
    known |= refusals.discarded_names()
    for name in acknowledged.names():
        if name not in known and name.partition("/")[2] not in notes:
            yield (
                f"batch {name}, which was acknowledged and is neither in the inbox nor accepted nor in quarantine: "
                f"bring the inbox or quarantine back from a backup, or delete {acknowledged.path(name)} to miss "
                "it no more"
            )


def _fault(inbox: Inbox, held: Held) -> str | None:
    """Why a batch that waits would be refused, whatever it holds: a disk or a hand was at it."""
    if not inbox.has_envelope(held):
        return f"its envelope {held.envelope.name} is missing"
    try:
        found = hashlib.sha256(held.read()).hexdigest()
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return None if found == held.sha256 else f"its content has the hash {found[:12]}…"


def _waiting(batches: Iterable[Held], store: AcceptedStore, counts: _Counts) -> Iterator[tuple[str, tuple[str, int]]]:
    for held in batches:
        try:
            data = held.read()
            period, ids, rows = named_records(data)
            contract_hash = open_batch(data)[0].get("contract_hash")
        except (DataError, OSError):
            yield held.name, (_CAME_LATER, 0)
            continue
        named = [record_id for of_table in ids.values() for record_id in of_table]
        concerned = len(counts.of(period, named)) + (rows - len(named) if counts.has(period) else 0)
        if not concerned and not counts.has(period):
            continue
        is_known = isinstance(contract_hash, str) and store.contract.reads(contract_hash)
        reason = _CAME_LATER if is_known else f"its contract {contract_hash!r:.14}… is not known here"
        yield held.name, (reason, concerned)
