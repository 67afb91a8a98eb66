"""The bars and earlier figures, and which of them the rows meet. A bar is asked of a row only if it ran."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.closed_loop.fieldloop import FIELDLOOP, FIELDLOOP_FORECAST, FIELDLOOP_OWN
from benchmarks.closed_loop.harness import Row
from benchmarks.closed_loop.nitrogen_doses import FORESIGHT, SPLIT_RULE
from benchmarks.closed_loop.package_practices import INTERVAL, NET, PUBLISHED
from benchmarks.closed_loop.settings import (
    FAULT,
    FAULTS,
    NO_FAULT,
    OURS,
    PRICES,
    RULE,
    START,
    THRESHOLDS,
    WOFOST,
    Judged,
    Setting,
    interval,
    pooled_gain,
)
from benchmarks.closed_loop.sites import MAIN
from benchmarks.closed_loop.table import paired_gain, row_named, summary
from benchmarks.closed_loop.thresholds import FAO56_TRUE, RAINFED, TUNED_NOISY, TUNED_TRUE

TWO_FOLD = "two-fold"
FORESIGHT_SHARE_MIN = 0.97
LOSS_SHARE_MAX = 0.03
COVERAGE_PCT = (75.0, 85.0)  # what the 80 % interval may cover
COVERAGE_OF_TABLE_PCT = (70.0, 90.0)
BELOW_THRESHOLDS_SHARE_MAX, BELOW_THRESHOLDS_USD_HA_MAX = 0.03, 10.0  # of a single setting: the larger of both
BELOW_RULE_USD_HA_MAX = 5.0  # the lower end of the 90 % interval, in every setting
# What each fault took from a model of the site alone before devices knew of faults; half of it may be lost.
FAULT_LOSS_USD_HA = dict(zip(FAULTS, (56.0, 69.0, 29.0, 115.0), strict=True))

# Main site, USD/ha: the rivals as the study measured them, and the bars of ours.
TARGET_USD_HA: Mapping[str, dict[str, float]] = {
    "c=1": {
        RAINFED: -130.0,
        INTERVAL.name: 377.0,
        NET.name: 482.0,
        PUBLISHED.name: 531.0,
        TUNED_TRUE: 600.0,
        TUNED_NOISY: 586.0,
        FORESIGHT: 619.0,
        FIELDLOOP: 592.0,
        FIELDLOOP_FORECAST: 600.0,
    },
    "cap 150": {
        RAINFED: -130.0,
        PUBLISHED.name: 407.0,
        TUNED_TRUE: 419.0,
        TUNED_NOISY: 421.0,
        FORESIGHT: 514.0,
        FIELDLOOP: 430.0,
        FIELDLOOP_FORECAST: 435.0,
    },
    "c=3": {
        RAINFED: -130.0,
        PUBLISHED.name: 22.0,
        TUNED_TRUE: 285.0,
        TUNED_NOISY: 250.0,
        FORESIGHT: 316.0,
        FIELDLOOP: 285.0,
        FIELDLOOP_FORECAST: 292.0,
    },
    TWO_FOLD: {TUNED_NOISY: 205.0, FIELDLOOP_OWN: 224.0},
}


def irrigation_bars(site: str, table: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The bars of one irrigation table: the targets at the main site, the rivals elsewhere."""
    name = FIELDLOOP_OWN if table == TWO_FOLD else FIELDLOOP  # what ships has learned from most of those years
    ours, thresholds = row_named(rows, name), row_named(rows, TUNED_NOISY)
    if ours is None or thresholds is None:
        return []
    where, profit, tuned_usd_ha = f"{site}, {table}", _profit(ours), _profit(thresholds)
    if site == MAIN.name:
        found = [_bar(f"{where}: {ours.name} over noisy thresholds", profit, tuned_usd_ha)]
        for row in (ours, row_named(rows, FIELDLOOP_FORECAST)):
            if row is not None and row.name in TARGET_USD_HA[table]:
                found.append(_bar(f"{where}: {row.name}", _profit(row), TARGET_USD_HA[table][row.name]))
    else:
        least = tuned_usd_ha - LOSS_SHARE_MAX * abs(tuned_usd_ha)
        found = [_bar(f"{where}: {ours.name}, no more than 3 % below noisy thresholds", profit, least)]
    if table == TWO_FOLD:
        gains = ours.profit_by_season_usd_ha - thresholds.profit_by_season_usd_ha
        found.append(_bar(f"{where}: gain over thresholds, lower end of 95 %", paired_gain(gains)[1], 0.0))
    rule = row_named(rows, FAO56_TRUE)
    if rule is not None:
        found.append(_bar(f"{where}: {ours.name} over the {rule.name}", profit, _profit(rule)))
    return found


def elsewhere_bar(tables: Mapping[tuple[str, str], Sequence[Row]]) -> list[dict[str, Any]]:
    """On other soils and climates, the mean gain over the noisy thresholds is above 0."""
    gains = [
        _profit(ours) - _profit(thresholds)
        for (site, _), rows in tables.items()
        if site != MAIN.name
        and (ours := row_named(rows, FIELDLOOP)) is not None
        and (thresholds := row_named(rows, TUNED_NOISY)) is not None
    ]
    if not gains:
        return []
    return [_bar("other soils and climates: mean gain over noisy thresholds", sum(gains) / len(gains), 0.0)]


def nitrogen_bars(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Nearly what foresight earns, at no more leaching than the split rule."""
    ours, best, split = (row_named(rows, name) for name in (FIELDLOOP, FORESIGHT, SPLIT_RULE))
    if ours is None or best is None or split is None:
        return []
    limit = FORESIGHT_SHARE_MIN * _profit(best)
    leached, allowed = (summary(row).leached_kg_ha for row in (ours, split))
    return [
        _bar("nitrogen: Fieldloop, 97 % of perfect foresight, USD/ha", _profit(ours), limit),
        {"bar": "nitrogen: leached, kg/ha", "measured": leached, "limit": allowed, "is_met": leached <= allowed},
    ]


def calibration_bars(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The 80 % interval of the yield covers neither too little nor too much of the test seasons' mornings."""
    least, most = COVERAGE_PCT
    measured, name = found["coverage_pct"], "calibration: % within the 80 % interval of the yield"
    return [
        _bar(f"{name}, at least", measured, least),
        _most(f"{name}, at most", measured, most),
        *(
            bar
            for table, one in found["by_table"].items()
            for bar in (
                _bar(f"{name}, {table}, at least", one["coverage_pct"], COVERAGE_OF_TABLE_PCT[0]),
                _most(f"{name}, {table}, at most", one["coverage_pct"], COVERAGE_OF_TABLE_PCT[1]),
            )
        ),
    ]


def setting_bars(found: Sequence[Judged]) -> list[dict[str, Any]]:
    """The bundle that ships in every setting: against thresholds, against the rule in the box, faults and WOFOST."""
    nominal = [one for one in found if one.setting.kind in (PRICES, START)]
    return [
        *_over_thresholds(nominal),
        *_over_rule([one for one in found if one.setting.kind != WOFOST]),
        *_under_faults(found),
        *_in_wofost([one for one in found if one.setting.kind == WOFOST]),
    ]


def _over_thresholds(nominal: Sequence[Judged]) -> list[dict[str, Any]]:
    if not nominal:
        return []
    mean, low, _ = pooled_gain(nominal, THRESHOLDS)
    allowed = {
        one.setting.name: max(BELOW_THRESHOLDS_SHARE_MAX * abs(one.mean(THRESHOLDS)), BELOW_THRESHOLDS_USD_HA_MAX)
        for one in nominal
    }
    worst = min(nominal, key=lambda one: float(one.gain(THRESHOLDS).mean()) + allowed[one.setting.name])
    name, below = worst.setting.name, [n for n in nominal if n.gain(THRESHOLDS).mean() < -allowed[n.setting.name]]
    return [
        _bar(f"{len(nominal)} settings: mean gain over noisy thresholds, USD/ha", mean, 0.0),
        _bar(f"{len(nominal)} settings: the same, lower end of 95 %", low, 0.0),
        _bar(f"worst of them against thresholds ({name})", float(worst.gain(THRESHOLDS).mean()), -allowed[name]),
        _most("settings further below thresholds than is allowed", float(len(below)), 0.0),
    ]


def _over_rule(found: Sequence[Judged]) -> list[dict[str, Any]]:
    """Never below the device without its model, with or without a fault."""
    if not found:
        return []
    lows = {one.setting.name: interval(one.gain(RULE), 90.0)[1] for one in found}
    worst = min(lows, key=lambda name: lows[name])
    return [
        _bar(
            f"worst of {len(found)} against the rule in the box, lower end of 90 % ({worst})",
            lows[worst],
            -BELOW_RULE_USD_HA_MAX,
        ),
        _most(
            "settings and faults below the rule in the box",
            float(sum(low < -BELOW_RULE_USD_HA_MAX for low in lows.values())),
            0.0,
        ),
    ]


def _under_faults(found: Sequence[Judged]) -> list[dict[str, Any]]:
    """At the main site: half of what each fault took, and no less than thresholds under the same fault."""
    faulty = [one for one in found if one.setting.kind == FAULT and one.setting.site == MAIN]
    bars = []
    for one in faulty:
        name, sound = one.setting.fault, _without_fault(found, one.setting)
        if sound is not None and name in FAULT_LOSS_USD_HA:
            loss = sound.mean(OURS) - one.mean(OURS)
            bars.append(_most(f"{name}: loss, USD/ha", loss, FAULT_LOSS_USD_HA[name] / 2))
        bars.append(_bar(f"{name}: gain over thresholds under it", float(one.gain(THRESHOLDS).mean()), 0.0))
    return bars


def _without_fault(found: Sequence[Judged], setting: Setting) -> Judged | None:
    return next(
        (
            one
            for one in found
            if one.setting.fault == NO_FAULT and (one.setting.site, one.setting.scenario.name) == (setting.site, "c=1")
        ),
        None,
    )


def _in_wofost(found: Sequence[Judged]) -> list[dict[str, Any]]:
    """With other physics: no worse than without the model, and above thresholds carried over."""
    return [
        bar
        for one in found
        for bar in (
            _bar(f"{one.setting.name}: gain over the device without its model", float(one.gain(RULE).mean()), 0.0),
            _bar(f"{one.setting.name}: gain over thresholds carried over", float(one.gain(THRESHOLDS).mean()), 0.0),
        )
    ]


def _profit(row: Row) -> float:
    return float(row.profit_by_season_usd_ha.mean())


def _most(name: str, measured: float, most: float) -> dict[str, Any]:
    return {"bar": name, "measured": round(measured, 2), "limit": round(most, 2), "is_met": bool(measured <= most)}


def _bar(name: str, measured: float, least: float) -> dict[str, Any]:
    return {"bar": name, "measured": round(measured, 2), "limit": round(least, 2), "is_met": bool(measured >= least)}
