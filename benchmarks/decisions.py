"""What decisions earn in closed loop: Fieldloop beside its rivals, day by day, in FAO's AquaCrop, against the bars.

    .venv/bin/python benchmarks/decisions.py [--site champion-sandyloam] [--seeds 20] [--threads 1] [--recompute]

Everything is tuned on the tuning seasons alone; the tables are of the test seasons. What our own code cannot change
(foresight, tuned thresholds, the package's practices) is kept in results/rivals.json; --recompute forgets it.
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
from benchmarks.closed_loop.fieldloop import fieldloop_nitrogen_rows, fieldloop_rows, forget_models
from benchmarks.closed_loop.foresight import BestSchedule, best_schedules, foresight_row
from benchmarks.closed_loop.harness import Row, joined
from benchmarks.closed_loop.kept import Kept, write_json
from benchmarks.closed_loop.nitrogen_doses import FORESIGHT, TunedNitrogen, nitrogen_rows, tuned_nitrogen
from benchmarks.closed_loop.package_practices import PRACTICES, PackagePractice, lived_by_package, package_row
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


def main() -> int:
    """Run, print the tables, write the JSON; 1 where a bar is missed."""
    options = parsed()
    settle()
    if options.retrain:
        forget_models()
    started = time.monotonic()
    sites = [site for site in SITES if options.site in (None, site.name)]
    rivals = Rivals(Kept(RESULT.with_name("rivals.json"), options.recompute), options.threads)
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    tables: dict[tuple[str, str], list[Row]] = {}
    for site in sites:
        for scenario in SCENARIOS:
            rows = rivals.irrigation(site, scenario, seeds) + fieldloop_rows(site, scenario, seeds)
            tables[site.name, scenario.name] = shown(site.name, scenario.name, rows)
    if MAIN in sites:
        tables[MAIN.name, bars.TWO_FOLD] = shown(MAIN.name, bars.TWO_FOLD, two_fold(rivals, seeds))
    nitrogen = rivals.nitrogen(MAIN)
    nitrogen += fieldloop_nitrogen_rows(MAIN, rivals.moisture_pct(MAIN, CHEAP_WATER, ()), seeds)
    table.print_nitrogen(f"{MAIN.name}, nitrogen at 1 USD/kg", nitrogen, table.row_named(nitrogen, FORESIGHT))
    calibrated = calibration_figures(rivals, seeds) if MAIN in sites else {}
    asked = [bar for (site, name), rows in tables.items() for bar in bars.irrigation_bars(site, name, rows)]
    asked += bars.elsewhere_bar(tables) + bars.nitrogen_bars(nitrogen)
    asked += bars.calibration_bars(calibrated) if calibrated else []
    if asked:
        print()
        print_bars(asked, decimals=1)
    else:
        print("\nno row Fieldloop yet: the rivals alone")
    if options.site is None:
        figures = result(tables, nitrogen, calibrated, asked, options.seeds, time.monotonic() - started)
        write_json(RESULT, figures)
        drawn = pictures.draw(figures, rivals.moisture_pct(MAIN, pictures.SHOWN, TUNING_SEEDS), FIRST_SEED)
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
    """Every season on record at the main site with dear water, each tuned on the years of the other parity."""
    tables = [
        [
            rainfed_row(fold, DEAR_WATER, rivals.threads),
            *rivals.tuned_thresholds(fold, DEAR_WATER, seeds),
            *fieldloop_rows(fold, DEAR_WATER, seeds),
        ]
        for fold in folds(MAIN)
    ]
    return [joined(same) for same in zip(*tables, strict=True)]


def shown(site: str, name: str, rows: list[Row]) -> list[Row]:
    """Those rows, printed."""
    measured = bars.ISSUE_USD_HA[name] if site == MAIN.name else {}
    seasons = f"{rows[0].seasons[0]}-{rows[0].seasons[-1]}"
    table.print_irrigation(f"{site}, {name}, {seasons}", rows, table.row_named(rows, TUNED_NOISY), measured)
    return rows


def calibration_figures(rivals: Rivals, seeds: Sequence[int]) -> dict[str, Any]:
    """Coverage at the main site, printed; and what it would be in the air of the tuning years, which is an ablation."""
    pct = rivals.moisture_pct(MAIN, CHEAP_WATER, ())
    found = calibration(foretold(MAIN, pct, seeds[:CALIBRATION_SEEDS]))
    older = calibration(foretold(under_other_air(MAIN), pct, seeds[:ABLATION_SEEDS]))
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
