"""What the ledger answers: which version a device had on a day, and who had a version."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from fieldloop.rollout.engine import DEVICE

HAS = ("installed", "watching", "confirmed")
RULE = "no model: the rule alone"


@dataclass(frozen=True)
class Held:
    """A device had a version from one time to another, or has it still; `why` is how it came, `ended` how it went."""

    device_id: str
    workload: str
    version: str | None
    since: datetime | None
    until: datetime | None
    why: str
    ended: str = ""

    def words(self) -> str:
        """For people."""
        since = "before the first report" if self.since is None else f"since {self.since:%Y-%m-%d %H:%M} UTC"
        until = "" if self.until is None else f" until {self.until:%Y-%m-%d %H:%M} UTC"
        version = RULE if self.version is None else f"version {self.version} of {self.workload}"
        ended = f"; then {self.ended}" if self.ended else ""
        return f"{self.device_id} had {version} {since}{until} ({self.why}){ended}"


def spans(lines: Iterable[Mapping[str, Any]]) -> list[Held]:
    """Every span of every device, by device and time, from the device lines of a ledger."""
    by_device: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for line in lines:
        if line["kind"] == DEVICE and line["state"] != "refused":
            by_device.setdefault((line["device_id"], line["workload"]), []).append(line)
    found: list[Held] = []
    for key in sorted(by_device):
        found.extend(_spans_of(*key, sorted(by_device[key], key=lambda line: datetime.fromisoformat(line["at"]))))
    return found


def on_day(lines: Iterable[Mapping[str, Any]], device_id: str, day: date) -> list[Held]:
    """What decided on a device on that day, UTC; several where it changed during the day."""
    begins = datetime.combine(day, time.min, UTC)
    ends = datetime.combine(day, time.max, UTC)
    return [
        held
        for held in spans(line for line in lines if line.get("device_id") == device_id)
        if (held.since is None or held.since <= ends) and (held.until is None or held.until > begins)
    ]


def of_version(lines: Iterable[Mapping[str, Any]], workload: str, version: str) -> list[Held]:
    """Every device that had the version, and when."""
    return [held for held in spans(lines) if (held.workload, held.version) == (workload, version)]


def _spans_of(device_id: str, workload: str, lines: list[Mapping[str, Any]]) -> list[Held]:
    found: list[Held] = []
    current = Held(device_id, workload, lines[0]["former_version"], None, None, "as it said itself afterwards")
    for line in lines:
        at, why = datetime.fromisoformat(line["at"]), _why(line)
        version = line["version"] if line["state"] in HAS else line["former_version"]
        if version == current.version:
            continue
        ended = why if line["state"] == "reverted" else f"took version {line['version']}"
        found.append(Held(device_id, workload, current.version, current.since, at, current.why, ended))
        current = Held(device_id, workload, version, at, None, why)
    return [*found, current]


def _why(line: Mapping[str, Any]) -> str:
    offered = f"rollout {line['rollout']}" if line["rollout"] is not None else "released to all"
    reason = f": {line['reason']}" if line["reason"] else ""
    how = f"{line['state']} {line['version']}" if line["state"] == "reverted" else offered
    return f"{how}{reason}"
