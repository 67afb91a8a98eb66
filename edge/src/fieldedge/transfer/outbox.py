"""Batches that wait for an acknowledgement.

Once a batch is prepared its bytes are fixed: a retry sends the same file, so the gateway knows it again. The file is
durable before the store says so, and is deleted only after the store says that it was acknowledged; a file that the
store does not know was never sent. What is marked as sent is what was read, by its sequence: a record that was
corrected meanwhile is read anew. What goes into a batch is `packing.py`'s.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

from fieldedge.contract.batches import MAX_UNPACKED_BYTES, batch_id, check_batch
from fieldedge.storage.store import Entry, PreparedBatch, Store
from fieldedge.system.durable import fsync_directory, write_durably
from fieldedge.system.errors import DataError
from fieldedge.system.plain_files import NotPlainError, not_plain, read_own

_log = logging.getLogger(__name__)


class Outbox:
    """The outbox directory together with what the store knows of it."""

    def __init__(self, path: Path, store: Store) -> None:
        self._path = path
        self._store = store
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            fsync_directory(path.parent)  # a batch is durable only where its directory is

    def settle(self) -> None:
        """Bring files and store together after whatever happened: nothing lost, nothing left over."""
        waiting = {batch.batch_id for batch in self._store.prepared_batches()}
        for file in self._path.iterdir():
            if file.name.removesuffix(".batch") not in waiting and (file.is_symlink() or not file.is_dir()):
                file.unlink()  # a folder is none of ours: a disk's lost+found lies where the disk is mounted
        for identity in sorted(waiting):
            fault = self._fault(identity)
            if fault is not None:
                _log.error("batch %s %s; its records are selected anew", identity[:12], fault)
                self._store.withdraw(identity)
                _remove(self._file(identity))

    def _fault(self, identity: str) -> str | None:
        """Why a batch must not be sent: it is damaged, or a former agent made it larger than the gateway takes."""
        data = self._read(identity)
        if data is None:
            return "is damaged on disk"
        try:
            check_batch(data)
        except DataError as error:
            return f"would never be taken: {error}"
        return None

    def put(self, data: bytes, episode: str, read: Iterable[Entry]) -> set[str]:
        """Make a batch of what was read durable, then take exactly that out of the next selection.

        Returns:
            The identities of the records that were corrected meanwhile. Where there are any, nothing was put.
        """
        identity = batch_id(data)
        write_durably(self._file(identity), data)
        changed = self._store.mark_selected(identity, episode, len(data), read)
        if identity not in {batch.batch_id for batch in self._store.prepared_batches()}:
            _remove(self._file(identity))
        return changed

    def waiting(self) -> list[tuple[PreparedBatch, bytes]]:
        """The batches to send, oldest first."""
        found = [(batch, self._read(batch.batch_id)) for batch in self._store.prepared_batches()]
        return [(batch, data) for batch, data in found if data is not None]

    def acknowledged(self, identity: str) -> None:
        """The gateway holds this batch: free it."""
        self._store.mark_acknowledged(identity)
        _remove(self._file(identity))

    def _file(self, identity: str) -> Path:
        return self._path / f"{identity}.batch"

    def _read(self, identity: str) -> bytes | None:
        try:
            data = read_own(self._file(identity), MAX_UNPACKED_BYTES)
        except (FileNotFoundError, NotPlainError):
            return None
        return data if batch_id(data) == identity else None


def _remove(file: Path) -> None:
    """Delete a batch's file; a folder in its place stays, as any other in the outbox does."""
    if not_plain(file, follows=False) != "a folder":
        file.unlink(missing_ok=True)
