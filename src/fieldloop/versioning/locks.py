"""DVC by one hand at a time: its own locks make the second command fail, ours make it wait."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fieldedge.system.errors import ConfigError, DataError, StoreBusy
from fieldloop.versioning.site_cache import site_cache

LOCK_TIMEOUT_S = 120.0


@contextmanager
def dvc_repository(root: Path) -> Iterator[Any]:
    """An open `dvc.repo.Repo`, alone among our processes.

    Locks that killed commands left behind are cleared: the operating system frees ours and DVC's, DVC drops entries
    of dead processes itself, and an entry file cut short by a kill is removed here.

    Raises:
        ConfigError: there is no DVC project at `root`, or its cache is not this user's alone.
        StoreBusy: another process holds it.
        DataError: DVC failed.
    """
    if not (root / ".dvc").is_dir():
        raise ConfigError(f"{root} has no .dvc folder; expected the project's clone. Make one: dvc init")
    (root / ".dvc" / "tmp").mkdir(mode=0o755, exist_ok=True)
    lock = FileLock(root / ".dvc" / "tmp" / "fieldloop.lock", timeout=LOCK_TIMEOUT_S)
    try:
        lock.acquire()
    except Timeout:
        raise StoreBusy(
            f"another process works on the data versions of {root} for over {LOCK_TIMEOUT_S:.0f} s; "
            "let it finish, or end it, then try again"
        ) from None
    try:
        _remove_broken_entries(root)
        with _errors_in_our_words(root), _open(root) as repository:
            yield repository
    finally:
        lock.release()


@contextmanager
def _open(root: Path) -> Iterator[Any]:
    from dvc.repo import Repo
    from dvc.ui import ui

    ui.error_console.quiet = True  # a spinner of its own would cross our lines
    # Importing DVC sets it to tell all that it does; its failures reach us as exceptions.
    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    # An unpacked archive of the project has no git; the data still gets its hash.
    has_git = any((folder / ".git").exists() for folder in (root, *root.resolve().parents))
    core: dict[str, Any] = {"site_cache_dir": str(site_cache(root)), **({} if has_git else {"no_scm": True})}
    repository = Repo(str(root), config={"core": core})
    try:
        yield repository
    finally:
        repository.close()


@contextmanager
def _errors_in_our_words(root: Path) -> Iterator[None]:
    from dvc.exceptions import DvcException
    from dvc.lock import LockError

    try:
        yield
    except LockError as error:
        raise StoreBusy(f"DVC is busy in {root}: {error}") from error
    except DvcException as error:
        raise DataError(f"DVC failed in {root}: {_with_causes(error)}") from error


def _with_causes(error: BaseException) -> str:
    words = [str(error).strip()]
    while (cause := error.__cause__) is not None:
        if str(cause).strip() not in words:
            words.append(str(cause).strip())
        error = cause
    return ": ".join(word for word in words if word)


def _remove_broken_entries(root: Path) -> None:
    """DVC rewrites this file in place; a kill in between leaves a part that it then refuses to read."""
    entries = root / ".dvc" / "tmp" / "rwlock"
    try:
        json.loads(entries.read_bytes())
    except FileNotFoundError:
        return
    except ValueError:
        entries.unlink(missing_ok=True)
