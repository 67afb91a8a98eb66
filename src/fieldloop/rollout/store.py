"""Where each rollout stands, on disk: one file per rollout, replaced in one step, and the ledger beside them.

`<folder>/<workload>/<number>.json` is the state after the newest change, written before the signed repository is asked
for anything. The rollout with the highest number is the current one; those before stay. One process at a time.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from fieldedge.system.durable import fsync_directory, write_durably
from fieldedge.system.errors import DataError, StoreBusy
from fieldedge.system.plain_files import read_own
from fieldloop.rollout.ledger import Ledger
from fieldloop.rollout.machine import RolloutState, read_state

LOCK_TIMEOUT_S = 60.0
MAX_STATE_BYTES = 100_000
_NAME = re.compile(r"([0-9]{6})\.json")


class RolloutStore:
    """The rollouts in one folder; one that is not there holds none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.folder / "ledger.jsonl")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process changes a rollout or the ledger meanwhile.

        Raises:
            StoreBusy: another one does, for a minute.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / "lock", timeout=LOCK_TIMEOUT_S):
                yield
        except Timeout:
            raise StoreBusy(f"{self.folder} is in use by another process; try again later") from None

    def all(self, workload: str) -> list[RolloutState]:
        """Every rollout of a workload, the first one first.

        Raises:
            DataError: the file of one is damaged.
        """
        folder = self.folder / workload
        names = sorted(path.name for path in folder.iterdir() if _NAME.fullmatch(path.name)) if folder.is_dir() else []
        return [self._read(folder / name, int(name.partition(".")[0]), workload) for name in names]

    def current(self, workload: str) -> RolloutState | None:
        """The newest rollout of a workload, open or over.

        Raises:
            DataError: its file is damaged.
        """
        found = self.all(workload)
        return found[-1] if found else None

    def workloads(self) -> list[str]:
        """Which have had a rollout."""
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir()) if self.folder.is_dir() else []

    def keep(self, state: RolloutState) -> None:
        """Have a state on disk, in the place of the one before.

        Raises:
            OSError: it cannot be written.
        """
        folder = self.folder / state.workload
        if not folder.is_dir():
            folder.mkdir(parents=True)
            fsync_directory(folder.parent)
        write_durably(folder / f"{state.number:06}.json", state.as_json())

    def keep_applied(self, state: RolloutState) -> RolloutState:
        """Note that the signed repository has what the state asks for."""
        applied = replace(state, is_applied=True)
        self.keep(applied)
        return applied

    def _read(self, path: Path, number: int, workload: str) -> RolloutState:
        try:
            state = read_state(read_own(path, MAX_STATE_BYTES))
            if (state.number, state.workload) != (number, workload):
                raise DataError(f"it is of rollout {state.number} of {state.workload}")
        except DataError as error:
            raise DataError(
                f"{path} is damaged ({error}); restore it from a backup, or from the ledger beside it, whose lines say "
                "what was decided. Devices go on with what is signed"
            ) from error
        return state
