"""Frames against the contract: which rows are accepted, which are not, and why.

Pure over frames and a clock: nothing is read and nothing but Data Docs is written. Of what devices sent, it is judged
first whose the unit is, and only then whether a row stands beside others: a stranger's rows are rejected alone. The
context is judged before the others, because a row about a unit without an accepted row of it there cannot be used. A
row that is rejected is never changed on the way to quarantine.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from fieldedge.contract import Contract, EpisodeKey, Table
from fieldedge.contract.reserved import (
    EXPECTATION,
    HAS_CONTEXT_ROW,
    IS_KNOWN_DEVICE,
    IS_SAME_PLACE,
    IS_SENDERS_OWN,
    KEY_OF_SENDER,
    ORIGIN,
)
from fieldloop.core.words import Words
from fieldloop.validation.data_docs import write_data_docs
from fieldloop.validation.expectations import (
    BELONGS_TO_SENDER,
    IS_WITHIN_CLAIMS,
    Rule,
    days_into_episode,
    derive,
    rules_for,
    unique_words,
)
from fieldloop.validation.ownership import HISTORY, MAX_UNREGISTERED, EpisodeName, Ownership
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
    """Who sent the rows (device by origin, in the order in which they came), and whose the units are."""

    senders: Mapping[str, str]
    ownership: Ownership
    episode: EpisodeKey
    claimed: Counter[str]
    """How many episodes each device has that nobody registered for it."""

    def strangers(self, rows: pd.DataFrame) -> list[int]:
        """The labels of rows about units that are not those of their sender."""
        named = rows[rows[list(self.episode.columns)].notna().all(axis=1)]
        found: list[int] = []
        for _, part in named.groupby([ORIGIN, *self.episode.columns], sort=False):
            period, unit = self._name(part)
            if not self.ownership.may_speak(self.senders[part[ORIGIN].iloc[0]], period, unit):
                found.extend(part.index)
        return found

    def beyond_claims(self, rows: pd.DataFrame) -> list[Any]:
        """The labels of rows about episodes that nobody has and their sender may not claim any more."""
        found: list[Any] = []
        for _, part in rows.groupby([ORIGIN, *self.episode.columns], sort=False):
            if not self._may_claim(self.senders[part[ORIGIN].iloc[0]], *self._name(part)):
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
        for _, rows in good.groupby(list(self.episode.columns), sort=False):
            period, unit = name = self._name(rows)
            claims = [(self.senders[origin], order[origin], label) for label, origin in rows[ORIGIN].items()]
            able = [claim for claim in claims if self._may_claim(claim[0], *name)]
            beyond.extend(label for device_id, _, label in claims if not self._may_claim(device_id, *name))
            if not able:
                continue
            is_registered = self.ownership.is_registered
            first, _, _ = min(able, key=lambda claim: (not is_registered(period, unit, claim[0]), claim[1]))
            if self.ownership.holders.get(name) != first and not is_registered(period, unit, first):
                self.claimed[first] += 1
            self.ownership.holders[name] = first
            others.extend(label for device_id, _, label in able if device_id != first)
        return beyond, others

    def _name(self, rows: pd.DataFrame) -> EpisodeName:
        return int(rows[self.episode.period].iloc[0]), str(rows[self.episode.unit].iloc[0])

    def _may_claim(self, device_id: str, period: int, unit: str) -> bool:
        """Whether it has the episode, or may have one more; whose it is besides is judged elsewhere."""
        return (
            self.ownership.holders.get((period, unit)) == device_id
            or self.ownership.is_registered(period, unit, device_id)
            or self.claimed[device_id] < MAX_UNREGISTERED
        )


def check_frames(
    frames: Mapping[str, pd.DataFrame],
    contract: Contract,
    today: date,
    opened: pd.DataFrame | None = None,
    senders: Mapping[str, str] | None = None,
    ownership: Ownership | None = None,
    docs_dir: Path | None = None,
    known_devices: Collection[str] | None = None,
) -> Checked:
    """Judge every row of the frames.

    Args:
        frames: by table name; the contract's columns, and `origin`: where the row came from.
        contract: what the rows must be.
        today: the day in UTC, after which nothing may have been seen yet.
        opened: rows of the context accepted before, as the store holds them.
        senders: for rows that devices sent, the device of each origin, in the order in which they came; a device
            speaks for its own units only.
        ownership: whose the units are; of rows that devices sent it is judged first. Claims that are accepted here
            are added to it.
        docs_dir: where Data Docs go; none are built without it.
        known_devices: for rows that a person imports, the devices that they may name.
    """
    accepted: dict[str, pd.DataFrame] = {}
    rejected: dict[str, pd.DataFrame] = {}
    reports: dict[str, TableReport] = {}
    breaches: list[Breach] = []
    context = opened if opened is not None else empty_frame(contract.context_table)
    owners = ownership or Ownership()
    sent = None if senders is None else _Sent(senders, owners, contract.episode, owners.unregistered())
    with suite_run() as run:
        for table in sorted(contract.tables, key=lambda table: table.role != "context"):
            if table.name not in frames:
                continue
            judged = _judge(run, table, contract, frames[table.name], today, context, sent, known_devices)
            accepted[table.name], rejected[table.name], reports[table.name], found = judged
            breaches.extend(found)
            if table.role == "context":
                context = pd.concat([context, accepted[table.name]], ignore_index=True)
        docs_index = write_data_docs(run, docs_dir, reports) if docs_dir is not None and reports else None
    return Checked(accepted, rejected, reports, tuple(breaches), docs_index)


def _judge(
    run: SuiteRun,
    table: Table,
    contract: Contract,
    frame: pd.DataFrame,
    today: date,
    context: pd.DataFrame,
    sent: _Sent | None,
    known_devices: Collection[str] | None,
) -> tuple[pd.DataFrame, pd.DataFrame, TableReport, list[Breach]]:
    frame, words = frame.reset_index(drop=True), Words.of(contract.episode)
    typed, problems = conform(table, frame)
    typed[ORIGIN] = frame[ORIGIN].astype("str")
    rules = rules_for(table, sent is not None, contract, is_imported=known_devices is not None)
    # A row with a cell of another type has its reason already; its other cells say nothing more.
    sound = typed[problems == ""]
    strangers = sent.strangers(sound) if sent is not None else []
    # What a stranger says about another's unit says nothing about the owner's rows either.
    sound = sound.drop(index=strangers)
    broken = run.check(table.name, rules, _with_derived(sound, table, contract, today, context, sent, known_devices))
    by_words = {rules[number].words: labels for number, labels in broken.items() if labels}
    _spare_one_of_each_identical_pair(table, sound, by_words, sent)
    beyond: list[Any] = []
    if sent is not None and table.role == "context":
        good = sound.drop(index=[label for labels in by_words.values() for label in labels])
        beyond, others = sent.settle_claims(good)
        strangers += others
    elif sent is not None:
        beyond = sent.beyond_claims(sound[sound[list(contract.episode.columns)].notna().all(axis=1)])
    if beyond:
        by_words[words.say(IS_WITHIN_CLAIMS)] = beyond
    if strangers:
        by_words[words.say(BELONGS_TO_SENDER)] = strangers
    breaches = [
        breach
        for number, rule in enumerate(rules)
        if rule.column is not None and broken.get(number)
        for breach in _breaches(table, sound, rule, broken[number])
    ]
    for rule in rules:
        by_words.update(_distrusted_episodes(table, sound, rule, contract.episode))
    return (*_divide(table, typed, problems, by_words), breaches)


def _with_derived(
    frame: pd.DataFrame,
    table: Table,
    contract: Contract,
    today: date,
    context: pd.DataFrame,
    sent: _Sent | None,
    known_devices: Collection[str] | None,
) -> pd.DataFrame:
    derived = derive(frame, table, contract, today)
    sender = frame[ORIGIN].map({} if sent is None else sent.senders)
    if sent is not None:
        derived[KEY_OF_SENDER] = _key_of_sender(table, frame, sender)
    if table.role != "context":
        columns = [*contract.episode.columns, contract.episode.place, *(["device_id"] if sent is not None else [])]
        known = pd.MultiIndex.from_frame(context[columns].astype({contract.episode.period: "float64"}))
        rows = pd.MultiIndex.from_frame(frame.assign(device_id=sender)[columns])
        derived[HAS_CONTEXT_ROW] = rows.isin(known)
        derived = derived.join(days_into_episode(frame, table, contract.episode, context))
    else:
        derived[IS_SAME_PLACE] = _is_same_place(frame, context, contract.episode)
        if known_devices is not None:
            derived[IS_KNOWN_DEVICE] = frame["device_id"].fillna(HISTORY).isin([HISTORY, *known_devices])
        if sent is not None:
            derived[IS_SENDERS_OWN] = (frame["device_id"] == sender).fillna(False)
    return derived


def _is_same_place(frame: pd.DataFrame, known: pd.DataFrame, episode: EpisodeKey) -> list[bool]:
    """Per row of the context: a unit that moves to another place's file would stand in both."""
    names = [*episode.columns, "device_id", episode.place]
    places: dict[tuple[Any, ...], set[str]] = {}
    for *of_unit, place in known[names].fillna({"device_id": HISTORY}).itertuples(index=False):
        places.setdefault(tuple(of_unit), set()).add(place)
    rows = frame[names].fillna({"device_id": HISTORY}).itertuples(index=False)
    return [pd.isna(place) or place in places.get(tuple(of_unit), {place}) for *of_unit, place in rows]


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
    copies = frame.loc[sorted(set(by_words[words])), [*table.column_names, ORIGIN]]
    copies[ORIGIN] = copies[ORIGIN].map(sent.senders) if sent is not None else ""
    distinct = copies.drop_duplicates()
    agreeing = distinct[~distinct.duplicated([*table.key, ORIGIN], keep=False)]
    by_words[words] = [label for label in copies.index if label not in agreeing.index]


def _breaches(table: Table, frame: pd.DataFrame, rule: Rule, labels: list[int]) -> list[Breach]:
    assert rule.column is not None  # noqa: S101  # for the type checker; the caller chose rules with a column
    found = []
    for origin, count in frame.loc[labels, ORIGIN].value_counts(sort=False).items():
        values = frame.loc[frame[ORIGIN] == origin, rule.column.name]
        share = count / len(values)
        if share > SUSPICIOUS_SHARE and (count >= _FEWEST_CONDEMNING_ROWS or count == len(values)):
            extent = f"{values.min():g} to {values.max():g}"
            hint = looks_like(rule.column, values)
            found.append(Breach(table.name, str(origin), rule.words, share, extent, hint))
    return found


def _distrusted_episodes(table: Table, frame: pd.DataFrame, rule: Rule, episode: EpisodeKey) -> dict[str, list[int]]:
    """All rows of a unit whose column is in another unit: those in range are as wrong as the others."""
    column = rule.column
    if column is None or table.role == "context":
        return {}
    if not ((frame[column.name] < column.minimum) | (frame[column.name] > column.maximum)).any():
        return {}
    called, distrusted = Words.of(episode), dict[str, list[int]]()
    for _, rows in frame.groupby([ORIGIN, *episode.columns], dropna=False):
        if len(rows) >= _FEWEST_CONDEMNING_ROWS and (hint := looks_like(column, rows[column.name])):
            words = f"{column.name} of this {called.unit} and {called.period} looks like {hint}"
            distrusted.setdefault(words, []).extend(rows.index)
    return distrusted


def _divide(
    table: Table, typed: pd.DataFrame, problems: pd.Series, by_words: Mapping[str, list[int]]
) -> tuple[pd.DataFrame, pd.DataFrame, TableReport]:
    reasons = problems.copy()
    for words, labels in by_words.items():
        reasons.loc[labels] = [f"{reason}; {words}".lstrip("; ") for reason in reasons.loc[labels]]
    good = reasons == ""
    accepted = finished(table, typed[good]).assign(**{ORIGIN: typed.loc[good, ORIGIN].to_numpy()})
    rejected = typed[~good].assign(**{EXPECTATION: reasons[~good].astype("str")})
    counts = {words: len(labels) for words, labels in by_words.items()}
    if mistyped := int((problems != "").sum()):
        counts["every value is of its column's type"] = mistyped
    report = TableReport(len(typed), len(accepted), len(rejected), counts)
    return accepted, rejected, report
