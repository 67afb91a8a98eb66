"""Training examples from accepted tables: what was known, what was done, and what came of it.

The features are the device's own: its functions where all readings of a season are at hand, the row that the device
itself computed where it sent only the days that teach most. Nothing is reimplemented here. Many seasons are folded at
once, compiled; where one of them cannot be, each is folded alone, so that it is known which.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldedge.system.errors import DataError
from fieldedge.workloads.agriculture import AGRICULTURE, Day
from fieldedge.workloads.agriculture.features import FEATURES, day_values, days_between, field_constants, set_actions
from fieldloop.core.dataset import Array, Dataset

_log = logging.getLogger(__name__)
_SEASONS_AT_ONCE = 512  # more hardly save anything each, and take memory
_FEATURE_COLUMNS = [f"x_{feature.name}" for feature in FEATURES]


@dataclass(frozen=True)
class _FieldSeason:
    record: dict[str, Any]
    readings: pd.DataFrame
    operations: pd.DataFrame
    recommendations: pd.DataFrame
    harvest_date: str
    yield_t_ha: float


def build_examples(tables: Mapping[str, pd.DataFrame]) -> Dataset:
    """Every harvested field-season of the tables as examples, in a stable order; `left_out` names those that are not.

    Raises:
        DataError: there is not one harvested field-season that can be built, so nothing can be learned.
    """
    blocks: list[tuple[Array, Array]] = []
    groups: list[str] = []
    left_out: dict[str, str] = {}
    for name, work in _built(_harvested(tables)):
        try:
            features, targets = work()
        except DataError as error:
            left_out[name] = str(error)
        except Exception as error:  # noqa: BLE001 - a loop's edge: whatever is wrong with one stops no other
            _log.warning("%s cannot be built into examples", name, exc_info=True)
            left_out[name] = f"it cannot be built: {error!r:.200}"
        else:
            if len(features):
                blocks.append((features, targets))
                groups.append(name)
    for name, reason in left_out.items():
        _log.warning("nothing is learned from %s: %s", name, reason)
    if not blocks:
        why = "".join(f"; {name} is left out: {reason}" for name, reason in list(left_out.items())[:3])
        raise DataError(
            "no harvested field-season among the accepted tables: rows of `harvests` with their `fields` and "
            f"`readings` are needed to train; run the history step, or sync devices, first{why}"
        )
    return Dataset(
        inputs=np.concatenate([f for f, _ in blocks]),
        targets=np.concatenate([t for _, t in blocks]),
        group=np.repeat(np.arange(len(blocks), dtype=np.int32), [len(f) for f, _ in blocks]),
        groups=tuple(groups),
        left_out=left_out,
    )


def _built(
    harvested: Iterator[tuple[str, dict[str, Any], dict[str, pd.DataFrame]]],
) -> Iterator[tuple[str, Callable[[], tuple[Array, Array]]]]:
    """Each field-season's name, and what makes its examples or raises what is wrong with it."""
    while block := list(islice(harvested, _SEASONS_AT_ONCE)):
        read = [(name, _Read.of(record, rows)) for name, record, rows in block]
        folded = _folded({name: one.past for name, one in read if one.past is not None})
        for name, one in read:
            yield name, partial(one.examples, folded.get(name))


def _folded(pasts: Mapping[str, "_Past"]) -> dict[str, Array]:
    """The feature rows of whole seasons, all folded in lockstep; none where one of them cannot be."""
    if not pasts:
        return {}
    from fieldloop.workloads.agriculture.pretraining.many_fields import ManyFields  # numba, which takes a second

    longest = sorted(pasts, key=lambda name: -len(pasts[name].days))  # those that go on are the first of the rows
    lengths = np.array([len(pasts[name].days) for name in longest])
    rows = {name: np.empty((len(pasts[name].days) + 1, len(FEATURES)), np.float32) for name in longest}
    try:
        fields = ManyFields(np.array([pasts[name].constants for name in longest]), threads=1)
        for day in range(int(lengths[0]) + 1):
            for name, row in zip(longest, fields.features(), strict=False):
                rows[name][day] = row
            count = int((lengths > day).sum())
            if count == 0:
                break
            fields = ManyFields(fields.constants[:count], fields.values[:count], threads=1)
            fields.advance(np.array([pasts[name].days[day] for name in longest[:count]]))
    except Exception:  # noqa: BLE001 - a loop's edge: one season stops no other, and alone each says what it is
        _log.info("seasons are folded one by one: one of them cannot be folded", exc_info=True)
        return {}
    return rows


def _harvested(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, dict[str, Any], dict[str, pd.DataFrame]]]:
    """The field-seasons that have a harvest: their name, the field's row, and their rows of every other table."""
    keys = ["season", "field_id"]
    names = ("readings", "operations", "recommendations", "harvests")
    parts = {name: dict(iter(tables[name].groupby(keys))) if len(tables[name]) else {} for name in names}
    records: list[dict[str, Any]] = tables["fields"].sort_values("record_id").to_dict("records")  # type: ignore[assignment]  # columns are named
    for record in records:
        key = (record["season"], record["field_id"])
        if key in parts["harvests"]:
            yield f"{key[0]}/{key[1]}", record, {name: parts[name].get(key, tables[name].iloc[:0]) for name in names}


def _field_season(record: dict[str, Any], rows: Mapping[str, pd.DataFrame]) -> _FieldSeason:
    """One field-season, with the one harvest that it has.

    Raises:
        DataError: it has more harvests than one, or one that is not in its season.
    """
    contract = AGRICULTURE.contract
    harvests: list[dict[str, Any]] = rows["harvests"].to_dict("records")  # type: ignore[assignment]  # columns are named
    if len(harvests) > 1:
        said = " and ".join(f"{h['yield_t_ha']:g} t/ha on {h['date']}" for h in harvests)
        raise DataError(f"it has {len(harvests)} harvests, {said}, and nobody said which is true; expected one")
    (harvest,) = harvests
    contract.check_days("harvests", harvest, record, "accepted before days were judged")
    operations = rows["operations"].sort_values("record_id").drop_duplicates("date", keep="last")
    return _FieldSeason(
        record,
        rows["readings"],
        operations,
        rows["recommendations"],
        str(harvest["date"]),
        float(harvest["yield_t_ha"]),
    )


@dataclass(frozen=True)
class _Past:
    """A whole season as the device's functions take it: the field, and its days up to the last but one."""

    constants: list[float]
    days: list[list[float]]


@dataclass(frozen=True)
class _Read:
    """A field-season that was looked at: what it is, its past where all readings are at hand, or what is wrong."""

    season: _FieldSeason | None
    history: list[Day] | None
    past: _Past | None
    error: Exception | None = None

    @classmethod
    def of(cls, record: dict[str, Any], rows: Mapping[str, pd.DataFrame]) -> "_Read":
        """Never raises: what is wrong is raised by `examples`."""
        try:
            season = _field_season(record, rows)
            if len(season.recommendations):
                return cls(season, None, None)
            history = _history(season)
            past = _Past(field_constants(season.record), [day_values(day) for day in history])
        except Exception as error:  # noqa: BLE001 - a loop's edge: it is raised where one season's work begins
            return cls(None, None, None, error)
        return cls(season, history, past)

    def examples(self, folded: Array | None) -> tuple[Array, Array]:
        """Features (n, F) after the day's action and targets (n, 3) of the field-season; `folded`, if it was.

        Raises:
            Exception: whatever is wrong with it.
        """
        if self.error is not None:
            raise self.error
        assert self.season is not None  # noqa: S101 - there is one where nothing is wrong
        if folded is None and self.history is not None:
            folded = AGRICULTURE.featurize(self.history, self.season.record)
        return _examples_of(self.season, folded)


def _examples_of(season: _FieldSeason, whole: Array | None) -> tuple[Array, Array]:
    """Features (n, F) after the day's action and targets (n, 3) of one field-season.

    A day whose action is only assumed is no example: nobody said what was done, so nothing is learned of what it did.
    `whole` are the rows of all its days before action, where the device did not send its own.
    """
    planting, days_total = _span(season)
    irrigation, nitrogen = _applied_by_day(season.operations, planting, days_total)
    dap, rows = _sent_rows(season, planting, days_total) if whole is None else (np.arange(days_total), whole)
    is_known = ~np.isin(dap, _assumed_days(season.operations, planting))
    dap, rows = dap[is_known], rows[is_known]
    if not len(rows):
        return np.empty((0, len(FEATURES)), np.float32), np.empty((0, 3), np.float32)
    rows = set_actions(rows, irrigation[dap], nitrogen[dap])
    water_to_come = irrigation.sum() - np.cumsum(irrigation)
    nitrogen_to_come = nitrogen.sum() - np.cumsum(nitrogen)
    targets = np.stack([np.full(len(dap), season.yield_t_ha), water_to_come[dap], nitrogen_to_come[dap]], axis=1)
    if not (np.isfinite(rows).all() and np.isfinite(targets).all()):
        raise DataError("a feature or a target is not finite, and one such value spoils a whole training")
    return rows, targets.astype(np.float32)


def _span(season: _FieldSeason) -> tuple[str, int]:
    """The day of planting, and how many days there are to the harvest."""
    planting = str(season.record["planting_date"])
    return planting, days_between(planting, season.harvest_date) + 1


def _sent_rows(season: _FieldSeason, planting: str, days_total: int) -> tuple[npt.NDArray[np.int64], Array]:
    """Days after planting (n,) and the device's own feature rows before action (n, F)."""
    rows = season.recommendations.sort_values("date")
    dap = np.array([days_between(planting, str(d)) for d in rows["date"]])
    known = (dap >= 0) & (dap < days_total)
    return dap[known], rows[_FEATURE_COLUMNS].to_numpy(np.float32)[known]


def _history(season: _FieldSeason) -> list[Day]:
    """What was done and read on every day but the last."""
    planting, days_total = _span(season)
    irrigation, nitrogen = _applied_by_day(season.operations, planting, days_total)
    readings: list[dict[str, Any]] = season.readings.to_dict("records")  # type: ignore[assignment]  # columns are named
    by_day = {days_between(planting, str(r["date"])): r for r in readings}
    return [
        Day("", _without_nan(by_day.get(d)), float(irrigation[d]), float(nitrogen[d])) for d in range(days_total - 1)
    ]


def _without_nan(reading: dict[str, Any] | None) -> dict[str, Any] | None:
    if reading is None:
        return None
    return {name: None if value != value else value for name, value in reading.items()}


def _assumed_days(operations: pd.DataFrame, planting: str) -> list[int]:
    """Days after planting of the actions that nobody confirmed."""
    return [days_between(planting, str(day)) for day in operations["date"][operations["basis"] == "assumed"]]


def _applied_by_day(operations: pd.DataFrame, planting: str, days_total: int) -> tuple[Array, Array]:
    irrigation = np.zeros(days_total, np.float32)
    nitrogen = np.zeros(days_total, np.float32)
    for day, water_mm, dose in zip(
        operations["date"], operations["irrigation_mm"], operations["nitrogen_kg_ha"], strict=True
    ):
        dap = days_between(planting, str(day))
        if 0 <= dap < days_total:
            irrigation[dap] += water_mm
            nitrogen[dap] += dose
    return irrigation, nitrogen
