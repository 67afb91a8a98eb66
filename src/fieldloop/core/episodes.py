"""Accepted tables episode by episode: what was known of each, what was recorded of it in order, and what came of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fieldedge.contract import Contract, Record, Role
from fieldedge.contract.contract import RECORD_ID

if TYPE_CHECKING:
    import pandas as pd

# What an episode is folded from on its way; of one moment in this order: what was seen, done, and said of that.
_FOLDED: tuple[Role, ...] = ("observation", "action", "feedback")


@dataclass(frozen=True)
class AcceptedEpisode:
    """One episode that is over."""

    name: str  # "period/unit"
    context: Record
    rows: tuple[tuple[str, Record], ...]  # each with its table, in the order of their moments and roles
    decisions: tuple[Record, ...]  # the same; none where no device was there, or it sent none
    outcomes: tuple[Record, ...]  # one, unless somebody said another


def accepted_episodes(tables: "Mapping[str, pd.DataFrame]", contract: Contract) -> Iterator[AcceptedEpisode]:
    """Those that have an outcome and a context, in the order of their names. What is empty in a table is None here."""
    records = {table.name: _by_episode(tables, contract, table.name) for table in contract.tables}
    ends = records[contract.episode.closes_on or ""]
    for name, contexts in sorted(records[contract.context_table.name].items()):
        if name not in ends:
            continue
        folded = (table for role in _FOLDED for table in contract.tables_of(role))
        rows = [(table, row) for table in folded for row in records[table].get(name, ())]
        yield AcceptedEpisode(
            name,
            contexts[-1],
            tuple(sorted(rows, key=lambda told: contract.moment(*told))),
            tuple(records[contract.decision_table.name].get(name, ())),
            tuple(ends[name]),
        )


def _by_episode(tables: "Mapping[str, pd.DataFrame]", contract: Contract, table: str) -> dict[str, list[Record]]:
    """The rows of a table by episode, in the order of their moments; what was said again comes last of its moment."""
    found: dict[str, list[Record]] = {}
    for row in tables[table].to_dict("records"):
        record = {str(name): None if value != value else value for name, value in row.items()}
        found.setdefault(contract.episode.of(record), []).append(record)
    for records in found.values():
        records.sort(key=lambda record: (contract.moment(table, record), str(record[RECORD_ID])))
    return found
