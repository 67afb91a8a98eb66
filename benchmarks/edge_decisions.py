"""A whole decision on the device, on one core: history from the store, features, all candidates, guardrails, stored.

    .venv/bin/python benchmarks/edge_decisions.py [--decisions 10000]

It needs a finished `make season` for a model and for seasons to live through. The device's part runs under its own
Python. Beside it the same decision through what a user would otherwise run: torch eager, ONNX Runtime float32, and
boosted trees (scikit-learn) trained on the same seasons. The floor is the runtime's bare call and the bare fsync.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.common.bars import print_bars  # noqa: E402
from benchmarks.edge.alternatives import alternatives  # noqa: E402
from benchmarks.edge.device import RESULTS, make_device, on_device, write_messages  # noqa: E402

RESULT = RESULTS / "edge_decisions.json"
WATCHED = 900  # decisions, all of them on watch
WATCH = "[watch]\ndecisions = 1000\njudged_from = 1000\n"
DAYS_A_SEASON = 125  # about; the device stops at the number of decisions asked for
BARS = (
    ("decision, p50, ms", "p50_ms", 1.0),
    ("decision, p99, ms", "p99_ms", 3.0),
    ("decision, slowest of all, ms", "max_ms", 10.0),
    ("of which model, p50, ms", "model_p50_ms", 0.5),
    ("decision with a model on watch, p50, ms", "watch_p50_ms", 1.0),
    ("memory with a model on watch, MB", "watch_memory_mb", 90.0),
)


def main() -> int:
    """Run, print the tables, write the JSON; 1 where a bar is missed."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--decisions", type=int, default=10_000)
    arguments.add_argument("--others", type=int, default=1_500, help="decisions of each alternative")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=ROOT / ".fieldloop") as scratch:
        seasons = write_messages(Path(scratch) / "seasons.jsonl", options.decisions // DAYS_A_SEASON + 2)
        device = make_device(Path(scratch) / "device").root
        measured = on_device("decide", device, "--seasons", str(seasons), "--decisions", str(options.decisions))
        floor = on_device("floor", device)
        watching = make_device(Path(scratch) / "watching", WATCH, is_on_watch=True).root
        watched = on_device("decide", watching, "--seasons", str(seasons), "--decisions", str(WATCHED))
        memory = on_device("memory", watching, "--seasons", str(write_messages(Path(scratch) / "few.jsonl", 3)))
        others = alternatives(Path(scratch), seasons, options.others)
    ours = decision_figures(measured)
    on_watch = {
        "watched": watched["watched"],
        "watch_p50_ms": _at(watched["whole_ms"], 50),
        "watch_p99_ms": _at(watched["whole_ms"], 99),
        "watch_memory_mb": max(memory["after_season_mb"]),
    }
    ours |= on_watch
    bars = [
        {"bar": name, "measured": ours[key], "limit": limit, "is_met": ours[key] <= limit} for name, key, limit in BARS
    ]
    figures = {"fieldedge": ours, "floor": floor_figures(floor, ours), "alternatives": others, "bars": bars}
    show(figures)
    RESULT.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"\nwritten to {RESULT.relative_to(ROOT)}")
    return int(not all(bar["is_met"] for bar in bars))


def decision_figures(measured: dict[str, Any]) -> dict[str, float]:
    """Percentiles of the whole decision and of the model's share of it."""
    whole, model = np.array(measured["whole_ms"]), np.array(measured["model_ms"])
    asked = model[model > 0.0]
    return {
        "decisions": len(whole),
        "p50_ms": _at(whole, 50),
        "p99_ms": _at(whole, 99),
        "p999_ms": _at(whole, 99.9),
        "max_ms": float(whole.max()),
        "model_p50_ms": _at(asked, 50),
        "model_p99_ms": _at(asked, 99),
        "candidates_p50": _at(np.array(measured["candidates"]), 50),
        "candidates_max": float(max(measured["candidates"])),
    }


def floor_figures(floor: dict[str, Any], ours: dict[str, float]) -> dict[str, float]:
    """What no decision can go below: one runtime call on the usual number of candidates, and one fsync."""
    usual = min(floor["onnxruntime_ms"], key=lambda rows: abs(int(rows) - ours["candidates_p50"]))
    call, synced = _at(np.array(floor["onnxruntime_ms"][usual]), 50), _at(np.array(floor["fsync_ms"]), 50)
    return {
        "candidates": int(usual),
        "onnxruntime_p50_ms": call,
        "fsync_p50_ms": synced,
        "times_the_floor": ours["p50_ms"] / (call + synced),
    }


def show(figures: dict[str, Any]) -> None:
    """The bars, the floor, and the alternatives."""
    print_bars(figures["bars"], decimals=3)
    floor, ours = figures["floor"], figures["fieldedge"]
    print(
        f"\nfloor: {floor['onnxruntime_p50_ms']:.3f} ms for the bare runtime call on {floor['candidates']} candidates, "
        f"{floor['fsync_p50_ms']:.3f} ms for the bare fsync; a decision takes {floor['times_the_floor']:.1f} times both"
    )
    print(
        f"\n{'the same decision through':<34} {'p50 ms':>8} {'p99 ms':>8} {'model p50':>10} {'RMSE t/ha':>10} {'MB':>7}"
    )
    head = {"fieldedge, as shipped": ours}
    for name, row in {**head, **figures["alternatives"]}.items():
        rmse = f"{row['yield_rmse_t_ha']:.3f}" if "yield_rmse_t_ha" in row else "–"
        size = f"{row['file_mb']:.2f}" if "file_mb" in row else "–"
        times = f"{row['p50_ms']:>8.3f} {row['p99_ms']:>8.3f} {row['model_p50_ms']:>10.3f}"
        print(f"{name[:34]:<34} {times} {rmse:>10} {size:>7}")


def _at(values: Any, percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else 0.0


if __name__ == "__main__":
    sys.exit(main())
