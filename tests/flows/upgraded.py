"""What an upgrade may not touch, read off a clone: accepted records, and the keys and roots of trust."""

import pandas as pd

from fieldloop.core.paths import Paths
from tests.flows.small_loop import SmallLoop


def accepted_records(clone: SmallLoop) -> dict[str, dict[str, object]]:
    """Every accepted record by its identity, whichever file it stands in."""
    rows: dict[str, dict[str, object]] = {}
    for path in sorted(clone.seasons.rglob("*.parquet")):
        for row in pd.read_parquet(path).to_dict("records"):
            rows[str(row["record_id"])] = {str(name): None if pd.isna(value) else value for name, value in row.items()}
    return rows


def secrets_of(space: Paths) -> dict[str, bytes]:
    """Keys and roots of trust, by name."""
    paths = [path for name in ("keys", "metadata") for path in (space.tuf / name).rglob("*") if path.is_file()]
    return {path.name: path.read_bytes() for path in paths if path.parent.name == "keys" or "root.json" in path.name}
