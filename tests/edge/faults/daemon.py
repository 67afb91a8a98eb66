"""`fieldedge serve` with its two loops stepped by hand: the service itself, in one process, by a clock handed on.

The world outside goes on in steps of hours: a logger's file appears for each, then the service does what is due. Time
is kept beside the device, so that a process that follows one that died goes on where that one was. What is here is
no part of the device: it takes the place of the real clock, the signals and the waiting.
"""

import argparse
import json
import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fieldedge.cli import exit_code
from fieldedge.contract import Record
from fieldedge.device.config import DeviceDirectory
from fieldedge.runtime.service import Service
from fieldedge.system.clock import Clock, format_utc
from fieldedge.system.locks import exclusive
from fieldedge.workloads import read_device
from tests.edge.sample import PLANTING, dated, field_record

START = datetime(PLANTING.year, PLANTING.month, PLANTING.day, tzinfo=UTC)
STEP = timedelta(hours=3)
STEPS_A_DAY = timedelta(days=1) // STEP
PASSES = 2  # one step of the service may make another one due


def settings(inbox: Path, gateway: str) -> str:
    """What a technician adds to device.toml."""
    return f"""
[site]
latitude_deg = 41.4
elevation_m = 465
[[source]]
name = "station"
kind = "folder"
path = "{inbox}"
look_every_s = 1
[store]
max_days = 1
min_free_bytes = 0
[page]
is_on = false
[link]
gateway = "{gateway}"
sync_every_h = 12
update_every_h = 24
"""


def sample(at: datetime) -> Record:
    """A warm day, a probe or two."""
    warm = 20.0 - 8.0 * math.cos(math.tau * (at.hour - 3.0) / 24.0)
    wobble = math.sin((at - START) / timedelta(hours=1))
    return {
        "time": format_utc(at),
        "air_temperature_c": round(warm + 0.1 * wobble, 2),
        "rain_mm": 0.0,
        "vwc_15cm_m3_m3": round(0.18 + 0.002 * wobble, 4),
        "vwc_35cm_m3_m3": round(0.19 + 0.002 * wobble, 4),
    }


def logged(days: int) -> Iterator[tuple[datetime, list[Record]]]:
    """What the logger writes at each step of a season, which ends with the harvest."""
    for step in range(days * STEPS_A_DAY + 1):
        at = START + step * STEP
        lines = [sample(at)]
        if step == 0:
            lines.insert(0, {"kind": "field", "record": field_record()})
        if step == days * STEPS_A_DAY:
            harvest = dated("harvests", days, yield_t_ha=11.5)
            lines.append({"kind": "harvest", "record": harvest})
        yield at, lines


def set_up(outside: Path, days: int) -> None:
    """The world outside, before anything of it has happened."""
    folder = outside / "logs"
    folder.mkdir(parents=True)
    (outside / "inbox").mkdir()
    for at, lines in logged(days):
        (folder / f"{at:%Y%m%dT%H}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


class HandedOnClock:
    """A clock that stands in a file beside the device. A new process is a new boot."""

    def __init__(self, path: Path) -> None:
        self.now = datetime.fromisoformat(path.read_text()) if path.exists() else START
        self._began = self.now

    def wall(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return 1000.0 + (self.now - self._began).total_seconds()


def main(arguments: Sequence[str]) -> int:
    """Serve until so many days have passed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--outside", type=Path, required=True)
    parser.add_argument("--days", type=int, required=True)
    options = parser.parse_args(arguments)
    return exit_code(lambda: _serve(DeviceDirectory(options.dir), options.outside, options.days))


def _serve(directory: DeviceDirectory, outside: Path, days: int) -> None:
    time = HandedOnClock(outside / "now")
    config, workload = read_device(directory)
    with exclusive(directory.lock("run")):
        clock = Clock(
            directory.clock_floor,
            wall=time.wall,
            monotonic=time.monotonic,
            boot_id="boot",
            is_synchronised=lambda: False,
        )
        service = Service(directory, config, workload, clock, time.monotonic)
        try:
            for at, _ in logged(days):
                if at >= time.now:
                    _live_step(service, time, at, outside)
        finally:
            service.close()


def go_to(outside: Path, at: datetime) -> None:
    """Let it be a moment of the season: the logger has written what it has by then.

    The process that plays the world is the one that is killed, so each file comes whole or not at all: a logger and a
    clock do not stop because the device does.
    """
    for log in sorted((outside / "logs").iterdir()):
        place = outside / "inbox" / log.name
        if log.name <= f"{at:%Y%m%dT%H}.jsonl" and not place.exists():
            Path(shutil.copy(log, outside / "arriving")).replace(place)
    arriving = outside / "arriving"
    arriving.write_text(at.isoformat())
    arriving.replace(outside / "now")


def _live_step(service: Service, time: HandedOnClock, at: datetime, outside: Path) -> None:
    go_to(outside, at)
    _say({"at": at.isoformat()})
    for number in range(PASSES):
        time.now = at + timedelta(minutes=1 + number)
        service.step()
        assert service.link is not None
        service.link.step()
    steps = [*service.field_steps.steps, *service.link.steps]
    failing = [f"{step.name}: {step.error}" for step in steps if step.is_failing]
    if failing:
        _say({"failing": failing})


def _say(values: Record) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()
