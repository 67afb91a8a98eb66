"""`fieldedge history`: what was recommended and what was done, one line a day."""

import argparse
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from fieldedge.contract import Record
from fieldedge.device.config import DeviceDirectory
from fieldedge.presentation.answer import answer, is_for_program, say
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock
from fieldedge.system.errors import DataError
from fieldedge.workload import merit
from fieldedge.workloads import known_workload
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.operations import field_of, field_on

DEFAULT_DAYS = 14
MAX_DAYS = 400
TABLES = ("readings", "operations", "recommendations")
NOTHING = "–"

_HEAD = ("date", "advised", "", "by", "done", "", "how", "rain", "depletion", "why it was done otherwise")
_UNITS = ("", "mm", "kg N/ha", "", "mm", "kg N/ha", "", "mm", "mm", "")


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    command = commands.add_parser("history", parents=[shared], help="what was recommended and done, day by day")
    command.add_argument("--days", type=int, default=DEFAULT_DAYS, help=f"how many, the last ones; {DEFAULT_DAYS}")
    command.add_argument("--season", type=int, help="another season, by its harvest year; today's if left out")
    command.set_defaults(command=history)


def history(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Say what was recommended and done on the last days of a season."""
    if not 1 <= options.days <= MAX_DAYS:
        raise DataError(f"--days is {options.days}; expected between 1 and {MAX_DAYS}")
    with Store(directory.store, merit=merit(known_workload(CONTRACT.workload))) as store:
        if options.season is None:
            field = field_on(store, Clock(directory.clock_floor).now().date().isoformat(), CONTRACT)
        else:
            field = field_of(store, options.season)
        days = past_days(store, field, options.days)
    if is_for_program(options):
        answer(options, {"season": field["season"], "field_id": field["field_id"], "days": days})
        return
    say(f"Field {field['field_id']}, season {field['season']}, planted {field['planting_date']}")
    for line in as_lines(days):
        say(line)


def past_days(store: Store, field: Record, count: int) -> list[Record]:
    """The last days of the season, oldest first, up to the last one on which anything was stored."""
    tables = {
        table: {
            row["date"]: row
            for row in store.records(CONTRACT.episode.kept_as(field), table)
            if row["field_id"] == field["field_id"] and row["date"] >= field["planting_date"]
        }
        for table in TABLES
    }
    dates = sorted(set().union(*tables.values()))
    if not dates:
        return []
    last = date.fromisoformat(dates[-1])
    first = max(last - timedelta(days=count - 1), date.fromisoformat(field["planting_date"]))
    span = [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]
    return [_day(day, {table: rows.get(day) for table, rows in tables.items()}) for day in span]


def _day(day: str, of: Mapping[str, Record | None]) -> Record:
    reading, done, advised = (of[table] or {} for table in TABLES)
    return {
        "date": day,
        "recommended_irrigation_mm": advised.get("irrigation_mm"),
        "recommended_nitrogen_kg_ha": advised.get("nitrogen_kg_ha"),
        "recommended_by": advised.get("source"),
        "done_irrigation_mm": done.get("irrigation_mm"),
        "done_nitrogen_kg_ha": done.get("nitrogen_kg_ha"),
        "done_by": done.get("source"),
        "done_is": done.get("basis"),
        "why": done.get("why"),
        "rain_mm": reading.get("rain_mm"),
        "depletion_mm": advised.get("x_depletion_mm"),
    }


def as_lines(days: list[Record]) -> list[str]:
    """The days as a table for a person."""
    if not days:
        return ["Nothing has been stored of this season yet."]
    rows = [
        (
            day["date"],
            _amount(day["recommended_irrigation_mm"]),
            _amount(day["recommended_nitrogen_kg_ha"]),
            day["recommended_by"] or NOTHING,
            _amount(day["done_irrigation_mm"]),
            _amount(day["done_nitrogen_kg_ha"]),
            day["done_by"] or NOTHING,
            _amount(day["rain_mm"], 1),
            _amount(day["depletion_mm"]),
            day["why"] or "",
        )
        for day in days
    ]
    is_number = (False, True, True, False, True, True, False, True, True, False)
    widths = [max(len(row[i]) for row in (_HEAD, _UNITS, *rows)) for i in range(len(_HEAD))]
    return [
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, is_number, strict=True)
        ).rstrip()
        for row in (_HEAD, _UNITS, *rows)
    ]


def _amount(value: float | None, digits: int = 0) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"
