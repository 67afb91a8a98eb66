"""Columns of kind time: one form, a day that is judged as a date's is."""

from dataclasses import replace
from datetime import date

import pandas as pd
import pytest

from fieldedge.contract import Column, Contract, EpisodeKey, Table
from fieldloop.validation import check_frames
from fieldloop.validation.expectations import days_into_episode, derive
from fieldloop.validation.typed import conform

OF = (Column("record_id", "str"), Column("season", "int"))
CALLS = Table("calls", (*OF, Column("at_utc", "time"), Column("on", "date")), (), identity=("at_utc",))
EPISODE = EpisodeKey(("season",), ("season",), opens_with="began")
CONTRACT = Contract("kiosk", 1, (CALLS,), (), (), EPISODE)
TIME, DAY = "2006-05-01T23:59:59Z", "2006-05-01"


def frame(at_utc: object = TIME, on: object = DAY) -> pd.DataFrame:
    return pd.DataFrame([{"record_id": "x", "season": 2006, "at_utc": at_utc, "on": on}])


def test_a_time_makes_an_identity_and_is_of_its_day() -> None:
    (row,) = derive(frame(), CALLS, CONTRACT, date(2006, 5, 3)).to_dict("records")
    assert (row["expected_record_id"], row["at_utc_is_calendar_date"]) == (f"2006/calls/{TIME}", True)
    assert (row["at_utc_days_ago"], row["at_utc_years_before_season"]) == (row["on_days_ago"], 0) == (2, 0)
    context = pd.DataFrame([{"season": 2006, "began": "2006-04-30"}])
    assert days_into_episode(frame(), CALLS, EPISODE, context).to_dict("records") == [
        {"at_utc_days_into_episode": 1, "on_days_into_episode": 1}
    ]


@pytest.mark.parametrize(
    ("at_utc", "on"),
    [(DAY, DAY), ("2006-05-01T24:00:00Z", DAY), ("2006-05-01T12:00:00.5Z", DAY), ("2006-02-30T12:00:00Z", DAY)],
)
def test_another_form_is_no_time(at_utc: str, on: str) -> None:
    (row,) = derive(frame(at_utc, on), CALLS, CONTRACT, date(2006, 5, 3)).to_dict("records")
    assert (row["at_utc_is_calendar_date"], row["on_is_calendar_date"]) == (False, True)


def test_a_time_is_no_date() -> None:
    (row,) = derive(frame(TIME, TIME), CALLS, CONTRACT, date(2006, 5, 3)).to_dict("records")
    assert (row["at_utc_is_calendar_date"], row["on_is_calendar_date"]) == (True, False)


def test_a_cell_of_another_kind_is_named_with_the_form_of_a_time() -> None:
    _, problems = conform(CALLS, frame(at_utc=5))
    assert list(problems) == ["at_utc is 5, not a time like 2006-05-01T12:00:00Z"]


NAMES = (Column("record_id", "str"), Column("season", "int"), Column("hall", "str"), Column("kiosk_id", "str"))
SHOP = Contract(
    "kiosk",
    1,
    (
        Table("kiosks", (*NAMES, Column("at_utc", "time"), Column("device_id", "str")), ("record_id",), "", "context"),
        Table("baskets", (*NAMES, Column("at_utc", "time")), ("record_id",), identity=("at_utc",)),
    ),
    (),
    (),
    EpisodeKey(("season", "kiosk_id"), ("season", "hall"), opens_with="at_utc", max_days=7),
)


def test_a_row_outside_the_days_of_an_episode_that_opens_with_a_time_is_set_aside() -> None:
    of = {"season": 2006, "hall": "north", "kiosk_id": "k-1"}
    opened = {**of, "record_id": "2006/k-1/kiosks", "device_id": "", "at_utc": "2006-05-01T22:00:00Z", "origin": "x"}
    times = ("2006-04-30T23:59:59Z", "2006-05-01T08:00:00Z", "2006-05-08T23:00:00Z", "2006-05-09T00:00:00Z")
    told = [{**of, "record_id": f"2006/k-1/baskets/{time}", "at_utc": time, "origin": "x"} for time in times]
    frames = {"kiosks": pd.DataFrame([opened]), "baskets": pd.DataFrame(told)}
    checked = check_frames(frames, SHOP, date(2006, 6, 1))
    rejected = checked.rejected["baskets"]
    assert (list(checked.accepted["baskets"]["at_utc"]), list(rejected["at_utc"])) == (
        list(times[1:3]),
        [times[0], times[3]],
    )
    assert set(rejected["expectation"]) == {
        "at_utc is not before at_utc of the row's season and kiosk_id, and at most 7 days after it"
    }
    assert len(checked.accepted["kiosks"]) == 1


CALL = {"season": 2006, "hall": "north", "kiosk_id": "k-1", "on": DAY}


@pytest.mark.parametrize(
    ("today", "broken"),
    [
        (date(2006, 5, 1), set()),
        (date(2006, 4, 30), {"at_utc is not in the future"}),
        (date(2006, 4, 29), {"at_utc is not in the future", "on is not in the future"}),
    ],
)
def test_a_date_may_be_a_day_ahead_of_utc_as_it_is_in_the_east_and_a_time_not(today: date, broken: set[str]) -> None:
    kiosks = replace(SHOP.tables[0], columns=(*SHOP.tables[0].columns, Column("on", "date")))
    contract = replace(SHOP, tables=(kiosks, *SHOP.tables[1:]))
    row = {**CALL, "record_id": "2006/k-1/kiosks", "device_id": "", "at_utc": "2006-05-01T00:00:00Z", "origin": "x"}
    checked = check_frames({"kiosks": pd.DataFrame([row])}, contract, today)
    assert set(checked.tables["kiosks"].broken) == broken
