"""What decisions earn in closed loop: the bundle that ships beside its rivals, day by day, in FAO's AquaCrop.

    .venv/bin/python benchmarks/decisions.py [--site champion-sandyloam] [--seeds 20] [--threads 1] [--recompute]
        [--bundle FILE | --checkout PATH] [--wofost maize.yaml] [--settings-alone] [--quick]

Fieldloop's rows are of the bundle that devices get, the same one everywhere: `--bundle` names its file, `--checkout` a
clone in which `make season` has run, and without either it is made once by the loop's own steps (shipped.py). A model
that was trained for each site alone, with a long search, is a row of its own.

Rivals are tuned on the tuning seasons alone; the tables are of the test seasons. Then the bundle is tried in many
settings (settings.py): sites, prices, allowances, start water, faults that nobody knows of, and WOFOST where its crop
parameters are named. What our own code cannot change (foresight, tuned thresholds, the package's practices) is kept in
results/rivals.json; --recompute forgets it. --quick tries one setting of each kind and writes nothing.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.closed_loop import bars, foresight, page, pictures, table, thresholds
from benchmarks.closed_loop.calibration import calibration, foretold, middle_year, under_other_air
from benchmarks.closed_loop.fieldloop import (
    FIELDLOOP,
    fieldloop_nitrogen_rows,
    fieldloop_rows,
    forget_models,
    own_model_row,
)
from benchmarks.closed_loop.foresight import BestSchedule, best_schedules, foresight_row
from benchmarks.closed_loop.harness import Row, joined
from benchmarks.closed_loop.kept import Kept, write_json
from benchmarks.closed_loop.nitrogen_doses import FORESIGHT, TunedNitrogen, nitrogen_rows, tuned_nitrogen
from benchmarks.closed_loop.package_practices import PRACTICES, PackagePractice, lived_by_package, package_row
from benchmarks.closed_loop.settings import OURS, RULE, THRESHOLDS, Judged, interval, judged, settings
from benchmarks.closed_loop.shipped import Decider, Shipped, shipped
from benchmarks.closed_loop.sites import CHEAP_WATER, DEAR_WATER, MAIN, SCENARIOS, SITES, Scenario, Site, folds
from benchmarks.closed_loop.thresholds import (
    TUNED_NOISY,
    TUNED_TRUE,
    TUNING_SEEDS,
    fao56_row,
    rainfed_row,
    thresholds_row,
    tuned,
)
from benchmarks.common.bars import machine, print_bars
from fieldloop.core.process_setup import settle
from fieldloop.workloads.agriculture.world.nitrogen import NitrogenRates

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "decisions.json"
FIRST_SEED = 300  # of the test's sensor noise; tuning has seeds of its own
NITROGEN_TABLE = "nitrogen"
CALIBRATION_SEEDS, ABLATION_SEEDS = 8, 2
SETTING_SEEDS, QUICK_SEEDS = 10, 2


def main() -> int:
    """Run, print the tables, write the JSON; 1 where a bar is missed."""
    options = parsed()
    settle()
    if options.retrain:
        forget_models()
    started = time.monotonic()
    sites = [site for site in SITES if options.site in (None, site.name)]
    kept = RESULT.with_name("rivals.json")
    rivals = Rivals(Kept(kept, options.recompute, is_read_only=options.quick), options.threads)
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    bundle = shipped(FIELDLOOP, options.bundle, options.checkout)
    ours = bundle.decider
    print(f"the bundle: version {bundle.version}, {bundle.precision}, sha256 {bundle.sha256[:12]}")
    setting_seeds = seeds[: QUICK_SEEDS if options.quick else SETTING_SEEDS]
    if options.quick or options.settings_alone:
        tried = try_settings(rivals.kept, ours, setting_seeds, options.wofost, options.quick)
        asked = bars.setting_bars(tried)
        print()
        print_bars(asked, decimals=1)
        if not options.quick:
            write_json(RESULT.with_name("settings.json"), settings_json(tried, asked, bundle))
        return int(not all(bar["is_met"] for bar in asked))
    tables: dict[tuple[str, str], list[Row]] = {}
    for site in sites:
        for scenario in SCENARIOS:
            rows = rivals.irrigation(site, scenario, seeds) + fieldloop_rows(site, scenario, seeds, ours)
            tables[site.name, scenario.name] = shown(site.name, scenario.name, rows)
    if MAIN in sites:
        tables[MAIN.name, bars.TWO_FOLD] = shown(MAIN.name, bars.TWO_FOLD, two_fold(rivals, seeds))
    nitrogen = rivals.nitrogen(MAIN)
    nitrogen += fieldloop_nitrogen_rows(MAIN, rivals.moisture_pct(MAIN, CHEAP_WATER, ()), seeds, ours)
    table.print_nitrogen(f"{MAIN.name}, nitrogen at 1 USD/kg", nitrogen, table.row_named(nitrogen, FORESIGHT))
    calibrated = calibration_figures(rivals, seeds, ours) if MAIN in sites else {}
    tried = try_settings(rivals.kept, ours, setting_seeds, options.wofost) if options.site is None else []
    asked = [bar for (site, name), rows in tables.items() for bar in bars.irrigation_bars(site, name, rows)]
    asked += bars.elsewhere_bar(tables) + bars.nitrogen_bars(nitrogen)
    asked += bars.calibration_bars(calibrated) if calibrated else []
    asked += bars.setting_bars(tried)
    print()
    print_bars(asked, decimals=1)
    if options.site is None:
        figures = result(tables, nitrogen, calibrated, asked, options.seeds, time.monotonic() - started)
        figures |= settings_json(tried, bars.setting_bars(tried), bundle)
        write_json(RESULT, figures)
        drawn = pictures.draw(figures, rivals.moisture_pct(MAIN, pictures.SHOWN, TUNING_SEEDS), FIRST_SEED, ours)
        page.write(figures)
        print(f"\nwritten to {', '.join(str(path.relative_to(ROOT)) for path in (RESULT, page.PAGE, *drawn))}")
    return int(not all(bar["is_met"] for bar in asked))


def parsed() -> argparse.Namespace:
    """The command line."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--site", choices=[site.name for site in SITES], help="that one alone; nothing is written")
    arguments.add_argument("--seeds", type=int, default=20, help="draws of the sensors' noise")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--retrain", action="store_true", help="forget our kept models")
    arguments.add_argument("--recompute", action="store_true", help="forget the rivals' kept results")
    arguments.add_argument("--quick", action="store_true", help="one setting of each kind, two seeds; writes nothing")
    arguments.add_argument("--settings-alone", action="store_true", help="the settings without the tables")
    arguments.add_argument("--wofost", type=Path, help="WOFOST's maize.yaml, for the settings with other physics")
    which = arguments.add_mutually_exclusive_group()
    which.add_argument("--bundle", type=Path, help="the bundle to try")
    which.add_argument("--checkout", type=Path, help="a clone where `make season` has run: the bundle it released last")
    return arguments.parse_args()


@dataclass(frozen=True, eq=False)
class Rivals:
    """Everybody else's rows, with what was tuned or searched for them kept between runs."""

    kept: Kept
    threads: int

    def irrigation(self, site: Site, scenario: Scenario, seeds: Sequence[int]) -> list[Row]:
        """The rows of an irrigation table, from the least to the most that can be known."""
        practices = [one for one in PRACTICES if one.knows_caps or scenario.doses_max is None]
        return [
            rainfed_row(site, scenario, self.threads),
            *(self._package_row(site, scenario, practice) for practice in practices),
            fao56_row(site, scenario, self.threads),
            *self.tuned_thresholds(site, scenario, seeds),
            foresight_row(site, scenario, self._schedules(site, scenario)),
        ]

    def tuned_thresholds(self, site: Site, scenario: Scenario, seeds: Sequence[int]) -> list[Row]:
        """Thresholds with the true state, and under the sensors' noise; each tuned as it is used."""
        true, noisy = (self.moisture_pct(site, scenario, tuning) for tuning in ((), TUNING_SEEDS))
        return [
            thresholds_row(TUNED_TRUE, site, scenario, true, (), self.threads),
            thresholds_row(TUNED_NOISY, site, scenario, noisy, seeds, self.threads),
        ]

    def nitrogen(self, site: Site) -> list[Row]:
        """The rows of the nitrogen table."""
        pct = self.moisture_pct(site, CHEAP_WATER, ())
        key = f"{NITROGEN_TABLE}/{site.name}"
        found = self.kept.get(
            key, (site, pct, NitrogenRates()), lambda: asdict(tuned_nitrogen(site, pct, self.threads))
        )
        return nitrogen_rows(site, pct, TunedNitrogen(**found), self.threads)

    def moisture_pct(self, site: Site, scenario: Scenario, seeds: Sequence[int]) -> list[float]:
        """The tuned thresholds, % of TAW by stage; under the noise of `seeds`, or with the true state for none."""
        key = f"thresholds/{site.name}/{scenario.name}/{'noisy' if seeds else 'true'}"
        noise = (thresholds.BIAS_SD_M3_M3, thresholds.WHITE_SD_M3_M3)
        effort = (thresholds.GENERATIONS, thresholds.CANDIDATES_A_PARAMETER)
        settings = (site, scenario, seeds, noise, effort)
        found: list[float] = self.kept.get(key, settings, lambda: tuned(site, scenario, seeds, self.threads))
        return found

    def _package_row(self, site: Site, scenario: Scenario, practice: PackagePractice) -> Row:
        key = f"package/{site.name}/{practice.name}/{scenario.doses_max or 'no'} doses at most"
        lived = self.kept.get(key, (site, practice), lambda: lived_by_package(site, scenario.water_cap_mm, practice))
        return package_row(site, scenario, practice, lived)

    def _schedules(self, site: Site, scenario: Scenario) -> list[BestSchedule]:
        def searched() -> list[dict[str, Any]]:
            plots = site.plots(site.tested_on)
            return [asdict(one) for one in best_schedules(plots, scenario, threads=self.threads)]

        key = f"foresight/{site.name}/{scenario.name}"
        settings = (site, scenario, foresight.ROUNDS, foresight.NEIGHBOURS)
        return [BestSchedule(**one) for one in self.kept.get(key, settings, searched)]


def two_fold(rivals: Rivals, seeds: Sequence[int]) -> list[Row]:
    """Every season on record at the main site with dear water, each tuned on the years of the other parity.

    The bundle that ships has learned from most of these years: here stands what is trained anew for each half.
    """
    tables = [
        [
            rainfed_row(fold, DEAR_WATER, rivals.threads),
            *rivals.tuned_thresholds(fold, DEAR_WATER, seeds),
            own_model_row(fold, DEAR_WATER, seeds),
        ]
        for fold in folds(MAIN)
    ]
    return [joined(same) for same in zip(*tables, strict=True)]


def shown(site: str, name: str, rows: list[Row]) -> list[Row]:
    """Those rows, printed."""
    measured = bars.TARGET_USD_HA[name] if site == MAIN.name else {}
    seasons = f"{rows[0].seasons[0]}-{rows[0].seasons[-1]}"
    table.print_irrigation(f"{site}, {name}, {seasons}", rows, table.row_named(rows, TUNED_NOISY), measured)
    return rows


def try_settings(
    kept: Kept, ours: Decider, seeds: Sequence[int], wofost: Path | None, is_quick: bool = False
) -> list[Judged]:
    """The bundle in every setting, each printed as it is known."""
    print(f"\n{'USD/ha':<76} {'rule':>7} {'thresh.':>7} {'bundle':>7}  over thresholds, 95 %     over rule, 90 %")
    found = []
    for setting in settings(wofost, is_quick):
        one = judged(setting, ours, seeds, kept, wofost)
        found.append(one)
        earned = " ".join(f"{one.mean(who):>7.0f}" for who in (RULE, THRESHOLDS, OURS))
        gains = (interval(one.gain(THRESHOLDS), 95.0), interval(one.gain(RULE), 90.0))
        told = "  ".join(f"{mean:+6.1f} [{low:+6.1f}, {high:+6.1f}]" for mean, low, high in gains)
        print(f"{setting.name:<76} {earned}  {told}", flush=True)
    if wofost is None:
        print("no setting with other physics: name WOFOST's crop parameters with --wofost")
    return found


def settings_json(tried: Sequence[Judged], asked: Sequence[dict[str, Any]], bundle: Shipped) -> dict[str, Any]:
    """The settings, their bars and the bundle, as plain JSON values."""
    return {"bundle": bundle.as_json(), "setting_bars": list(asked), "settings": [one.as_json() for one in tried]}


def calibration_figures(rivals: Rivals, seeds: Sequence[int], ours: Decider) -> dict[str, Any]:
    """Coverage at the main site, printed; and what it would be in the air of the tuning years, which is an ablation."""
    pct = rivals.moisture_pct(MAIN, CHEAP_WATER, ())
    found = calibration(foretold(MAIN, pct, seeds[:CALIBRATION_SEEDS], ours))
    older = calibration(foretold(under_other_air(MAIN), pct, seeds[:ABLATION_SEEDS], ours))
    told = {"all tables": found, **found["by_table"], f"all, in the CO2 of {middle_year(MAIN)}": older}
    table.print_calibration(f"{MAIN.name}, the 80 % interval of the yield, every morning", told)
    return {**found, "in_air_of": {"year": middle_year(MAIN), **older}}


def result(
    tables: dict[tuple[str, str], list[Row]],
    nitrogen: list[Row],
    calibrated: dict[str, Any],
    asked: list[dict[str, Any]],
    seeds: int,
    seconds: float,
) -> dict[str, Any]:
    """The JSON: every table by site and name, with profits season by season."""
    irrigation: dict[str, dict[str, Any]] = {}
    for (site, name), rows in tables.items():
        irrigation.setdefault(site, {})[name] = table.as_json(rows, table.row_named(rows, TUNED_NOISY))
    return {
        "machine": machine(),
        "seconds": round(seconds, 1),
        "noise_seeds": seeds,
        "bars": asked,
        "irrigation": irrigation,
        NITROGEN_TABLE: {MAIN.name: table.as_json(nitrogen, None)},
        "calibration": {MAIN.name: calibrated},
    }


if __name__ == "__main__":
    sys.exit(main())
