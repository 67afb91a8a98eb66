"""`fieldedge override`: what was really done on a day, and why."""

import argparse
from datetime import date, timedelta
from typing import Any

from fieldedge.boot import read_device
from fieldedge.clock import Clock
from fieldedge.commands.answer import answer, is_for_program, say
from fieldedge.commands.history import field_of
from fieldedge.config import DeviceDirectory
from fieldedge.contract import Contract, Record
from fieldedge.errors import DataError
from fieldedge.store import Store
from fieldedge.workloads.agriculture.tables import record_id

MAX_WHY_CHARACTERS = 300
MAX_SEASON_DAYS = 400


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    command = commands.add_parser("override", parents=[shared], help="record what was really done, and why")
    command.add_argument("--date", help="the day, like 2026-07-03; today if left out")
    command.add_argument("--irrigation-mm", type=float, help="water that was applied")
    command.add_argument("--nitrogen-kg-ha", type=float, help="nitrogen that was applied")
    command.add_argument("--nothing", action="store_true", help="nothing was applied, whatever was recommended")
    command.add_argument("--why", required=True, help="why it was done otherwise than recommended")
    command.set_defaults(command=override)


def override(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Record what was really done. It takes the place of what was assumed, and goes home with the season."""
    _, workload = read_device(directory)
    irrigation_mm, nitrogen_kg_ha = _amounts(options)
    clock = Clock(directory.clock_floor)
    today = clock.now().date()
    with Store(directory.store, clock.stamp) as store:
        field = field_of(store)
        record = override_record(
            field, options.date or today.isoformat(), irrigation_mm, nitrogen_kg_ha, options.why, workload.contract
        )
        check_day(record["date"], field, store.records(field["season"], "harvests"), today)
        former, outcome = put(store, record)
        if outcome != "unchanged":
            store.add_event("override", _sentence(record), {"record_id": record["record_id"]})
    if is_for_program(options):
        answer(options, {"outcome": outcome, "record": record, "former": former})
        return
    say(f"{_sentence(record)}: {outcome}.")
    if outcome == "corrected" and former is not None:
        say(f"It was {_amounts_as_text(former)} before ({former['source']}).")


def override_record(
    field: Record, day: str, irrigation_mm: float, nitrogen_kg_ha: float, why: str, contract: Contract
) -> Record:
    """The row of table `operations`, with the reason beside it; what goes home are the table's columns.

    Raises:
        DataError: a value is none, or outside of its range.
    """
    reason = " ".join(why.split())
    if not reason or len(reason) > MAX_WHY_CHARACTERS:
        raise DataError(f"--why has {len(reason)} characters; expected a reason of up to {MAX_WHY_CHARACTERS}")
    record = {
        "record_id": record_id(field["season"], field["field_id"], "operations", day),
        "season": field["season"],
        "region": field["region"],
        "field_id": field["field_id"],
        "date": day,
        "irrigation_mm": irrigation_mm,
        "nitrogen_kg_ha": nitrogen_kg_ha,
        "source": "override",
    }
    return {**contract.table("operations").check(record, f"override of {day}"), "why": reason}


def check_day(day: str, field: Record, harvests: list[Record], today: date) -> None:
    """See that something can have been done on that day.

    Raises:
        DataError: it is before planting, after the harvest, or still to come.
    """
    planting = date.fromisoformat(field["planting_date"])
    done = date.fromisoformat(day)
    if done > today:
        raise DataError(f"{day} is still to come: today is {today} UTC; record what was done, not what is planned")
    if not planting <= done <= planting + timedelta(days=MAX_SEASON_DAYS):
        raise DataError(
            f"{day} is not in season {field['season']} of {field['field_id']}, which was planted on {planting}"
        )
    for harvest in harvests:
        if harvest["field_id"] == field["field_id"] and day > harvest["date"]:
            raise DataError(f"{day} is after the harvest of {harvest['date']}: nothing is recorded of this season now")


def put(store: Store, record: Record) -> tuple[Record | None, str]:
    """Store an override, or correct with it what is stored of that day; the former record, and what was done.

    Raises:
        DataError: the day's record is on its way home already.
    """
    former = store.get(record["record_id"])
    if former is None:
        try:
            store.add("operations", record)
        except DataError:  # the service noted the recommendation as done in this very moment
            former = store.get(record["record_id"])
        else:
            return None, "recorded"
    if former == record:
        return former, "unchanged"
    store.replace("operations", record, record["why"])
    return former, "corrected"


def _amounts(options: argparse.Namespace) -> tuple[float, float]:
    given = [value for value in (options.irrigation_mm, options.nitrogen_kg_ha) if value is not None]
    if options.nothing and given:
        raise DataError("--nothing stands beside an amount; give one or the other")
    if not options.nothing and not given:
        raise DataError("no amount is given; expected --irrigation-mm, --nitrogen-kg-ha, both, or --nothing")
    return options.irrigation_mm or 0.0, options.nitrogen_kg_ha or 0.0


def _sentence(record: Record) -> str:
    return f"{record['date']}: {_amounts_as_text(record)} ({record['why']})"


def _amounts_as_text(record: Record) -> str:
    if record["irrigation_mm"] == 0.0 and record["nitrogen_kg_ha"] == 0.0:
        return "nothing was applied"
    parts = [f"{record['irrigation_mm']:g} mm of water"] if record["irrigation_mm"] > 0.0 else []
    parts += [f"{record['nitrogen_kg_ha']:g} kg/ha of nitrogen"] if record["nitrogen_kg_ha"] > 0.0 else []
    return " and ".join(parts)
