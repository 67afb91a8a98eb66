"""Frames against the contract: which rows are accepted, which are not, and why.

Pure over frames and a clock: nothing is read and nothing but Data Docs is written. Of what devices sent, it is judged
first whose the field is, and only then whether a row stands beside others: a stranger's rows are rejected alone. The
table of fields is judged before the others, because a row about a field without an accepted field row cannot be used. A
row that is rejected is never changed on the way to quarantine.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from fieldedge.contract import Contract, Table
from fieldloop.validation.data_docs import write_data_docs
from fieldloop.validation.expectations import (
    BELONGS_TO_SENDER,
    HAS_FIELD_ROW,
    IS_KNOWN_DEVICE,
    IS_SAME_REGION,
    IS_SENDERS_FIELD,
    IS_WITHIN_CLAIMS,
    KEY_OF_SENDER,
    Rule,
    days_into_episode,
    derive,
    rules_for,
    unique_words,
)
from fieldloop.validation.ownership import HISTORY, MAX_UNREGISTERED, Ownership
from fieldloop.validation.report import TableReport
from fieldloop.validation.suites import SuiteRun, suite_run
from fieldloop.validation.typed import conform, empty_frame, finished
from fieldloop.validation.units import SUSPICIOUS_SHARE, looks_like

# Fewer bad rows than this never condemn a file, unless they are all that it has.
_FEWEST_CONDEMNING_ROWS = 5


@dataclass(frozen=True)
class Breach:
    """More than a fifth of one origin's rows are outside one range: the file is wrong, not its rows."""

    table: str
    origin: str
    words: str
    share: float
    found: str
    hint: str | None


@dataclass(frozen=True)
class Checked:
    """The judgement over some frames. All rows carry `origin`, rejected ones `expectation` too, in plain words."""

    accepted: Mapping[str, pd.DataFrame]
    rejected: Mapping[str, pd.DataFrame]
    tables: Mapping[str, TableReport]
    breaches: tuple[Breach, ...]
    docs_index: Path | None


@dataclass(frozen=True)
class _Sent:
    """Who sent the rows (device by origin, in the order in which they came), and whose the fields are."""

    senders: Mapping[str, str]
    ownership: Ownership
    claimed: Counter[str]
    """How many seasons of fields each device has that nobody registered for it."""

    def strangers(self, rows: pd.DataFrame) -> list[int]:
        """The labels of rows about fields that are not those of their sender."""
        named = rows[rows["season"].notna() & rows["field_id"].notna()]
        found: list[int] = []
        for _, part in named.groupby(["origin", "season", "field_id"], sort=False):
            season, field_id = _field_season(part)
            if not self.ownership.may_speak(self.senders[part["origin"].iloc[0]], season, field_id):
                found.extend(part.index)
        return found

    def beyond_claims(self, rows: pd.DataFrame) -> list[Any]:
        """The labels of rows about episodes that nobody has and their sender may not claim any more."""
        found: list[Any] = []
        for _, part in rows.groupby(["origin", "season", "field_id"], sort=False):
            if not self._may_claim(self.senders[part["origin"].iloc[0]], *_field_season(part)):
                found.extend(part.index)
        return found

    def settle_claims(self, good: pd.DataFrame) -> tuple[list[Any], list[Any]]:
        """Give each episode to the first of its claimants that may claim it.

        Returns:
            The labels of the rows of those that may not, and of the others' rows.
        """
        order = {origin: number for number, origin in enumerate(self.senders)}
        beyond: list[Any] = []
        others: list[Any] = []
        for _, rows in good.groupby(["season", "field_id"], sort=False):
            season, field_id = name = _field_season(rows)
            claims = [(self.senders[origin], order[origin], label) for label, origin in rows["origin"].items()]
            able = [claim for claim in claims if self._may_claim(claim[0], *name)]
            beyond.extend(label for device_id, _, label in claims if not self._may_claim(device_id, *name))
            if not able:
                continue
            is_registered = self.ownership.is_registered
            first, _, _ = min(able, key=lambda claim: (not is_registered(season, field_id, claim[0]), claim[1]))
            if self.ownership.holders.get(name) != first and not is_registered(season, field_id, first):
                self.claimed[first] += 1
            self.ownership.holders[name] = first
            others.extend(label for device_id, _, label in able if device_id != first)
        return beyond, others

    def _may_claim(self, device_id: str, season: int, field_id: str) -> bool:
        """Whether it has the episode, or may have one more; whose it is besides is judged elsewhere."""
        return (
            self.ownership.holders.get((season, field_id)) == device_id
            or self.ownership.is_registered(season, field_id, device_id)
            or self.claimed[device_id] < MAX_UNREGISTERED
        )


def _field_season(rows: pd.DataFrame) -> tuple[int, str]:
    return int(rows["season"].iloc[0]), str(rows["field_id"].iloc[0])


def check_frames(
    frames: Mapping[str, pd.DataFrame],
    contract: Contract,
    today: date,
    known_fields: pd.DataFrame | None = None,
    senders: Mapping[str, str] | None = None,
    ownership: Ownership | None = None,
    docs_dir: Path | None = None,
    known_devices: Collection[str] | None = None,
) -> Checked:
    """Judge every row of the frames.

    Args:
        frames: by table name; the contract's columns, and `origin`: where the row came from.
        contract: what the rows must be.
        today: the day that no date may be after.
        known_fields: field rows accepted before, as the store holds them.
        senders: for rows that devices sent, the device of each origin, in the order in which they came; a device
            speaks for its own fields only.
        ownership: whose the fields are; of rows that devices sent it is judged first. Claims that are accepted here
            are added to it.
        docs_dir: where Data Docs go; none are built without it.
        known_devices: for rows that a person imports, the devices that they may name.
    """
    accepted: dict[str, pd.DataFrame] = {}
    rejected: dict[str, pd.DataFrame] = {}
    reports: dict[str, TableReport] = {}
    breaches: list[Breach] = []
    fields = known_fields if known_fields is not None else empty_frame(contract.context_table)
    owners = ownership or Ownership()
    sent = None if senders is None else _Sent(senders, owners, owners.unregistered())
    with suite_run() as run:
        for table in sorted(contract.tables, key=lambda table: table.role != "context"):
            if table.name not in frames:
                continue
            judged = _judge(run, table, contract, frames[table.name], today, fields, sent, known_devices)
            accepted[table.name], rejected[table.name], reports[table.name], found = judged
            breaches.extend(found)
            if table.role == "context":
                fields = pd.concat([fields, accepted[table.name]], ignore_index=True)
        docs_index = write_data_docs(run, docs_dir, reports) if docs_dir is not None and reports else None
    return Checked(accepted, rejected, reports, tuple(breaches), docs_index)


def _judge(
    run: SuiteRun,
    table: Table,
    contract: Contract,
    frame: pd.DataFrame,
    today: date,
    fields: pd.DataFrame,
    sent: _Sent | None,
    known_devices: Collection[str] | None,
) -> tuple[pd.DataFrame, pd.DataFrame, TableReport, list[Breach]]:
    frame = frame.reset_index(drop=True)
    typed, problems = conform(table, frame)
    typed["origin"] = frame["origin"].astype("str")
    rules = rules_for(table, sent is not None, contract, is_imported=known_devices is not None)
    # A row with a cell of another type has its reason already; its other cells say nothing more.
    sound = typed[problems == ""]
    strangers = sent.strangers(sound) if sent is not None else []
    # What a stranger says about another's field says nothing about the owner's rows either.
    sound = sound.drop(index=strangers)
    broken = run.check(table.name, rules, _with_derived(sound, table, contract, today, fields, sent, known_devices))
    by_words = {rules[number].words: labels for number, labels in broken.items() if labels}
    _spare_one_of_each_identical_pair(table, sound, by_words, sent)
    beyond: list[Any] = []
    if sent is not None and table.role == "context":
        good = sound.drop(index=[label for labels in by_words.values() for label in labels])
        beyond, others = sent.settle_claims(good)
        strangers += others
    elif sent is not None:
        beyond = sent.beyond_claims(sound[sound["season"].notna() & sound["field_id"].notna()])
    if beyond:
        by_words[IS_WITHIN_CLAIMS] = beyond
    if strangers:
        by_words[BELONGS_TO_SENDER] = strangers
    breaches = [
        breach
        for number, rule in enumerate(rules)
        if rule.column is not None and broken.get(number)
        for breach in _breaches(table, sound, rule, broken[number])
    ]
    for rule in rules:
        by_words.update(_distrusted_fields(table, sound, rule))
    return (*_divide(table, typed, problems, by_words), breaches)


def _with_derived(
    frame: pd.DataFrame,
    table: Table,
    contract: Contract,
    today: date,
    fields: pd.DataFrame,
    sent: _Sent | None,
    known_devices: Collection[str] | None,
) -> pd.DataFrame:
    derived = derive(frame, table, contract, today)
    sender = frame["origin"].map({} if sent is None else sent.senders)
    if sent is not None:
        derived[KEY_OF_SENDER] = _key_of_sender(table, frame, sender)
    if table.role != "context":
        columns = ["season", "field_id", "region"] + (["device_id"] if sent is not None else [])
        known = pd.MultiIndex.from_frame(fields[columns].astype({"season": "float64"}))
        rows = pd.MultiIndex.from_frame(frame.assign(device_id=sender)[columns])
        derived[HAS_FIELD_ROW] = rows.isin(known)
        derived = derived.join(days_into_episode(frame, table, contract.episode, fields))
    else:
        derived[IS_SAME_REGION] = _is_same_region(frame, fields)
        if known_devices is not None:
            derived[IS_KNOWN_DEVICE] = frame["device_id"].fillna(HISTORY).isin([HISTORY, *known_devices])
        if sent is not None:
            derived[IS_SENDERS_FIELD] = (frame["device_id"] == sender).fillna(False)
    return derived


def _is_same_region(frame: pd.DataFrame, known: pd.DataFrame) -> list[bool]:
    """Per field row: a field that moves to another region's file would stand in both."""
    names = ["season", "field_id", "device_id", "region"]
    regions: dict[tuple[Any, ...], set[str]] = {}
    for *of_field, region in known[names].fillna({"device_id": HISTORY}).itertuples(index=False):
        regions.setdefault(tuple(of_field), set()).add(region)
    rows = frame[names].fillna({"device_id": HISTORY}).itertuples(index=False)
    return [pd.isna(region) or region in regions.get(tuple(of_field), {region}) for *of_field, region in rows]


def _key_of_sender(table: Table, frame: pd.DataFrame, sender: pd.Series) -> pd.Series:
    """The row's key together with the device that sent it; missing where a part of the key is."""
    key = sender.astype("str")
    for name in table.key:
        key = key + "\n" + frame[name].astype("str")
    return key.where(frame[list(table.key)].notna().all(axis=1))


def _spare_one_of_each_identical_pair(
    table: Table, frame: pd.DataFrame, by_words: dict[str, list[int]], sent: _Sent | None
) -> None:
    """Of rows that say the same in every column one is kept; of rows that contradict each other, none."""
    words = unique_words(table)
    if words not in by_words:
        return
    copies = frame.loc[sorted(set(by_words[words])), [*table.column_names, "origin"]]
    copies["origin"] = copies["origin"].map(sent.senders) if sent is not None else ""
    distinct = copies.drop_duplicates()
    agreeing = distinct[~distinct.duplicated([*table.key, "origin"], keep=False)]
    by_words[words] = [label for label in copies.index if label not in agreeing.index]


def _breaches(table: Table, frame: pd.DataFrame, rule: Rule, labels: list[int]) -> list[Breach]:
    assert rule.column is not None  # noqa: S101  # for the type checker; the caller chose rules with a column
    found = []
    for origin, count in frame.loc[labels, "origin"].value_counts(sort=False).items():
        values = frame.loc[frame["origin"] == origin, rule.column.name]
        share = count / len(values)
        if share > SUSPICIOUS_SHARE and (count >= _FEWEST_CONDEMNING_ROWS or count == len(values)):
            extent = f"{values.min():g} to {values.max():g}"
            hint = looks_like(rule.column, values)
            found.append(Breach(table.name, str(origin), rule.words, share, extent, hint))
    return found


def _distrusted_fields(table: Table, frame: pd.DataFrame, rule: Rule) -> dict[str, list[int]]:
    """All rows of a field whose column is in another unit: those in range are as wrong as the others."""
    column = rule.column
    if column is None or table.role == "context":
        return {}
    if not ((frame[column.name] < column.minimum) | (frame[column.name] > column.maximum)).any():
        return {}
    distrusted: dict[str, list[int]] = {}
    for _, rows in frame.groupby(["origin", "season", "field_id"], dropna=False):
        if len(rows) >= _FEWEST_CONDEMNING_ROWS and (hint := looks_like(column, rows[column.name])):
            words = f"{column.name} of this field and season looks like {hint}"
            distrusted.setdefault(words, []).extend(rows.index)
    return distrusted


def _divide(
    table: Table, typed: pd.DataFrame, problems: pd.Series, by_words: Mapping[str, list[int]]
) -> tuple[pd.DataFrame, pd.DataFrame, TableReport]:
    reasons = problems.copy()
    for words, labels in by_words.items():
        reasons.loc[labels] = [f"{reason}; {words}".lstrip("; ") for reason in reasons.loc[labels]]
    good = reasons == ""
    accepted = finished(table, typed[good]).assign(origin=typed.loc[good, "origin"].to_numpy())
    rejected = typed[~good].assign(expectation=reasons[~good].astype("str"))
    counts = {words: len(labels) for words, labels in by_words.items()}
    if mistyped := int((problems != "").sum()):
        counts["every value is of its column's type"] = mistyped
    report = TableReport(len(typed), len(accepted), len(rejected), counts)
    return accepted, rejected, report
