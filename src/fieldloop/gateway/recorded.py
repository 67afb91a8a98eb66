"""The inbox whose batches the gateway's database lists too.

A batch counts as kept or held only when the database has its row as well: so what is acknowledged is on disk twice, as
a file and as a row. Where the database does not answer, the sender keeps the batch and sends it again. Every start
lists what lies in the folder without a row: the batches of a former gateway, or of a stick.
"""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from fieldedge.system.errors import DataError
from fieldloop.gateway.database import Database, batches, utc_text
from fieldloop.gateway.inbox import Held, Inbox, read_envelope

ROWS_AT_ONCE = 1_000


class RecordedInbox(Inbox):
    """The inbox in one directory, and its list in the database."""

    def __init__(self, directory: Path, database: Database) -> None:
        super().__init__(directory)
        self._database = database

    def keep(self, body: bytes, device_id: str, signature: str, received: datetime) -> bool:
        is_new = super().keep(body, device_id, signature, received)
        self._record([_row(device_id, hashlib.sha256(body).hexdigest(), len(body), utc_text(received))])
        return is_new

    def holds(self, device_id: str, sha256: str, signature: str) -> bool:
        if not super().holds(device_id, sha256, signature):
            return False
        if not self._is_listed(device_id, sha256):
            self._record([_row_of(held) for held in self._places(device_id, sha256) if held.batch.exists()])
        return True

    def list_former(self) -> int:
        """List what lies in the folder and not in the database; how many batches that were. Repeatable."""
        with self._database.read() as connection:
            listed = set(connection.execute(select(batches.c.device_id, batches.c.sha256)).tuples())
        missing = [one for one in (*self.waiting(), *self.ingested()) if (one.device_id, one.sha256) not in listed]
        for start in range(0, len(missing), ROWS_AT_ONCE):
            self._record([_row_of(held) for held in missing[start : start + ROWS_AT_ONCE]])
        return len(missing)

    def _is_listed(self, device_id: str, sha256: str) -> bool:
        asked = select(batches.c.bytes).where(batches.c.device_id == device_id, batches.c.sha256 == sha256)
        with self._database.read() as connection:
            return connection.execute(asked).one_or_none() is not None

    def _record(self, rows: list[dict[str, Any]]) -> None:
        with self._database.write() as connection:
            for row in rows:
                self._database.add_new(connection, batches, row)


def _row_of(held: Held) -> dict[str, Any]:
    try:
        received = read_envelope(held.envelope).received_utc
    except DataError:
        received = None
    return _row(held.device_id, held.sha256, held.batch.stat().st_size, received)


def _row(device_id: str, sha256: str, size: int, received_utc: str | None) -> dict[str, Any]:
    return {"device_id": device_id, "sha256": sha256, "bytes": size, "received_utc": received_utc}
