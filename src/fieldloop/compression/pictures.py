"""The front as a picture: decision value against bytes, time as colour; what ships is ringed."""

import io
from collections.abc import Sequence
from typing import Any

from fieldloop.compression.device_classes import OnClass
from fieldloop.compression.gates import Candidate


def front_picture(candidates: Sequence[Candidate], on_class: OnClass, front: Sequence[str], shipped: str) -> bytes:
    """A PNG of every file on one class of devices."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), dpi=110, layout="constrained")
    axes: Any = figure.add_subplot()
    kilobytes = [one.bytes / 1000.0 for one in candidates]
    profits = [one.profit_usd_ha for one in candidates]
    times = [on_class.p50_us.get(one.name, float("nan")) for one in candidates]
    is_timed = any(time == time for time in times)
    dots = axes.scatter(kilobytes, profits, c=times if is_timed else "tab:blue", s=70, cmap="viridis", zorder=3)
    if is_timed:
        figure.colorbar(dots, label="median time of a decision, µs")
    on_front = sorted((one.bytes / 1000.0, one.profit_usd_ha) for one in candidates if one.name in front)
    axes.plot(*zip(*on_front, strict=True), color="0.6", linewidth=1, zorder=1)
    for one in candidates:
        label = f"{one.name}{' (ships)' if one.name == shipped else ''}"
        axes.annotate(label, (one.bytes / 1000.0, one.profit_usd_ha), xytext=(6, 6), textcoords="offset points", size=8)
        if one.name == shipped:
            axes.scatter([one.bytes / 1000.0], [one.profit_usd_ha], s=220, facecolors="none", edgecolors="tab:red")
    axes.set(xlabel="file, kB", ylabel="closed-loop profit, USD/ha", title=f"What can ship to {on_class.name}")
    axes.margins(0.15)
    axes.grid(alpha=0.3)
    sink = io.BytesIO()
    figure.savefig(sink, format="png")
    return sink.getvalue()
