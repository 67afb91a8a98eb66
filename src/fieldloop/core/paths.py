"""Where a clone keeps what it has: the system's own folders, and the sample world's beside them.

`data/` holds what DVC versions; everything else is under `.fieldloop/`. The system's folders (accepted data,
quarantine, inbox, device registry, releases and their keys, models) are never moved or emptied by a change of code or
parameters. The sample world's devices and what they went through have a folder of their own, `.fieldloop/sample`, in
which a person may begin the next world.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fieldedge.system.durable import fsync_directory, write_durably
from fieldedge.system.errors import ConfigError, DataError, StoreBusy
from fieldloop.core.settings import Settings

_MADE_AGAIN = ("data_docs", "examples", "matplotlib", "ui", "validation", "prefect/storage")
BRIEF_S = 60.0  # whoever holds a clone briefly has ended within it, and so has a process after its flow
_HOLDER = "loop.holder.json"
_MADE_AGAIN_FILES = ("report.html", "report.json", "loop.json")


@dataclass(frozen=True)
class SampleWorld:
    """The simulated devices' folder. Worlds lie side by side in it, by number; a reset counts on and moves nothing."""

    root: Path

    @property
    def number(self) -> int:
        """Which world this is: 1, and one more after each reset.

        Raises:
            DataError: the note of it is damaged.
        """
        try:
            return int(json.loads(self._note.read_bytes())["world"])
        except FileNotFoundError:
            return 1
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f'{self._note} is damaged ({error!r}); expected an object like {{"world": 2}}. Write it with the '
                f"highest number that a folder world-<number> in {self.root} has"
            ) from error

    @property
    def prefix(self) -> str:
        """What the names of this world's devices and fields begin with, so that no two worlds share one."""
        return "" if self.number == 1 else f"w{self.number}-"

    @property
    def folder(self) -> Path:
        return self.root / f"world-{self.number}"

    @property
    def devices(self) -> Path:
        return self.folder / "devices"

    @property
    def seasons(self) -> Path:
        """What each season came to: `<season>/fleet.json`, `sync.json`, `practices.json`; `turn.json` at its end."""
        return self.folder / "seasons"

    def begin_anew(self) -> Path | None:
        """Begin the next world; the folder where this one stays, or None where it has not begun.

        Its devices stay registered and what they sent stays accepted: the next world's have other names.
        """
        folder = self.folder
        if not folder.exists():
            return None
        write_durably(self._note, json.dumps({"world": self.number + 1}).encode() + b"\n")
        return folder

    @property
    def _note(self) -> Path:
        return self.root / "world.json"


@dataclass(frozen=True)
class Workspace:
    """The folders of one clone."""

    root: Path
    home: Path

    @property
    def history(self) -> Path:
        return self.root / "data" / "history"

    @property
    def seasons(self) -> Path:
        return self.root / "data" / "seasons"

    @property
    def quarantine(self) -> Path:
        return self.root / "data" / "quarantine"

    @property
    def runs(self) -> Path:
        return self.home / "runs"

    @property
    def examples(self) -> Path:
        return self.home / "examples"

    @property
    def data_docs(self) -> Path:
        return self.home / "data_docs"

    @property
    def tuf(self) -> Path:
        return self.home / "tuf"

    @property
    def bundles(self) -> Path:
        return self.home / "bundles"

    @property
    def inbox(self) -> Path:
        return self.home / "gateway" / "inbox"

    @property
    def device_registry(self) -> Path:
        return self.home / "gateway" / "devices.json"

    @property
    def mlflow(self) -> Path:
        return self.home / "mlflow"

    @property
    def pointer(self) -> Path:
        """What names the last version of the accepted data."""
        return pointer_of(self.seasons)

    @property
    def kept_pointer(self) -> Path:
        """A copy of it, should it be deleted with what it names."""
        return self.home / self.pointer.name

    @property
    def sample(self) -> SampleWorld:
        return SampleWorld(self.home / "sample")

    def prepare(self) -> None:
        """Make what every run needs, and move what an earlier layout kept elsewhere. Doing it again changes nothing."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.mlflow.mkdir(exist_ok=True)
        for former, now in (("devices", self.sample.devices), ("lived", self.sample.seasons)):
            place = self.home / former
            if place.is_dir() and not now.exists():
                now.parent.mkdir(parents=True, exist_ok=True)
                place.replace(now)
                fsync_directory(self.home)

    def forget_caches(self) -> list[Path]:
        """Delete what the next run makes again from what is kept; what went."""
        paths = (self.home / name for name in (*_MADE_AGAIN, *_MADE_AGAIN_FILES))
        found = [path for path in paths if path.exists() or path.is_symlink()]
        for path in found:
            if path.is_dir() and not path.is_symlink():  # what a link leads to is another's
                shutil.rmtree(path)
            else:
                path.unlink()
        return found

    def kept(self) -> dict[str, int]:
        """What cannot be made again, in words, and how much of it there is."""
        accepted, waiting = self.seasons.glob("season=*/region=*/*.parquet"), self.inbox.rglob("*.batch")
        counts = {
            "files of accepted data (data/seasons)": sum(1 for _ in accepted),
            "files of quarantine (data/quarantine)": sum(1 for path in self.quarantine.rglob("*") if path.is_file()),
            "batches in the gateway's inbox": sum(1 for _ in waiting),
            "registered devices": _entries(self.device_registry),
            "keys of the release repository": sum(1 for _ in (self.tuf / "keys").glob("*")),
            "released bundles": sum(1 for _ in self.bundles.glob("*.zip")),
            "files of the model registry (mlflow)": sum(1 for path in self.mlflow.rglob("*") if path.is_file()),
            "simulated devices": sum(1 for _ in self.sample.root.glob("world-*/devices/*/device.toml")),
        }
        return {words: count for words, count in counts.items() if count}

    def set_aside(self, name: str) -> Path:
        """Move everything that this clone has made into one folder beside its home, so that it is as new; that folder.

        Nothing is deleted. A crash in between is mended by the next call with the same name.
        """
        target = self.home.with_name(f"{self.home.name}.{name}")
        (target / "data").mkdir(parents=True, exist_ok=True)
        for path in (self.seasons, self.quarantine, self.pointer):
            if path.exists():
                shutil.move(path, target / "data" / path.name)  # home may be on another disk than data
        if self.home.exists():
            self.home.replace(target / "home")
        fsync_directory(target.parent)
        return target


@dataclass(frozen=True)
class Holder:
    """The process that holds a clone, as it noted itself; without `pid` where it left no note."""

    doing: str = ""
    pid: int | None = None
    since_utc: str = ""
    is_brief: bool = False

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        return f"`{self.doing}`, process {self.pid}, since {self.since_utc}"

    @property
    def how_to_end_it(self) -> str:
        return "end it with Ctrl-C" if self.pid is None else f"end it with Ctrl-C or `kill {self.pid}`"


@contextmanager
def held(
    home: Path,
    doing: str,
    *,
    is_brief: bool = False,
    wait_s: float = 0.0,
    on_wait: Callable[[str], None] = lambda _who: None,
) -> Iterator[None]:
    """No second process changes what this clone's loop reads meanwhile. The system frees the lock however this ends.

    Args:
        home: the clone's own folder.
        doing: the name of the flow or command, for whoever finds the clone held.
        is_brief: it ends by itself in seconds, so that whoever comes meanwhile waits for it.
        wait_s: how long another holder is waited for. A flow that failed holds the clone until its process has ended,
            which takes seconds.
        on_wait: is told who is waited for, once.

    Raises:
        ConfigError: the folder cannot be made or written.
        StoreBusy: another process holds it.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / "loop.lock", timeout=0, is_singleton=True)
        lock.acquire()
    except Timeout:
        _wait_for(lock, home, wait_s, on_wait)
    except OSError as error:
        raise ConfigError(
            f"{home} cannot be used ({error.strerror}): set FIELDLOOP_HOME to a folder that this user can write"
        ) from error
    is_outermost = lock.lock_counter == 1
    try:
        if is_outermost:
            note = {"doing": doing, "pid": os.getpid(), "since_utc": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
            write_durably(home / _HOLDER, json.dumps({**note, "is_brief": is_brief}).encode())
        yield
    finally:
        if is_outermost:
            (home / _HOLDER).unlink(missing_ok=True)
        lock.release()


def _wait_for(lock: Any, home: Path, wait_s: float, on_wait: Callable[[str], None]) -> None:
    """Acquire the lock from a holder that ends in time.

    Raises:
        StoreBusy: it does not.
    """
    holder = _holder(home)
    within_s = max(wait_s, BRIEF_S) if holder.is_brief else wait_s
    if within_s > 0:
        on_wait(str(holder))
    try:
        lock.acquire(timeout=within_s)
    except Timeout:
        holder = _holder(home)
        raise StoreBusy(
            f"{home} is in use by {holder}: let it finish, or {holder.how_to_end_it}, then try again. A flow holds it "
            "until its process ends, one that failed too; one in a notebook until its kernel is shut down"
        ) from None


def _holder(home: Path) -> Holder:
    """Who noted itself last, if it still lives: a holder of this moment may not have come to its note yet."""
    try:
        note = json.loads((home / _HOLDER).read_bytes())
        found = Holder(str(note["doing"]), int(note["pid"]), str(note["since_utc"]), bool(note["is_brief"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Holder()
    return found if _lives(found.pid) else Holder()


def _lives(pid: int | None) -> bool:
    if pid is None or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def pointer_of(folder: Path) -> Path:
    """Where DVC keeps the pointer to a folder's last version."""
    return folder.with_name(f"{folder.name}.dvc")


def workspace_of(settings: Settings) -> Workspace:
    """The workspace of these settings."""
    return Workspace(settings.root, settings.home_dir)


def _entries(registry: Path) -> int:
    try:
        entries: Any = json.loads(registry.read_bytes())
    except (OSError, ValueError):
        return int(registry.exists())
    return len(entries) if isinstance(entries, dict | list) else 1
