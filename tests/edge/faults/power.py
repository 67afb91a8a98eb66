"""What a power cut leaves on a disk, computed from the trace of what a process did to it.

A killed process leaves everything that it wrote: the kernel has it. A power cut leaves for certain only what was
synced: a file's bytes by a sync of the file, a name by a sync of its directory. What was not may be there or not, and
bytes may be there in part. `Disk` follows a trace and gives the images that the next start may find: nothing that was
not synced (`strict`), every name but only synced bytes (`names`), every name and some of the unsynced sectors (`torn`).
"""

import hashlib
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.edge.faults.shim import KINDS

ENTRY = struct.Struct("<IIqIIQ")  # as `struct entry` in shim.c
SECTOR_BYTES = 512

Image = dict[str, "bytes | Link | None"]
"""By path below the device's directory: a file's bytes, a link, or None for a directory."""


@dataclass(frozen=True)
class Entry:
    """One change of the disk, or a mark that somebody put between two of them."""

    kind: str
    mode: int
    offset: int
    path: str
    other: str
    data: bytes


def read_trace(path: Path) -> list[Entry]:
    """The entries of a trace, in order."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        kind, mode, offset, *sizes = ENTRY.unpack_from(data, at)
        at += ENTRY.size
        parts = []
        for size in sizes:
            parts.append(data[at : at + size])
            at += size
        found.append(Entry(KINDS[kind], mode, offset, parts[0].decode(), parts[1].decode(), parts[2]))
    return found


def add_mark(path: Path, name: str, data: bytes) -> None:
    """Say in a trace that something happened outside of the disk, between what came before and after."""
    header = ENTRY.pack(KINDS.index("mark"), 0, 0, len(name.encode()), 0, len(data))
    with path.open("ab") as file:
        file.write(header + name.encode() + data)


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass
class _File:
    now: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    unsynced: list[tuple[int, bytes]] = field(default_factory=list)

    def write(self, offset: int, data: bytes) -> None:
        _put(self.now, offset, data)
        self.unsynced += [(offset + at, data[at : at + SECTOR_BYTES]) for at in range(0, len(data), SECTOR_BYTES)]

    def truncate(self, length: int) -> None:
        _resize(self.now, length)
        self.unsynced = [(offset, data[: max(length - offset, 0)]) for offset, data in self.unsynced]

    def sync(self) -> None:
        self.synced, self.unsynced = bytes(self.now), []

    def torn(self, dice: random.Random) -> bytes:
        found = bytearray(self.synced[: len(self.now)])
        for offset, data in self.unsynced:
            if data and dice.random() < 0.5:
                _put(found, offset, data)
        return bytes(found)


@dataclass
class _Directory:
    now: dict[str, "_Node"] = field(default_factory=dict)
    synced: dict[str, "_Node"] = field(default_factory=dict)


_Node = _File | _Directory | Link


class Disk:
    """The disk below a directory, as a trace changes it. What stands there at the beginning is synced."""

    def __init__(self, root: Path) -> None:
        self._prefix = str(root.resolve())
        self._root = _Directory()
        if root.exists():
            _load(root, self._root)

    def apply(self, entry: Entry) -> None:
        """Follow one entry."""
        if entry.kind == "mark":
            return
        if entry.path == self._prefix:
            if entry.kind == "sync":
                _sync_names(self._root)
            return  # whoever makes the device's directory itself sees to its name
        if entry.kind == "rename":
            self._rename(entry)
            return
        parent, name = self._place(entry.path)
        if parent is None:
            return  # a file without a name any more: nobody can find it after a power cut
        node = parent.now.get(name)
        if entry.kind == "create":
            parent.now[name] = _File()
        elif entry.kind == "mkdir":
            parent.now[name] = _Directory()
        elif entry.kind == "link":
            parent.now[name] = Link(entry.data.decode()) if entry.mode else self._linked(entry)
        elif entry.kind in ("unlink", "rmdir"):
            parent.now.pop(name, None)
        elif isinstance(node, _File):
            if entry.kind == "write":
                node.write(entry.offset, entry.data)
            elif entry.kind == "truncate":
                node.truncate(entry.offset)
            elif entry.kind == "sync":
                node.sync()
        elif isinstance(node, _Directory) and entry.kind == "sync":
            _sync_names(node)

    def strict(self) -> Image:
        """Only what was synced."""
        return dict(_image(self._root, "", is_strict=True, dice=None))

    def names(self) -> Image:
        """Every name, and only the bytes that were synced: a new file that was not is empty."""
        return dict(_image(self._root, "", is_strict=False, dice=None))

    def torn(self, seed: int) -> Image:
        """Every name, and of the unsynced sectors about half, drawn at random."""
        return dict(_image(self._root, "", is_strict=False, dice=random.Random(seed)))  # noqa: S311

    def _place(self, path: str) -> tuple[_Directory | None, str]:
        *folders, name = path.removeprefix(self._prefix + "/").split("/")
        place: _Node | None = self._root
        for folder in folders:
            place = place.now.get(folder) if isinstance(place, _Directory) else None
        return (place, name) if isinstance(place, _Directory) else (None, name)

    def _rename(self, entry: Entry) -> None:
        """One step of the disk's journal: no image holds the one name without the loss of the other."""
        source, source_name = self._place(entry.path)
        target, target_name = self._place(entry.other)
        assert source is not None and target is not None
        target.now[target_name] = source.now.pop(source_name)

    def _linked(self, entry: Entry) -> _Node:
        source, name = self._place(entry.path)
        assert source is not None
        return source.now[name]


def write_image(image: Image, root: Path) -> None:
    """Make `root` hold exactly this image."""
    root.mkdir(parents=True)
    for path, content in image.items():
        place = root / path
        if content is None:
            place.mkdir()
        elif isinstance(content, Link):
            place.symlink_to(content.target)
        else:
            place.write_bytes(content)
            if place.suffix == ".pem":
                place.chmod(0o600)  # given with the file's creation


def digest(image: Image) -> str:
    """Two images of the same digest are the same."""
    whole = hashlib.sha256()
    for path, content in sorted(image.items()):
        whole.update(repr((path, content)).encode())
    return whole.hexdigest()


def _image(
    directory: _Directory, prefix: str, *, is_strict: bool, dice: random.Random | None
) -> Iterator[tuple[str, bytes | Link | None]]:
    for name, node in (directory.synced if is_strict else directory.now).items():
        path = f"{prefix}{name}"
        if isinstance(node, _Directory):
            yield path, None
            yield from _image(node, f"{path}/", is_strict=is_strict, dice=dice)
        elif isinstance(node, Link):
            yield path, node
        else:
            yield path, node.synced if dice is None else node.torn(dice)


def _sync_names(directory: _Directory) -> None:
    directory.synced = dict(directory.now)


def _load(place: Path, directory: _Directory) -> None:
    for child in place.iterdir():
        node: _Node
        if child.is_symlink():
            node = Link(str(child.readlink()))
        elif child.is_dir():
            node = _Directory()
            _load(child, node)
        else:
            data = child.read_bytes()
            node = _File(bytearray(data), data)
        directory.now[child.name] = node
    directory.synced = dict(directory.now)


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, length: int) -> None:
    if length < len(content):
        del content[length:]
    else:
        content.extend(bytes(length - len(content)))
