"""The front as a picture: decision value (or held-out error) against bytes and time; what ships is ringed."""

import io
from collections.abc import Sequence
from typing import Any

from fieldloop.compression.device_classes import OnClass
from fieldloop.compression.gates import Candidate
from fieldloop.core.params import CompressionParams

_ON_FRONT, _BEATEN, _SHIPS = "tab:blue", "0.65", "tab:red"


def front_picture(
    candidates: Sequence[Candidate],
    on_class: OnClass,
    front: Sequence[str],
    shipped: str,
    params: CompressionParams,
) -> bytes:
    """A PNG of the files for one class of devices, numbered from the smallest to the largest.

    Args:
        front: the files that no other beats in value, time and bytes at once.
        params: say what may be lost: the line beyond which nothing ships.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(10.0, 4.2), dpi=110, layout="constrained")
    by_bytes, by_time, words = figure.subplots(1, 3, width_ratios=(3, 3, 2.4))
    ordered = sorted(candidates, key=lambda one: one.bytes)
    value = ordered[0].value_metric
    if value is None:
        compared, limit_pct = f"held-out {ordered[0].primary_metric.name}", params.max_error_increase_pct
    else:
        compared, limit_pct = f"closed-loop {value.name}", -params.max_profit_loss_pct
    for axes, label in ((by_bytes, "file, kB"), (by_time, "median time of a decision, µs")):
        axes.axhline(limit_pct, color=_SHIPS, linewidth=1, linestyle=":")
        axes.set(xlabel=label, ylabel=f"{compared} against float32, %")
        axes.grid(alpha=0.3)
    by_bytes.annotate("the tolerance", (1, limit_pct), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    by_bytes.set_xscale("log")
    by_bytes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    by_bytes.xaxis.set_major_formatter("{x:g}")
    by_bytes.xaxis.set_minor_formatter(NullFormatter())
    for number, one in enumerate(ordered, 1):
        colour = _ON_FRONT if one.name in front else _BEATEN
        change_pct = one.error_increase_pct if one.value_change_pct is None else one.value_change_pct
        _dot(by_bytes, one.bytes / 1000.0, change_pct, number, colour, one.name == shipped)
        if one.name in on_class.p50_us:
            _dot(by_time, on_class.p50_us[one.name], change_pct, number, colour, one.name == shipped)
    if not on_class.p50_us:
        by_time.annotate("not timed", (0.5, 0.5), xycoords="axes fraction", ha="center")
    for axes in (by_bytes, by_time):
        low, high = axes.get_ylim()
        within = sorted((1.4 * limit_pct, -0.7 * limit_pct))
        axes.set_ylim(min(low, within[0]), max(high, within[1]))
        axes.margins(x=0.15)
    words.axis("off")
    for row, (number, one) in enumerate(enumerate(ordered, 1)):
        time = f"{on_class.p50_us[one.name]:.0f} µs" if one.name in on_class.p50_us else "–"
        ships = " (ships)" if one.name == shipped else ""
        figures = f"{one.bytes / 1000:.0f} kB, {time}, error {one.error_increase_pct:+.2f} %"
        told = f"{number}  {one.name}{ships}\n     {figures}"
        colour = _SHIPS if ships else "black" if one.name in front else "0.4"
        words.text(0.0, 1.0 - row / max(len(ordered), 6), told, va="top", size=9, color=colour)
    figure.suptitle(f"What can ship to {on_class.name}: blue on the front, grey beaten")
    sink = io.BytesIO()
    figure.savefig(sink, format="png")
    return sink.getvalue()


def _dot(axes: Any, x: float, y: float, number: int, colour: str, ships: bool) -> None:
    """A numbered dot, numbers in turns above and below so that neighbours stay legible."""
    axes.scatter([x], [y], s=60, color=colour, zorder=3)
    if ships:
        axes.scatter([x], [y], s=200, facecolors="none", edgecolors=_SHIPS, zorder=2)
    above = number % 2 == 1
    axes.annotate(
        str(number),
        (x, y),
        xytext=(0, 10 if above else -10),
        textcoords="offset points",
        ha="center",
        va="bottom" if above else "top",
        size=9,
    )
