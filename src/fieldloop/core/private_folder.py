"""Folders that nobody else may write: caches that are loaded as code, and locks.

Whoever can write where pickles or compiled code are read from runs code in this process. Such a folder is made with
mode 0700, and one that is another's, or that others can write, is not used.
"""

import os
import pwd
import stat
from pathlib import Path

from fieldedge.system.errors import ConfigError


def private_folder(path: Path) -> Path:
    """Make the folder, or make sure that it is ours alone; returns it.

    Raises:
        ConfigError: it is no folder, belongs to another user, others can write it, or it cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
        ancestors = [(parent, parent.stat()) for parent in path.absolute().parents]
    except OSError as error:
        raise ConfigError(f"the private folder {path} cannot be made: {error}. Make room for it there.") from error
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{path} is a link; expected a folder of this user alone. Remove it; it is made again.")
    if os.name != "posix":
        return path
    if found.st_uid != os.geteuid():
        raise ConfigError(
            f"{path} belongs to {_name(found.st_uid)}, and this process runs as {_name(os.geteuid())}: what lies there "
            "is loaded as code. Remove the folder; it is made again."
        )
    if found.st_mode & 0o022:
        raise ConfigError(
            f"{path} can be written by others (mode {stat.S_IMODE(found.st_mode):o}; expected 700): what lies there is "
            "loaded as code. Remove the folder; it is made again."
        )
    for parent, above in ancestors:
        if above.st_mode & 0o002 and not above.st_mode & stat.S_ISVTX:
            raise ConfigError(f"{parent} can be written by anybody, and {path} lies below it: run chmod o-w {parent}")
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)
    return path


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
