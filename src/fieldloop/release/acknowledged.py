"""Which batches were acknowledged: a file for each, made before the acknowledgement is signed.

A device frees what was acknowledged, so nobody can send it again. The notes lie with the key that signs, apart from the
inbox and from quarantine: where a batch is lost there, its note names it. `<device_id>/<sha256>`; nothing is in it.
"""

from pathlib import Path

from fieldedge.system.errors import StoreFailed
from fieldloop.core.begun import Mark, make_durably


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
            make_durably(self._directory)
            Mark(path).set()
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
