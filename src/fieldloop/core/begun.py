"""Marks of what was begun: they tell what is lost from what never was.

A mark is a small file apart from what it speaks of, so that it outlives it. It is made once what it speaks of is there,
and only a person removes it, to begin anew on purpose. What follows from one that stands beside nothing, and what to
say of it, is for whoever asks.
"""

from dataclasses import dataclass
from pathlib import Path

from fieldedge.system.durable import fsync_directory, write_durably
from fieldedge.system.errors import ConfigError


@dataclass(frozen=True)
class Mark:
    """The mark at `path`."""

    path: Path

    @classmethod
    def beside(cls, folder: Path) -> "Mark":
        """Of a folder: `tuf.begun` beside `tuf/`."""
        return cls(folder.with_name(f"{folder.name}.begun"))

    @classmethod
    def of_file(cls, path: Path) -> "Mark":
        """Of a file that may go with its folder: `gateway.begun/devices.json` for `gateway/devices.json`."""
        return cls(cls.beside(path.absolute().parent).path / path.name)

    @property
    def is_set(self) -> bool:
        return self.path.exists()

    def set(self, words: str = "") -> None:
        """Make it durably, with words for whoever finds it; its own folder is made where there is none. Repeatable.

        Raises:
            OSError: the disk does not let it be made.
        """
        if not self.is_set:
            self.keep(words)

    @property
    def words(self) -> str:
        """What it says; nothing where it is not set.

        Raises:
            OSError: what lies there is no file, or cannot be read.
        """
        return self.path.read_text(errors="replace") if self.is_set else ""

    def keep(self, words: str) -> None:
        """Make it durably, or let it say something else.

        Raises:
            OSError: the disk does not let it be made.
        """
        make_durably(self.path.parent)
        write_durably(self.path, words.encode())


def make_durably(folder: Path) -> None:
    """Make a folder in one that is there, and wait until the disk has it. Repeatable.

    Raises:
        OSError: it cannot be made.
    """
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        fsync_directory(folder.parent)


def mark_made(path: Path) -> None:
    """Mark a file that is there as made once. Repeatable; one from before there were marks gets its mark so."""
    if path.exists():
        Mark.of_file(path).set(f"{path.name} was made. Delete this only to begin it anew on purpose.\n")


def check_not_lost(path: Path, what: str) -> None:
    """See that a file that is not there was never made.

    Raises:
        ConfigError: it was; the message says how to bring it back.
    """
    mark = Mark.of_file(path)
    if mark.is_set and not path.exists():  # not: made just now
        raise ConfigError(
            f"{what} {path} is missing, and was made before: bring it back from a backup. Only if nothing that persons "
            f"registered in it counts any more, delete {mark.path}, which begins it anew"
        )
