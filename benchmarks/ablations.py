"""What limits our rows of benchmarks/decisions.py: the same model and code with more, or less, to go by.

    .venv/bin/python benchmarks/ablations.py [--seeds 6] [--bundle FILE | --checkout PATH]

The main site's test seasons; nothing is learned or chosen here. The model is the bundle that ships, as decisions.py has
it: --bundle names its file, --checkout a clone in which `make season` has run.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.closed_loop.fieldloop import FIELDLOOP, Senses, advised
from benchmarks.closed_loop.kept import write_json
from benchmarks.closed_loop.shipped import shipped
from benchmarks.closed_loop.sites import MAIN, SCENARIOS
from fieldloop.core.process_setup import settle
from fieldloop.workloads.agriculture.world.sensors import FaultRates

RESULT = Path(__file__).resolve().parent / "results" / "ablations.json"
EXACT = FaultRates(
    probe_bias=0.0,
    probe_white=0.0,
    probe_drift_per_day=0.0,
    probe_depth_error_m=0.0,
    misplaced_chance=0.0,
    stuck_chance=0.0,
    gap_chance_per_day=0.0,
    death_chance=0.0,
    station_gap_chance_per_day=0.0,
)
# Name, whether it has a forecast of realistic skill, and what it senses.
VARIANTS = (
    ("as in the table", False, Senses()),
    ("probes without faults", False, Senses(faults=EXACT)),
    ("no probes at all", False, Senses(has_probes=False)),
    ("start water unknown", False, Senses(knows_start_water=False)),
    ("start water unknown, no probes", False, Senses(knows_start_water=False, has_probes=False)),
    ("soil values 8 % too high", False, Senses(soil_error=0.08)),
    ("5-day forecast, realistic", True, Senses()),
    ("5-day forecast, exact", False, Senses(has_exact_forecast=True)),
)


def main() -> int:
    """Run, print the table, write the JSON."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seeds", type=int, default=6)
    arguments.add_argument("--bundle", type=Path)
    arguments.add_argument("--checkout", type=Path)
    options = arguments.parse_args()
    settle()
    started, seeds = time.monotonic(), range(300, 300 + options.seeds)
    bundle = shipped(FIELDLOOP, options.bundle, options.checkout)
    ours = bundle.decider
    rows: dict[str, dict[str, Any]] = {}
    print(f"{'USD/ha, 2008-2018':<34}" + "".join(f"{scenario.name:>10}" for scenario in SCENARIOS))
    for name, has_forecast, senses in VARIANTS:
        rows[name] = {
            scenario.name: float(
                advised(
                    MAIN, scenario, seeds, ours.predict, has_forecast, senses=senses, doubt=ours.doubt
                ).profit_usd_ha.mean()
            )
            for scenario in SCENARIOS
        }
        print(f"{name:<34}" + "".join(f"{value:>10.1f}" for value in rows[name].values()), flush=True)
    figures = {
        "site": MAIN.name,
        "bundle": bundle.as_json(),
        "seeds": options.seeds,
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(RESULT, {**figures, "profit_usd_ha": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
