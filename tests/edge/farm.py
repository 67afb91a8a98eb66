"""A farm around one device's service, stepped by hand: its clock, its logger's file, and days that pass."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fieldedge.contract import Record
from fieldedge.device.config import DeviceDirectory
from fieldedge.runtime.service import Service
from fieldedge.system.clock import Clock, format_utc
from fieldedge.workloads import read_device
from tests.edge.sample import field_record

SETTINGS = """
[site]
latitude_deg = 41.4
elevation_m = 465
[[source]]
name = "station"
kind = "folder"
path = "inbox"
[page]
is_on = false
"""
STEP = timedelta(hours=1)


class HandClock:
    """A system clock and a monotonic one; `system_offset` is how wrong the system clock is."""

    def __init__(self, start: datetime) -> None:
        self.true = start
        self.monotonic_s = 1000.0
        self.system_offset = timedelta(0)
        self.is_synchronised = False

    def wall(self) -> datetime:
        return self.true + self.system_offset

    def monotonic(self) -> float:
        return self.monotonic_s

    def pass_(self, time_: timedelta) -> None:
        self.true += time_
        self.monotonic_s += time_.total_seconds()


class Farm:
    """One device at work in its field."""

    def __init__(self, directory: DeviceDirectory, start: datetime | None = None, settings: str = SETTINGS) -> None:
        self.directory = directory
        self.inbox = directory.root / "inbox"
        self.inbox.mkdir(exist_ok=True)
        if "[site]" not in directory.settings.read_text():
            with directory.settings.open("a") as file:
                file.write(settings)
        self.clock = HandClock(start or datetime(2006, 5, 1, 0, 5, tzinfo=UTC))
        self.boots = 0
        self.boot()

    def boot(self) -> None:
        """Start the service, as after a power cut."""
        self.boots += 1
        config, workload = read_device(self.directory)
        clock = Clock(
            self.directory.clock_floor,
            wall=self.clock.wall,
            monotonic=self.clock.monotonic,
            boot_id=f"boot-{self.boots}",
            is_synchronised=lambda: self.clock.is_synchronised,
        )
        self.service = Service(self.directory, config, workload, clock, self.clock.monotonic)

    def reboot(self) -> None:
        """The process ends in order and starts again."""
        self.service.close()
        self.boot()

    def plant(self, **changes: Any) -> None:
        """Tell the device its field."""
        record = {**field_record(self.clock.true.year), **changes}
        self.write({"kind": "field", "record": record})
        self.step()

    def write(self, *lines: Mapping[str, Any] | str, file: str = "station.jsonl") -> None:
        """What the logger appends to its file."""
        with (self.inbox / file).open("a") as stream:
            for line in lines:
                stream.write((line if isinstance(line, str) else json.dumps(line)) + "\n")

    def sample(self, **changes: Any) -> Record:
        """A plausible sample of now: a warm day, a probe or two."""
        hour = self.clock.true.hour + self.clock.true.minute / 60.0
        warm = 20.0 - 8.0 * math.cos(math.tau * (hour - 3.0) / 24.0)
        wobble = math.sin(self.clock.monotonic_s)
        return {
            "time": format_utc(self.clock.true),
            "air_temperature_c": round(warm + 0.1 * wobble, 2),
            "rain_mm": 0.0,
            "vwc_15cm_m3_m3": round(0.18 + 0.002 * wobble, 4),
            "vwc_35cm_m3_m3": round(0.19 + 0.002 * wobble, 4),
            **changes,
        }

    def step(self) -> None:
        """Everything that is due now, twice: a step may make another one due."""
        for _ in range(2):
            self.service.step()
            self.clock.pass_(timedelta(seconds=31))

    def live(self, days: float, is_heard: bool = True, **changes: Any) -> None:
        """Let days pass, with a sample every hour."""
        for _ in range(round(days * (timedelta(days=1) / STEP))):
            self.clock.pass_(STEP - timedelta(seconds=62))
            if is_heard:
                self.write(self.sample(**changes))
            self.step()

    @property
    def period(self) -> str:
        return str(self.clock.true.year)

    def records(self, table: str) -> list[Record]:
        return self.service.store.records(self.period, table)

    def events(self, kind: str) -> list[str]:
        return [event["text"] for event in self.service.store.events(200, kind)]

    def close(self) -> None:
        self.service.close()
