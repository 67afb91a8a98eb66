"""What git knows of the code that runs."""

import subprocess
from pathlib import Path


def git_commit(root: Path) -> str:
    """The commit of the code that runs, with `-dirty` where files differ from it; `unknown` outside git."""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="backslashreplace", check=False)  # noqa: S603
    return done.stdout.strip() if done.returncode == 0 else "unknown"
