"""The tester's side of `shim.c`: builds it, says what shall happen at which call, reads what happened.

One control page serves one device directory. It is a mapped file, so that the counts of a killed process can be read
and the disk of a living one can be healed.
"""

import ctypes
import errno
import mmap
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SOURCE = Path(__file__).with_name("shim.c")
KINDS = (
    "create",
    "write",
    "sync",
    "truncate",
    "rename",
    "unlink",
    "mkdir",
    "rmdir",
    "link",
    "chmod",
    "read",
    "open_write",
    "mark",
)
"""As in shim.c. All before `read` are numbered."""

Where = Literal["before", "after", "middle"]
_ACTIONS = {"nothing": 0, "before": 1, "after": 2, "middle": 3, "fail": 4}
_PATH_BYTES = 4096
_LOGGED_CALLS = 65_536
_CAN_BE_TORN = 128


class _Control(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_uint64),
        ("counts", ctypes.c_uint64 * len(KINDS)),
        ("at", ctypes.c_uint64),
        ("until", ctypes.c_uint64),
        ("action", ctypes.c_uint32),
        ("kinds", ctypes.c_uint32),
        ("error", ctypes.c_int32),
        ("is_tracing", ctypes.c_uint32),
        ("failed", ctypes.c_uint64),
        ("root", ctypes.c_char * _PATH_BYTES),
        ("trace", ctypes.c_char * _PATH_BYTES),
        ("log", ctypes.c_uint8 * _LOGGED_CALLS),
    )


@dataclass(frozen=True)
class Fault:
    """A way for a disk to fail: the error, and the kinds of calls that meet it."""

    name: str
    error: int
    kinds: tuple[str, ...]


_CHANGES = KINDS[: KINDS.index("read")]
FULL = Fault("full", errno.ENOSPC, ("create", "write", "mkdir", "link"))
READ_ONLY = Fault("read-only", errno.EROFS, (*_CHANGES, "open_write"))
FAILING = Fault("failing", errno.EIO, ("write", "sync", "truncate", "rename"))
UNREADABLE = Fault("unreadable", errno.EIO, ("read", "write", "sync"))
FAULTS = (FULL, READ_ONLY, FAILING, UNREADABLE)


def missing_compiler() -> str | None:
    """Why the shim cannot be built here, if it cannot."""
    if os.uname().sysname != "Linux":
        return "the shim interposes Linux's libc"
    return None if shutil.which("cc") else "no C compiler (cc) to build the shim with"


def build(folder: Path) -> Path:
    """Compile the shim into a folder; the library's path."""
    library = folder / "shim.so"
    command = ["cc", "-O1", "-fPIC", "-shared", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True, capture_output=True)
    return library


class Shim:
    """A control page over one directory, and the environment that puts a process under it."""

    def __init__(self, library: Path, page: Path, root: Path) -> None:
        self._library = library
        self._page = page
        self.trace_path = page.with_suffix(".trace")
        page.write_bytes(bytes(ctypes.sizeof(_Control)))
        with page.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._control = _Control.from_buffer(self._map)
        self._control.root = os.fsencode(root.resolve())
        self._control.trace = os.fsencode(self.trace_path)

    def environment(self, former: Mapping[str, str]) -> dict[str, str]:
        """The environment of a process under the shim."""
        return {**former, "LD_PRELOAD": str(self._library), "FIELDEDGE_SHIM": str(self._page)}

    def count(self, *, is_tracing: bool = False) -> None:
        """Let everything pass, and count it from nothing; with a trace, write it down."""
        self._arm("nothing")
        self.trace_path.unlink(missing_ok=True)
        self._control.is_tracing = is_tracing

    def kill(self, where: Where, at: int) -> None:
        """End the process before, after or in the middle of its call of this number, from 1."""
        self._arm(where, at)

    def fail(self, fault: Fault, at: int = 1, calls: int | None = None) -> None:
        """Let calls fail from this number on: so many, or all."""
        mask = sum(1 << KINDS.index(kind) for kind in fault.kinds)
        self._arm("fail", at, 0 if calls is None else at + calls, mask, fault.error)

    def heal(self) -> None:
        """The disk works again, for the living process too. The counts go on."""
        self._control.action = _ACTIONS["nothing"]

    def _arm(self, action: str, at: int = 0, until: int = 0, kinds: int = 0, error: int = 0) -> None:
        control = self._control
        control.action = _ACTIONS["nothing"]
        control.total = control.failed = control.is_tracing = 0
        control.counts = type(control.counts)()
        control.at, control.until, control.kinds, control.error = at, until, kinds, error
        control.action = _ACTIONS[action]

    @property
    def total(self) -> int:
        """How many numbered calls there were since it was armed."""
        return int(self._control.total)

    @property
    def failed(self) -> int:
        """How many calls were made to fail."""
        return int(self._control.failed)

    @property
    def counts(self) -> dict[str, int]:
        """The numbered calls by kind, those that occurred."""
        return {kind: int(n) for kind, n in zip(KINDS, self._control.counts, strict=True) if n}

    @property
    def torn_calls(self) -> list[int]:
        """The numbers of those calls that wrote more than a sector: they can end in the middle."""
        return [at for at in range(1, self.total + 1) if self._control.log[at - 1] & _CAN_BE_TORN]
