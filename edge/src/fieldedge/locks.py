"""One process at a time for a job of the device.

The kernel releases the lock when its holder ends, however it ends, so a killed process leaves nothing to clean up.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fieldedge.errors import StoreBusy


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file at `path` for the length of the block.

    Raises:
        StoreBusy: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreBusy(
                f"another fieldedge process holds {path}; wait until it has finished, then try again"
            ) from None
        yield
