"""What a device says of one of its models: installed, watched, confirmed, taken back or refused, with the figures.

A report is a JSON object of these fields and no others, written one way, so that the same report is the same bytes and
is known again by their SHA-256. The device signs `signed_part` of them, which is neither a batch nor an opening of one.
"""

import json
import math
import re
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Literal, get_args

from fieldedge.system import strict_json
from fieldedge.system.errors import DataError
from fieldedge.system.strict_json import shown

State = Literal["installed", "watching", "confirmed", "reverted", "refused"]
STATES: tuple[State, ...] = get_args(State)
PREFIX = b"fieldloop report "  # of what is signed
MAX_REPORT_BYTES = 6_000
MAX_REASON_CHARACTERS = 300
MAX_COUNT = 10_000_000
MAX_FIGURE = 1e12

_DEVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_WORKLOAD = re.compile(r"[a-z][a-z0-9_]{0,62}")
_VERSION = re.compile(r"[!-~]{1,64}")
_NOT_OF_A_VERSION = re.compile(r"[^!-~]")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@dataclass(frozen=True)
class UpdateReport:
    """One report. `at` is UTC by the device's own clock, `former_version` what decided before.

    Of the decisions since the switch, `decisions` are how many were watched, `abstained` those in which the model gave
    no answer where the former one did, `guardrail_hits` those in which a rule had the last word over its answer and
    would not have had it over the former's; `divergence` is how far its answers lie from the former model's on average,
    in the former's standard deviations, and `latency_p99_ms` what a decision took. None where nothing could be
    measured.

    Raises:
        DataError: a field is none that a device can send.
    """

    device_id: str
    at: str
    workload: str
    version: str
    former_version: str | None
    state: State
    reason: str
    decisions: int = 0
    abstained: int = 0
    guardrail_hits: int = 0
    latency_p99_ms: float | None = None
    divergence: float | None = None

    def __post_init__(self) -> None:
        _check(_is_text(self.device_id, _DEVICE_ID), "device_id", self.device_id, "a device's name like dev-07")
        _check(_is_moment(self.at), "at", self.at, "a time in UTC like 2027-07-03T06:00:00Z")
        _check(_is_text(self.workload, _WORKLOAD), "workload", self.workload, "a workload's name")
        _check(_is_text(self.version, _VERSION), "version", self.version, "a model version of at most 64 characters")
        former = self.former_version
        _check(former is None or _is_text(former, _VERSION), "former_version", former, "a model version, or null")
        _check(isinstance(self.state, str) and self.state in STATES, "state", self.state, f"one of {', '.join(STATES)}")
        most = f"at most {MAX_REASON_CHARACTERS} characters that can be printed"
        _check(_is_reason(self.reason), "reason", self.reason, most)
        for name in ("decisions", "abstained", "guardrail_hits"):
            count = getattr(self, name)
            _check(_is_count(count), name, count, f"a whole number from 0 to {MAX_COUNT}")
            _check(count <= self.decisions, name, count, f"no more than the {self.decisions} decisions")
        for name in ("latency_p99_ms", "divergence"):
            figure = getattr(self, name)
            _check(_is_figure(figure), name, figure, "a number, 0 or more, or null")

    def as_json(self) -> bytes:
        """The report as it travels, the same bytes for the same report."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def read(data: bytes) -> UpdateReport:
    """The report in these bytes.

    Raises:
        DataError: they are too many, no JSON, or no report: a field is missing, unknown or out of range.
    """
    if len(data) > MAX_REPORT_BYTES:
        raise DataError(f"the update report has {len(data)} bytes; at most {MAX_REPORT_BYTES} are read")
    try:
        values = strict_json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the update report is not readable JSON: {str(error)[:200]}") from error
    names = {field.name for field in fields(UpdateReport)}
    if not isinstance(values, dict) or set(values) != names:
        found = ", ".join(sorted(str(name)[:40] for name in values)[:20]) if isinstance(values, dict) else shown(values)
        raise DataError(f"the update report holds {found}; expected exactly {', '.join(sorted(names))}")
    return UpdateReport(**values)


def signed_part(report: bytes) -> bytes:
    """The bytes under a device's signature of a report."""
    return PREFIX + report


def as_reason(text: str) -> str:
    """A text as a report can hold it: on one line, and cut."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain if len(plain) <= MAX_REASON_CHARACTERS else plain[: MAX_REASON_CHARACTERS - 3] + "..."


def as_version(text: str) -> str:
    """A version as a report can hold it: as it is, unless it has blanks, letters beyond ASCII, or too many."""
    return _NOT_OF_A_VERSION.sub("_", text)[:64] or "_"


def _check(is_so: bool, name: str, found: object, expected: str) -> None:
    if not is_so:
        raise DataError(f"the update report's {name} is {shown(found)}; expected {expected}")


def _is_text(value: Any, form: re.Pattern[str]) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def _is_moment(value: Any) -> bool:
    if not _is_text(value, _TIME):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_reason(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_REASON_CHARACTERS and value.isprintable()


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def _is_figure(value: Any) -> bool:
    if value is None:
        return True
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0.0 <= value <= MAX_FIGURE and math.isfinite(value)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a finite number")
