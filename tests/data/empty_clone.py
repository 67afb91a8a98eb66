"""A clone of a project with the settings of ours and no data yet, and git typed in it."""

import os
import subprocess
from pathlib import Path

import pytest

_PROJECT = Path(__file__).parents[2]


def git(clone: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(clone), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def empty_clone(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make it at `root`, with one commit, whatever this machine's own git settings are."""
    for name, value in {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}.items():
        monkeypatch.setenv(name, value)
    (root / "data").mkdir(parents=True)
    (root / ".dvc").mkdir()
    for name in (".dvc/config", ".dvc/.gitignore", ".dvcignore", "data/.gitignore"):
        (root / name).write_bytes((_PROJECT / name).read_bytes())
    git(root, "init", "--quiet")
    git(root, "config", "user.name", "Station")
    git(root, "config", "user.email", "station@example.org")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "start")
    return root
