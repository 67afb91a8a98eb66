"""Where a clone keeps what the loop makes, and what happens when its world changes.

`data/` holds what DVC versions; everything else is under `.fieldloop/`. A loop is named by its parameters and its
code. When either changes, the devices' world begins anew: what the former devices stored and sent is moved to
`.fieldloop/archive/`, never deleted. Releases and the model registry go on.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fieldedge.durable import write_durably
from fieldloop.settings import Settings, WorkloadParams

_CODE = ("src/fieldloop", "edge/src/fieldedge", "tasks")
_NOT_IN_LOOP = ("ui", "report")  # how it looks does not change what happened


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
    def data_docs(self) -> Path:
        return self.home / "data_docs"

    @property
    def tuf(self) -> Path:
        return self.home / "tuf"

    @property
    def bundles(self) -> Path:
        return self.home / "bundles"

    @property
    def devices(self) -> Path:
        return self.home / "devices"

    @property
    def inbox(self) -> Path:
        return self.home / "gateway" / "inbox"

    @property
    def device_registry(self) -> Path:
        return self.home / "gateway" / "devices.json"

    @property
    def seasons_lived(self) -> Path:
        return self.home / "lived"

    @cached_property
    def _loop_file(self) -> Path:
        return self.home / "loop.json"

    def loop_id(self) -> str | None:
        """The loop whose devices and data are here; None in a fresh clone."""
        if not self._loop_file.is_file():
            return None
        return str(json.loads(self._loop_file.read_text())["loop_id"])

    def begin(self, loop_id: str) -> Path | None:
        """Make this the workspace of `loop_id`; returns where a former loop's devices and data went, if any."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "mlflow").mkdir(exist_ok=True)
        if self.loop_id() == loop_id:
            return None
        archived = self._archive(self.loop_id() or "unnamed")
        write_durably(self._loop_file, json.dumps({"loop_id": loop_id}).encode())
        return archived

    def _archive(self, loop_id: str) -> Path | None:
        """Move the devices and what they sent aside. A crash in between is mended by the next call."""
        moved = [self.devices, self.home / "gateway", self.seasons_lived, self.seasons, self.quarantine]
        found = [path for path in moved if path.exists()]
        if not found:
            return None
        number = 1
        while (target := self.home / "archive" / f"{loop_id}-{number}").exists():
            number += 1
        target.mkdir(parents=True)
        for path in found:
            shutil.move(path, target / path.name)  # home may be on another disk than data
        return target


def workspace_of(settings: Settings) -> Workspace:
    """The workspace of these settings."""
    return Workspace(settings.root, settings.home_dir)


def loop_id_of(root: Path, params: WorkloadParams) -> str:
    """12 hex digits over parameters and code: two runs with the same one do the same."""
    digest = hashlib.sha256(params.model_dump_json().encode())
    for path in _code_files(root):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _code_files(root: Path) -> list[Path]:
    files = [path for folder in _CODE for path in (root / folder).rglob("*.py")]
    return sorted(path for path in files if not set(path.relative_to(root).parts) & set(_NOT_IN_LOOP))
