"""What was accepted once and taken back: of each episode and each device a folder in quarantine.

A row lies there as long as it is not accepted again. It says of one record that its absence is no loss: of that which
its device sent, and not of another's under the same id. Whose the rows are stands beside them, before the first comes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pyarrow as pa

from fieldedge.system.durable import fsync_directory, sweep_temporaries, write_durably
from fieldedge.system.errors import DataError
from fieldloop.core.stored_names import PERIOD, UNIT
from fieldloop.validation.ownership import EpisodeName, episode_of
from fieldloop.validation.typed import unreadable

WITHDRAWN_PREFIX = "withdrawn-"  # of the folders of quarantine that hold what was accepted once
_WHOSE = "whose.json"
_APART = "+"  # between the parts of a folder's name: quoting leaves none in them, and earlier code wrote none


@dataclass(frozen=True)
class Withdrawal:
    """What lies in one such folder.

    `devices` are those that it was accepted from, "" for a history: one, but where earlier code, which left it to be
    read from the row that opens the episode, withdrew twice; none where that row is not there.
    """

    folder: Path
    period: int
    unit: str
    devices: frozenset[str]
    record_ids: frozenset[str]

    def excuses(self, device_id: str | None) -> bool:
        """Whether the absence of these records is no loss where they were this device's."""
        return not self.devices or device_id in self.devices


def begin_withdrawal(quarantine_dir: Path, period: int, unit: str, device_id: str) -> Path:
    """The folder for what is withdrawn of a device's episode, which says whose it is."""
    parts = (str(period), quote(unit, safe=""), quote(device_id, safe=""))
    folder = quarantine_dir / f"{WITHDRAWN_PREFIX}{_APART.join(parts)}"
    folder.mkdir(parents=True, exist_ok=True)
    whose = {PERIOD: period, UNIT: unit, "device_id": device_id}
    write_durably(folder / _WHOSE, json.dumps(whose, indent=1).encode() + b"\n")
    fsync_directory(quarantine_dir)
    return folder


def end_withdrawals(quarantine_dir: Path) -> None:
    """Take away the folders that hold no row any more. For who holds the store alone."""
    for folder in quarantine_dir.glob(f"{WITHDRAWN_PREFIX}*"):
        if not folder.is_dir() or any(folder.glob("*.parquet")):
            continue
        (folder / _WHOSE).unlink(missing_ok=True)
        sweep_temporaries(folder)
        if not any(folder.iterdir()):
            folder.rmdir()


def withdrawals(quarantine_dir: Path) -> list[Withdrawal]:
    """All that hold rows.

    Raises:
        DataError: a file of one is damaged.
    """
    found = []
    for folder in sorted(quarantine_dir.glob(f"{WITHDRAWN_PREFIX}*")):
        frames = {file: _read(file) for file in sorted(folder.glob("*.parquet"))}
        if not frames:
            continue
        period, unit, devices = _whose(folder) if _APART in folder.name else _guessed(frames)
        ids = frozenset(record_id for frame in frames.values() for record_id in frame["record_id"])
        found.append(Withdrawal(folder, period, unit, devices, ids))
    return found


def withdrawn_episodes(quarantine_dir: Path) -> frozenset[EpisodeName]:
    """The episodes of which something was taken back and is not accepted again.

    Raises:
        DataError: as `withdrawals` says.
    """
    return frozenset((one.period, one.unit) for one in withdrawals(quarantine_dir))


def excused_records(quarantine_dir: Path, holders: Mapping[tuple[int, str], str]) -> frozenset[str]:
    """The ids of the records whose absence is no loss, where the episodes were these devices'."""
    return frozenset(
        record_id
        for one in withdrawals(quarantine_dir)
        if one.excuses(holders.get((one.period, one.unit)))
        for record_id in one.record_ids
    )


def _whose(folder: Path) -> tuple[int, str, frozenset[str]]:
    try:
        said = json.loads((folder / _WHOSE).read_bytes())
        return int(said[PERIOD]), str(said[UNIT]), frozenset({str(said["device_id"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder / _WHOSE}, which says whose the records are that were taken back, cannot be read ({error!r}). "
            "Bring it back from a backup: without it nothing that was withdrawn can be told from what was lost"
        ) from error


def _guessed(frames: Mapping[Path, pd.DataFrame]) -> tuple[int, str, frozenset[str]]:
    """Whose a folder of earlier code is, which did not say it."""
    named = [frame["device_id"] for frame in frames.values() if "device_id" in frame]
    devices = frozenset(str(device_id) for device_id in pd.concat(named).fillna("")) if named else frozenset()
    return *episode_of(next(iter(frames.values()))["record_id"].iloc[0]), devices


def _read(file: Path) -> pd.DataFrame:
    try:
        rows = pd.read_parquet(file)
        return rows[["record_id", *(["device_id"] if "device_id" in rows else [])]]
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{file}, which holds records that were taken back, {unreadable(error)}. Bring it back from a "
            "backup: without it nothing that was withdrawn can be told from what was lost"
        ) from error
