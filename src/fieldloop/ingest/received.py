"""A batch from the inbox: opened and believed, or why not.

Its name, its signature and its header are verified again, and the types of all that its rows are built of; what the
rows say is `fieldloop.validation`'s to judge. Rows of a former contract are read as today's. A batch of a contract that
is not known here is neither believed nor refused: it waits for the version that knows it.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fieldedge.contract import Contract, Record, Table
from fieldedge.contract.batches import Rows, open_batch
from fieldedge.contract.reserved import EXPECTATION, ORIGIN
from fieldedge.system.errors import DataError
from fieldedge.transfer.summary import MEASURED
from fieldloop.core.parquet import arrow_schema
from fieldloop.core.stored_names import PERIOD
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.inbox import UNKNOWN_SENDER, Held, read_envelope
from fieldloop.validation.typed import MAX_ID_CHARS, is_text

UNREADABLE = "unreadable"
MAX_SUMMARY_CHARS = 20_000
_PERIODS = range(1, 1_000_000_000)
_HASH = re.compile(r"[0-9a-f]{64}")


class UnknownContractError(DataError):
    """A batch of a contract that this version does not read; it waits."""


@dataclass(frozen=True)
class Received:
    """A batch that can be trusted to be its sender's. `note` is what is kept of it once it is ingested."""

    held: Held
    note: Mapping[str, Any]
    frames: Mapping[str, pd.DataFrame]
    """By table: its columns as today's contract has them, of whatever types, and `origin`: the batch."""
    unreadable: Mapping[str, pd.DataFrame]
    """Rows of a former contract that cannot be read as today's, with `expectation`: why."""
    records: Mapping[str, list[str]]
    """The record ids, by table, of rows that have one."""
    periods: frozenset[int]
    """The periods that its rows say they are of; the header's word decides nothing."""

    @property
    def rows(self) -> int:
        return sum(self.note["records"].values())


def open_received(held: Held, registry: DeviceRegistry, contract: Contract) -> Received:
    """Open a batch of the inbox.

    Raises:
        UnknownContractError: it is of a contract that is not known here.
        DataError: it cannot be trusted, or is no batch; the message says why.
    """
    data = held.read()
    if (found := hashlib.sha256(data).hexdigest()) != held.sha256:
        raise DataError(f"the batch's content has the hash {found[:12]}…, its name says {held.sha256[:12]:.12}…")
    envelope = read_envelope(held.envelope)
    if held.device_id not in (envelope.device_id, UNKNOWN_SENDER):
        raise DataError(f"the batch lies with {held.device_id}, and its envelope names {envelope.device_id!r:.80}")
    if not registry.is_signed_by(envelope.device_id, data, envelope.signature):
        raise DataError(f"the signature is not that of {envelope.device_id:.80} in the registry")
    header, tables = open_batch(data)
    _check_header(header, envelope.device_id, contract, tables)
    frames: dict[str, pd.DataFrame] = {}
    unreadable: dict[str, pd.DataFrame] = {}
    for name, rows in tables.items():
        table = contract.table(name)
        if header["contract_hash"] == contract.hash:
            frames[name] = _frame(table, rows, held.sha256)
        else:
            frames[name], unreadable[name] = _upgraded(contract, header["contract_hash"], table, rows, held.sha256)
    return Received(
        held,
        _note(header, envelope.device_id, tables, frames, unreadable),
        {name: frame for name, frame in frames.items() if len(frame)},
        {name: frame for name, frame in unreadable.items() if len(frame)},
        {name: _ids(frames[name], unreadable.get(name)) for name in tables},
        _periods(frames.values(), contract.episode.period),
    )


def _periods(frames: Iterable[pd.DataFrame], column: str) -> frozenset[int]:
    return frozenset(
        int(value)
        for frame in frames
        for value in frame[column]
        if isinstance(value, int | float) and not isinstance(value, bool) and _PERIODS[0] <= value <= _PERIODS[-1]
    )


def named_records(data: bytes) -> tuple[int | None, dict[str, list[str]], int]:
    """What a batch says of itself, believed or not: its period, its record ids by table, and the number of its rows.

    Raises:
        DataError: it cannot be opened.
    """
    header, tables = open_batch(data)
    period = header.get(PERIOD)
    ids = {
        name: [value for value in rows.column("record_id") if is_text(value, MAX_ID_CHARS)]
        for name, rows in tables.items()
        if "record_id" in rows.columns
    }
    return (period if _is_period(period) else None), ids, sum(len(rows.rows) for rows in tables.values())


def _check_header(header: Record, device_id: str, contract: Contract, tables: Mapping[str, Rows]) -> None:
    for name, value in {"device_id": device_id, "workload": contract.workload}.items():
        if header.get(name) != value:
            raise DataError(f"the batch's {name} is {_shown(header.get(name))}; expected {value!r}")
    if not _is_period(header.get(PERIOD)):
        raise DataError(f"the batch's {PERIOD} is {_shown(header.get(PERIOD))}; expected a whole number above 0")
    contract_hash = header.get("contract_hash")
    if not isinstance(contract_hash, str) or not _HASH.fullmatch(contract_hash):
        raise DataError(f"the batch's contract_hash is {_shown(contract_hash)}; expected 64 hex digits")
    if not contract.reads(contract_hash):
        rows = sum(len(table.rows) for table in tables.values())
        raise UnknownContractError(
            f"the batch's {rows} records are of the contract {contract_hash[:12]}…, which is not known here; they wait "
            "for the version of Fieldloop that knows it"
        )


def _is_period(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in _PERIODS


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return f"a {type(value).__name__}"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a whole number of {value.bit_length()} bits"
    return f"{value!r:.80}"


def _frame(table: Table, rows: Rows, origin: str) -> pd.DataFrame:
    if missing := set(table.column_names) - set(rows.columns):
        raise DataError(f"the batch's table {table.name} has no column {', '.join(sorted(missing))}")
    return _as_frame(table, {name: rows.column(name) for name in table.column_names}, origin)


def _as_frame(table: Table, columns: Mapping[str, list[Any]], origin: str) -> pd.DataFrame:
    names = arrow_schema(table).names
    series = {name: pd.Series([_flat(value) for value in columns[name]], dtype=object) for name in names}
    return pd.DataFrame(series).assign(**{ORIGIN: origin})


def _flat(value: Any) -> Any:
    """A cell that is no cell, without what is nested in it: that it is one is all that is said of it."""
    return type(value)() if isinstance(value, list | dict) else value


def _upgraded(
    contract: Contract, contract_hash: str, table: Table, rows: Rows, origin: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    good: list[Record] = []
    bad: list[Record] = []
    reasons: list[str] = []
    for record in rows.records():
        try:
            upgraded = contract.upgraded(contract_hash, table.name, {k: _flat(v) for k, v in record.items()})
            good.append({name: upgraded[name] for name in table.column_names})
        except (DataError, KeyError) as error:
            bad.append(record)
            reasons.append(f"it is of the former contract {contract_hash[:12]}… and cannot be read as today's: {error}")
    frames = [
        _as_frame(table, {name: [record.get(name) for record in records] for name in table.column_names}, origin)
        for records in (good, bad)
    ]
    return frames[0], frames[1].assign(**{EXPECTATION: [reason[:300] for reason in reasons]})


def _ids(*frames: pd.DataFrame | None) -> list[str]:
    values = (value for frame in frames if frame is not None for value in frame["record_id"])
    return sorted({value for value in values if is_text(value, MAX_ID_CHARS)})


def _note(
    header: Record,
    device_id: str,
    tables: Mapping[str, Rows],
    frames: Mapping[str, pd.DataFrame],
    unreadable: Mapping[str, pd.DataFrame],
) -> dict[str, Any]:
    """What the accepted data keep of a batch: nothing of when it came, which its envelope says, or of a machine."""
    version = header.get("bundle_version")
    return {
        "device_id": device_id,
        PERIOD: header[PERIOD],
        "bundle_version": version if is_text(version, MAX_ID_CHARS) else None,
        "contract_hash": header["contract_hash"],
        "summary": _summary(header.get("summary")),
        "records": {name: len(rows.rows) for name, rows in tables.items()},
        "unnamed": sum(_unnamed(part) for parts in (frames, unreadable) for part in parts.values()),
    }


def _unnamed(frame: pd.DataFrame) -> int:
    """How many different rows have no record id by which they could be looked for."""
    unnamed = frame[[not is_text(value, MAX_ID_CHARS) for value in frame["record_id"]]]
    return len(unnamed.map(ascii).drop_duplicates())


def _summary(value: Any) -> Any:
    if not isinstance(value, dict):
        return None
    try:
        kept = {name: said for name, said in value.items() if name not in MEASURED}
        return kept if len(json.dumps(kept)) <= MAX_SUMMARY_CHARS else None
    except (ValueError, RecursionError):
        return None
