"""A throw-away clone of a checkout's HEAD, and how the loop is run in it with the checkout's environments."""

import os
import subprocess
from pathlib import Path


def cloned(checkout: Path, clone: Path) -> Path:
    """The checkout's HEAD in a new folder."""
    subprocess.run(["git", "clone", "--quiet", str(checkout), str(clone)], check=True)
    return clone


def commit_of(checkout: Path, what: str = "HEAD") -> str:
    """The hash of its HEAD, or of a path at its HEAD (`HEAD:src`), shortened."""
    asked = ["git", "-C", str(checkout), "rev-parse", "--short=12", what]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def python_of(checkout: Path) -> str:
    """The Python of its cloud environment."""
    return str(checkout / ".venv" / "bin" / "python")


def environment_of(clone: Path, checkout: Path) -> dict[str, str]:
    """This process's, with the clone's code before all other and the checkout's device environment.

    The devices run what that environment has installed: `make setup` brings it up to date.
    """
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(clone / folder) for folder in ("src", "edge/src", ".")),
        "FIELDLOOP_EDGE_PYTHON": str(checkout / ".venv-edge" / "bin" / "python"),
    }
