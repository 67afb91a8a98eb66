"""`fieldedge override` and `fieldedge confirm`: what was really done on a day, and why; that it was done as advised."""

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
from fieldedge.workloads.agriculture.tables import MAX_SAID_AGAIN, record_id, said_again, said_last

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
    command = commands.add_parser("confirm", parents=[shared], help="say that it was done as recommended")
    command.add_argument("--date", help="the day, like 2026-07-03; today if left out")
    command.set_defaults(command=confirm)


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
        former, outcome = put(store, record, workload.contract)
        if outcome != "unchanged":
            store.add_event("override", _sentence(record), {"record_id": record["record_id"]})
    if is_for_program(options):
        answer(options, {"outcome": outcome, "record": record, "former": former})
        return
    say(f"{_sentence(record)}: {outcome}.")
    if outcome == "corrected" and former is not None:
        say(f"It was {_amounts_as_text(former)} before ({former['source']}).")


def confirm(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Say that what was assumed of a day, or recommended on it, was really done."""
    _, workload = read_device(directory)
    clock = Clock(directory.clock_floor)
    today = clock.now().date()
    with Store(directory.store, clock.stamp) as store:
        record, outcome = confirm_day(store, options.date or today.isoformat(), workload.contract, today)
    if is_for_program(options):
        answer(options, {"outcome": outcome, "record": record})
    else:
        say(f"{record['date']}: {_amounts_as_text(record)}: {outcome}.")


def confirm_day(store: Store, day: str, contract: Contract, today: date) -> tuple[Record, str]:
    """Store that a day's action was done as it is noted or was recommended; the record, and what became of it.

    Raises:
        DataError: nothing is noted of that day and nothing was recommended, or it cannot have been done then.
    """
    field = field_of(store)
    check_day(day, field, store.records(field["season"], "harvests"), today)
    noted = next((row for row in said_last(store.records(field["season"], "operations")) if row["date"] == day), None)
    said = noted or store.get(record_id(field["season"], field["field_id"], "recommendations", day))
    if said is None or (noted is None and said["irrigation_mm"] == said["nitrogen_kg_ha"] == 0.0):
        raise DataError(f"nothing is noted of {day} and nothing was recommended; say what was done: fieldedge override")
    record = contract.table("operations").check(
        {
            **field,
            "record_id": record_id(field["season"], field["field_id"], "operations", day),
            "date": day,
            "irrigation_mm": said["irrigation_mm"],
            "nitrogen_kg_ha": said["nitrogen_kg_ha"],
            "source": "recommendation" if noted is None else noted["source"],
            "basis": "confirmed",
        },
        f"confirmation of {day}",
    )
    kept = {"why": noted["why"]} if noted is not None and "why" in noted else {}
    _, outcome = put(store, {**record, **kept}, contract)
    if outcome != "unchanged":
        outcome = "confirmed"
        store.add_event(
            "confirmed", f"{day}: {_amounts_as_text(record)}, confirmed", {"record_id": record["record_id"]}
        )
    return record, outcome


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
        "basis": "confirmed",
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


def put(store: Store, record: Record, contract: Contract) -> tuple[Record | None, str]:
    """Store what was said of a day; the former record, and what was done.

    What is noted of the day already is corrected with it. Once that went home it is a fact, and this becomes one more
    record of the day, which counts from then on.

    Raises:
        DataError: too much was said of that day already.
    """
    identity, former = record["record_id"], None
    for times in range(1, MAX_SAID_AGAIN + 1):
        again = {**record, "record_id": said_again(identity, times)}
        noted = store.get(again["record_id"])
        if noted is None:
            if former is not None and {**former, "record_id": identity} == record:
                return former, "unchanged"
            try:
                store.add("operations", again)
            except DataError:  # the service noted the recommendation as done in this very moment
                noted = store.get(again["record_id"])
            else:
                return former, "recorded" if former is None else "corrected"
        former = contract.current("operations", noted or again)
        if store.state(again["record_id"]) == "stored":
            if former == again:
                return former, "unchanged"
            store.replace("operations", again, record.get("why", "it was confirmed"))
            return former, "corrected"
    raise DataError(f"{record['date']} was corrected {MAX_SAID_AGAIN} times already; tell the office what was done")


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
