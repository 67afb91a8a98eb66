"""Accepted rows on disk: `<period>=N/<place>=P/<table>.parquet`, by the names of the contract's columns.

An accepted row is never changed and never lost. The same row again is nothing new; another row with the same
identity is refused and goes to quarantine, and so does a second one where an episode has one; so does one whose
identity, or whose episode's only row, another place of the period has. A file is replaced as a whole, sorted by
record_id, so the same rows give the same bytes in whatever order they came. Every file says of which contract its
rows are, and `contract.json` that of the whole; rows of a former contract are read as today's, and written only by a
migration (`migration.py`).
Judging rows is `fieldloop.validation`'s work; versions of the whole are `versions.py`'s.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from fieldedge.contract import Contract, EpisodeKey, Table
from fieldedge.contract.reserved import EXPECTATION, ORIGIN
from fieldedge.system.durable import write_durably
from fieldedge.system.errors import DataError, StoreBusy
from fieldloop.core.parquet import arrow_schema
from fieldloop.core.words import Words
from fieldloop.data.withdrawn import Withdrawal, begin_withdrawal, end_withdrawals, withdrawals
from fieldloop.validation import Ownership, quarantine_rows
from fieldloop.validation.expectations import NAME_PATTERN
from fieldloop.validation.ownership import HISTORY
from fieldloop.validation.quarantine import keep_quarantined
from fieldloop.validation.typed import empty_frame, finished, to_arrow

CONTRACT_NAME = "contract.json"
CONFLICT = "conflicts with an accepted row of the same record_id"
ELSEWHERE = "a row of the same record_id is accepted in another {place}, and a record has one"
SECOND = "another row of this {episode} is accepted, and there is one for each"
RETURNED = "the {unit} and {period} were returned to what was imported"
LOCK_TIMEOUT_S = 60.0
_FILE_CONTRACT = b"fieldloop.contract_hash"
_PLAIN_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True)
class Merged:
    """The outcome of a merge: all rows, how many were new and how many known, and the rows that were refused.

    Refused ones carry `expectation`: which accepted row they contradict, in plain words.
    """

    rows: pd.DataFrame
    added: int
    known: int
    conflicts: pd.DataFrame


@dataclass(frozen=True)
class Accepted:
    """What the store did with some rows of one table; `added + known + conflicts` is their number.

    `broken` counts the conflicts by what each contradicts, in plain words.
    """

    added: int
    known: int
    conflicts: int
    broken: Mapping[str, int]
    quarantine_file: Path | None = None


def merge(
    table: Table,
    existing: pd.DataFrame,
    incoming: pd.DataFrame,
    episode: EpisodeKey,
    elsewhere: pd.DataFrame | None = None,
) -> Merged:
    """Existing rows as they are, and those incoming ones whose record_id is not there yet, sorted by it.

    Of incoming rows that contradict each other the first is taken; in a table that has one row an episode, two of an
    episode contradict each other too. Both frames hold the table's columns and types. `elsewhere` names what the
    period's other places have, by record_id and the episode's columns: a new row that is there is refused here.
    """
    columns = list(table.column_names)
    if elsewhere is None:
        elsewhere = existing.iloc[:0]
    is_elsewhere = incoming["record_id"].isin(elsewhere["record_id"]) & ~incoming["record_id"].isin(
        existing["record_id"]
    )
    moved, incoming = incoming[is_elsewhere], incoming[~is_elsewhere]
    is_second = _is_second(table, existing, incoming, episode, elsewhere)
    seconds, others = incoming[is_second], incoming[~is_second]
    first = others.drop_duplicates("record_id", keep="first")
    reference = pd.concat([existing[columns], first[~first["record_id"].isin(existing["record_id"])][columns]])
    reference = reference.set_index("record_id", drop=False)
    held = reference.loc[others["record_id"], columns].set_axis(others.index)
    same = _says_the_same(held, others[columns])
    added = len(reference) - len(existing)
    words = SECOND.format(episode=" and ".join(episode.columns) or "table")
    return Merged(
        rows=reference.sort_index(kind="stable").reset_index(drop=True),
        added=added,
        known=int(same.sum()) - added,
        conflicts=pd.concat(
            [
                others[~same].assign(**{EXPECTATION: CONFLICT}),
                seconds.assign(**{EXPECTATION: words}),
                moved.assign(**{EXPECTATION: Words.of(episode).say(ELSEWHERE)}),
            ]
        ),
    )


def _says_the_same(rows: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    """Which rows say in every column what the other of the same label says."""
    return ((rows == others) | (rows.isna() & others.isna())).all(axis=1)


def _is_second(
    table: Table, existing: pd.DataFrame, incoming: pd.DataFrame, episode: EpisodeKey, elsewhere: pd.DataFrame
) -> pd.Series:
    """Which incoming rows are a second one of an episode that has one row of this table.

    What was accepted before this was judged stays as it is: each of two rows is known when it comes again.
    """
    if not table.is_once_an_episode:
        return pd.Series(False, incoming.index, dtype=bool)
    names = ["record_id", *episode.columns]
    known = {row[0] for row in existing[names].itertuples(index=False)}
    stands = {tuple(row[1:]): row[0] for there in (elsewhere, existing) for row in there[names].itertuples(index=False)}
    rows = list(incoming[names].itertuples(index=False))
    return pd.Series(
        [row[0] not in known and stands.setdefault(tuple(row[1:]), row[0]) != row[0] for row in rows],
        incoming.index,
        dtype=bool,
    )


def _rows(path: Path) -> int:
    """How many rows a stored file has; one that cannot be read has some, and is named when it is read."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return 1


def contract_mark(schema: pa.Schema) -> bytes | None:
    """What a stored file says of the contract of its rows; None of one from before files said it."""
    metadata: dict[bytes, bytes] = schema.metadata or {}
    return metadata.get(_FILE_CONTRACT)


class AcceptedStore:
    """The partitions under one directory."""

    def __init__(self, root: Path, contract: Contract, quarantine_dir: Path | None = None) -> None:
        """Open the store at `root`; quarantine stands beside it unless said otherwise."""
        self.root = root
        self.contract = contract
        self.words = Words.of(contract.episode)
        self.quarantine_dir = quarantine_dir if quarantine_dir is not None else root.parent / "quarantine"

    def accept(self, table_name: str, frame: pd.DataFrame, came_with: str) -> Accepted:
        """Add validated rows, each to its period and place. Doing it again changes nothing.

        Args:
            table_name: a table of the contract.
            frame: the table's columns; of others only `origin` counts, where a row came from, for refused ones.
            came_with: the run or batch that brought the rows; names the folder of refused ones in quarantine.

        Raises:
            DataError: a place is not a plain name, a stored file is damaged, or the store is of another contract.
            StoreBusy: another process holds the store.
        """
        table, episode = self.contract.table(table_name), self.contract.episode
        rows = finished(table, frame).set_axis(frame.index)
        added = known = 0
        conflicts = [empty_frame(table)]
        with self.alone():
            self._begin_writing()
            for _, part in rows.groupby(list(episode.partition), sort=True):
                path = self._path(table, int(part[episode.period].iloc[0]), str(part[episode.place].iloc[0]))
                elsewhere = self._named_beside(path)
                merged = merge(table, self._load(table, path), part, episode, elsewhere)
                if merged.added:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_durably(path, self._parquet_bytes(table, merged.rows))
                added += merged.added
                known += merged.known
                conflicts.append(merged.conflicts)
        refused = pd.concat(conflicts)
        origin = frame[ORIGIN].reindex(refused.index) if ORIGIN in frame else came_with
        refused = refused.assign(**{ORIGIN: origin})
        file = quarantine_rows(self.quarantine_dir, came_with, table, refused)
        return Accepted(added, known, len(refused), Counter(refused.get(EXPECTATION, ())), file)

    def read(self, table_name: str, periods: Collection[int] | None = None) -> pd.DataFrame:
        """All rows of a table, or those of some periods, sorted by period, place and record_id.

        Raises:
            DataError: a stored file is damaged, or of a contract that is not known here.
        """
        table = self.contract.table(table_name)
        parts = [self._load(table, path) for period, path in self._files(table) if periods is None or period in periods]
        return pd.concat([empty_frame(table), *parts], ignore_index=True) if parts else empty_frame(table)

    def record_ids(self, periods: Collection[int] | None = None) -> frozenset[str]:
        """The ids of all rows, or of those of some periods.

        Raises:
            DataError: as `read` says.
        """
        return frozenset(name for table in self.contract.tables for name in self.read(table.name, periods)["record_id"])

    def periods(self) -> list[int]:
        """The periods that have at least one accepted row."""
        return sorted({period for table in self.contract.tables for period, path in self._files(table) if _rows(path)})

    def return_to_histories(self, ownership: Ownership) -> None:
        """Take back from devices what a person named for no device, as `withdraw` does; they hold it no more."""
        for period, unit in ownership.returned():
            self.withdraw(period, unit, self.words.say(RETURNED))
            del ownership.holders[period, unit]

    def withdraw(self, period: int, unit: str, reason: str) -> int:
        """Take what was accepted of a unit in a period back into quarantine; how many rows. Repeatable.

        They lie in a folder of their own there, which is where they come from too, until they are accepted again. All
        are in it before the first goes, and the row that opens the episode is in it first and goes last: a crash in
        between leaves nothing that looks lost, and an episode that can still be found.

        Raises:
            DataError: a stored file is damaged, or the store is of another contract.
            StoreBusy: another process holds the store.
        """
        withdrawn = 0
        with self.alone():
            self._begin_writing()
            holder = self._holders().get((period, unit), HISTORY)
            came_with = begin_withdrawal(self.quarantine_dir, period, unit, holder).name
            remaining: list[tuple[Table, Path, pd.DataFrame]] = []
            for table in sorted(self.contract.tables, key=lambda table: table.role != "context"):
                for path in [path for year, path in self._files(table) if year == period]:
                    rows = self._load(table, path)
                    is_theirs = rows[self.contract.episode.unit] == unit
                    if not is_theirs.any():
                        continue
                    refused = rows[is_theirs].assign(**{EXPECTATION: reason, ORIGIN: came_with})
                    quarantine_rows(self.quarantine_dir, came_with, table, refused)
                    withdrawn += len(refused)
                    remaining.append((table, path, rows[~is_theirs].reset_index(drop=True)))
            for table, path, rows in reversed(remaining):
                write_durably(path, self._parquet_bytes(table, rows))
        return withdrawn

    def settle_withdrawn(self) -> None:
        """Take out of quarantine what is accepted again, as it was, from the device that it was withdrawn from.

        Repeatable. Where another row of the device is accepted under the id, the withdrawn one goes on saying that its
        absence is no loss.

        Raises:
            DataError: a stored file or one of withdrawn rows is damaged.
            StoreBusy: another process holds the store.
        """
        with self.alone():
            holders = self._holders()
            for one in withdrawals(self.quarantine_dir):
                if one.devices == {holders.get((one.period, one.unit))}:
                    self._settle(one)
            end_withdrawals(self.quarantine_dir)

    def contract_hash(self) -> str | None:
        """The contract that the accepted rows are of; None where nothing is accepted.

        A store that does not say it is of the oldest contract that is known: it was made before stores said it.

        Raises:
            DataError: what the store says is not readable.
        """
        path = self.root / CONTRACT_NAME
        try:
            return str(json.loads(path.read_bytes())["contract_hash"])
        except FileNotFoundError:
            return self._oldest() if any(self.partitions()) else None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged ({error!r}); nothing was changed. {self._bring_back()}") from error

    def partitions(self) -> Iterator[tuple[Table, Path]]:
        """Every stored file of a table of the contract."""
        for table in self.contract.tables:
            yield from ((table, path) for _, path in self._files(table))

    def contract_of(self, path: Path) -> str:
        """The contract that a stored file's rows are of.

        Raises:
            DataError: the file is damaged.
        """
        with self._damage_is_told(path):
            mark = contract_mark(pq.read_schema(path))
        return (self._oldest().encode() if mark is None else mark).decode(errors="replace")

    def rewrite(self, table: Table, path: Path) -> None:
        """Write a stored file as today's contract has its rows. For who holds the store alone.

        Raises:
            DataError: the file is damaged, or of a contract that is not known here.
        """
        write_durably(path, self._parquet_bytes(table, self._load(table, path)))

    def say_contract(self) -> None:
        """Write down that all rows are of today's contract. For who holds the store alone."""
        said = {"workload": self.contract.workload, "contract_hash": self.contract.hash}
        write_durably(self.root / CONTRACT_NAME, json.dumps(said, indent=1, sort_keys=True).encode() + b"\n")

    def note_batch(
        self, batch_id: str, note: dict[str, Any], records: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Keep, beside the rows, which batch brought them: `batches/<id>.json`. The first note stands.

        Args:
            batch_id: the batch.
            note: what is known of it.
            records: the record ids that it brought, by table, kept in `batches/<id>.records`.
        """
        path = self.root / "batches" / f"{batch_id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        if records is not None:
            ids = {name: sorted(of_table) for name, of_table in records.items()}
            content = json.dumps(ids, separators=(",", ":"), sort_keys=True).encode() + b"\n"
            write_durably(path.with_suffix(".records"), content)
        if not path.exists():
            self._write_note(path, note)

    def amend_note(self, batch_id: str, changes: Mapping[str, Any]) -> None:
        """Add to a batch's note, or change what it says."""
        note = self.noted(batch_id)
        if (amended := note | dict(changes)) != note:
            self._write_note(self.root / "batches" / f"{batch_id}.json", amended)

    def noted(self, batch_id: str) -> dict[str, Any]:
        """What the note of an ingested batch says.

        Raises:
            DataError: it is damaged.
        """
        return self._object(self.root / "batches" / f"{batch_id}.json")

    def noted_batches(self) -> dict[str, dict[str, Any]]:
        """The note of every batch that was ingested into this store, by batch id.

        Raises:
            DataError: a note is damaged.
        """
        paths = sorted((self.root / "batches").glob("*.json"))
        return {path.stem: self._object(path) for path in paths}

    def noted_records(self, batch_id: str) -> dict[str, list[str]] | None:
        """The record ids that a batch brought, by table; None where its note is from before they were kept.

        Raises:
            DataError: they are damaged.
        """
        path = self.root / "batches" / f"{batch_id}.records"
        if not path.exists():
            return None
        records = self._object(path)
        if not all(isinstance(ids, list) for ids in records.values()):
            raise DataError(
                f"{path} is damaged (it holds no lists of record ids); nothing was changed. {self._bring_back()}"
            )
        return records

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the store, so that no other process writes to it.

        Raises:
            StoreBusy: another process holds it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root.parent / f".{self.root.name}.lock", timeout=LOCK_TIMEOUT_S)
        try:
            lock.acquire()
        except Timeout:
            raise StoreBusy(
                f"{self.root} is being written by another process for over {LOCK_TIMEOUT_S:.0f} s; try again later"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _settle(self, one: Withdrawal) -> None:
        for file in sorted(one.folder.glob("*.parquet")):
            name = file.name.rpartition("-")[0]
            rows = pq.ParquetFile(file).read()
            stands = self.read(name, [one.period]).drop_duplicates("record_id").set_index("record_id", drop=False)
            was = rows.to_pandas()
            # Rows of a former contract have others.
            columns = [column for column in stands if column in was]
            held = stands.reindex(was["record_id"])[columns].set_axis(was.index)
            left = rows.filter(pa.array(~_says_the_same(held, was[columns])))
            if len(left):
                keep_quarantined(one.folder, name, left)
            if len(left) < len(rows):
                file.unlink()

    def _holders(self) -> dict[tuple[int, str], str]:
        return Ownership.of({}, self.read(self.contract.context_table.name), ()).holders

    def _begin_writing(self) -> None:
        """See that the store is of today's contract, and that it says so before its first row is written."""
        found = self.contract_hash()
        if found is not None and found != self.contract.hash:
            self.check_known(found, self.root)
            raise DataError(
                f"{self.root} holds rows of the former contract {found[:12]}…, and today's is "
                f"{self.contract.hash[:12]}…; nothing was changed. Migrate it first: fieldloop migrate"
            )
        if not (self.root / CONTRACT_NAME).exists():
            self.say_contract()

    def _oldest(self) -> str:
        return next(iter(self.contract.upgrades), self.contract.hash)

    def check_known(self, contract_hash: str, where: Path) -> None:
        """See that rows of a contract can be read here.

        Raises:
            DataError: it is not known; the message names `where` and says what to do.
        """
        if self.contract.reads(contract_hash):
            return
        ours, said = self.contract.workload, self.root / CONTRACT_NAME
        theirs = self._object(said).get("workload", ours) if said.exists() else ours
        if theirs != ours:
            raise DataError(
                f"{self.root} holds the accepted data of the workload {theirs}, and this is {ours}. Nothing was "
                f"changed. Work on {ours} in a clone of its own"
            )
        raise DataError(
            f"{where} is of the contract {contract_hash}, which the {ours} of this version does not read: its "
            "`upgrades` do not name it. Either a table was changed here without an upgrade: add one for that; or "
            "it was written by a later one. Nothing was changed. Install that version again, or bring back a version "
            f"of the data from before it: git log -- {self.root.name}.dvc in {self.root.parent}, then dvc checkout"
        )

    def _bring_back(self) -> str:
        return f"Bring back the last version: dvc checkout {self.root.name}.dvc in {self.root.parent}"

    @contextmanager
    def _damage_is_told(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            reason = str(error).split("\n", 1)[0]
            raise DataError(f"{path} is damaged ({reason}); nothing was changed. {self._bring_back()}") from error

    def _object(self, path: Path) -> dict[str, Any]:
        try:
            found = json.loads(path.read_bytes())
            if not isinstance(found, dict):
                raise ValueError(f"it holds a {type(found).__name__}; expected an object")
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is damaged ({error}); nothing was changed. {self._bring_back()}") from error
        return found

    def _write_note(self, path: Path, note: Mapping[str, Any]) -> None:
        write_durably(path, json.dumps(note, indent=1, sort_keys=True).encode() + b"\n")

    def _path(self, table: Table, period: int, place: str) -> Path:
        if not _PLAIN_NAME.fullmatch(place):
            raise DataError(
                f"{table.name}: the {self.words.place} {place!r} cannot name a folder; expected a plain name"
            )
        episode = self.contract.episode
        return self.root / f"{episode.period}={period}" / f"{episode.place}={place}" / f"{table.name}.parquet"

    def _files(self, table: Table) -> list[tuple[int, Path]]:
        episode = self.contract.episode
        paths = sorted(self.root.glob(f"{episode.period}=*/{episode.place}=*/{table.name}.parquet"))
        return [(int(path.parts[-3].removeprefix(f"{episode.period}=")), path) for path in paths]

    def _named_beside(self, path: Path) -> pd.DataFrame | None:
        """Identities and episodes of the rows of the period's other places, whose files are of today's contract."""
        names = ["record_id", *self.contract.episode.columns]
        parts = []
        for other in sorted(path.parent.parent.glob(f"*=*/{path.name}")):
            if other != path:
                with self._damage_is_told(other):
                    parts.append(pq.ParquetFile(other).read(columns=names).to_pandas())
        return pd.concat(parts, ignore_index=True) if parts else None

    def _load(self, table: Table, path: Path) -> pd.DataFrame:
        if not path.exists():
            return empty_frame(table)
        contract_hash = self.contract_of(path)
        self.check_known(contract_hash, path)
        with self._damage_is_told(path):
            stored = pq.ParquetFile(path).read()
        if contract_hash != self.contract.hash:
            stored = self._upgraded(table, path, contract_hash, stored)
        if missing := set(table.column_names) - set(stored.column_names):
            raise DataError(
                f"{path} has no column {', '.join(sorted(missing))}, and the contract {contract_hash[:12]}… that its "
                "rows should be of has: other code wrote it, of a contract that is not known here. Nothing was "
                f"changed. {self._bring_back()}, or install the version of Fieldloop that wrote it"
            )
        with self._damage_is_told(path):
            return finished(table, stored.select(list(table.column_names)).to_pandas())

    def _upgraded(self, table: Table, path: Path, contract_hash: str, stored: pa.Table) -> pa.Table:
        try:
            records = [self.contract.upgraded(contract_hash, table.name, record) for record in stored.to_pylist()]
            return pa.Table.from_pylist(records, schema=arrow_schema(table))
        except (DataError, pa.ArrowException) as error:
            raise DataError(
                f"{path} holds rows of the former contract {contract_hash[:12]}… that cannot be read as today's: "
                f"{error}. Nothing was changed"
            ) from error

    def _parquet_bytes(self, table: Table, rows: pd.DataFrame) -> bytes:
        marked = to_arrow(table, rows).replace_schema_metadata({_FILE_CONTRACT: self.contract.hash.encode()})
        sink = pa.BufferOutputStream()
        pq.write_table(marked, sink, compression="zstd")
        return bytes(sink.getvalue())
