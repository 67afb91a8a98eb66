"""The files side by side, as rows for a table in a page or a terminal."""

from collections.abc import Mapping
from typing import Any


def compression_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for every file of a compression report, with the times of the fleet's class."""
    times = report["by_class"].get(report["device_class"], {}).get("p50_us", {})
    return [
        {
            "file": one["name"],
            "neurons": " ".join(map(str, one["hidden"])),
            "how": one["recipe"],
            "bytes": one["bytes"],
            "held-out yield RMSE t/ha": round(one["yield_rmse_t_ha"], 4),
            "closed-loop profit USD/ha": round(one["profit_usd_ha"], 1),
            "same decisions %": round(one["agreement_pct"], 2),
            f"median of a call on {report['batch']} candidates, us": _rounded(times.get(one["name"])),
            "on the front": one["is_on_front"],
        }
        for one in report["candidates"]
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
