"""What every benchmark ends with: its bars, one a line, and on what machine they were measured."""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def print_bars(bars: Sequence[Mapping[str, Any]], decimals: int = 2) -> None:
    """Each bar with what was measured, the limit, and whether it was missed."""
    width = max(len(bar["bar"]) for bar in bars)
    print(f"{'bar':<{width}} {'measured':>10} {'limit':>8}")
    for bar in bars:
        missed = "" if bar["is_met"] else "MISSED"
        print(f"{bar['bar']:<{width}} {bar['measured']:>10.{decimals}f} {bar['limit']:>8g}  {missed}")


def machine() -> dict[str, Any]:
    """Cores, processor and Python."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "python": sys.version.split()[0],
    }
