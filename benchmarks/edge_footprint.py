"""How little the device needs: cold start to the first recommendation, resident memory over five seasons, disk.

    .venv/bin/python benchmarks/edge_footprint.py [--starts 11]

It needs a finished `make season`. Everything runs under the device's own Python, on one core.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.common.bars import print_bars  # noqa: E402
from benchmarks.edge.device import EDGE_PYTHON, RESULTS, make_device, on_device, write_messages  # noqa: E402

RESULT = RESULTS / "edge_footprint.json"
SEASONS = 5
SHOWN_PACKAGES = 12


def main() -> int:
    """Run, print the tables, write the JSON; 1 where a bar is missed."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--starts", type=int, default=11)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=ROOT / ".fieldloop") as scratch:
        seasons = write_messages(Path(scratch) / "seasons.jsonl", SEASONS)
        starts = cold_starts(Path(scratch), seasons, options.starts)
        memory = on_device("memory", make_device(Path(scratch) / "memory").root, "--seasons", str(seasons))
    weights = weights_mb(EDGE_PYTHON.parent.parent)
    first, *later = memory["after_season_mb"]
    figures = {
        "start": starts,
        "memory": {**memory, "growth_mb": later[-1] - first},
        "disk_mb": weights,
        "bars": [
            _bar("cold start to the first recommendation, s", starts["recommend_s"], 1.2),
            _bar("resident after a season, MB", first, 90.0),
            _bar("growth from the first to the fifth season, MB", later[-1] - first, 2.0),
            _bar("environment on disk, MB", sum(weights.values()), 170.0),
        ],
    }
    show(figures)
    RESULT.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"\nwritten to {RESULT.relative_to(ROOT)}")
    return int(not all(bar["is_met"] for bar in figures["bars"]))


def cold_starts(scratch: Path, seasons: Path, count: int) -> dict[str, float]:
    """Median seconds from the process's start to a new recommendation, half-way through a season; and the floor."""
    lines = seasons.read_text(encoding="utf-8").splitlines()
    decisions = [number for number, line in enumerate(lines) if json.loads(line)["kind"] == "decide"]
    device = make_device(scratch / "start").root
    half = decisions[60]
    command = [str(EDGE_PYTHON), "-I", "-m", "fieldedge"]
    subprocess.run(
        [*command, "run", "--dir", str(device)],
        input="\n".join(lines[:half]),
        text=True,
        capture_output=True,
        check=True,
    )
    days = [json.loads(lines[number])["date"] for number in decisions[61 : 61 + count]]
    recommend = [_seconds([*command, "recommend", "--json", "--dir", str(device), "--date", day]) for day in days]
    imports = [_seconds([str(EDGE_PYTHON), "-I", "-c", "import numpy, onnxruntime"]) for _ in days]
    return {
        "recommend_s": statistics.median(recommend),
        "recommend_slowest_s": max(recommend),
        "bare_imports_s": statistics.median(imports),
        "starts": len(days),
    }


def _seconds(command: list[str]) -> float:
    core = max(os.sched_getaffinity(0))
    environment = {"PATH": os.environ["PATH"], "ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
    started_s = time.perf_counter()
    done = subprocess.run(["taskset", "-c", str(core), *command], capture_output=True, env=environment, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return time.perf_counter() - started_s


def weights_mb(environment: Path) -> dict[str, float]:
    """MB on disk of each package of an environment, the heaviest first; what is left is summed up."""
    found: dict[str, float] = {}
    for path in environment.rglob("*"):
        if path.is_file() and not path.is_symlink():
            found[_owner(path.relative_to(environment))] = (
                found.get(_owner(path.relative_to(environment)), 0.0) + path.stat().st_size / 1e6
            )
    ordered = sorted(found.items(), key=lambda item: -item[1])
    shown = dict(ordered[:SHOWN_PACKAGES])
    return {**shown, "the rest": sum(size for _, size in ordered[SHOWN_PACKAGES:])}


def _owner(path: Path) -> str:
    parts = path.parts
    if "site-packages" not in parts:
        return parts[0]
    name = parts[parts.index("site-packages") + 1]
    return name.split("-")[0].removesuffix(".libs").lower()


def _bar(name: str, measured: float, limit: float) -> dict[str, Any]:
    return {"bar": name, "measured": measured, "limit": limit, "is_met": measured <= limit}


def show(figures: dict[str, Any]) -> None:
    """The bars, then what memory and disk are made of."""
    print_bars(figures["bars"])
    start, memory = figures["start"], figures["memory"]
    print(f"\nbare import of numpy and onnxruntime: {start['bare_imports_s']:.2f} s, {memory['imports_mb']:.0f} MB")
    print("after each season, MB: " + ", ".join(f"{value:.1f}" for value in memory["after_season_mb"]))
    print(f"\n{'on disk':<24} {'MB':>7}")
    for name, size in figures["disk_mb"].items():
        print(f"{name:<24} {size:>7.1f}")


if __name__ == "__main__":
    sys.exit(main())
