"""What the fields of a season brought, by practice: means, medians, regions, gains, and every field.

Every comparison is between practices on the same fields; a season whose practices do not cover the same fields is
refused.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fieldedge.contract import Record
from fieldedge.system.errors import DataError

FIELDLOOP = "fieldloop"
ALWAYS = ("threshold", "calendar", "rainfed")
OTHERS = ("tuned_threshold", *ALWAYS)  # the first is not known of seasons that were lived before it was
PRACTICES = (FIELDLOOP, *OTHERS)
MEASURES = ("profit_usd_ha", "yield_t_ha", "irrigation_mm", "nitrogen_kg_ha", "leached_kg_ha")
BOOTSTRAP_DRAWS = 2000

Outcomes = Mapping[str, Mapping[str, Mapping[str, Any]]]  # practice: field_id: outcome


def practices_of(seasons: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The practices that every one of these seasons' figures knows, in their order."""
    return tuple(name for name in PRACTICES if all(name in season["profit_usd_ha"] for season in seasons))


def others_of(seasons: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The same without Fieldloop."""
    return tuple(name for name in practices_of(seasons) if name != FIELDLOOP)


def field_figures(season: int, ours: Sequence[Record], others: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
    """The figures of a season's fields under Fieldloop and under the other practices.

    Raises:
        DataError: a practice does not cover the fleet's fields.
    """
    outcomes = _outcomes(season, ours, others)
    return {
        **{measure: _per_practice(outcomes, measure, np.mean) for measure in MEASURES},
        "median": {measure: _per_practice(outcomes, measure, np.median) for measure in MEASURES},
        "regions": _regions(outcomes),
        "gain": {other: _gain(outcomes, other) for other in outcomes if other != FIELDLOOP},
        "fields": _fields(outcomes),
    }


def _outcomes(season: int, ours: Sequence[Record], others: Mapping[str, Sequence[Record]]) -> Outcomes:
    known = [name for name in OTHERS if name in ALWAYS or name in others]
    told = {FIELDLOOP: ours, **{name: others.get(name, ()) for name in known}}
    outcomes = {name: {str(row["field_id"]): row for row in rows} for name, rows in told.items()}
    expected = outcomes[FIELDLOOP].keys()
    if not expected:
        raise DataError(f"season {season} has no field of the fleet; expected at least one")
    for name, fields in outcomes.items():
        if fields.keys() != expected:
            odd = ", ".join(sorted(fields.keys() ^ expected)[:5])
            raise DataError(
                f"season {season}: {name} has {len(fields)} fields and the fleet {len(expected)}; expected the "
                f"same fields, but not in both are {odd}"
            )
    return {name: {field: fields[field] for field in sorted(fields)} for name, fields in outcomes.items()}


def _values(outcomes: Outcomes, practice: str, measure: str) -> list[float]:
    return [float(outcome[measure]) for outcome in outcomes[practice].values()]


def _per_practice(outcomes: Outcomes, measure: str, statistic: Any) -> dict[str, float]:
    return {practice: float(statistic(_values(outcomes, practice, measure))) for practice in outcomes}


def _regions(outcomes: Outcomes) -> dict[str, dict[str, Any]]:
    names = sorted({str(outcome["region"]) for outcome in outcomes[FIELDLOOP].values()})
    return {name: _region(outcomes, name) for name in names}


def _region(outcomes: Outcomes, region: str) -> dict[str, Any]:
    inside = {field for field, outcome in outcomes[FIELDLOOP].items() if outcome["region"] == region}
    part = {name: {field: fields[field] for field in fields if field in inside} for name, fields in outcomes.items()}
    return {"fields": len(inside), **{measure: _per_practice(part, measure, np.mean) for measure in MEASURES}}


def _gain(outcomes: Outcomes, other: str) -> dict[str, float | int]:
    """Fieldloop's profit less the other's on the same fields, with a 90 % bootstrap interval of the mean."""
    mine, theirs = (np.array(_values(outcomes, name, "profit_usd_ha")) for name in (FIELDLOOP, other))
    gains = mine - theirs
    picks = np.random.default_rng(0).integers(0, len(gains), (BOOTSTRAP_DRAWS, len(gains)))
    low, high = np.quantile(gains[picks].mean(axis=1), [0.05, 0.95])
    return {
        "mean_usd_ha": float(gains.mean()),
        "low_usd_ha": float(low),
        "high_usd_ha": float(high),
        "fields_better": int((gains > 0).sum()),
        "fields": len(gains),
    }


def _fields(outcomes: Outcomes) -> list[dict[str, Any]]:
    return [
        {
            **{name: outcome[name] for name in ("field_id", "region", "device_id")},
            **{
                measure: {practice: outcomes[practice][field][measure] for practice in outcomes} for measure in MEASURES
            },
        }
        for field, outcome in outcomes[FIELDLOOP].items()
    ]
