"""Where DVC keeps its indexes: pickles, so in a folder of the clone that nobody else may write.

DVC's own choice is a folder that all users of the machine share and may write, /var/tmp/dvc; who writes there runs
code in every `dvc` (CVE-2025-69872). The clone's `.dvc/config.local` names the private one, so that `dvc` by hand uses
it too; `make setup` and every use of the data versions write it there. A folder that a person chose is used when it is
private.
"""

import os
import stat
from pathlib import Path
from typing import Any

from fieldedge.system.durable import write_durably
from fieldloop.core.private_folder import private_folder

SITE_CACHE = Path(".dvc", "tmp", "site_cache")


def site_cache(root: Path) -> Path:
    """The private folder of the clone at `root`, or the one that a person chose. It is there afterwards.

    Raises:
        ConfigError: it belongs to another user, or others can write it.
    """
    from dvc.config import Config

    own = root.resolve() / SITE_CACHE
    configured = Config(str(root / ".dvc"))["core"].get("site_cache_dir")
    chosen = os.environ.get("DVC_SITE_CACHE_DIR") or configured
    if chosen is None or chosen.endswith(str(SITE_CACHE)):  # of where the clone was before
        chosen = str(own)
    if configured is None or (configured != str(own) and configured.endswith(str(SITE_CACHE))):
        _remember(root / ".dvc" / "config.local", own)
    return private_folder(Path(chosen))


def _remember(path: Path, folder: Path) -> None:
    """A person's own settings there, with their comments, stay as they are."""
    from configobj import ConfigObj

    try:
        lines, mode = path.read_text(encoding="utf-8").splitlines(), stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        lines, mode = [], 0o600
    settings: Any = ConfigObj(lines)
    settings.setdefault("core", {})["site_cache_dir"] = str(folder)
    write_durably(path, "".join(f"{line}\n" for line in settings.write()).encode(), mode)
