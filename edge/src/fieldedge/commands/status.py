"""`fieldedge status`: what the device is, runs, holds and says."""

import argparse
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fieldedge.contract import Record
from fieldedge.contract.batches import PERIOD_KEY, as_header
from fieldedge.device.config import DeviceConfig, DeviceDirectory
from fieldedge.inference.loading import slices_of, usable
from fieldedge.inference.standing import Standing, standing
from fieldedge.presentation.answer import answer, is_for_program, say
from fieldedge.presentation.text import age, quantity, short_time, shortened, size, span
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock
from fieldedge.system.locks import holder, is_held
from fieldedge.workload import Workload, merit, opening_kind
from fieldedge.workloads import read_device

if TYPE_CHECKING:
    from fieldedge.presentation.facts import ServiceState, View

EVENTS_SHOWN = 6
LINE_CHARACTERS = 110


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    command = commands.add_parser("status", parents=[shared], help="what the device is, runs, holds and says")
    command.set_defaults(command=status)


def status(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Say what the device is, runs, holds and says. Changes nothing."""
    from fieldedge.page.view import plain, read_view
    from fieldedge.system.keys import load_key, public_key_hex

    config, workload = read_device(directory)
    clock = Clock(directory.clock_floor)
    now = clock.now()
    with Store(directory.store, clock.stamp, merit=merit(workload)) as store:
        view = read_view(directory, config, workload, now, store, _known_state(store, clock))
        known: Record = {
            "device_id": config.device_id,
            "public_key": public_key_hex(load_key(directory.private_key)),
            "workload": config.workload,
            "contract_hash": workload.contract.hash,
            "upload_budget_bytes": config.upload_budget_bytes,
            "model": _with_standing(_model_status(directory, workload), standing(directory, store, config.watch)),
            "under_way": _under_way(directory),
            "records": store.states(),
            "rejected": len(store.rejects()),
            "waiting": len(store.prepared_batches()),
            f"{PERIOD_KEY}s": [{PERIOD_KEY: as_header(at), **asdict(store.totals(at))} for at in store.episodes()],
            "is_serving": is_held(directory.lock("run")),
        }
    if is_for_program(options):
        facts = ("place", "advice", "loggers", "link", "store", "clock", "notices", "next_steps", "events")
        answer(options, {**known, "sources": _sources(config), **{name: plain(getattr(view, name)) for name in facts}})
        return
    for line in as_lines(known, view, config, workload):
        say(line)


def _known_state(store: Store, clock: Clock) -> "ServiceState":
    """What the running service would say of itself, as far as the store and the clock know it."""
    done = {name: store.events(1, f"link_{name}") for name in ("sync", "update")}
    last = {f"last_{name}_utc": events[0]["last_utc"] for name, events in done.items() if events}
    return {
        "is_time_trusted": clock.is_trusted,
        "clock_note": clock.note,
        "link": {"last_sync_utc": last.get("last_sync_utc"), "last_update_utc": last.get("last_update_utc")},
    }


def _model_status(directory: DeviceDirectory, workload: Workload) -> Record | None:
    """The model that truly decides; why it is not the one that was installed last, where it is not."""
    try:
        used, problem = usable(directory, workload)
    except OSError as error:
        return {"error": str(error)}
    if used is None:
        return None if problem is None else {"error": problem}
    left_to_rule = [one.words for one in slices_of(directory, used, workload)]
    known = {**asdict(used), **({"left_to_rule": left_to_rule} if left_to_rule else {})}
    return known if problem is None else {**known, "problem": problem}


def _with_standing(known: Record | None, found: Standing | None) -> Record | None:
    if known is None or found is None:
        return known
    return {
        **known,
        "state": found.state,
        "reason": found.reason,
        "watched": found.watched,
        "to_watch": found.to_watch,
        "former_version": found.former_version,
        "standing": found.words,
    }


def _under_way(directory: DeviceDirectory) -> dict[str, Record]:
    """What of the link's jobs is being done now, by whatever process, and for how long."""
    held = {name: holder(directory.lock(name)) for name in ("sync", "update")}
    return {
        name: {"doing": found[0], "running_s": None if found[1] is None else round(found[1], 1)}
        for name, found in held.items()
        if found
    }


def _sources(config: DeviceConfig) -> list[Record]:
    return [{"name": source.name, "kind": source.kind, "format": source.format} for source in config.sources]


# For a person


def as_lines(known: Record, view: "View", config: DeviceConfig, workload: Workload) -> Iterator[str]:
    """The status as a person reads it."""
    yield f"{known['device_id']}  {view.place or f'no {opening_kind(workload)} yet'}"
    yield from (f"  ! {notice.text}" for notice in view.notices)
    yield from (f"  > {step}" for step in view.next_steps)
    yield from _section("Advice", _advice(view))
    yield from _section("Sensors", _sensors(view, config))
    yield from _section("Device", _device(known, view, workload.presenter.rule))
    events = [f"{short_time(event.last_utc)}  {event.text}{_times(event.times)}" for event in view.events]
    yield from _section("Events", events[:EVENTS_SHOWN])


def _section(name: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield name
        for line in lines:
            yield from _wrapped("  " + line)


def _wrapped(line: str) -> list[str]:
    """A line over as many as it takes on a terminal; what follows stands below the text, not below its label."""
    indent = len(line) - len(line.lstrip())
    label, gap, _ = line.strip().partition("  ")
    spaces = len(line) - len(line[indent + len(label) :].lstrip()) if gap else indent + 2
    return textwrap.wrap(
        line, LINE_CHARACTERS, subsequent_indent=" " * spaces, break_long_words=False, break_on_hyphens=False
    )


def _advice(view: "View") -> list[str]:
    advice = view.advice
    if advice is None:
        return []
    lines = [f"{advice.date}: {shortened(advice.headline)}"]
    lines += [f"  {reason}" for reason in advice.reasons]
    lines += [] if advice.done is None else [f"  Done: {advice.done}"]
    return lines


def _sensors(view: "View", config: DeviceConfig) -> list[str]:
    of_sources = ", ".join(f"{source.name} ({source.kind}, {source.format})" for source in config.sources)
    lines = [f"sources: {of_sources}"] if of_sources else []
    if not view.loggers:
        return lines
    width = max(len(channel.name) for logger in view.loggers for channel in logger.channels)
    for logger in view.loggers:
        lines.append(f"{logger.name}: last sample {age(logger.age_s)}")
        for channel in logger.channels:
            bad = channel.samples - channel.good
            said = f"{bad} of the last {channel.samples} bad ({channel.last_flag})" if bad else "good"
            value = quantity(channel.value, 3 if channel.unit.startswith("m³") else 1, channel.unit)
            lines.append(f"  {channel.name:<{width}}  {value:>12}  {age(channel.age_s):<14}  {said}")
    if view.more_loggers:
        lines.append(f"and {view.more_loggers} more loggers")
    return lines


def _device(known: Record, view: "View", rule: str) -> list[str]:
    model, store, link = known["model"], view.store, view.link
    if model is None:
        runs = f"none: {rule} decides"
    else:
        runs = (
            f"{model['error']}; {rule} decides"
            if "error" in model
            else f"{model['version']} ({model['precision']}), slot {model['slot']}"
        )
        runs += f"; left to the rule: {'; '.join(model['left_to_rule'])}" if "left_to_rule" in model else ""
        runs += f"; {model['standing']}" if model.get("standing") else ""
        runs += f"; {model['problem']}" if "problem" in model else ""
    states = ", ".join(f"{count} {state}" for state, count in store.records.items()) or "none"
    records = f"{states}; {known['rejected']} messages rejected"
    room = f"{size(store.used_bytes)} of at most {size(store.max_bytes)}"
    waiting = f"{known['waiting']} to send ({size(link.waiting_bytes)})" if known["waiting"] else "nothing to send"
    sent = f"last sent {short_time(link.last_sync_utc)}, last update {short_time(link.last_update_utc)}"
    gateway = f"{link.gateway}; {sent}" if link.gateway else "none is set: a stick is the way"
    at_it = [f"{name} {span(job['running_s'])}: {job['doing']}" for name, job in known["under_way"].items()]
    trusted = "confirmed" if view.clock.is_trusted else "confirmed by nobody"
    rows = {
        "service": "running" if known["is_serving"] else "not running",
        "model": runs,
        "records": records,
        "store": room,
        "link": f"{gateway}; {waiting}",
        **({"at it for": "; ".join(at_it)} if at_it else {}),
        "time": f"{view.clock.now_utc}, {trusted}",
        "public key": known["public_key"],
    }
    width = max(len(name) for name in rows)
    return [f"{name:<{width}}  {text}" for name, text in rows.items()]


def _times(count: int) -> str:
    return f"  ({count} times)" if count > 1 else ""
