"""Periods that were lived before turns were noted: what they referred to, from the reports that are still there.

Earlier code kept a period's reports without the references that its report page is made of, and named a whole clone by
its code. What it left is read here once, when a clone is upgraded; nothing of it is changed.
"""

import json
from pathlib import Path
from typing import Any

from fieldloop.stages.context import Loop
from fieldloop.stages.refs import (
    CompressedRef,
    PeriodRefs,
    RegisteredRef,
    ReleasedRef,
    RunRef,
    SnapshotRef,
    SyncedRef,
)
from fieldloop.stages.turns import TURN, finish_turn

REPORTS = ("fleet.json", "practices.json", "sync.json")


def note_former_turns(loop: Loop) -> list[int]:
    """Note the turn of every period that was lived to the end and has none; those periods.

    A period whose verdict, bundle or compression is not there any more is left as it is: its steps are gone through
    again, and its devices repeat what they said.
    """
    noted = []
    for folder in sorted(loop.paths.sample.periods.glob("[0-9]*")):
        if (folder / TURN).exists() or not all((folder / name).is_file() for name in REPORTS):
            continue
        try:
            refs = _refs(loop, folder)
        except (LookupError, OSError, ValueError):
            continue
        finish_turn(loop, int(folder.name), refs)
        noted.append(int(folder.name))
    return noted


def _refs(loop: Loop, folder: Path) -> PeriodRefs:
    period, paths = int(folder.name), loop.paths
    fleet, synced = _read(folder / "fleet.json"), _read(folder / "sync.json")
    verdicts = {str(path): _read(path) for path in sorted(paths.runs.glob("*/verdict.json"), key=_changed_s)}
    version = str(fleet["model_version"])
    (*_, own) = [path for path in verdicts if Path(path).parent.name.startswith(f"{period}-")]
    (*_, shipped) = [path for path, verdict in verdicts.items() if verdict["registered"]["version"] == version]
    compressed = Path(shipped).parent / "compressed" / "report.json"
    small, verdict, account = _read(compressed), verdicts[own], synced["account"]
    bundle = paths.bundles / f"{loop.workload}-{version}.zip"
    unacknowledged = fleet["records_selected"] - fleet["records_acknowledged"]
    return PeriodRefs(
        data=SnapshotRef(verdict["registered"]["data_hash"], period, "", "noted by earlier code", is_committed=False),
        registered=RegisteredRef(
            verdict["registered"]["version"], version, verdict["is_promoted"], verdict["reason"], own
        ),
        compressed=CompressedRef(version, small["path"], small["shipped"], small["reason"], str(compressed), ""),
        released=ReleasedRef(version, fleet["bundle_sha256"], bundle.stat().st_size, str(bundle)),
        lived=RunRef(period, fleet["devices"], str(folder / "fleet.json")),
        compared=str(folder / "practices.json"),
        synced=SyncedRef(
            period,
            account["accepted"],
            account["quarantined"],
            unacknowledged + len(account["missing"]),
            str(folder / "sync.json"),
        ),
    )


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def _changed_s(path: Path) -> float:
    return path.stat().st_mtime
