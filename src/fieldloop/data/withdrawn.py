"""What was accepted once and taken back: of each season of a field and each device a folder in quarantine.

A row lies there as long as it is not accepted again. It says of one record that its absence is no loss: of that which
its device sent, and not of another's under the same id.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pyarrow as pa

from fieldedge.system.errors import DataError
from fieldloop.validation.expectations import FIELDS_TABLE

WITHDRAWN_PREFIX = "withdrawn-"  # of the folders of quarantine that hold what was accepted once


@dataclass(frozen=True)
class Withdrawal:
    """What lies in one such folder.

    `devices` are those that it was accepted from, "" for a history: one, but where earlier code withdrew twice;
    none where a power cut left the folder without the field's own row, which goes there first.
    """

    folder: Path
    season: int
    field_id: str
    devices: frozenset[str]
    record_ids: frozenset[str]

    def excuses(self, device_id: str | None) -> bool:
        """Whether the absence of these records is no loss where they were this device's."""
        return not self.devices or device_id in self.devices


def folder_name(season: int, field_id: str, device_id: str) -> str:
    """Of the folder of what is withdrawn of a device's season of a field."""
    return f"{WITHDRAWN_PREFIX}{season}-{field_id}" + (f"-{quote(device_id, safe='')}" if device_id else "")


def withdrawals(quarantine_dir: Path) -> list[Withdrawal]:
    """All of them.

    Raises:
        DataError: a file of one is damaged.
    """
    found = []
    for folder in sorted(quarantine_dir.glob(f"{WITHDRAWN_PREFIX}*")):
        frames = {file: _read(file) for file in sorted(folder.glob("*.parquet"))}
        if not frames:
            continue
        rows = pd.concat(frames.values())
        fields = [frame["device_id"] for file, frame in frames.items() if file.name.startswith(f"{FIELDS_TABLE}-")]
        devices = frozenset(str(device_id) for device_id in pd.concat(fields).fillna("")) if fields else frozenset()
        first = rows.iloc[0]
        ids = frozenset(rows["record_id"])
        found.append(Withdrawal(folder, int(first["season"]), str(first["field_id"]), devices, ids))
    return found


def excused_records(quarantine_dir: Path, holders: Mapping[tuple[int, str], str]) -> frozenset[str]:
    """The ids of the records whose absence is no loss, where the seasons of fields were these devices'."""
    return frozenset(
        record_id
        for one in withdrawals(quarantine_dir)
        if one.excuses(holders.get((one.season, one.field_id)))
        for record_id in one.record_ids
    )


def _read(file: Path) -> pd.DataFrame:
    try:
        rows = pd.read_parquet(file)
        return rows[["record_id", "season", "field_id", *(["device_id"] if "device_id" in rows else [])]]
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{file}, which holds records that were taken back, cannot be read as Parquet "
            f"({str(error).partition(chr(10))[0]}). Bring it back from a backup: without it nothing that was "
            "withdrawn can be told from what was lost"
        ) from error
