"""How the sensors fare: each logger's channels, by its latest samples.

Where no logger sends samples, the observations stand for one. Only what quality control said counts; nothing is
judged anew here.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fieldedge.contract import Record
from fieldedge.contract.samples import FlaggedSample, Sample, counted
from fieldedge.contract.windows import Window
from fieldedge.presentation.facts import ChannelHealth, EpisodeRecords, LoggerHealth, Presenter
from fieldedge.presentation.text import as_number, as_time
from fieldedge.storage.store import Store
from fieldedge.system.instants import instant_utc
from fieldedge.workload import Workload

SILENT_AFTER = timedelta(hours=26)  # a logger that drops one file a day is not silent
LATEST_SAMPLES = 100  # of each logger, over which its share of good values is counted
MAX_LOGGERS = 24
MAX_CHANNELS = 24


@dataclass(frozen=True)
class Loggers:
    """The loggers that are shown, by name, and how many more there are."""

    shown: tuple[LoggerHealth, ...] = ()
    more: int = 0


NO_LOGGERS = Loggers()


def read_loggers(
    store: Store, episode: EpisodeRecords | None, workload: Workload, presenter: Presenter, now: datetime
) -> Loggers:
    """Every logger that ever sent a sample.

    Raises:
        StoreBusy, StoreFailed: the store cannot be read now.
    """
    names = store.origins()
    shown = [
        logger_health(name, store.last_samples(name, LATEST_SAMPLES), now, presenter) for name in names[:MAX_LOGGERS]
    ]
    if not names and episode is not None and episode.observations:
        (table,) = workload.contract.tables_of("observation")
        shown = [logger_health(table.capitalize(), _as_samples(store, episode, workload, table), now, presenter)]
    return Loggers(tuple(shown), max(len(names) - MAX_LOGGERS, 0))


def logger_health(name: str, samples: Sequence[FlaggedSample], now: datetime, presenter: Presenter) -> LoggerHealth:
    """How one logger fares, from its latest samples, the newest last."""
    last_utc = samples[-1].sample.time_utc if samples else None
    age_s = _age_s(last_utc, now)
    channels = sorted({channel for flagged in samples for channel in flagged.sample.values}, key=_in_order)
    health = tuple(_channel(channel, samples, now, presenter) for channel in channels[:MAX_CHANNELS])
    return LoggerHealth(name, last_utc, age_s, age_s is None or age_s > SILENT_AFTER.total_seconds(), health)


def _in_order(name: str) -> list[tuple[int, str]]:
    """Depths by their number: 15 before 105."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]{1,9})", name)]


def _channel(name: str, samples: Sequence[FlaggedSample], now: datetime, presenter: Presenter) -> ChannelHealth:
    total = counted(name)
    label, unit = presenter.channel(name if total is None else total[0])
    label = label if total is None else f"{label}, running total"
    seen = [flagged for flagged in samples if name in flagged.sample.values]
    values = [as_number(flagged.sample.values[name]) for flagged in seen]
    flags = [_flag(flagged, name) for flagged in seen]
    times = [flagged.sample.time_utc for flagged in seen]
    last = _last(value is not None for value in values)
    bad = _last(flag != "good" for flag in flags)
    return ChannelHealth(
        name=name,
        label=label,
        unit=unit,
        value=None if last is None else values[last],
        is_good=last is not None and flags[last] == "good",
        time_utc=None if last is None else times[last],
        age_s=None if last is None else _age_s(times[last], now),
        samples=len(seen),
        good=Counter(flags)["good"],
        last_flag=None if bad is None else flags[bad],
        last_flag_utc=None if bad is None else times[bad],
    )


def _last(claims: Iterable[bool]) -> int | None:
    return max((i for i, is_so in enumerate(claims) if is_so), default=None)


def _flag(flagged: FlaggedSample, name: str) -> str:
    is_missing = as_number(flagged.sample.values[name]) is None
    said = str(flagged.flags.get(name, "good"))
    return "missing" if is_missing and said == "good" else said


def _age_s(time_utc: str | None, now: datetime) -> float | None:
    moment = as_time(time_utc)
    return None if moment is None else (now - moment).total_seconds()


def _as_samples(store: Store, episode: EpisodeRecords, workload: Workload, table: str) -> list[FlaggedSample]:
    """The observations as samples; a window's values are known at its end."""
    numbers = [column.name for column in workload.contract.table(table).columns if column.kind == "float"]
    seen = episode.observations
    columns = [name for name in numbers if any(as_number(reading.get(name)) is not None for reading in seen)]
    flags, windows = store.flags(workload.contract.episode.kept_as(episode.context), table), workload.windows
    return [
        _as_sample(reading, columns, flags, windows.window(workload.contract.moment(table, reading)))
        for reading in episode.observations[-LATEST_SAMPLES:]
    ]


def _as_sample(reading: Record, columns: Sequence[str], flags: dict[str, Record], window: Window) -> FlaggedSample:
    said = flags.get(str(reading.get("record_id")), {})
    values = {name: as_number(reading.get(name)) for name in columns}
    bad = {name: said[name] for name in columns if isinstance(said.get(name), str)}
    last_second = window.end - timedelta(seconds=1)  # of a day, it names the day itself
    return FlaggedSample(Sample("", instant_utc(last_second), values), bad)
