"""The whole loop against its bars: cold, unchanged, the fleet's season, the device's environment, INT8, profit.

    .venv/bin/python benchmarks/season_loop.py [--cold-runs 1] [--warm-runs 3]

It runs in a throw-away clone of HEAD with the environments of this one, so nothing of yours is touched.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common.bars import machine, print_bars

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "season_loop.json"
_STEP = re.compile(r"^  (\w+) +.*\((\d+\.\d) s\)$", re.MULTILINE)


def main() -> int:
    """Run, print the table, write the JSON; 1 where a bar is missed."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--cold-runs", type=int, default=1)
    arguments.add_argument("--warm-runs", type=int, default=3)
    options = arguments.parse_args()
    cold_s, warm_s, fleet_s, report = [], [], [], {}
    for _ in range(options.cold_runs):
        with tempfile.TemporaryDirectory() as scratch:
            clone = Path(scratch) / "clone"
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
            seconds, output = run_season(clone)
            cold_s.append(seconds)
            fleet_s += [float(spent) for step, spent in _STEP.findall(output) if step == "season"]
            told = (clone / ".fieldloop" / "report.json").read_text()
            report = json.loads(told.replace(f"{clone}/", ""))  # the clone is gone when this is read
            warm_s += [run_season(clone)[0] for _ in range(options.warm_runs)]
    rows = bars(report, cold_s, warm_s, fleet_s)
    print_bars(rows)
    print_practices(report)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    figures = {"machine": machine(), "cold_s": cold_s, "warm_s": warm_s, "fleet_s": fleet_s, "bars": rows}
    kept = {name: report[name] for name in ("seasons", "bundle")}
    RESULT.write_text(json.dumps({**figures, "report": kept}, indent=1) + "\n")
    print(f"\nwritten to {RESULT.relative_to(ROOT)}")
    return int(not all(row["is_met"] for row in rows))


def run_season(clone: Path) -> tuple[float, str]:
    """Seconds and output of one `python -m flows` in the clone."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(clone / folder) for folder in ("src", "edge/src", ".")),
        "FIELDLOOP_EDGE_PYTHON": str(ROOT / ".venv-edge/bin/python"),
    }
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "flows"], cwd=clone, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"the loop failed:\n{done.stdout}\n{done.stderr}")
    return time.monotonic() - started, done.stdout


def bars(
    report: dict[str, Any], cold_s: list[float], warm_s: list[float], fleet_s: list[float]
) -> list[dict[str, Any]]:
    """Each bar with what was measured; the limit is an upper one unless it says so."""
    bundle, seasons = report["bundle"], report["seasons"]
    environment = ROOT / ".venv-edge"
    environment_mb = sum(f.stat().st_size for f in environment.rglob("*") if f.is_file() and not f.is_symlink()) / 1e6
    int8_pct = 100 * bundle["int8_bytes"] / bundle["float32_bytes"]
    margins = [
        season["profit_usd_ha"]["fieldloop"] - season["profit_usd_ha"][other]
        for season in seasons
        for other in ("calendar", "rainfed")
    ]
    measured = [
        ("season, cold, s", statistics.median(cold_s), 480.0, True),
        ("season, nothing changed, s", statistics.median(warm_s), 60.0, True),
        ("24 agents: update, season, sync, s (slowest)", max(fleet_s), 90.0, True),
        ("records lost", float(sum(season["records_lost"] for season in seasons)), 0.0, True),
        ("device environment, MB", environment_mb, 200.0, True),
        ("INT8 file, % of float32", int8_pct, 30.0, True),
        ("INT8 held-out yield error, % worse", bundle["error_increase_pct"], 1.0, True),
        ("profit over calendar and rainfed, USD/ha (least)", min(margins), 0.0, False),
    ]
    return [
        {"bar": name, "measured": value, "limit": limit, "is_met": value <= limit if is_upper else value > limit}
        for name, value, limit, is_upper in measured
    ]


def print_practices(report: dict[str, Any]) -> None:
    """Fieldloop beside the grower's other practices on the same fields."""
    print(f"\n{'USD/ha':<8} {'fieldloop':>10} {'threshold':>10} {'calendar':>10} {'rainfed':>10}")
    for season in report["seasons"]:
        profit = season["profit_usd_ha"]
        cells = " ".join(f"{profit[name]:>10.0f}" for name in ("fieldloop", "threshold", "calendar", "rainfed"))
        print(f"{season['season']:<8} {cells}")


if __name__ == "__main__":
    sys.exit(main())
