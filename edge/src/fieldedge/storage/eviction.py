"""Room on the device's disk: what goes first when the store has reached its bounds, and what never goes.

Bounds are bytes, days, and what must stay free on the disk. The last is mostly in others' hands: where the disk lacks
room and the store is within its bytes, only what is home or summed up goes, and damaged stores that were set aside. A
day that is not acknowledged never does: whoever fills the disk would have its room next.

What is deleted is deleted in a fixed order, least valuable first, in small transactions that each keep their own event,
so that it can end anywhere. What the cloud has not acknowledged of outcomes, operations (overrides among them) and
chosen or audited days is in no class below: it stays, whatever the pressure; so do the episode under way and the last
two days of samples. If that is too much, it is said, and nothing is lost. Age takes only what is home, what was not
chosen, and what was summed up: days that nobody has chosen from go for lack of space alone, and before any of them
goes, `choose` makes the best of them a batch. Age is counted from the newest day that the store knows, never from a
clock alone.
"""

import json
import logging
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from fieldedge.contract import Contract, Role
from fieldedge.device.config import StoreConfig
from fieldedge.storage.files import forget, set_aside
from fieldedge.storage.store import Store
from fieldedge.system.errors import StoreBusy

DONE_SAMPLE_DAYS = 30  # raw samples are looked at again for so long after their day was summed up
FRESH_SAMPLE_DAYS = 2
MAX_EVENTS, LEAST_EVENTS = 10_000, 500
LATEST_REJECTS = 1_000
ROWS_AT_ONCE = 500
TARGET_SHARE = 0.9  # room is made to here, so that it is not made again with the next record

_log = logging.getLogger(__name__)


def _before_the_last(table: str, count: int) -> str:
    return f"t.sequence <= (SELECT max(sequence) FROM {table}) - {count}"  # noqa: S608 - ours


@dataclass(frozen=True)
class EvictionClass:
    """Rows that may go: `where` and `order` are SQL over the row `t`, with the values of `_values`.

    Those of a class that is `after_choosing` go only once the best of them have been chosen. What `is_spare` may go for
    the sake of others on the disk.
    """

    what: str
    table: str
    where: str
    order: str = "t.sequence"
    after_choosing: bool = False
    is_spare: bool = False


_DAYS = "t.table_name IN (SELECT value FROM json_each(:chosen))"
_IS_PAST = "t.episode IN (SELECT value FROM json_each(:past))"
_IS_DONE = f"{_IS_PAST} AND t.state = 'acknowledged'"
# What was said of an episode goes after its opening, and not before that may go: whoever says more of a day is refused
# then, instead of taking an identity that is at home already, of which the device has forgotten what it said.
_IS_OPENING = "t.table_name IN (SELECT value FROM json_each(:openings))"
_IS_SAID = (
    f"{_IS_DONE} AND NOT {_DAYS} AND NOT EXISTS (SELECT 1 FROM records o WHERE o.episode = t.episode"  # noqa: S608
    f" AND {_IS_OPENING.replace('t.', 'o.')} AND o.state <> 'acknowledged')"
)
_BY_EPISODE = f"(SELECT p.key FROM json_each(:past) p WHERE p.value = t.episode), NOT {_IS_OPENING}, t.sequence"  # noqa: S608
_IS_UNCHOSEN = f"{_IS_PAST} AND t.state = 'stored' AND {_DAYS}"
# Days are chosen once in an episode: what was not chosen then is never sent. That it happened is known from the chosen
# days that are still here, so these go last.
_IS_LEFT_OVER = (
    f"{_IS_UNCHOSEN} AND EXISTS (SELECT 1 FROM records r"  # noqa: S608 - ours, as are those below
    f" WHERE r.episode = t.episode AND r.state <> 'stored' AND {_DAYS.replace('t.', 'r.')})"
)
# A day counts for little where the model was sure; where it abstained, nothing is less known. An observation and its
# decision go together, and an observation whose decision has gone follows it first. So it is with moments, which rows
# are kept under where moments are chosen.
_BY_MERIT = (
    "coalesce((SELECT coalesce(r.merit, 1e9) FROM records r"
    " WHERE r.episode = t.episode AND r.table_name = :decisions AND r.date = t.date), 0), t.date, t.sequence"
)
_IS_SUMMED_UP = (
    "t.time_utc < :oldest AND substr(t.time_utc, 1, 10) IN"
    " (SELECT substr(r.date, 1, 10) FROM records r WHERE r.table_name IN (SELECT value FROM json_each(:observations))"
    " AND r.date < :oldest)"
)

_UNCHOSEN = EvictionClass(
    "days of past episodes that no batch had room for", "records", _IS_UNCHOSEN, _BY_MERIT, after_choosing=True
)

BY_AGE = (
    EvictionClass("summed up samples beyond the age limit", "samples", _IS_SUMMED_UP, "t.time_utc"),
    EvictionClass("acknowledged days beyond the age limit", "records", f"{_IS_DONE} AND {_DAYS} AND t.date < :oldest"),
    EvictionClass(
        "acknowledged records beyond the age limit", "records", f"{_IS_SAID} AND t.date < :oldest", _BY_EPISODE
    ),
    EvictionClass("days beyond the age limit that were not chosen", "records", f"{_IS_LEFT_OVER} AND t.date < :oldest"),
    EvictionClass("rejects beyond the age limit", "rejects", "t.stored_utc < :oldest"),
    EvictionClass(f"events before the last {MAX_EVENTS}", "events", _before_the_last("events", MAX_EVENTS)),
)
BY_VALUE = (
    EvictionClass(f"rejects before the last {LATEST_REJECTS}", "rejects", _before_the_last("rejects", LATEST_REJECTS)),
    EvictionClass(
        "samples that are summed up",
        "samples",
        "t.time_utc < :done",
        "t.time_utc",
        is_spare=True,
    ),
    EvictionClass("acknowledged outcomes of past episodes", "records", _IS_SAID, _BY_EPISODE, is_spare=True),
    EvictionClass("days of past episodes that were not chosen", "records", _IS_LEFT_OVER, _BY_MERIT),
    EvictionClass("acknowledged days of past episodes", "records", f"{_IS_DONE} AND {_DAYS}", is_spare=True),
    EvictionClass("rejects", "rejects", "1"),
    EvictionClass(
        "days of past episodes that were not chosen", "records", _IS_LEFT_OVER, _BY_MERIT, after_choosing=True
    ),
    _UNCHOSEN,
    EvictionClass("samples of the last month", "samples", "t.time_utc < :fresh", "t.time_utc"),
    EvictionClass(f"events before the last {LEAST_EVENTS}", "events", _before_the_last("events", LEAST_EVENTS)),
    EvictionClass("samples of days to come", "samples", "t.time_utc > :to_come", "t.time_utc DESC"),
)


@dataclass
class EvictionReport:
    """What went, as rows and bytes by class, and by how many bytes the store is still over its bound.

    `missing_bytes` lack on the disk though the store is within its bound: others fill it.
    """

    evicted: dict[str, tuple[int, int]] = field(default_factory=dict)
    over_bytes: int = 0
    missing_bytes: int = 0
    is_interrupted: bool = False

    def add(self, what: str, rows: int, size_bytes: int) -> None:
        former = self.evicted.get(what, (0, 0))
        self.evicted[what] = former[0] + rows, former[1] + size_bytes

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.evicted.values())

    def text(self) -> str:
        went = "; ".join(f"{rows} {what} ({size / 1000.0:.0f} kB)" for what, (rows, size) in self.evicted.items())
        return f"made room: {went or 'nothing had to go'}"


def make_room(
    store: Store,
    contract: Contract,
    bounds: StoreConfig,
    today: date,
    is_interrupted: Callable[[], bool] = lambda: False,
    choose: Callable[[], None] = lambda: None,
    *,
    chosen_roles: Sequence[Role],
) -> EvictionReport:
    """Bring the store within its bounds, and keep an event of what went. It can be ended at any moment.

    `is_interrupted` is asked between two transactions; what has not gone then goes the next time. `choose` puts what is
    best of each past episode into a batch, where that was not done yet; it is called once, before days must go that
    nobody has chosen from. Where it cannot, they stay. `chosen_roles` are whose rows are chosen from.

    Raises:
        StoreBusy, StoreFailed: the store cannot be written now.
    """
    report = EvictionReport()
    values = _values(store, contract, chosen_roles, bounds, today)

    def evict(eligible: EvictionClass, enough_bytes: float = math.inf) -> bool:
        report.is_interrupted = report.is_interrupted or is_interrupted()
        if report.is_interrupted:
            return False
        rows, size_bytes = store.evict(
            eligible.what, eligible.table, eligible.where, eligible.order, values, ROWS_AT_ONCE, enough_bytes
        )
        if rows:
            report.add(eligible.what, rows, size_bytes)
            store.checkpoint(at_bytes=0)
        return rows > 0

    def evict_to(target_bytes: int, classes: Sequence[EvictionClass]) -> None:
        may_take_days: bool | None = None
        for eligible in classes:
            if eligible.after_choosing and may_take_days is None and store.used_bytes() > target_bytes:
                may_take_days = _chosen(store, choose, values)
            if eligible.after_choosing and not may_take_days:
                continue
            while (lacking := store.used_bytes() - target_bytes) > 0 and evict(eligible, lacking):
                pass

    for eligible in BY_AGE:
        while evict(eligible):
            pass
    if _excess_bytes(store, bounds) > 0 or _missing_bytes(store, bounds) > 0:
        store.shrink()
        _forget_set_aside(store, bounds, report)
        if _excess_bytes(store, bounds) > 0:
            evict_to(int(TARGET_SHARE * bounds.max_bytes), BY_VALUE)
        if (missing := _missing_bytes(store, bounds)) > 0:
            evict_to(store.used_bytes() - missing, tuple(eligible for eligible in BY_VALUE if eligible.is_spare))
    if report.rows:
        store.shrink()
    if not report.is_interrupted:
        report.over_bytes = max(_excess_bytes(store, bounds), 0)
        report.missing_bytes = max(_missing_bytes(store, bounds), 0)
    if report.over_bytes:
        store.add_event(
            "store_full",
            "the store is over its bound, and all that is left may not go: bring the device to a link, export to a "
            "stick, or raise max_bytes",
            {"over_bytes": report.over_bytes},
        )
    return report


def _chosen(store: Store, choose: Callable[[], None], values: dict[str, Any]) -> bool:
    """Whether the best of the past episodes' days are in batches now, so that others may go."""
    if not store.has(_UNCHOSEN.table, _UNCHOSEN.where, values):
        return False
    store.shrink()  # a batch needs room on the disk
    try:
        choose()
    except (StoreBusy, OSError) as error:
        _log.warning("days of past episodes stay until they can be chosen from: %s", error)
        return False
    return True


def _forget_set_aside(store: Store, bounds: StoreConfig, report: EvictionReport) -> None:
    """A damaged store that was rebuilt is there for a person to look at; where the disk is full it goes first."""
    for aside in set_aside(store.path):
        if _missing_bytes(store, bounds) <= 0:
            return
        size_bytes = forget(aside)
        report.add("damaged stores that were set aside", 1, size_bytes)
        store.add_event("evicted", f"made room: {aside.name}, damaged and set aside ({size_bytes / 1000.0:.0f} kB)")


def _excess_bytes(store: Store, bounds: StoreConfig) -> int:
    return store.used_bytes() - bounds.max_bytes


def _missing_bytes(store: Store, bounds: StoreConfig) -> int:
    """How many bytes of those that must stay free are not, whoever has them."""
    return bounds.min_free_bytes - shutil.disk_usage(store.path.parent).free


def _values(
    store: Store, contract: Contract, chosen_roles: Sequence[Role], bounds: StoreConfig, today: date
) -> dict[str, Any]:
    """A clock that is ahead ages nothing: no day is over before something of a later one was stored."""
    newest = store.newest_day()
    known = min(today, date.fromisoformat(newest)) if newest else today
    chosen = contract.tables_of(*chosen_roles)
    return {
        "past": json.dumps(store.past_episodes(chosen)),
        "chosen": json.dumps(chosen),
        "openings": json.dumps(contract.tables_of("context")),
        "observations": json.dumps(contract.tables_of("observation")),
        "decisions": contract.decision_table.name,
        "oldest": (known - timedelta(days=bounds.max_days)).isoformat(),
        "done": (known - timedelta(days=DONE_SAMPLE_DAYS)).isoformat(),
        "fresh": (known - timedelta(days=FRESH_SAMPLE_DAYS)).isoformat(),
        "to_come": (today + timedelta(days=2)).isoformat(),
    }
