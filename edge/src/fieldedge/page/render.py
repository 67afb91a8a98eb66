"""A view as one HTML text: its own style, no script, nothing from elsewhere.

Whatever came from outside goes through `escaped`. Nothing carries a `style` attribute: the page's one style element
is all that its Content-Security-Policy lets in.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from fieldedge.presentation import chart
from fieldedge.presentation.facts import (
    Advice,
    Amount,
    ChannelHealth,
    Figure,
    Gauge,
    LoggerHealth,
    PastDay,
    Question,
    StepState,
    View,
)
from fieldedge.presentation.text import (
    NOTHING,
    age,
    as_number,
    as_time,
    capitalised,
    counted,
    escaped,
    long_date,
    number,
    quantity,
    short_date,
    short_time,
    size,
    span,
    time_of_day,
)

REFRESH_S = 300
ASKING_REFRESH_S = 3600  # a page that is made anew forgets what was being typed into it
MAX_TABLE_DAYS = 160
LOW_SHARE = 0.9
OLD_S = 3 * 3600.0
STYLE = " ".join(Path(__file__).with_name("page.css").read_text(encoding="utf-8").split())
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

_RING = "M19 12a7 7 0 1 1-3.5-6.06M12 12h.01"  # the loop about its device, whatever the workload
_STROKE = "fill='none' stroke-width='3' stroke-linecap='round'"
_MARK = f'<svg viewBox="0 0 24 24" aria-hidden="true"><path stroke="currentColor" {_STROKE} d="{_RING}"/></svg>'
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E%3Cpath stroke='%2323804b' "
    f"{_STROKE} d='{_RING}'/%3E%3C/svg%3E"
)
_FLAGS = {
    "missing": "missing",
    "range": "out of range",
    "rate": "jumped",
    "flat": "stuck",
    "spike": "spike",
    "fault": "sensor fault",
}


def render(view: View, token: str = "") -> str:
    """The whole page. `token` goes into its forms, by which the device knows its own page again."""
    asks = bool(view.questions)
    anew = "once an hour while it asks" if asks else "every five minutes"
    return _document(
        view.device_id,
        f'<header><p class="brand">{_MARK}{escaped(view.device_id)}</p>'
        f'<p class="quiet">{escaped(view.place)}</p></header>'
        f"<main>{_notices(view)}{_today(view)}{_questions(view.questions, token)}{_next_steps(view)}"
        f"{_figures(view.figures)}{_drawn(view)}"
        f"{_history(view.history)}{_sensors(view)}{_device(view)}{_events(view)}</main>"
        f'<footer class="quiet">Written at {escaped(short_time(view.clock.now_utc))} UTC, anew {anew}. All '
        'times are UTC. The same as data: <a href="status.json">status.json</a></footer>',
        ASKING_REFRESH_S if asks else REFRESH_S,
    )


def render_failure(device_id: str, what: str) -> str:
    """The page in place of one that could not be made."""
    return _document(
        device_id,
        f'<header><p class="brand">{_MARK}{escaped(device_id)}</p></header><main><ul class="notices">'
        f'<li class="bad">{escaped(what, 600)}</ul></main>',
        REFRESH_S,
    )


def render_refusal(device_id: str, what: str) -> str:
    """The page for an answer that was not taken, with the way back."""
    return _document(
        device_id,
        f'<header><p class="brand">{_MARK}{escaped(device_id)}</p></header><main><section class="panel">'
        f'<h1>This was not noted</h1><p>{escaped(what, 600)}<p><a href="./">Back to the page</a></section>'
        "</main>",
    )


def _document(title: str, body: str, refresh_s: int | None = None) -> str:
    refresh = "" if refresh_s is None else f'<meta http-equiv="refresh" content="{refresh_s}">'
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'{refresh}<meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="{_ICON}"><title>{escaped(title)}</title><style>{STYLE}</style></head>'
        f"<body>{body}</body></html>"
    )


def _panel(title: str, body: str, kind: str = "") -> str:
    return f'<section class="panel {kind}"><h2>{title}</h2>{body}</section>' if body else ""


def _notices(view: View) -> str:
    items = "".join(f'<li class="{notice.level}">{escaped(capitalised(notice.text), 600)}' for notice in view.notices)
    return f'<ul class="notices">{items}</ul>' if items else ""


def _next_steps(view: View) -> str:
    steps = "".join(f"<li>{escaped(step, 600)}" for step in view.next_steps)
    return _panel("What to do next", f"<ol>{steps}</ol>") if steps else ""


# What was done


def _questions(questions: Iterable[Question], token: str) -> str:
    found: dict[str, str] = {}
    for place, question in enumerate(questions):
        title = "Is this so?" if question.about else "Was this done?"
        found[title] = found.get(title, "") + _question(question, token, place)
    return "".join(_panel(title, forms, "ask") for title, forms in found.items())


def _question(question: Question, token: str, place: int) -> str:
    """One day: as recommended, or nothing at all; other amounts in a form of their own, whose Enter key notes those."""
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{escaped(value)}">'
        for name, value in (
            ("token", token),
            ("episode", question.episode),
            ("date", question.date),
            *((("about", question.about),) if question.about else ()),
        )
    )
    form = f'<form method="post" action="done" autocomplete="off">{hidden}'
    buttons = "".join(
        f'<button name="answer" value="{escaped(value)}">{escaped(words)}</button>' for value, words in question.choices
    )
    asked = (
        f'<div role="group" aria-labelledby="day-{place}"><h3 id="day-{place}">{escaped(long_date(question.date))}</h3>'
        f"<p>{escaped(question.text)}</p>"
        f'{form}<p class="answers">{buttons}</form>'
    )
    if not question.amounts:
        return f"{asked}</div>"
    amounts = "".join(_amount(amount, place) for amount in question.amounts)
    return (
        f"{asked}<details><summary>Another amount</summary>{form}{amounts}"
        f'<p><label for="why-{place}">Why</label><input id="why-{place}" name="why" maxlength="300">'
        '<p><button name="answer" value="other">Note these amounts</button></form></details></div>'
    )


def _amount(amount: Amount, place: int) -> str:
    name = escaped(amount.name)
    return (
        f'<p><label for="{name}-{place}">{escaped(amount.label)}, {escaped(amount.unit)}</label>'
        f'<input id="{name}-{place}" name="{name}" inputmode="decimal" maxlength="12" '
        f'placeholder="{escaped(number(amount.advised, 0 if amount.advised == round(amount.advised) else 1))}">'
    )


# Today


def _today(view: View) -> str:
    advice = view.advice
    if advice is None:
        what = "<h1>No recommendation yet</h1>"
        if not view.is_readable:
            what = "<h1>The records cannot be read now</h1><p>The agent mends its store by itself, where it runs as a "
            what += "service. If this stays so, fieldedge doctor says more."
        return f'<section class="panel today">{what}</section>'
    asked = {question.text for question in view.questions}  # said once, where it is asked
    reasons = "".join(f"<p>{escaped(reason)}" for reason in advice.reasons if reason not in asked)
    return (
        f'<section class="panel today{" act" if advice.is_action else ""}"><p class="kicker">{_when(advice)}</p>'
        f"<h1>{escaped(advice.headline)}</h1>{_gauge(advice.gauge)}{reasons}{_advice_facts(advice)}</section>"
    )


def _when(advice: Advice) -> str:
    time_ = time_of_day(advice.date)
    day = escaped(long_date(advice.date) + (f"{time_} UTC" if time_ else ""))
    return day if advice.is_today else f"Recommended on {day}; there is none for today"


def _advice_facts(advice: Advice) -> str:
    facts = []
    if advice.expected is not None:
        likely = advice.expected
        interval = f"{number(likely.low, 1)} to {number(likely.high, 1, likely.unit)} in four of five cases"
        facts.append((likely.name, escaped(f"{number(likely.middle, 1, likely.unit)}, {interval}")))
    if advice.guardrails:
        facts.append(("Guardrails", "<ul>" + "".join(f"<li>{escaped(rule)}" for rule in advice.guardrails) + "</ul>"))
    if advice.basis:
        facts.append(("Decided by", escaped(" · ".join(advice.basis))))
    if advice.done is not None:
        facts.append(("Done", escaped(advice.done)))
    return _facts(facts)


def _gauge(gauge: Gauge | None) -> str:
    """A bar as full as the tank, with a mark where it becomes too little."""
    if gauge is None:
        return ""
    left, limit = (100.0 * min(max(part / gauge.full, 0.0), 1.0) for part in (gauge.left, gauge.limit))
    calm = " calm" if gauge.left >= gauge.limit else ""
    return (
        '<div class="gauge"><svg viewBox="0 0 100 22" preserveAspectRatio="none" role="img" aria-label="'
        f'{escaped(f"{gauge.name}: {gauge.about}")}"><rect class="tank{calm}" y="4" width="100" height="14"/>'
        f'<rect class="water" y="4" width="{left:.1f}" height="14"/>'
        f'<rect class="at" x="{min(limit, 99.5):.1f}" width=".5" height="22"/></svg>'
        f'<p class="quiet">{escaped(gauge.name)}: {escaped(gauge.about)}.</p></div>'
    )


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    return '<dl class="facts">' + "".join(f"<dt>{name}<dd>{value}" for name, value in facts) + "</dl>"


# The chart


def _figures(figures: Iterable[Figure]) -> str:
    boxes = []
    for figure in figures:
        part = "" if figure.of is None else f" of {number(figure.of, figure.digits)}"
        value = f"{number(figure.value, figure.digits)} <small>{escaped(figure.unit)}{part}</small>"
        boxes.append(f"<div><dt>{escaped(figure.name)}<dd>{value}</div>")
    return f'<dl class="figures">{"".join(boxes)}</dl>' if boxes else ""


def _drawn(view: View) -> str:
    picture = view.chart
    if picture is None:
        return ""
    pictures = chart.draw(picture, chart.PHONE, "phone") + chart.draw(picture, chart.WIDE, "wide")
    numbers = f'<div class="scroll">{chart.table(picture, MAX_TABLE_DAYS)}</div>'
    numbers = f"<details><summary>Day by day in numbers</summary>{numbers}</details>"
    return _panel(escaped(picture.title), f"{chart.legend(picture)}<figure>{pictures}</figure>{numbers}")


def _history(days: Sequence[PastDay]) -> str:
    """The last days, or moments; what is known of none of them has no column."""
    is_by_clock = any(time_of_day(day.date) for day in days)
    has_done, has_note = any(day.done for day in days), any(day.note for day in days)
    rows = "".join(
        f'<tr><th class="nowrap">{escaped(short_date(day.date) + time_of_day(day.date))}'
        f"<td>{escaped(day.recommended or NOTHING)}"
        + (f"<td>{escaped(day.done or NOTHING)}" if has_done else "")
        + (f'<td class="{"low" if day.is_override else ""}">{escaped(day.note)}' if has_note else "")
        for day in days
    )
    title, when = ("Last decisions", "Time, UTC") if is_by_clock else ("Last ten days", "Day")
    head = f"<thead><tr><th>{when}<th>Recommended" + "<th>Done" * has_done + "<th>Note" * has_note + "</thead>"
    return _panel(title, f'<table class="history">{head}<tbody>{rows}</tbody></table>') if rows else ""


# The sensors


def _sensors(view: View) -> str:
    now = as_time(view.clock.now_utc)
    loggers = "".join(_logger(logger, now) for logger in view.loggers)
    more = f'<p class="quiet">{view.more_loggers} more loggers are in status.json.</p>' if view.more_loggers else ""
    return _panel("Sensors", loggers + more)


def _logger(logger: LoggerHealth, now: datetime | None) -> str:
    rows = "".join(_channel(channel, now) for channel in logger.channels)
    state = f'<span class="{"low" if logger.is_silent else "quiet"}">{escaped(age(logger.age_s))}</span>'
    head = '<thead><tr><th>Channel<th>Last value<th>Good<th class="words">Last flag</thead>'
    return (
        f'<div class="logger"><header><h3>{escaped(logger.name, 60)}</h3>{state}</header>'
        f'<table class="channels">{head}<tbody>{rows}</tbody></table></div>'
    )


def _channel(channel: ChannelHealth, now: datetime | None) -> str:
    share = channel.good / channel.samples if channel.samples else 0.0
    flag = ""
    if channel.last_flag is not None:
        flag = f"{_FLAGS.get(channel.last_flag, channel.last_flag)}, {_since(channel.last_flag_utc, now)}"
    value = escaped(quantity(channel.value, _digits(channel.value), channel.unit))
    is_old = channel.age_s is not None and channel.age_s > OLD_S
    when = f'<br><small class="quiet">{escaped(age(channel.age_s))}</small>' if is_old else ""
    return (
        f'<tr><th>{escaped(channel.label, 60)}<td class="nowrap{"" if channel.is_good else " low"}">{value}{when}'
        f'<td class="nowrap{"" if share >= LOW_SHARE else " low"}">{number(100.0 * share)}&nbsp;%'
        f'<td class="words quiet">{escaped(flag, 60)}'
    )


def _digits(value: float | None) -> int:
    """Three significant figures, roughly."""
    found = abs(value or 0.0)
    return 0 if found == 0.0 or found >= 100.0 else 3 if found < 1.0 else 1


def _since(time_utc: str | None, now: datetime | None) -> str:
    moment = as_time(time_utc)
    return NOTHING if moment is None or now is None else age((now - moment).total_seconds())


# The device


def _device(view: View) -> str:
    return _panel("Device", _facts([("Model", _model(view)), *_link(view), ("Store", _store(view)), *_clock(view)]))


def _model(view: View) -> str:
    model = view.model
    contract = f"contract {escaped(model.contract_hash[:12])}"
    if model.version is None:
        return f"none; {contract}"
    left = f"; left to the rule: {escaped('; '.join(model.left_to_rule))}" if model.left_to_rule else ""
    stands = f"; {escaped(model.standing)}" if model.standing else ""
    return f"{escaped(model.version)}, {escaped(model.precision)}, slot {escaped(model.slot)}{stands}; {contract}{left}"


def _link(view: View) -> list[tuple[str, str]]:
    link, now = view.link, as_time(view.clock.now_utc)
    facts = [("Gateway", escaped(link.gateway) if link.gateway else "none: a USB stick carries data and models")]
    if link.gateway:
        for name, time_utc in (("Last sync", link.last_sync_utc), ("Last update", link.last_update_utc)):
            facts.append((name, "not yet" if time_utc is None else escaped(_since(time_utc, now))))
    waiting = "nothing" if view.is_readable else "not known"
    if link.waiting_batches:
        waiting = f"{counted(link.waiting_batches, 'batch', 'batches')}, {size(link.waiting_bytes)}"
    return [*facts, ("Waits to be sent", waiting)]


def _store(view: View) -> str:
    store = view.store
    if store.used_bytes is None:
        return "nothing stored yet" if view.is_readable else "cannot be read"
    share = 100.0 * store.used_bytes / max(store.max_bytes, 1)
    used = f"{size(store.used_bytes)} of {size(store.max_bytes)} ({number(share, 0 if share >= 10.0 else 1)} %)"
    records = ", ".join(f"{number(count)} {state}" for state, count in store.records.items())
    return escaped(used + (f"; records: {records}" if records else ""))


def _clock(view: View) -> list[tuple[str, str]]:
    clock = view.clock
    trusted = {True: "confirmed", False: "not confirmed since the start", None: "as the system says"}[clock.is_trusted]
    facts = [("Clock", f"{escaped(short_time(clock.now_utc))} UTC, {trusted}")]
    if view.steps:
        failing = [step for step in view.steps if (as_number(step.get("failures")) or 0) > 0]
        names = ", ".join(
            f"{escaped(step.get('name'), 40)} (again in {escaped(span(as_number(step.get('due_in_s'))))})"
            for step in failing
        )
        facts.append(("Service", f"{len(view.steps)} steps; " + (f"failing: {names}" if failing else "all work")))
        facts.append(("Steps", f"<details><summary>when each was done</summary>{_steps(view)}</details>"))
    return facts


def _steps(view: View) -> str:
    return "<ul>" + "".join(f"<li>{escaped(step.get('name'), 40)}: {_fares(step)}" for step in view.steps) + "</ul>"


def _fares(step: StepState) -> str:
    """What a step is at now, or when it was last done."""
    running_s, done_s = as_number(step.get("running_s")), as_number(step.get("done_age_s"))
    if running_s is not None:
        return escaped(f"at it for {span(running_s)} {step.get('doing') or ''}", 200)
    return "not done since the start" if done_s is None else f"done {escaped(age(done_s))}"


def _events(view: View) -> str:
    items = "".join(
        f'<li><span class="quiet">{escaped(short_time(event.last_utc))} · {escaped(event.kind, 40).replace("_", " ")}'
        f"{f' · {number(event.times)} times' if event.times > 1 else ''}</span><br>{escaped(event.text)}"
        for event in view.events
    )
    return _panel("What happened", f'<ul class="events">{items}</ul>' if items else "")
