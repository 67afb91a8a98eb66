"""The contract as Great Expectations suites: one rule per thing that must hold, each with its plain words.

Rules speak of the contract's columns, and of a few derived ones (`derive`) where an expectation needs the clock,
the row that opens the episode, or the identity that a record should have. Words never hold today's date, so that the
same bad row is quarantined under the same reason on any day.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from fieldedge.contract import MOMENTS, Column, Contract, EpisodeKey, Table
from fieldedge.contract.reserved import (
    DAYS_AGO,
    DAYS_INTO_EPISODE,
    EXPECTED_ID,
    HAS_CONTEXT_ROW,
    IS_CALENDAR_DATE,
    IS_KNOWN_DEVICE,
    IS_SAME_PLACE,
    IS_SENDERS_OWN,
    KEY_OF_SENDER,
    YEARS_BEFORE,
)
from fieldloop.core.words import Words
from fieldloop.validation.ownership import MAX_UNREGISTERED

# These name folders and files, and stand in every record's identity.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"
# What R, Excel, pandas and databases write where there is no value.
_MISSING_MARKS = ("NA", "N/A", "#N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "-")

BELONGS_TO_SENDER = "the {unit} and {period} are those of the device that sent the row"
IS_WITHIN_CLAIMS = (
    "the {unit} is registered for the device, which has no more than "
    f"{MAX_UNREGISTERED} {{periods}} of {{units}} without that "
    "(fieldloop register-device DEVICE KEY --unit UNIT)"
)


@dataclass(frozen=True)
class Rule:
    """One expectation. `column` is set where a range is checked, for a look at the column as a whole."""

    words: str
    expectation: Any
    column: Column | None = None


def rules_for(table: Table, is_sent: bool, contract: Contract, is_imported: bool = False) -> list[Rule]:
    """Every rule of the table; `is_sent` adds those for rows that a device sent, `is_imported` for a person's files."""
    import great_expectations.expectations as gxe

    words = Words.of(contract.episode)
    rules = [
        Rule("the table has rows", gxe.ExpectTableRowCountToBeBetween(min_value=1)),
        Rule(
            "the table has its columns",
            gxe.ExpectTableColumnsToMatchSet(column_set=list(table.column_names), exact_match=False),
        ),
    ]
    for column in table.columns:
        rules.extend(_column_rules(column, contract.episode))
        if column.kind == "date" and _names_years(table, contract.episode):
            rules.append(_year_rule(column.name, contract.episode.period))
    rules.append(_unique_rule(table, is_sent))
    rules.append(
        Rule(
            words.say("record_id says the row's {period}, {unit}, table and date"),
            gxe.ExpectColumnPairValuesToBeEqual(
                column_A="record_id", column_B=EXPECTED_ID, ignore_row_if="either_value_is_missing"
            ),
        )
    )
    rules.extend(_ordered_rules(table))
    rules.extend(_belonging_rules(table, is_sent, contract.context_table, words))
    rules.extend(_window_rules(table, contract.episode))
    if is_imported:
        rules.extend(_imported_rules(table))
    return rules


def derive(frame: pd.DataFrame, table: Table, contract: Contract, today: date) -> pd.DataFrame:
    """The frame with the derived columns that its rules speak of; what depends on senders is added by the caller."""
    derived: dict[str, pd.Series] = {EXPECTED_ID: _expected_record_id(frame, table, contract)}
    for column in table.columns:
        if column.is_moment:
            derived.update(_date_columns(frame, column, contract.episode.period, today))
    return frame.assign(**derived)


def _column_rules(column: Column, episode: EpisodeKey) -> Iterator[Rule]:
    import great_expectations.expectations as gxe

    name = column.name
    if not column.is_nullable:
        yield Rule(f"{name} is present", gxe.ExpectColumnValuesToNotBeNull(column=name))
    if column.kind in ("float", "int"):
        yield _range_rule(column)
    if column.choices:
        yield Rule(
            f"{name} is one of {', '.join(column.choices)}",
            gxe.ExpectColumnValuesToBeInSet(column=name, value_set=list(column.choices)),
        )
    if name in (episode.place, episode.unit):
        yield Rule(f"{name} is a plain name", gxe.ExpectColumnValuesToMatchRegex(column=name, regex=NAME_PATTERN))
    if column.is_moment:
        yield from _date_rules(column)


def _range_rule(column: Column) -> Rule:
    import great_expectations.expectations as gxe

    low, high = column.minimum, column.maximum
    unit = f" {column.unit}" if column.unit not in ("", "1") else ""
    if low is None and high is None:
        words = f"{column.name} is finite"
    elif high is None:
        words = f"{column.name} is at least {low:g}{unit}"
    elif low is None:
        words = f"{column.name} is at most {high:g}{unit}"
    else:
        words = f"{column.name} is between {low:g} and {high:g}{unit}"
    between = gxe.ExpectColumnValuesToBeBetween(
        column=column.name,
        min_value=-sys.float_info.max if low is None else low,
        max_value=sys.float_info.max if high is None else high,
    )
    return Rule(words, between, column)


def _date_rules(column: Column) -> Iterator[Rule]:
    """A time is UTC's. A plain date may be its place's own, which east of Greenwich is ahead of UTC's for hours."""
    import great_expectations.expectations as gxe

    name = column.name
    yield Rule(
        f"{name} is a {'calendar date' if column.kind == 'date' else 'time'} like {MOMENTS[column.kind]}",
        gxe.ExpectColumnValuesToBeInSet(column=f"{name}{IS_CALENDAR_DATE}", value_set=[True]),
    )
    yield Rule(
        f"{name} is not in the future",
        gxe.ExpectColumnValuesToBeBetween(column=f"{name}{DAYS_AGO}", min_value=-1 if column.kind == "date" else 0),
    )


def _names_years(table: Table, episode: EpisodeKey) -> bool:
    return any(column.name == episode.period and column.unit.endswith("year") for column in table.columns)


def _year_rule(name: str, period: str) -> Rule:
    import great_expectations.expectations as gxe

    return Rule(
        f"{name} lies in its {period} (the year that names it, or the year before)",
        gxe.ExpectColumnValuesToBeBetween(column=f"{name}{YEARS_BEFORE}{period}", min_value=0, max_value=1),
    )


def _date_columns(frame: pd.DataFrame, column: Column, period: str, today: date) -> dict[str, pd.Series]:
    name, text = column.name, frame[column.name]
    days = _days(text)
    is_whole = text.str.len() == len(MOMENTS[column.kind])
    return {
        f"{name}{IS_CALENDAR_DATE}": (days.notna() & is_whole) | text.isna(),
        f"{name}{DAYS_AGO}": (pd.Timestamp(today) - days).dt.days,
        f"{name}{YEARS_BEFORE}{period}": frame[period] - days.dt.year,
    }


def _days(text: pd.Series) -> pd.Series:
    """The days of dates and of times; missing where a text is neither."""
    times = r"(?:T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)?"
    shaped = text.where(text.str.fullmatch(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}{times}", na=False))
    return pd.to_datetime(shaped.str[:10], format="%Y-%m-%d", errors="coerce")


def days_into_episode(frame: pd.DataFrame, table: Table, episode: EpisodeKey, context: pd.DataFrame) -> pd.DataFrame:
    """Per column that names a day, how many days after its episode began that is; missing where nobody can tell.

    `context` holds the accepted rows that open episodes; of two for one episode the first counts.
    """
    names = [column.name for column in table.date_columns]
    if episode.opens_with is None or table.role == "context" or not names:
        return pd.DataFrame(index=frame.index)
    keys = list(episode.columns)
    opening = context.drop_duplicates(keys)
    first_days = {tuple(row[:-1]): row[-1] for row in opening[[*keys, episode.opens_with]].itertuples(index=False)}
    began = [first_days.get(tuple(row)) for row in frame[keys].itertuples(index=False)]
    first = _days(pd.Series(began, frame.index, dtype="str"))
    return pd.DataFrame({f"{name}{DAYS_INTO_EPISODE}": (_days(frame[name]) - first).dt.days for name in names})


def _window_rules(table: Table, episode: EpisodeKey) -> Iterator[Rule]:
    import great_expectations.expectations as gxe

    if episode.opens_with is None or table.role == "context":
        return
    latest = "" if episode.max_days is None else f", and at most {episode.max_days} days after it"
    for column in table.date_columns:
        yield Rule(
            f"{column.name} is not before {episode.opens_with} of the row's {' and '.join(episode.columns)}{latest}",
            gxe.ExpectColumnValuesToBeBetween(
                column=f"{column.name}{DAYS_INTO_EPISODE}", min_value=0, max_value=episode.max_days
            ),
        )


def _expected_record_id(frame: pd.DataFrame, table: Table, contract: Contract) -> pd.Series:
    """`Contract.record_id` over a frame; missing where a part of it is."""
    columns = {column.name: column for column in table.columns}
    expected = pd.Series("", frame.index, dtype="str")
    for number, part in enumerate((*contract.episode.columns, "", *table.identity)):
        between = "/" if number else ""
        if not part:
            expected = expected + f"{between}{table.name}"
        elif columns[part].kind == "int":
            text = frame[part].map(lambda value: f"{value:.0f}", na_action="ignore").astype("str")
            expected = expected + between + text
        else:
            expected = expected + between + frame[part]
    if table.is_amendable:
        again = frame["record_id"].str.fullmatch(r".*/[2-9]", na=False)
        expected = expected.where(~again, expected + frame["record_id"].str[-2:])
    return expected


def _unique_rule(table: Table, is_sent: bool) -> Rule:
    import great_expectations.expectations as gxe

    words = unique_words(table)
    if is_sent:  # what one device says makes nothing that another says a second one
        return Rule(words, gxe.ExpectColumnValuesToBeUnique(column=KEY_OF_SENDER))
    if len(table.key) == 1:
        return Rule(words, gxe.ExpectColumnValuesToBeUnique(column=table.key[0]))
    return Rule(words, gxe.ExpectCompoundColumnsToBeUnique(column_list=list(table.key)))


def unique_words(table: Table) -> str:
    """The plain words of the rule that no two rows share a key."""
    return f"{' and '.join(table.key)} is unique"


def _ordered_rules(table: Table) -> Iterator[Rule]:
    import great_expectations.expectations as gxe

    for pair in table.rules:
        yield Rule(
            pair.words,
            gxe.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A=pair.larger,
                column_B=pair.smaller,
                or_equal=not pair.is_strict,
                ignore_row_if="either_value_is_missing",
            ),
        )


def _imported_rules(table: Table) -> Iterator[Rule]:
    """What other programs leave in a text cell that may be empty is no name, and no device that nobody registered."""
    import great_expectations.expectations as gxe

    for column in table.columns:
        if table.role == "context" and column.name == "device_id":
            yield Rule(
                "device_id is empty or a device's: no device is registered under that name; leave it empty for records "
                "of no device, or register it first: fieldloop register-device DEVICE KEY",
                gxe.ExpectColumnValuesToBeInSet(column=IS_KNOWN_DEVICE, value_set=[True]),
            )
        elif column.kind == "str" and column.is_nullable and not column.choices:
            yield Rule(
                f"{column.name} is no mark of a missing value ({', '.join(_MISSING_MARKS)}): leave the cell empty",
                gxe.ExpectColumnValuesToNotBeInSet(column=column.name, value_set=list(_MISSING_MARKS)),
            )


def _belonging_rules(table: Table, is_sent: bool, context: Table, words: Words) -> Iterator[Rule]:
    import great_expectations.expectations as gxe

    if table.role != "context":
        whose = ", of the device that sent it and" if is_sent else ""
        yield Rule(
            f"the row's {words.unit} has an accepted row in {context.name}{whose} in the same {words.place}",
            gxe.ExpectColumnValuesToBeInSet(column=HAS_CONTEXT_ROW, value_set=[True]),
        )
        return
    if is_sent:
        yield Rule(
            "device_id is the device that sent the row",
            gxe.ExpectColumnValuesToBeInSet(column=IS_SENDERS_OWN, value_set=[True]),
        )
    whose = "the device's accepted row" if is_sent else "the accepted row"
    yield Rule(
        f"{words.place} is that of {whose} of this {words.unit} and {words.period}, where there is one",
        gxe.ExpectColumnValuesToBeInSet(column=IS_SAME_PLACE, value_set=[True]),
    )
