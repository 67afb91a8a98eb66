"""What a validation found, as plain data that a run can show, link and store."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TableReport:
    """Counts for one table. `broken` counts rows per expectation, in plain words; a row may break several."""

    rows: int
    accepted: int
    quarantined: int
    broken: Mapping[str, int]


@dataclass(frozen=True)
class ValidationReport:
    """The outcome of one validation."""

    tables: Mapping[str, TableReport]
    docs_index: Path | None
    quarantine_files: tuple[Path, ...]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())

    @property
    def quarantined(self) -> int:
        return sum(table.quarantined for table in self.tables.values())

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {
            "tables": {
                name: {
                    "rows": table.rows,
                    "accepted": table.accepted,
                    "quarantined": table.quarantined,
                    "broken": dict(table.broken),
                }
                for name, table in self.tables.items()
            },
            "docs_index": None if self.docs_index is None else str(self.docs_index),
            "quarantine_files": [str(path) for path in self.quarantine_files],
        }
