"""Any workload's records in their own words: names, values and units, as the contract has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice

from fieldedge.contract import MODEL, RECORD_ID, Contract, Record
from fieldedge.contract.samples import Channel
from fieldedge.presentation.facts import Advice, EpisodeRecords, Figure, PastDay, Question


@dataclass(frozen=True)
class Plain:
    """A presenter that knows nothing but the contract and the channels."""

    contract: Contract
    channels: Sequence[Channel]
    rule: str = "the built-in rule"

    def place(self, episode: EpisodeRecords, _today: date) -> str:
        return self.contract.episode.of(episode.context)

    def advice(self, episode: EpisodeRecords, today: date) -> Advice | None:
        for record in reversed(episode.decisions):
            reasons = tuple(str(reason) for reason in record.get("reasons") or ())
            is_today = self._moment(record)[:10] == today.isoformat()
            words, is_rule = ", ".join(self._said(record)), record.get("source") != MODEL
            by = f"{record.get('source')}, {self.rule}" if is_rule else f"Model {record.get('model_version')}"
            return Advice(self._moment(record), is_today, True, words, reasons, (), None, None, (by,), is_rule, None)
        return None

    def lines(self, record: Record) -> list[str]:
        return [self._moment(record), *self._said(record)]

    def figures(self, _episode: EpisodeRecords) -> tuple[Figure, ...]:
        return ()

    def chart(self, _episode: EpisodeRecords) -> None:
        return None

    def history(self, episode: EpisodeRecords, count: int) -> tuple[PastDay, ...]:
        last = islice(reversed(episode.decisions), count)
        return tuple(PastDay(self._moment(one), ", ".join(self._said(one)), None, False, "") for one in last)

    def questions(self, _episode: EpisodeRecords, _today: date) -> tuple[Question, ...]:
        return ()

    def channel(self, name: str) -> tuple[str, str]:
        return name, next((_unit(channel.unit) for channel in self.channels if channel.name == name), "")

    def _moment(self, decision: Record) -> str:
        return self.contract.moment(self.contract.decision_table.name, decision)

    def _said(self, decision: Record) -> list[str]:
        """What was decided: the columns up to the one that says by whom, without those that every table has."""
        table, context = self.contract.decision_table, self.contract.context_table
        names = [column.name for column in table.columns]
        own = table.columns[: names.index("source") + 1]
        passed_over = {RECORD_ID, table.moment.name, *context.column_names}
        said = [column for column in own if column.name not in passed_over and decision.get(column.name) is not None]
        return [f"{column.name} {decision[column.name]} {_unit(column.unit)}".rstrip() for column in said]


def _unit(unit: str) -> str:
    """As a person reads it: what only counts has none."""
    return "" if unit == "1" else unit
