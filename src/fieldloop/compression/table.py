"""The files side by side, as rows for a table in a page or a terminal."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from fieldloop.compression.gates import Candidate

NOT_MEASURED = "not measured"
# What is stored under other names is the workload's own figures.
_CORES = {item.name for item in fields(Candidate)} | {"is_on_front"}


def compression_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for every file of a compression report, with the times of the fleet's class."""
    times = report["by_class"].get(report["device_class"], {}).get("p50_us", {})
    return [
        {
            "file": one["name"],
            "neurons": " ".join(map(str, one["hidden"])),
            "how": one["recipe"],
            "bytes": one["bytes"],
            **{
                name: _rounded(value, 4)
                for name, value in one.items()
                if name not in _CORES and not name.endswith("_change_pct")
            },
            "same decisions %": NOT_MEASURED if one["agreement_pct"] is None else round(one["agreement_pct"], 2),
            f"median of a call on {report['batch']} candidates, us": _rounded(times.get(one["name"])),
            "on the front": one["is_on_front"],
        }
        for one in report["candidates"]
    ]


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)
