"""What it costs to read a flow: time and memory of `import flows.season`, beside Prefect alone.

    .venv/bin/python benchmarks/imports.py

A worker and the server read flows for their parameters long before one runs.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.common.bars import machine, print_bars  # noqa: E402

ROUNDS = 7
STATEMENTS = {"prefect alone": "from prefect import flow, task", "flows.season": "import flows.season"}
RESULT = ROOT / "benchmarks" / "results" / "imports.json"


def measured(statement: str) -> tuple[float, float]:
    """Seconds and resident MB of a fresh process that runs the statement."""
    peak = "import re; print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", f"{statement}; {peak}"], capture_output=True, text=True, check=True)
    return time.monotonic() - started, int(done.stdout) / 1024


def main() -> int:
    """Both in turns, their medians, and the bars."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in STATEMENTS}
    for statement in STATEMENTS.values():
        measured(statement)  # what is compiled once is compiled
    for _ in range(ROUNDS):
        for name, statement in STATEMENTS.items():
            found[name].append(measured(statement))
    medians = {
        name: {"seconds": statistics.median(s for s, _ in rounds), "mb": statistics.median(mb for _, mb in rounds)}
        for name, rounds in found.items()
    }
    print(f"{'':<16}{'s':>8}{'MB':>8}")
    for name, median in medians.items():
        print(f"{name:<16}{median['seconds']:>8.2f}{median['mb']:>8.0f}")
    ratio = medians["flows.season"]["seconds"] / medians["prefect alone"]["seconds"]
    bars = [
        {"bar": "time beside Prefect alone", "measured": ratio, "limit": 1.5, "is_met": ratio <= 1.5},
        {
            "bar": "memory, MB",
            "measured": medians["flows.season"]["mb"],
            "limit": 200,
            "is_met": medians["flows.season"]["mb"] <= 200,
        },
    ]
    print_bars(bars)
    RESULT.write_text(json.dumps({"machine": machine(), "medians": medians, "bars": bars}, indent=1) + "\n")
    return 0 if all(bar["is_met"] for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
