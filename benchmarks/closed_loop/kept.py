"""What was computed once and is asked for again: a JSON file of figures that our own code cannot change.

Perfect foresight, tuned thresholds and the package's own practices depend on the simulator, the site and the scenario
alone, and take minutes. An entry is written as soon as it is known, so an interrupted run goes on where it was.
"""

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any


class Kept:
    """Values by key. With `is_recomputed`, what the file holds is not believed; `is_read_only`: it stays as it is."""

    def __init__(self, path: Path, is_recomputed: bool = False, is_read_only: bool = False) -> None:
        self._path, self._is_read_only = path, is_read_only
        is_read = path.exists() and not is_recomputed
        self._entries: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if is_read else {}

    def get(self, key: str, settings: object, compute: Callable[[], Any]) -> Any:
        """The value of that key under those settings (by their repr), computed and written where there is none.

        A value is JSON: what comes back has lists for tuples and strings for keys.
        """
        settled = hashlib.sha256(f"aquacrop {version('aquacrop')} {settings!r}".encode()).hexdigest()[:12]
        if self._entries.get(key, {}).get("settings") != settled:
            self._entries[key] = {"settings": settled, "value": json.loads(json.dumps(compute()))}
            self._write()
        return self._entries[key]["value"]

    def _write(self) -> None:
        if self._is_read_only:
            return
        write_json(self._path, dict(sorted(self._entries.items())))


def write_json(path: Path, figures: object) -> None:
    """That file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".part")
    written.write_text(json.dumps(figures, indent=1) + "\n")
    written.replace(path)
