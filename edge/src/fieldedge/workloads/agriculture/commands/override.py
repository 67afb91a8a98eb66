"""`fieldedge override` and `fieldedge confirm`: what was really done on a day, and why; that it was done as advised."""

import argparse
from typing import Any

from fieldedge.device.config import DeviceDirectory
from fieldedge.presentation.answer import answer, asked_moment, is_for_program, say
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock
from fieldedge.system.errors import DataError
from fieldedge.workload import merit
from fieldedge.workloads import known_workload
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.operations import (
    amounts_as_text,
    confirm_day,
    field_on,
    override_day,
    override_record,
    sentence,
)

_DAY = CONTRACT.table("operations").moment


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    command = commands.add_parser("override", parents=[shared], help="record what was really done, and why")
    command.add_argument("--date", help="the day, like 2026-07-03; today if left out")
    command.add_argument(
        "--irrigation-mm", type=float, help="water that was applied: 1 mm is 10 m3 a hectare, or 1 litre a square metre"
    )
    command.add_argument("--nitrogen-kg-ha", type=float, help="nitrogen that was applied")
    command.add_argument("--nothing", action="store_true", help="nothing was applied, whatever was recommended")
    command.add_argument("--why", required=True, help="why it was done otherwise than recommended")
    command.set_defaults(command=override)
    command = commands.add_parser("confirm", parents=[shared], help="say that it was done as recommended")
    command.add_argument("--date", help="the day, like 2026-07-03; today if left out")
    command.set_defaults(command=confirm)


def override(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Record what was really done. It takes the place of what was assumed, and goes home with the season."""
    irrigation_mm, nitrogen_kg_ha = _amounts(options)
    clock = Clock(directory.clock_floor)
    now = clock.now()
    day = asked_moment(options, _DAY, now)
    with Store(directory.store, clock.stamp, merit=merit(known_workload(CONTRACT.workload))) as store:
        field = field_on(store, day, CONTRACT)
        record = override_record(field, day, irrigation_mm, nitrogen_kg_ha, options.why, CONTRACT)
        former, outcome = override_day(store, field, record, CONTRACT, now.date())
    if is_for_program(options):
        answer(options, {"outcome": outcome, "record": record, "former": former})
        return
    say(f"{sentence(record)}: {outcome}.")
    if outcome == "corrected" and former is not None:
        say(f"It was {amounts_as_text(former)} before ({former['source']}).")


def confirm(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Say that what was assumed of a day, or recommended on it, was really done."""
    clock = Clock(directory.clock_floor)
    now = clock.now()
    day = asked_moment(options, _DAY, now)
    with Store(directory.store, clock.stamp, merit=merit(known_workload(CONTRACT.workload))) as store:
        record, outcome = confirm_day(store, field_on(store, day, CONTRACT), day, CONTRACT, now.date())
    if is_for_program(options):
        answer(options, {"outcome": outcome, "record": record})
    else:
        say(f"{record['date']}: {amounts_as_text(record)}: {outcome}.")


def _amounts(options: argparse.Namespace) -> tuple[float, float]:
    given = [value for value in (options.irrigation_mm, options.nitrogen_kg_ha) if value is not None]
    if options.nothing and given:
        raise DataError("--nothing stands beside an amount; give one or the other")
    if not options.nothing and not given:
        raise DataError("no amount is given; expected --irrigation-mm, --nitrogen-kg-ha, both, or --nothing")
    return options.irrigation_mm or 0.0, options.nitrogen_kg_ha or 0.0
