"""An episode drawn as inline SVG: a level against its limits, and what came in hanging from the top.

The chart is plain data and knows no workload. Levels are drawn downwards: zero on top, what is lacking below. Drawing
needs no library and no script; numbers that are missing or not finite leave a gap. Colours are `page.css`'s.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from fieldedge.presentation.text import as_date, as_number, escaped, month, number, short_date

LineRole = Literal["level", "limit", "end"]
BarRole = Literal["given", "fallen", "advised"]
Values = tuple[float | None, ...]

MAX_DAYS = 400
LABEL_PX = 32.0  # what a month's name needs
MARK_PX = 24.0  # and a mark's
WEEKLY_BELOW_DAYS = 45
_BARS_SHARE = 0.24  # of the height
_HIGHEST = 1e9
_SAME = 0.5


@dataclass(frozen=True)
class Line:
    """One value a day. `level` is the curve; up to `limit` all is well, and at `end` nothing is left."""

    name: str
    role: LineRole
    values: Values


@dataclass(frozen=True)
class Bars:
    """One amount a day. `given` and `fallen` are stacked; `advised` is an outline on days when it was not `given`."""

    name: str
    role: BarRole
    values: Values


@dataclass(frozen=True)
class Mark:
    """Something done on one day, with a word or a number for it."""

    date: str
    label: str


@dataclass(frozen=True)
class Chart:
    """An episode: every series has a value or a gap for each of the consecutive days from `first_day` on.

    A series' name may go on after a colon; a table's head takes what stands before it.
    """

    title: str
    about: str
    first_day: str
    days: int
    unit: str
    level_label: str
    bars_label: str
    lines: tuple[Line, ...]
    bars: tuple[Bars, ...]
    marks: tuple[Mark, ...] = ()
    marks_label: str = ""


@dataclass(frozen=True)
class Frame:
    """Where the two panels lie in a picture of that many units; 1 unit is 1 px at the intended width."""

    width: float
    height: float
    left: float
    right: float
    days: int

    top = 22.0
    bottom = 24.0
    between = 40.0

    @property
    def bars_end(self) -> float:
        return self.top + _BARS_SHARE * (self.height - self.top - self.bottom)

    @property
    def level_top(self) -> float:
        return self.bars_end + self.between

    @property
    def level_end(self) -> float:
        return self.height - self.bottom

    @property
    def end(self) -> float:
        return self.width - self.right

    @property
    def step(self) -> float:
        return (self.end - self.left) / self.days

    def x(self, day: float) -> float:
        """The middle of a day."""
        return self.left + (day + 0.5) * self.step


@dataclass(frozen=True)
class Scale:
    """Amounts downwards from `top`, in round ticks."""

    top: float
    highest: float
    tick: float
    px_per_unit: float

    def y(self, value: float) -> float:
        return self.top + min(max(value, 0.0), self.highest) * self.px_per_unit

    def ticks(self) -> Iterator[float]:
        for i in range(round(self.highest / self.tick) + 1):
            yield i * self.tick


PHONE = (328.0, 320.0, 28.0, 38.0)
WIDE = (800.0, 400.0, 34.0, 44.0)


def draw(chart: Chart, size: tuple[float, float, float, float], identity: str) -> str:
    """The chart as one `<svg>`, `size` being `PHONE` or `WIDE`. `identity` makes its ids unique on the page."""
    width, height, left, right = size
    frame = Frame(width, height, left, right, min(max(chart.days, 1), MAX_DAYS))
    lines: dict[str, Values] = {line.role: fitted(line.values, frame.days) for line in chart.lines}
    bars: dict[str, Values] = {series.role: fitted(series.values, frame.days) for series in chart.bars}
    given, fallen, advised = _stacks(bars, frame.days)
    amounts = _scale(frame.top, _highest([fallen, advised]), frame.bars_end - frame.top, ticks=2)
    levels = _scale(frame.level_top, _highest(lines.values()), frame.level_end - frame.level_top, ticks=4)
    return (
        f'<svg class="{identity}" viewBox="0 0 {width:g} {height:g}" role="img"'
        f' aria-labelledby="{identity}-t {identity}-d">'
        f'<title id="{identity}-t">{escaped(chart.title)}</title>'
        f'<desc id="{identity}-d">{escaped(chart.about, 600)}</desc>'
        + _areas(lines, frame, levels)
        + _grid(frame, amounts)
        + _grid(frame, levels)
        + _day_axis(chart.first_day, frame)
        + _label(frame.top - 10, f"{chart.bars_label}, {chart.unit}")
        + _label(frame.level_top - 10, f"{chart.level_label}, {chart.unit}")
        + _bars(given, fallen, advised, frame, amounts)
        + _marks(chart, frame)
        + "".join(_line(role, lines.get(role, ()), frame, levels) for role in ("end", "limit", "level"))
        + _last(lines.get("level", ()), frame, levels)
        + "</svg>"
    )


def legend(chart: Chart) -> str:
    """What the colours mean, as an HTML list; only what is in the chart."""
    items = [(f"line {line.role}", line.name) for line in chart.lines if _has_any(line.values)]
    items += [(f"bar {series.role}", series.name) for series in chart.bars if _has_any(series.values)]
    if chart.marks:
        items.append(("mark", chart.marks_label))
    entries = "".join(f'<li><i class="key {kind}"></i>{escaped(name)}</li>' for kind, name in items)
    return f'<ul class="legend">{entries}</ul>'


def table(chart: Chart, max_days: int = MAX_DAYS) -> str:
    """The same as an HTML table, the last day first: for exact numbers, and for who cannot see the picture."""
    days = min(max(chart.days, 1), MAX_DAYS)
    series: list[Line | Bars] = [*chart.lines, *chart.bars]
    columns = [fitted(one.values, days) for one in series]
    first = as_date(chart.first_day)
    head = "".join(f"<th>{escaped(one.name.partition(':')[0], 40)}" for one in series)
    rows: list[str] = []
    for day in reversed(range(days)):
        has_any = any(column[day] is not None for column in columns)
        if first is not None and has_any and len(rows) < max_days:
            cells = "".join(f"<td>{number(column[day], 0)}" for column in columns)
            rows.append(f"<tr><th>{short_date((first + timedelta(days=day)).isoformat())}{cells}")
    body = "".join(rows)
    return f'<table class="days"><thead><tr><th>{escaped(chart.unit)}{head}</thead><tbody>{body}</tbody></table>'


def fitted(values: Sequence[object], days: int) -> Values:
    """Exactly one value a day; what is not a finite number is a gap."""
    sound = [as_number(value) for value in values[:days]]
    return (*sound, *[None] * (days - len(sound)))


def _scale(top: float, highest: float, pixels: float, ticks: int) -> Scale:
    """Round steps of 1, 2 or 5 times a power of ten, about `ticks` of them."""
    highest = min(max(highest, 1.0), _HIGHEST)
    rough = highest / ticks
    power = 10.0 ** math.floor(math.log10(rough))
    tick = next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if power * factor >= rough * 0.999)
    end = tick * math.ceil(highest / tick * 0.999)
    return Scale(top, end, tick, pixels / end)


def _stacks(bars: Mapping[str, Values], days: int) -> tuple[list[float], list[float], list[float]]:
    """Where the bars end on each day: what was given, what fell below that, and what was advised but not given."""
    given, fallen, advised = (
        [max(value or 0.0, 0.0) for value in bars.get(role, (None,) * days)] for role in ("given", "fallen", "advised")
    )
    other = [0.0 if abs(a - g) < _SAME else a for a, g in zip(advised, given, strict=True)]
    return given, [g + f for g, f in zip(given, fallen, strict=True)], other


def _has_any(values: Sequence[object]) -> bool:
    return any(as_number(value) for value in values)


def _highest(series: Iterable[Sequence[float | None]]) -> float:
    return max((value for values in series for value in values if value is not None), default=0.0)


def _runs(*series: Sequence[float | None]) -> Iterator[range]:
    """The longest spans of days on which all the series have a value."""
    days = min(len(values) for values in series)
    start: int | None = None
    for day in range(days + 1):
        has_all = day < days and all(values[day] is not None for values in series)
        if has_all and start is None:
            start = day
        elif not has_all and start is not None:
            yield range(start, day)
            start = None


def _areas(lines: Mapping[str, Values], frame: Frame, scale: Scale) -> str:
    """What is left, from the level down to the end; and what is lacking beyond the limit."""
    level, limit, end = (lines.get(role, ()) for role in ("level", "limit", "end"))
    beyond = tuple(
        None if value is None or least is None else max(value, least)
        for value, least in zip(level, limit, strict=False)
    )
    return _area("left", level, end, frame, scale) + _area("lacking", limit, beyond, frame, scale)


def _area(kind: str, upper: Values, lower: Values, frame: Frame, scale: Scale) -> str:
    shapes = []
    for run in _runs(upper, lower):
        there = [_point(frame, scale, day, upper) for day in run]
        back = [_point(frame, scale, day, lower) for day in reversed(run)]
        shapes.append("M" + "L".join([*there, *back]) + "Z")
    return f'<path class="{kind}" d="{"".join(shapes)}"/>' if shapes else ""


def _line(role: str, values: Values, frame: Frame, scale: Scale) -> str:
    pieces = []
    for run in _runs(values):
        points = [_point(frame, scale, day, values) for day in run]
        pieces.append("M" + "L".join(points) + ("h.1" if len(points) == 1 else ""))
    return f'<path class="{role}" d="{"".join(pieces)}"/>' if pieces else ""


def _point(frame: Frame, scale: Scale, day: int, values: Values) -> str:
    return f"{frame.x(day):.1f} {scale.y(values[day] or 0.0):.1f}"


def _grid(frame: Frame, scale: Scale) -> str:
    parts = []
    for tick in scale.ticks():
        y = scale.y(tick)
        parts.append(
            f'<path class="grid" d="M{frame.left:g} {y:.1f}H{frame.end:g}"/>'
            f'<text class="tick" x="{frame.left - 6:g}" y="{y + 4:.1f}" text-anchor="end">{number(tick)}</text>'
        )
    return "".join(parts)


def _day_axis(first_day: str, frame: Frame) -> str:
    """The months, or the weeks of a young episode."""
    first = as_date(first_day)
    if first is None:
        return ""
    parts, last_x = [], -math.inf
    for day in range(frame.days):
        today = first + timedelta(days=day)
        is_weekly = frame.days < WEEKLY_BELOW_DAYS
        if (today.weekday() != 0 and is_weekly) or (today.day != 1 and not is_weekly):
            continue
        x = frame.left + day * frame.step
        parts.append(f'<path class="grid" d="M{x:.1f} {frame.level_top:.1f}V{frame.level_end + 5:.1f}"/>')
        word = f"{today.day} {month(today)}" if is_weekly else month(today)
        room = LABEL_PX * (1.4 if is_weekly else 1.0)
        if x - last_x >= room and x + room <= frame.width:
            parts.append(f'<text class="tick" x="{x + 3:.1f}" y="{frame.height - 8:g}">{word}</text>')
            last_x = x
    return "".join(parts)


def _label(y: float, words: str) -> str:
    return f'<text class="label" x="0" y="{y:.1f}">{escaped(words, 80)}</text>'


def _bars(given: list[float], fallen: list[float], advised: list[float], frame: Frame, scale: Scale) -> str:
    """The bars of one kind as one path each."""
    width = max(0.72 * frame.step, 1.0)

    def hanging(tops: Sequence[float], ends: Sequence[float]) -> str:
        return "".join(
            f"M{frame.x(day) - width / 2.0:.1f} {scale.y(top):.1f}h{width:.1f}V{scale.y(end):.1f}h-{width:.1f}z"
            for day, (top, end) in enumerate(zip(tops, ends, strict=True))
            if end > top
        )

    nothing = [0.0] * frame.days
    shapes = (("fallen", given, fallen), ("given", nothing, given), ("advised", nothing, advised))
    return "".join(f'<path class="{role}" d="{path}"/>' for role, tops, ends in shapes if (path := hanging(tops, ends)))


def _marks(chart: Chart, frame: Frame) -> str:
    """A small diamond on each marked day at the foot of the picture, with its label where there is room."""
    first, parts, last_x = as_date(chart.first_day), [], -math.inf
    y = frame.level_end - 8.0
    for mark in chart.marks[:MAX_DAYS]:
        day = as_date(mark.date)
        if first is None or day is None or not 0 <= (day - first).days < frame.days:
            continue
        x = frame.x((day - first).days)
        parts.append(f'<path class="mark" d="M{x:.1f} {y - 4:.1f}l4 4-4 4-4-4z"/>')
        if abs(x - last_x) >= MARK_PX:
            words = escaped(mark.label, 8)
            parts.append(f'<text class="tick halo" x="{x:.1f}" y="{y - 8:.1f}" text-anchor="middle">{words}</text>')
            last_x = x
    return "".join(parts)


def _last(level: Values, frame: Frame, scale: Scale) -> str:
    """A dot on the last day with a level, and its number beside it."""
    day = max((day for day, value in enumerate(level) if value is not None), default=None)
    if day is None:
        return ""
    x, y = frame.x(day), scale.y(level[day] or 0.0)
    return (
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        f'<text class="now halo" x="{x + 8.0:.1f}" y="{y + 4.5:.1f}">{number(level[day])}</text>'
    )
