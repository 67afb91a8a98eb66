"""The device itself: its key, its files, its disk and its clock."""

import os
import pwd
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from fieldedge.diagnostics.finding import Finding, Subject
from fieldedge.presentation.text import printable, size
from fieldedge.system.clock import format_utc
from fieldedge.system.errors import ConfigError
from fieldedge.system.plain_files import not_plain

FEW_BYTES_LEFT = 4  # times what must stay free
MAX_FILES_LOOKED_AT = 5_000
FILE_SUFFIXES = (".toml", ".pem", ".json", ".db", ".batch", ".onnx", ".npz", ".md", "-wal", "-shm", "-journal", "-lock")


def key(subject: Subject) -> Iterator[Finding]:
    from fieldedge.system.keys import load_key, public_key_hex

    try:
        key = load_key(subject.directory.private_key)
    except ConfigError as error:
        yield Finding("key", "fail", str(error))
        return
    yield Finding("key", "ok", f"{public_key_hex(key)[:16]}…, readable by its owner alone")


def _first(paths: Sequence[Path | str]) -> str:
    """The first of some files, and how many more there are."""
    return f"{paths[0]} and {len(paths) - 1} more" if len(paths) > 1 else str(paths[0])


def files(subject: Subject) -> Iterator[Finding]:
    """A command run as root leaves files that the service, under its own user, cannot open; and what is no file."""
    root = subject.directory.root
    owner = root.stat().st_uid
    strange = [path for path in _some_files(root) if _owner(path) not in (owner, None)]
    if strange:
        yield Finding(
            "files",
            "fail",
            f"{_first(strange)} belong to another user than {root}",
            f"chown -R {_user(owner)} {root}, and run fieldedge as that user",
        )
        return
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("files", "fail", f"{root} cannot be written by this user", f"run fieldedge as {_user(owner)}")
        return
    misplaced = _misplaced(subject)
    if misplaced:
        yield Finding(
            "files",
            "fail",
            f"{_first(misplaced)}; expected plain files",
            "move it away, and run fieldedge doctor again: it says what is missing then",
        )
        return
    for path in (root, subject.directory.store):
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0
        if mode & 0o077:
            found = f"{path} is open to other users (mode {mode:o})"
            yield Finding("files", "warn", found, f"chmod go= {path}, or start the service anew: it does so")
            return
    yield Finding("files", "ok", f"all of {_user(owner)}")


def _misplaced(subject: Subject) -> list[str]:
    """What lies where a file of the device belongs, and is none. What loggers drop is their source's finding."""
    directory = subject.directory
    sources = () if subject.config is None else subject.config.sources
    theirs = [directory.root / str(source.settings["path"]) for source in sources if "path" in source.settings]
    files = {directory.time_floor, *(directory.lock(job) for job in ("run", "update", "sync"))}
    misplaced = []
    for path in _some_files(directory.root):
        found = not_plain(path)
        is_place_of_file = path in files or path.name.endswith(FILE_SUFFIXES)
        if found and (found != "a folder" or is_place_of_file) and not any(path.is_relative_to(one) for one in theirs):
            misplaced.append(f"{printable(str(path))} is {found}")
    return misplaced


def _some_files(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, names, files in os.walk(root):
        found += [Path(folder, name) for name in (*names, *files)]
        if len(found) >= MAX_FILES_LOOKED_AT:
            break
    return found


def _owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except FileNotFoundError:
        return None  # a running service moves its files


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def disk(subject: Subject) -> Iterator[Finding]:
    root = subject.directory.root
    if os.statvfs(root).f_flag & os.ST_RDONLY:
        yield Finding("disk", "fail", f"{root} is on a read-only disk", "check the disk, then mount it writable")
        return
    free = shutil.disk_usage(root).free
    least = 0 if subject.config is None else subject.config.store.min_free_bytes
    found = f"{size(free)} free; at least {size(least)} are kept"
    if free < least:
        kept = f"{found}; no day that is not acknowledged goes for it, and what comes is kept while it finds room"
        yield Finding("disk", "fail", kept, "make room: logs, packages, other programs' data")
    elif free < FEW_BYTES_LEFT * least:
        yield Finding("disk", "warn", found, "make room before the store has to")
    else:
        yield Finding("disk", "ok", found)


def clock(subject: Subject) -> Iterator[Finding]:
    from fieldedge.transfer.trust import CLOCK_TOLERANCE, read_floor

    now = subject.clock.now()
    shown = f"{format_utc(now)}"
    last = None if subject.clock.is_trusted else read_floor(subject.directory)
    if last is not None and now < last - CLOCK_TOLERANCE:
        yield Finding(
            "clock",
            "warn",
            f"{shown}, but a release was seen at {format_utc(last)}: releases are judged by that",
            "set the time, and switch on NTP: timedatectl set-ntp true",
        )
    elif subject.clock.note is not None:
        yield Finding("clock", "warn", f"{shown}; {subject.clock.note}", "check the time: timedatectl")
    elif subject.clock.is_trusted:
        yield Finding("clock", "ok", f"{shown}, kept by a time service")
    else:
        yield Finding(
            "clock",
            "warn",
            f"{shown}, confirmed by nobody; it does not run backwards",
            "switch on NTP where there is a network (timedatectl set-ntp true), or fit a real-time clock",
        )
