"""What persons registered is begun once: a mark, kept elsewhere, tells a file that is lost from one that never was.

The mark of `gateway/devices.json` is `gateway.begun/devices.json`, beside the folder, so that it outlives both the file
and the folder. A file without its mark is of before there were marks, and gets one.
"""

from pathlib import Path

from fieldedge.system.durable import fsync_directory, write_durably
from fieldedge.system.errors import ConfigError


def mark_of(path: Path) -> Path:
    """Where the mark of a file is."""
    folder = path.absolute().parent
    return folder.with_name(f"{folder.name}.begun") / path.name


def mark_begun(path: Path) -> None:
    """Keep that this file was made, where it was. Repeatable."""
    mark = mark_of(path)
    if mark.exists() or not path.exists():
        return
    if not mark.parent.is_dir():
        mark.parent.mkdir()
        fsync_directory(mark.parent.parent)
    write_durably(mark, f"{path.name} was made. Delete this only to begin it anew on purpose.\n".encode())


def check_not_lost(path: Path, what: str) -> None:
    """See that a file that is not there was never made.

    Raises:
        ConfigError: it was; the message says how to bring it back.
    """
    if (mark := mark_of(path)).exists() and not path.exists():  # not: made just now
        raise ConfigError(
            f"{what} {path} is missing, and was made before: bring it back from a backup. Only if nothing that persons "
            f"registered in it counts any more, delete {mark}, which begins it anew"
        )
