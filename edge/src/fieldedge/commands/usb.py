"""`fieldedge export` and `fieldedge import`: by hand what a link would carry."""

import argparse
import io
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from fieldedge.contract import Record
from fieldedge.device.config import DeviceConfig, DeviceDirectory
from fieldedge.inference.loading import load_model, read_reference
from fieldedge.inference.slots import Slots
from fieldedge.presentation.answer import answer, is_for_program, say
from fieldedge.presentation.text import capitalised, plural
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock, format_utc
from fieldedge.system.errors import ConfigError, DataError, FieldloopError
from fieldedge.system.locks import GIVE_WAY_S, exclusive
from fieldedge.system.plain_files import descriptor_of, not_plain
from fieldedge.workload import Workload, merit
from fieldedge.workloads import read_device

MAX_REJECTED_TOLD = 5
MAX_MESSAGES_BYTES = 1_000_000_000

_log = logging.getLogger(__name__)


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    command = commands.add_parser("export", parents=[shared], help="put what is worth sending onto a stick")
    command.add_argument("--to", type=Path, required=True, help="where the stick is mounted")
    command.set_defaults(command=export)
    command = commands.add_parser(
        "import", parents=[shared], help="take acknowledgements and a release from a stick, or messages from a file"
    )
    command.add_argument("--from", dest="stick", type=Path, help="where the stick is mounted")
    command.add_argument("--messages", type=Path, help="JSON lines, as `fieldedge run` reads them")
    command.set_defaults(command=import_)


def export(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Prepare what is due and write all that waits onto the stick. Nothing is freed by it."""
    from fieldedge.system.keys import load_key
    from fieldedge.transfer import reports
    from fieldedge.transfer.outbox import Outbox
    from fieldedge.transfer.packing import Packer
    from fieldedge.transfer.usb import UsbStick
    from fieldedge.transfer.usb import export as write

    config, workload = read_device(directory)
    key, clock, stick = load_key(directory.private_key), Clock(directory.clock_floor), UsbStick(options.to)
    stick.check()
    with (
        exclusive(directory.lock("sync"), GIVE_WAY_S),
        Store(directory.store, clock.stamp, merit=merit(workload)) as store,
    ):
        outbox = Outbox(directory.outbox, store)
        packer = Packer(config, workload, store, *read_reference(directory, workload))
        outbox.settle()
        for episode in store.episodes():
            packer.prepare(outbox, episode)
        slots = Slots(directory.root)
        of_watch = reports.of_watch(slots, store, config, workload.name)
        told = [*reports.waiting(slots), *([] if of_watch is None else [of_watch])]
        exported = write(stick, outbox, config.device_id, key, format_utc(clock.now()), told)
        store.add_event("export", f"{_batches(exported.batches)} on the stick", {"batches": exported.batches})
    is_own_disk = stick.is_on_disk_of(directory)
    if is_for_program(options):
        answer(options, {**asdict(exported), "is_own_disk": is_own_disk, "unfitting": packer.unfitting})
        return
    say(f"{_batches(exported.batches)} ({exported.bytes / 1000.0:.1f} kB) on {exported.folder}")
    say(f"New on it: {exported.new_batches}. Everything stays here as well, until an acknowledgement comes back.")
    for said in packer.unfitting:
        say(capitalised(said))
    if is_own_disk:
        say("This folder is on the device's own disk: is the stick mounted?")


def import_(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Take what came by hand. A part that fails does not hold up the others; its error is raised at the end."""
    if options.stick is None and options.messages is None:
        raise ConfigError("nothing to take in; name a stick with --from, or a file with --messages")
    config, workload = read_device(directory)
    clock = Clock(directory.clock_floor)
    parts: dict[str, Callable[[], Any]] = {}
    if options.stick is not None:
        parts |= _of_usb(options.stick, directory, config, workload, clock)
    if options.messages is not None:
        parts["messages"] = lambda: _take_messages(options.messages, directory, config, workload, clock)
    report: Record = {}
    errors: list[FieldloopError | OSError] = []
    for name, take in parts.items():
        try:
            report[name] = take()
        except (FieldloopError, OSError) as error:
            report[name] = {"error": str(error)}
            errors.append(error)
    if is_for_program(options):
        answer(options, report)
    else:
        for name, found in report.items():
            say(_told(name, found))
    if errors:
        raise errors[0]


def _of_usb(
    path: Path, directory: DeviceDirectory, config: DeviceConfig, workload: Workload, clock: Clock
) -> dict[str, Callable[[], Any]]:
    from fieldedge.transfer.usb import UsbStick, update_from_usb

    stick = UsbStick(path)
    stick.check()
    if not stick.has_release:
        raise DataError(
            f"{path} holds no release: {stick.timestamp} is {not_plain(stick.timestamp) or 'missing'}; have it written "
            "with `fieldloop ingest-usb`"
        )
    for misplaced in stick.misplaced():
        _log.warning("%s", misplaced)
    return {
        "acknowledgements": lambda: _take_acknowledgements(stick, directory, config, workload, clock),
        "release": lambda: update_from_usb(stick, directory, workload.contract, clock.reading).as_record(),
    }


def _take_acknowledgements(
    stick: Any, directory: DeviceDirectory, config: DeviceConfig, workload: Workload, clock: Clock
) -> Record:
    from fieldedge.transfer.outbox import Outbox
    from fieldedge.transfer.usb import take_acknowledgements

    with (
        exclusive(directory.lock("sync"), GIVE_WAY_S),
        Store(directory.store, clock.stamp, merit=merit(workload)) as store,
    ):
        outbox = Outbox(directory.outbox, store)
        freed = take_acknowledgements(stick, directory, outbox, config.device_id, clock.reading)
        if freed:
            store.add_event("acknowledged", f"{_batches(freed)} acknowledged by a stick", {"batches": freed})
        return {"acknowledged": freed, "waiting": len(store.prepared_batches())}


def _take_messages(
    path: Path, directory: DeviceDirectory, config: DeviceConfig, workload: Workload, clock: Clock
) -> Record:
    """Give each line to the agent; a running service follows through the store."""
    from fieldedge.runtime.agent import Agent, bounded_lines

    counts = {"lines": 0, "rejected": 0}
    rejected: list[Record] = []
    with Store(directory.store, clock.stamp, merit=merit(workload)) as store, _opened(path) as lines:
        agent = Agent(config, workload, store, load_model(directory, workload, store))
        for number, line in enumerate(bounded_lines(lines), start=1):
            if not line.strip():
                continue
            counts["lines"] += 1
            said = agent.answer_line(line, f"line {number}")
            if said is not None and said["kind"] == "rejected":
                counts["rejected"] += 1
                rejected.append({"line": number, "where": said["where"], "error": said["error"]})
    return {**counts, "rejections": rejected[:MAX_REJECTED_TOLD]}


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """The lines of a file as it is now: what is appended meanwhile is not waited for."""
    try:
        descriptor = descriptor_of(path, os.O_RDONLY)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; name a file of JSON lines") from error
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        size_bytes = os.fstat(descriptor).st_size
        if size_bytes > MAX_MESSAGES_BYTES:
            raise DataError(f"{path} has {size_bytes} bytes; at most {MAX_MESSAGES_BYTES} are taken: divide it")
        beginning = io.BufferedReader(_Beginning(file, size_bytes))
        yield io.TextIOWrapper(beginning, encoding="utf-8", errors="backslashreplace")


class _Beginning(io.RawIOBase):
    """The first bytes of a file."""

    def __init__(self, file: io.FileIO, size_bytes: int) -> None:
        self._file, self._left_bytes = file, size_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(memoryview(buffer)[: self._left_bytes]) or 0
        self._left_bytes -= count
        return count


def _told(name: str, found: Record) -> str:
    if "error" in found:
        return f"{name}: failed"
    if name == "acknowledgements":
        return f"acknowledgements: {_batches(found['acknowledged'])} freed, {found['waiting']} still waiting"
    if name == "release":
        what = "installed" if found["changed"] else "was active already"
        return f"release: {found['version']} ({found['precision']}) {what}, slot {found['slot']}"
    lines = [f"messages: {found['lines'] - found['rejected']} of {found['lines']} taken"]
    lines += [f"  line {row['line']}, {row['where']}: {row['error']}" for row in found["rejections"]]
    return "\n".join(lines)


def _batches(count: int) -> str:
    return f"{count} {plural('batch', count, 'batches')}"
