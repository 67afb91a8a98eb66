"""`fieldedge check FILE`: how a file would be read, before anything of it is stored."""

import argparse
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldedge.device.config import DeviceConfig, DeviceDirectory, SourceConfig, read_config
from fieldedge.presentation.answer import answer, is_for_program, say
from fieldedge.presentation.text import counted, printable, span
from fieldedge.system.clock import Clock
from fieldedge.system.errors import ConfigError, DataError
from fieldedge.system.plain_files import open_own, read_own
from fieldedge.workloads import known_workload, workload_names

if TYPE_CHECKING:
    from fieldedge.acquisition.recognition import Recognised
    from fieldedge.diagnostics.file_check import Checked, CheckedChannel, CheckedWindow

MAX_FILE_BYTES = 20_000_000
SHOWN_CHARACTERS = 60


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    """It asks for no device: an installer may look at a file at a desk."""
    del shared
    command = commands.add_parser("check", help="how a logger's file would be read; nothing is stored")
    command.add_argument("file", type=Path, help="what the logger wrote, or a piece from its beginning")
    command.add_argument("--dir", type=Path, default=None, help="the device's directory, for its [site] and sources")
    command.add_argument("--source", help="read it as this [[source]] of the device would")
    command.add_argument("--format", help="read it in this format, whatever it looks like")
    command.add_argument("--mapping", type=Path, help="a TOML file with a table [fields], as [source.fields]")
    command.add_argument("--workload", help="whose channels, where no device says it")
    command.add_argument("--json", action="store_true", help="JSON even on a terminal")
    command.set_defaults(command=check)


def check(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Read the file by the steps by which it would come in, and say what came of it."""
    from fieldedge.acquisition.formats import FORMATS
    from fieldedge.acquisition.mapping import Mapper
    from fieldedge.acquisition.recognition import recognised
    from fieldedge.diagnostics.file_check import check as read

    config = _config(options, directory)
    payload = _payload(options.file)
    found = recognised(payload)
    source = _source(options, config, found)
    name, fields, why = _format(options, source, found)
    site = None if config is None else config.site
    workload = known_workload(_workload(options, config))
    mapper = Mapper.from_config(
        fields,
        workload.channels,
        0.0 if site is None else site.utc_offset_h,
        "fields",
        None if site is None else site.zone,
    )
    now = Clock(directory.clock_floor).now()
    checked = read(payload, options.file.name, FORMATS[name], mapper, workload, site, now)
    if is_for_program(options):
        answer(options, {"file": str(options.file), "format": name, "why": why, **asdict(checked)})
        return
    for line in as_lines(options.file, name, why, checked):
        say(printable(line))


def as_lines(file: Path, name: str, why: str, checked: "Checked") -> Iterator[str]:
    """How the file would be read, for a person."""
    yield f"{file.name}: read as {name} ({why})"
    said = [counted(checked.samples, "sample")]
    if checked.messages:
        said.append(counted(checked.messages, "message"))
    if checked.skipped:
        said.append(f"{checked.skipped} skipped")
    if checked.loggers:
        said.append(f"of {', '.join(checked.loggers)}")
    yield ", ".join(said)
    if (times := checked.times) is not None:
        yield ""
        yield f"times     {times.zone}"
        yield f"  first   {times.first_written} is {times.first_utc}"
        step = "" if times.step_s is None else f", one in {span(times.step_s)}"
        yield f"  last    {times.last_written} is {times.last_utc}{step}"
    if checked.channels:
        yield ""
        yield from _channel_lines(checked.channels)
    if checked.absent:
        yield f"not there: {', '.join(checked.absent)}"
    if checked.not_mapped:
        yield ""
        yield "fields that no channel is made of: name them in [source.fields] where they are one"
        for field, value, unit in checked.not_mapped:
            yield f"  {field} = {value if value is not None else 'nothing'}{f' {unit}' if unit else ''}"
    if checked.rows:
        yield ""
        yield "first rows"
        for sample in checked.rows:
            values = ", ".join(f"{name} {_shown(value)}" for name, value in sample.values.items())
            yield f"  {sample.time_utc}  {values}"
    if checked.windows:
        yield ""
        yield "what they come to"
        for window in checked.windows:
            yield from _window_lines(window)
    if checked.skips:
        yield ""
        yield "skipped"
        yield from (f"  {skip.where}: {skip.reason}" for skip in checked.skips)
        if checked.skipped > len(checked.skips):
            yield f"  and {checked.skipped - len(checked.skips)} more"
    if checked.notes:
        yield ""
        yield from (f"→ {note}" for note in checked.notes)
    yield "nothing was stored"


def _channel_lines(channels: "tuple[CheckedChannel, ...]") -> Iterator[str]:
    rows = [("channel", "from", "unit", "values", "first", "least", "most", "doubted")]
    for one in channels:
        stated = "set" if one.is_unit_set else one.stated_unit or "not stated"
        bad = ", ".join(f"{count} {flag}" for flag, count in one.flags.items() if flag != "good")
        numbers = (_shown(one.first), _shown(one.minimum), _shown(one.maximum))
        rows.append((one.name, one.field, f"{stated} → {one.unit}", str(one.values), *numbers, bad))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _window_lines(window: "CheckedWindow") -> Iterator[str]:
    if window.record is None:
        yield f"  {window.moment}  nothing: {window.reason}"
    else:
        numbers = {name: value for name, value in window.record.items() if isinstance(value, float)}
        yield f"  {window.moment}  " + ", ".join(f"{name} {_shown(value)}" for name, value in numbers.items())
    for channel, doubt in window.doubts.items():
        yield f"    → {channel} {doubt}"


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _config(options: argparse.Namespace, directory: DeviceDirectory) -> DeviceConfig | None:
    """The device's settings; None where no device is named, or it has none yet."""
    return None if options.dir is None or not directory.settings.exists() else read_config(directory.settings)


def _workload(options: argparse.Namespace, config: DeviceConfig | None) -> str:
    if options.workload is not None:
        return str(options.workload)
    if config is not None:
        return config.workload
    names = workload_names()
    if len(names) != 1:
        raise ConfigError(f"say whose channels: --workload {' or '.join(names) or 'NAME'}")
    return names[0]


def _payload(path: Path) -> bytes:
    """The file's whole lines, from its beginning.

    Raises:
        DataError: it cannot be read, or is empty.
    """
    try:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else open_own(path) as stream:
            payload = stream.read(MAX_FILE_BYTES)
    except PermissionError:
        raise DataError(f"{path} cannot be read by this user; hand it over: fieldedge check - < {path}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if not payload.strip():
        raise DataError(f"{path} is empty")
    return payload


def _source(
    options: argparse.Namespace, config: DeviceConfig | None, found: "Recognised | None"
) -> SourceConfig | None:
    """The source that would read it: the one that is named, else the only one of its format."""
    sources = () if config is None else config.sources
    if options.source is not None:
        for source in sources:
            if source.name == options.source:
                return source
        names = ", ".join(source.name for source in sources) or "none"
        raise ConfigError(f"there is no source {options.source!r}; the device has {names}")
    if options.format is not None or options.mapping is not None:
        return None
    of_format = [source for source in sources if found is not None and source.format == found.format]
    return of_format[0] if len(of_format) == 1 else None


def _format(
    options: argparse.Namespace, source: SourceConfig | None, found: "Recognised | None"
) -> tuple[str, Mapping[str, Any], str]:
    """The format's name, the mapping, and who says so.

    Raises:
        ConfigError: no format is known of it, or none of that name.
        DataError: what it is, is known and not read.
    """
    from fieldedge.acquisition.formats import FORMATS

    fields = _mapping(options.mapping) if options.mapping is not None else {}
    if source is not None:
        return source.format, fields or source.fields, f"as the source {source.name} would"
    if options.format is not None:
        if options.format not in FORMATS:
            raise ConfigError(f"--format is {options.format!r}; expected one of {', '.join(FORMATS)}")
        return options.format, fields, "as was asked for"
    if found is None:
        raise ConfigError(f"nothing is known of how {options.file} begins; say --format, one of {', '.join(FORMATS)}")
    if found.format is None:
        raise DataError(f"{options.file} looks like {found.words}: {found.todo}")
    return found.format, fields, f"it looks like {found.words}"


def _mapping(path: Path) -> Mapping[str, Any]:
    """The table of fields in a TOML file: `[fields]`, `[source.fields]` of its first source, or the file as a whole.

    Raises:
        ConfigError: it is no TOML, or has none.
    """
    try:
        document = tomllib.loads(read_own(path, MAX_FILE_BYTES).decode("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}") from None
    source = document.get("source", document)
    first = source[0] if isinstance(source, list) and source else source
    fields = first.get("fields", first) if isinstance(first, dict) else first
    if not isinstance(fields, dict):
        raise ConfigError(f"{path} has no table of fields; expected [fields], as [source.fields] in device.toml")
    return fields
