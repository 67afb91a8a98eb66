"""Where compiled code is kept: a folder of the environment, named by a hash of everything that went into it.

A folder is complete once it holds the file READY; it is made under a lock and never changed afterwards, so any number
of processes may load from it. What is kept can be deleted at any time: it is made again, in some twenty seconds.
"""

import hashlib
import importlib.util
import logging
import os
import stat
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

from filelock import FileLock

from fieldedge.system.errors import DataError
from fieldloop.core.private_folder import private_folder
from fieldloop.workloads.agriculture.world import nitrogen
from fieldloop.workloads.agriculture.world.compiled import translation

PROVEN_VERSION = "3.1.0"
READY = "READY"
_MODULE = "fieldloop_compiled_season"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Core:
    """The compiled day, and where each name stands in its arrays: `offsets[role][name]`, `sizes[role]`."""

    live_rows: Callable[..., None]
    offsets: dict[str, dict[str, int]]
    sizes: dict[str, int]
    folder: Path


def why_not() -> str | None:
    """Why compiled code cannot be used here; None where it can."""
    installed = _installed("aquacrop")
    if installed != PROVEN_VERSION:
        return f"aquacrop is {installed}; its translation is proven for {PROVEN_VERSION} alone"
    if _installed("numba") is None:
        return "numba is not installed"
    return None


@cache
def core() -> Core:
    """The compiled core, loaded once a process; made first where this environment has none yet.

    Raises:
        DataError: it cannot be used here; see `why_not`.
    """
    if (reason := why_not()) is not None:
        raise DataError(f"no compiled season: {reason}")
    return _load(_folder())


def _load(folder: Path) -> Core:
    if not (folder / READY).exists():
        with FileLock(folder.with_suffix(".lock")):
            if not (folder / READY).exists():
                return _made(folder)
    return _imported(folder)


def _made(folder: Path) -> Core:
    """Translate, compile, and declare the folder ready. A half-made one of a killed process is written over."""
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    source = translation.translated(_solution(), _here() / "day.py")
    with (folder / f"{_MODULE}.py").open("w") as file:
        file.write(source)
        file.flush()
        os.fsync(file.fileno())
    # In a thread of its own: CPython 3.11 gives and takes back memory at every call that crosses a page of its stack,
    # and where numba's busiest calls do so depends on how deep the caller is. Compiling took twice as long there.
    with ThreadPoolExecutor(1) as fresh_stack:
        compiled = fresh_stack.submit(_imported, folder).result()
    (folder / READY).touch()
    _log.info("compiled AquaCrop in %.0f s into %s", time.monotonic() - began, folder)
    return compiled


def _imported(folder: Path) -> Core:
    module = imported(_MODULE, folder / f"{_MODULE}.py")
    return Core(module.live_rows, module.OFFSETS, module.SIZES, folder)


def imported(name: str, path: Path) -> ModuleType:
    """The module in that file; importing it compiles its entries, or loads them where that has been done before."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path} cannot be imported; delete its folder, it is made again")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # numba finds the module of a cached function by its name
    spec.loader.exec_module(module)
    return module


def _folder() -> Path:
    return root() / key()


def key() -> str:
    """The hash of all that decides the compiled code: sources, versions, processor."""
    import llvmlite.binding as llvm

    digest = hashlib.sha256()
    for name in ("aquacrop", "numba", "llvmlite", "numpy"):
        digest.update(f"{name} {_installed(name)}\n".encode())
    digest.update(f"{sys.implementation.cache_tag} {llvm.get_process_triple()}\n".encode())
    digest.update(f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}\n".encode())
    ours = [_here() / "day.py", _here() / "translation.py", Path(nitrogen.__file__)]
    for path in [*sorted(_solution().glob("*.py")), *ours]:
        digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:20]


def root() -> Path:
    """In the environment, where every user of it shares one; in the user's cache where that cannot be written.

    Raises:
        ConfigError: the user's cache is not the user's alone.
    """
    shared = Path(sys.prefix) / "share" / "fieldloop" / "compiled"
    with suppress(OSError):
        shared.mkdir(parents=True, exist_ok=True)
        if os.access(shared, os.W_OK) and not shared.stat().st_mode & stat.S_IWOTH:
            return shared
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fieldloop" / "compiled"
    return private_folder(own)


def _here() -> Path:
    return Path(__file__).parent


@cache
def _solution() -> Path:
    """The package's folder of steps, found without importing it."""
    spec = importlib.util.find_spec("aquacrop")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("aquacrop is not installed")
    return Path(spec.submodule_search_locations[0]) / "solution"


@cache
def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
