"""Where a clone keeps what it has: the system's own folders, and the sample world's beside them.

`data/` holds what DVC versions; everything else is under `.fieldloop/`. The system's folders (accepted data,
quarantine, inbox, device registry, releases and their keys, models) are never moved or emptied by a change of code or
parameters. The sample world's devices and what they went through have a folder of their own, `.fieldloop/sample`, in
which a person may begin the next world.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldedge.system.durable import fsync_directory, write_durably
from fieldedge.system.errors import DataError
from fieldloop.core.settings import Settings
from fieldloop.core.stored_names import PERIODS

_MADE_AGAIN = ("data_docs", "examples", "matplotlib", "ui", "validation", "prefect/storage")
_MADE_AGAIN_FILES = ("report.html", "report.json", "loop.json")


@dataclass(frozen=True)
class SampleFolder:
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
        """What the names of this world's devices and units begin with, so that no two worlds share one."""
        return "" if self.number == 1 else f"w{self.number}-"

    @property
    def folder(self) -> Path:
        return self.root / f"world-{self.number}"

    @property
    def devices(self) -> Path:
        return self.folder / "devices"

    @property
    def periods(self) -> Path:
        """What each period came to: `<period>/fleet.json`, `sync.json`, `practices.json`; `turn.json` at its end."""
        return self.folder / PERIODS

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
class Paths:
    """The folders of one clone."""

    root: Path
    home: Path

    @property
    def history(self) -> Path:
        return self.root / "data" / "history"

    @property
    def accepted(self) -> Path:
        return self.root / "data" / PERIODS

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
    def reports(self) -> Path:
        """What devices said of their models."""
        return self.home / "gateway" / "reports"

    @property
    def rollouts(self) -> Path:
        """Where each rollout stands, and the ledger of what every device had."""
        return self.home / "rollouts"

    @property
    def device_registry(self) -> Path:
        return self.home / "gateway" / "devices.json"

    @property
    def gateway_database(self) -> Path:
        """Who may send now, and what came, where no other database is set."""
        return self.home / "gateway" / "gateway.db"

    @property
    def mlflow(self) -> Path:
        return self.home / "mlflow"

    @property
    def pointer(self) -> Path:
        """What names the last version of the accepted data."""
        return pointer_of(self.accepted)

    @property
    def kept_pointer(self) -> Path:
        """A copy of it, should it be deleted with what it names."""
        return self.home / self.pointer.name

    @property
    def sample(self) -> SampleFolder:
        return SampleFolder(self.home / "sample")

    def prepare(self) -> None:
        """Make what every run needs, and move what an earlier layout kept elsewhere. Doing it again changes nothing."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.mlflow.mkdir(exist_ok=True)
        for former, now in (("devices", self.sample.devices), ("lived", self.sample.periods)):
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
        accepted, waiting = self.accepted.glob("*=*/*=*/*.parquet"), self.inbox.rglob("*.batch")
        counts = {
            f"files of accepted data (data/{PERIODS})": sum(1 for _ in accepted),
            "files of quarantine (data/quarantine)": sum(1 for path in self.quarantine.rglob("*") if path.is_file()),
            "batches in the gateway's inbox": sum(1 for _ in waiting),
            "registered devices": _entries(self.device_registry),
            "keys of the release repository": sum(1 for _ in (self.tuf / "keys").glob("*")),
            "rollouts": sum(1 for _ in self.rollouts.glob("*/*.json")),
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
        for path in (self.accepted, self.quarantine, self.pointer):
            if path.exists():
                shutil.move(path, target / "data" / path.name)  # home may be on another disk than data
        if self.home.exists():
            self.home.replace(target / "home")
        fsync_directory(target.parent)
        return target


def pointer_of(folder: Path) -> Path:
    """Where DVC keeps the pointer to a folder's last version."""
    return folder.with_name(f"{folder.name}.dvc")


def paths_of(settings: Settings) -> Paths:
    """The paths of these settings."""
    return Paths(settings.root, settings.home_dir)


def _entries(registry: Path) -> int:
    try:
        entries: Any = json.loads(registry.read_bytes())
    except (OSError, ValueError):
        return int(registry.exists())
    return len(entries) if isinstance(entries, dict | list) else 1
