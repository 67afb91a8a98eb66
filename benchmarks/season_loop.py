"""The whole loop against its bars: cold, unchanged, the fleet's season, the device's environment, INT8, profit.

    .venv/bin/python benchmarks/season_loop.py [--cold-runs 1] [--warm-runs 3] [--beside PATH]

It runs in a throw-away clone of HEAD with the environments of this one, so nothing of yours is touched. Seconds of the
wall are of this machine on this day; CPU-seconds, user and system of all processes of a cold season, hang less on who
else is there. `--beside` counts another checkout's too, with its own environments, on the same machine in one run.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common.bars import machine, print_bars
from benchmarks.common.clone import cloned, commit_of, environment_of, python_of
from benchmarks.common.cpu import Counted, Said, counted

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "season_loop.json"
_STEP = re.compile(r"^  (\w+) +.*\((\d+\.\d) s\)$", re.MULTILINE)
COLD_CPU_S = 600.0


def main() -> int:
    """Run, print the table, write the JSON; 1 where a bar is missed."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--cold-runs", type=int, default=1)
    arguments.add_argument("--warm-runs", type=int, default=3)
    arguments.add_argument("--beside", type=Path, help="another checkout, whose cold season is counted too")
    options = arguments.parse_args()
    cold, warm_s, fleet_s, report = [], [], [], {}
    for _ in range(options.cold_runs):
        with tempfile.TemporaryDirectory() as scratch:
            clone = cloned(ROOT, Path(scratch) / "clone")
            cold.append(run_season(clone, ROOT))
            fleet_s += [float(spent) for step, spent in _STEP.findall(cold[-1].output) if step == "season"]
            told = (clone / ".fieldloop" / "report.json").read_text()
            report = json.loads(told.replace(f"{clone}/", ""))  # the clone is gone when this is read
            warm_s += [run_season(clone, ROOT).wall_s for _ in range(options.warm_runs)]
    steps = {"this checkout": steps_of(cold[-1])}
    if options.beside is not None:
        with tempfile.TemporaryDirectory() as scratch:
            beside = options.beside.resolve()
            steps[f"beside, {commit_of(beside)}"] = steps_of(
                run_season(cloned(beside, Path(scratch) / "clone"), beside)
            )
    rows = bars(report, cold, warm_s, fleet_s)
    print_bars(rows)
    print_steps(steps)
    print_practices(report)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        "machine": machine(),
        "cold_s": [run.wall_s for run in cold],
        "cold_cpu_s": [run.cpu_s for run in cold],
        "warm_s": warm_s,
        "fleet_s": fleet_s,
        "bars": rows,
        "cpu_s_by_step": steps,
    }
    kept = {name: report[name] for name in ("seasons", "bundle")}
    RESULT.write_text(json.dumps({**figures, "report": kept}, indent=1) + "\n")
    print(f"\nwritten to {RESULT.relative_to(ROOT)}")
    return int(not all(row["is_met"] for row in rows))


def run_season(clone: Path, checkout: Path) -> Counted:
    """One `python -m flows` in the clone with the checkout's environments; what `make setup` compiles is there."""
    environment, python = environment_of(clone, checkout), python_of(checkout)
    subprocess.run([python, "-m", "fieldloop.cli", "compile"], cwd=clone, env=environment, check=True)
    if (clone / "flows" / "server_template.py").is_file():  # a former checkout has none
        subprocess.run([python, "-m", "flows.server_template"], cwd=clone, env=environment, check=True)
    done = counted([python, "-m", "flows"], clone, environment, shown)
    if done.returncode != 0:
        sys.exit(f"the loop failed:\n{done.output}\n{done.errors}")
    return done


def shown(said: Said) -> None:
    """A step's line with what was spent by then, while the rest still runs."""
    if _STEP.match(said.line):
        print(f"{said.cpu_s:8.1f} CPU-s {said.line}", flush=True)


def steps_of(run: Counted) -> dict[str, float]:
    """CPU-seconds by step, added up over the seasons; what comes before the first and after the last has its own."""
    found: dict[str, float] = {}
    before_s = 0.0
    for said in run.lines:
        if step := _STEP.match(said.line):
            found[step[1]] = found.get(step[1], 0.0) + said.cpu_s - before_s
            before_s = said.cpu_s
    return {**{step: round(spent_s, 1) for step, spent_s in found.items()}, "end": round(run.cpu_s - before_s, 1)}


def bars(
    report: dict[str, Any], cold: list[Counted], warm_s: list[float], fleet_s: list[float]
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
        ("season, cold, s", statistics.median(run.wall_s for run in cold), 480.0, True),
        ("season, cold, CPU-seconds of all processes", statistics.median(run.cpu_s for run in cold), COLD_CPU_S, True),
        ("season, nothing changed, s", statistics.median(warm_s), 15.0, True),
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


def print_steps(steps: dict[str, dict[str, float]]) -> None:
    """CPU-seconds by step, a column for each checkout."""
    names = list(dict.fromkeys(name for of_one in steps.values() for name in of_one))
    print("\nCPU-seconds   " + "".join(f"{title:>22}" for title in steps))
    for name in names:
        print(f"{name:<14}" + "".join(f"{of_one.get(name, 0.0):>22.1f}" for of_one in steps.values()))
    print(f"{'all':<14}" + "".join(f"{sum(of_one.values()):>22.1f}" for of_one in steps.values()))


def print_practices(report: dict[str, Any]) -> None:
    """Fieldloop beside the grower's other practices on the same fields."""
    names = ("fieldloop", "tuned_threshold", "threshold", "calendar", "rainfed")
    print(f"\n{'USD/ha':<8}" + "".join(f"{name.replace('_', ' '):>17}" for name in names))
    for season in report["seasons"]:
        cells = "".join(f"{season['profit_usd_ha'][name]:>17.0f}" for name in names)
        print(f"{season['season']:<8}{cells}")


if __name__ == "__main__":
    sys.exit(main())
