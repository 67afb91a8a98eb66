"""What agriculture's numbers mean for a person: the names, units and sentences of the status page.

Plain functions over stored records. A record that lacks a column, or holds something else in it, leaves a gap here and
never an error. How it looks is the page's matter.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta

from fieldedge.contract import MODEL, Record
from fieldedge.presentation.chart import MAX_DAYS, Bars, Chart, Line, Mark, Values
from fieldedge.presentation.facts import Advice, Amount, EpisodeRecords, Figure, Gauge, PastDay, Question, Range
from fieldedge.presentation.text import as_date, as_number, capitalised, number, plural, short_date
from fieldedge.workloads.agriculture.confirmations import open_findings
from fieldedge.workloads.agriculture.learned import sentences

SHORTEST_CHART_DAYS = 30
ALREADY_NOTHING_MM = 0.05
LEANING_SHARE = 0.01  # of the rule in a decision, from which it is shown
ASKED_DAYS = 7  # as far back as what was recommended is assumed to be done

_GUARDRAILS = {
    "before_raw": "Readily available water is not used up yet",
    "below_raw": "No irrigation while most of the readily available water is there",
    "no_irrigation_here": "This field has no irrigation",
    "no_water_to_give": "The season's water allowance is used up",
    "crop_is_ripening": "No irrigation once the crop ripens",
    "nitrogen_due": "Nitrogen is due by the balance",
    "nitrogen_balance_met": "No nitrogen: the soil holds what the crop still needs",
    "nitrogen_spacing": "No nitrogen so soon after the last",
    "model_abstains": "The model abstains, the FAO-56 balance decides",
    "waited_long_enough": "Water waits no longer past the readily available water than the device is sure of",
    "leans_on_rule": "The crop does not do what was foretold: the FAO-56 balance has a share in the decision",
}
_NOT_SO = {
    "field_capacity": "No, it is as I told you",
    "delivered_share": "No, it is as I noted",
    "gauge": "No, the gauge is right",
}
_UNITS = {
    "m3_m3": "m³/m³",
    "mj_m2": "MJ/m²",
    "w_m2": "W/m²",
    "kg_ha": "kg/ha",
    "t_ha": "t/ha",
    "m_s": "m/s",
    "ds_m": "dS/m",
    "kpa": "kPa",
    "hpa": "hPa",
    "deg": "°",
    "pct": "%",
    "mm": "mm",
    "mv": "mV",
    "c": "°C",
    "v": "V",
}
_WORDS = {
    "vwc": "soil water",
    "et0": "ET₀",
    "ndvi": "NDVI",
    "ndre": "NDRE",
    "tmin": "lowest temperature",
    "tmax": "highest temperature",
}


class AgriculturePresenter:
    """The agriculture workload on the status page. It holds nothing."""

    rule = "the FAO-56 balance"

    def place(self, season: EpisodeRecords, today: date) -> str:
        """Crop, soil, field and day of the season."""
        field = season.context
        soil = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(field.get("soil", ""))).lower()
        crop = f"{field.get('crop', 'crop')}".capitalize()
        parts = [f"{crop} on {soil}" if soil else crop, f"field {field.get('field_id', '?')}"]
        planting = as_date(field.get("planting_date"))
        if season.outcomes:
            harvest = season.outcomes[-1]
            parts.append(f"harvested {short_date(harvest.get('date'))}: {number(harvest.get('yield_t_ha'), 1, 't/ha')}")
        elif planting is not None:
            days = (today - planting).days
            planted = f"planted {short_date(field.get('planting_date'))}"
            parts.append(f"day {days} after planting" if 0 <= days <= MAX_DAYS else planted)
        return " · ".join(parts)

    def advice(self, season: EpisodeRecords, today: date) -> Advice | None:
        """Today's recommendation, else the last one before it, else the last one."""
        record = _of_today(season.decisions, today)
        if record is None:
            return None
        day = str(record.get("date"))
        is_today = day == today.isoformat()
        water, nitrogen = _amounts(record)
        is_fallback = record.get("source") != MODEL
        return Advice(
            date=day,
            is_today=is_today,
            is_action=water > 0.0 or nitrogen > 0.0,
            headline=_headline(water, nitrogen, "today" if is_today else ""),
            reasons=(*_texts(record.get("reasons")), *sentences(open_findings([record], season.feedback))),
            guardrails=tuple(
                _GUARDRAILS.get(rule, rule.replace("_", " ")) for rule in _texts(record.get("guardrails"))
            ),
            expected=_expected(record),
            gauge=_gauge(record),
            basis=_basis(record, is_fallback),
            is_fallback=is_fallback,
            done=_done(_of_day(season.actions, day)),
        )

    def lines(self, record: Record) -> list[str]:
        """A recommendation as a person reads it on a terminal."""
        water, nitrogen = record["irrigation_mm"], record["nitrogen_kg_ha"]
        todo = [f"irrigate {water:.0f} mm"] if water > 0.0 else []
        todo += [f"apply {nitrogen:.0f} kg/ha of nitrogen"] if nitrogen > 0.0 else []
        first = " and ".join(todo) or "nothing to do"
        lines = [f"{record['date']}: {first}", *(f"  {reason}" for reason in record["reasons"])]
        lines += [f"  {sentence}" for sentence in sentences(record.get("learned"))]
        if record["yield_p50_t_ha"] is not None:
            lines.append(
                f"  Yield: {record['yield_p50_t_ha']:.1f} t/ha, between {record['yield_p10_t_ha']:.1f} and "
                f"{record['yield_p90_t_ha']:.1f} in 8 of 10 seasons"
            )
        if record["guardrails"]:
            lines.append(f"  Rules that bounded it: {', '.join(record['guardrails'])}")
        age = record["data_age_days"]
        seen = "yesterday's reading" if age == 0 else f"a last reading that is {age + 1} days old"
        share = as_number(record.get("rule_share")) or 0.0
        leaning = f", the FAO-56 rule has {_pct(share)}" if share >= LEANING_SHARE else ""
        lines.append(
            f"  By {record['source']} (model {record['model_version']}{leaning}), from {seen}, "
            f"in {record['latency_ms']:g} ms"
        )
        return lines

    def figures(self, season: EpisodeRecords) -> tuple[Figure, ...]:
        """Water and nitrogen of the season, and what is left."""
        if not season.decisions and not season.actions and not season.observations:
            return ()
        water = _sum(season.actions, "irrigation_mm")
        allowance = as_number(season.context.get("water_allowance_mm"))
        figures = [
            Figure("Irrigated", water, "mm"),
            Figure("Water left", None if allowance is None else max(allowance - water, 0.0), "mm", allowance),
            Figure("Rain", _sum(season.observations, "rain_mm"), "mm"),
            Figure("Nitrogen given", _sum(season.actions, "nitrogen_kg_ha"), "kg/ha"),
        ]
        if as_number(season.context.get("irrigation_capacity_mm")) == 0.0:
            figures = figures[2:]
        return tuple(figures)

    def chart(self, season: EpisodeRecords) -> Chart | None:
        """Root-zone depletion against RAW and TAW (FAO-56 eqs. 82 to 86), with rain and irrigation, day by day."""
        first = as_date(season.context.get("planting_date"))
        if first is None or not (season.decisions or season.observations):
            return None
        dates = [as_date(record.get("date")) for record in (*season.decisions, *season.observations)]
        last = max((day for day in dates if day is not None), default=first)
        days = min(max((last - first).days + 1, SHORTEST_CHART_DAYS), MAX_DAYS)

        def by_day(records: Iterable[Record], value: Callable[[Record], float | None]) -> Values:
            return _by_day(records, value, first, days)

        depletion = by_day(season.decisions, lambda record: as_number(record.get("x_depletion_mm")))
        taw = by_day(season.decisions, lambda record: as_number(record.get("x_taw_mm")))
        raw = by_day(season.decisions, _raw_mm)
        rain = by_day(season.observations, lambda record: as_number(record.get("rain_mm")))
        given = by_day(season.actions, lambda record: as_number(record.get("irrigation_mm")))
        advised = by_day(season.decisions, lambda record: as_number(record.get("irrigation_mm")))
        return Chart(
            title="Soil water of the season",
            about=_about(first, last, depletion, raw, taw, rain, given),
            first_day=first.isoformat(),
            days=days,
            unit="mm",
            level_label="Water lacking in the root zone",
            bars_label="Rain and irrigation",
            lines=(
                Line("Depletion: what the root zone lacks", "level", depletion),
                Line("RAW: lacking more, the crop feels it", "limit", raw),
                Line("TAW: lacking all that roots can take", "end", taw),
            ),
            bars=(
                Bars("Irrigated", "given", given),
                Bars("Rain", "fallen", rain),
                Bars("Advised: and not done so, or not yet", "advised", advised),
            ),
            marks=tuple(
                Mark(str(record.get("date")), number(record.get("nitrogen_kg_ha")))
                for record in season.actions
                if (as_number(record.get("nitrogen_kg_ha")) or 0.0) > 0.0
            ),
            marks_label="Nitrogen, kg/ha",
        )

    def history(self, season: EpisodeRecords, count: int) -> tuple[PastDay, ...]:
        """The last days on which something was recommended or done, newest first."""
        advised = {str(record.get("date")): record for record in season.decisions}
        done = {str(record.get("date")): record for record in season.actions}
        days = sorted({*advised, *done}, reverse=True)[:count]
        return tuple(_past_day(day, advised.get(day), done.get(day)) for day in days)

    def questions(self, season: EpisodeRecords, today: date) -> tuple[Question, ...]:
        """What the season taught clearly, then the last days of which nobody said what was done, newest first."""
        if season.outcomes:
            return ()
        taught = tuple(_finding(season.context, row) for row in open_findings(season.decisions, season.feedback))
        since, until = (today - timedelta(days=ASKED_DAYS)).isoformat(), today.isoformat()
        found = []
        for record in reversed(season.decisions):
            day = str(record.get("date"))
            done = _of_day(season.actions, day)
            is_said = done is not None and done.get("basis") == "confirmed"
            advised = record if done is None else done
            water, nitrogen = _amounts(advised)
            if since <= day <= until and not is_said and (water > 0.0 or nitrogen > 0.0):
                found.append(_question(season.context, day, water, nitrogen, is_assumed=done is not None))
        return (*taught, *found)

    def channel(self, name: str) -> tuple[str, str]:
        """Name and unit, read off a name that carries its unit: `air_temperature_c` is Air temperature in °C."""
        ending = next((ending for ending in _UNITS if name.endswith(f"_{ending}")), None)
        words = (name if ending is None else name.removesuffix(f"_{ending}")).split("_")
        spoken = " ".join(re.sub(r"^(\d+)(cm|m)$", r"\1 \2", _WORDS.get(word, word)) for word in words)
        return capitalised(spoken), _UNITS.get(ending or "", "")


def _question(field: Record, day: str, water: float, nitrogen: float, is_assumed: bool) -> Question:
    now = "It is assumed that this was done." if is_assumed else "Nothing is noted of it yet."
    return Question(
        f"{field.get('season')}/{field.get('field_id')}",
        day,
        f"Recommended: {_headline(water, nitrogen, '').lower()}. {now}",
        (
            Amount("irrigation_mm", "Water", "mm", water),
            Amount("nitrogen_kg_ha", "Nitrogen", "kg/ha", nitrogen),
        ),
    )


def _finding(field: Record, row: Record) -> Question:
    return Question(
        f"{field.get('season')}/{field.get('field_id')}",
        str(row.get("date")),
        " ".join(sentences([row])),
        about=str(row.get("name")),
        choices=(("taken", "Yes, use it"), ("refused", _NOT_SO.get(str(row.get("name")), "No"))),
    )


def _of_today(recommendations: Sequence[Record], today: date) -> Record | None:
    if not recommendations:
        return None
    until = [record for record in recommendations if str(record.get("date")) <= today.isoformat()]
    return until[-1] if until else recommendations[-1]


def _of_day(records: Sequence[Record], day: str) -> Record | None:
    return next((record for record in records if record.get("date") == day), None)


def _amounts(record: Record) -> tuple[float, float]:
    water, nitrogen = (as_number(record.get(name)) or 0.0 for name in ("irrigation_mm", "nitrogen_kg_ha"))
    return (water if water > ALREADY_NOTHING_MM else 0.0), max(nitrogen, 0.0)


def _millimetres(water: float) -> str:
    return number(water, 0 if abs(water - round(water)) < ALREADY_NOTHING_MM else 1, "mm")


def _headline(water: float, nitrogen: float, when: str) -> str:
    parts = []
    if water > 0.0:
        parts.append(f"irrigate {_millimetres(water)}")
    if nitrogen > 0.0:
        parts.append(f"apply {number(nitrogen)} kg/ha of nitrogen")
    sentence = " and ".join(parts) or "no irrigation"
    return f"{capitalised(sentence)} {when}".rstrip()


def _texts(values: object) -> tuple[str, ...]:
    """Sentences or codes, as they stand or as the `text` of an object."""
    if not isinstance(values, list | tuple):
        return ()
    plain = (value.get("text") if isinstance(value, dict) else value for value in values)
    return tuple(value for value in plain if isinstance(value, str) and value)


def _expected(record: Record) -> Range | None:
    low, middle, high = (as_number(record.get(f"yield_{quantile}_t_ha")) for quantile in ("p10", "p50", "p90"))
    if low is None or middle is None or high is None:
        return None
    return Range("Expected yield", low, middle, high, "t/ha")


def _raw_mm(record: Record) -> float | None:
    fraction, taw = as_number(record.get("x_raw_fraction")), as_number(record.get("x_taw_mm"))
    return None if fraction is None or taw is None else fraction * taw


def _gauge(record: Record) -> Gauge | None:
    depletion, taw, raw = as_number(record.get("x_depletion_mm")), as_number(record.get("x_taw_mm")), _raw_mm(record)
    if depletion is None or taw is None or raw is None or taw <= 0.0:
        return None
    left = min(max(taw - depletion, 0.0), taw)
    about = f"{number(left)} of {number(taw)} mm are left for the roots; below {number(taw - raw)} mm the crop feels it"
    return Gauge("Water in the root zone", left, taw - raw, taw, "mm", about)


def _basis(record: Record, is_fallback: bool) -> tuple[str, ...]:
    """Who decided, on data of what age, how fast."""
    rule_share = as_number(record.get("rule_share")) or 0.0
    by = "FAO-56 balance" if is_fallback else f"Model {record.get('model_version', '?')}"
    if rule_share >= LEANING_SHARE:
        parts = (
            f"{_pct(1.0 - rule_share)} model {record.get('model_version', '?')}",
            f"{_pct(rule_share)} FAO-56 balance",
        )
        by = ", ".join(reversed(parts) if is_fallback else parts)
    age_days = as_number(record.get("data_age_days"))
    basis = [by]
    if age_days is not None:
        basis.append("data up to yesterday" if age_days == 0 else f"last reading {number(age_days + 1)} days old")
    if as_number(record.get("x_has_forecast")) == 1.0:
        basis.append(f"{number(record.get('x_forecast_rain_5d_mm'))} mm of rain foretold in 5 days")
    if as_number(record.get("latency_ms")) is not None:
        basis.append(f"decided in {number(record.get('latency_ms'), 1)} ms")
    return tuple(basis)


def _pct(share: float) -> str:
    return number(100.0 * share, 0, "%")


def _done(operation: Record | None) -> str | None:
    if operation is None:
        return None
    water, nitrogen = _amounts(operation)
    parts = [_millimetres(water)] if water > 0.0 else []
    if nitrogen > 0.0:
        parts.append(f"{number(nitrogen)} kg/ha N")
    return " + ".join(parts) or "nothing"


def _past_day(day: str, advised: Record | None, done: Record | None) -> PastDay:
    is_override = done is not None and done.get("source") == "override"
    why = done.get("why") if done is not None else None
    if isinstance(why, str) and why:
        note = why
    elif is_override:
        note = "override"
    elif done is not None and done.get("basis") == "assumed":
        note = "assumed"
    elif advised is not None and advised.get("source") == "fao56":
        note = "FAO-56 balance"
    else:
        note = ""
    return PastDay(day, _done(advised), _done(done), is_override, note)


def _sum(records: Iterable[Record], name: str) -> float:
    return sum(as_number(record.get(name)) or 0.0 for record in records)


def _by_day(records: Iterable[Record], value: Callable[[Record], float | None], first: date, days: int) -> Values:
    values: list[float | None] = [None] * days
    for record in records:
        day = as_date(record.get("date"))
        if day is not None and 0 <= (day - first).days < days:
            values[(day - first).days] = value(record)
    return tuple(values)


def _about(first: date, last: date, depletion: Values, raw: Values, taw: Values, rain: Values, given: Values) -> str:
    """The picture in words."""
    days = f"From {short_date(first.isoformat())} to {short_date(last.isoformat())}: "
    now = max((day for day, value in enumerate(depletion) if value is not None), default=None)
    state = "the soil water is not known yet"
    if now is not None:
        over = sum(d is not None and r is not None and d > r for d, r in zip(depletion, raw, strict=True))
        state = (
            f"on {short_date((first + timedelta(days=now)).isoformat())} the root zone lacks {number(depletion[now])} "
            f"of {number(taw[now])} mm, readily available are {number(raw[now])} mm. It lacked more than that on "
            f"{over} {plural('day', over)}"
        )
    waterings = [value for value in given if value]
    fallen = sum(value or 0.0 for value in rain)
    given_mm = f"{len(waterings)} irrigations gave {number(sum(waterings))} mm"
    return f"{days}{state}. {given_mm}; {number(fallen)} mm of rain fell."
