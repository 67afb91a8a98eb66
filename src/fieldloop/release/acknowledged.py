"""Which batches were acknowledged: a file for each, made before the acknowledgement is signed.

A device frees what was acknowledged, so nobody can send it again. The notes lie with the key that signs, apart from the
inbox and from quarantine: where a batch is lost there, its note names it. `<device_id>/<sha256>`; nothing is in it.
"""

from pathlib import Path

from fieldedge.system.durable import fsync_directory, write_durably
from fieldedge.system.errors import StoreFailed


class AcknowledgedBatches:
    """The notes in one directory, which is made when the first batch is acknowledged."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def note(self, device_id: str, sha256: str) -> None:
        """Note a batch durably. Repeatable.

        Raises:
            StoreFailed: it cannot be noted; it must not be acknowledged then.
        """
        path = self.path(f"{device_id}/{sha256}")
        try:
            if path.exists():
                return
            for folder in (self._directory, path.parent):
                if not folder.is_dir():
                    folder.mkdir(exist_ok=True)
                    fsync_directory(folder.parent)
            write_durably(path, b"")
        except OSError as error:
            raise StoreFailed(
                f"{path} cannot be written ({error.strerror}), and what is not noted is not acknowledged: make room, "
                "or mend the disk, and do this again"
            ) from error

    def names(self) -> list[str]:
        """All that were noted, as `<device_id>/<sha256>`."""
        paths = self._directory.glob("*/*")
        return sorted(f"{path.parent.name}/{path.name}" for path in paths if not path.name.startswith("."))

    def path(self, name: str) -> Path:
        """The note of a batch. Whoever deletes it misses the batch no more."""
        return self._directory / name
