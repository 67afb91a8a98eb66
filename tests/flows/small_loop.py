"""A small season loop in a clone of its own: the real `python -m flows`, cut off where a test says.

The clone holds this working tree's files, its own data and its own `.fieldloop`. It runs with the environments of this
working tree. One season, two devices, three past years: everything that the big loop does, in under a minute.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from fieldloop.core.process_setup import QUIET_ENVIRONMENT
from tests.edge.patience import PATIENCE_S
from tests.flows.connections import watched

PROJECT = Path(__file__).resolve().parents[2]
EDGE_PYTHON = PROJECT / ".venv-edge" / "bin" / "python"
_LOOK_EVERY_S = 0.01
_CODE = ("src", "edge", "flows", "tasks", ".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "dvc.yaml")
_FIGURES = (
    *("season", "devices", "recommendations", "records_acknowledged", "records_lost"),
    *("yield_rmse_t_ha", "profit_usd_ha", "irrigation_mm", "data_hash"),
)

_RAISE_LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", 0x41))  # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING
os.execvp(sys.argv[1], sys.argv[1:])
"""
# Put before a command: a network namespace of its own, where nothing but loopback is.
ALONE_IN_THE_NETWORK = ("unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", _RAISE_LOOPBACK)


def may_leave_the_network() -> bool:
    """Whether this machine lets us make a network namespace."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*ALONE_IN_THE_NETWORK, "true"], capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Ended:
    """How a run of the loop ended."""

    code: int
    stdout: str
    stderr: str


class SmallLoop:
    """One clone with small parameters. Without a `prefect_api_url` each run starts a server of its own, as by hand."""

    def __init__(self, root: Path) -> None:
        self.prefect_api_url: str | None = None
        self.root = root
        self.home = root / ".fieldloop"
        self.history = root / "data" / "history"
        self.seasons = root / "data" / "seasons"
        self.quarantine = root / "data" / "quarantine"
        self.inbox = self.home / "gateway" / "inbox"
        self.watch = root.with_name(root.name + ".watch")

    @classmethod
    def make(cls, root: Path, project: Path = PROJECT, *, has_int8: bool = True) -> "SmallLoop":
        """A clone with git, as a person has one; of the code that stands in `project`.

        Without `has_int8` its devices take float32 alone, and a turn is done in half the time.
        """
        root.mkdir(parents=True)
        for name in _CODE:
            source, target = project / name, root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            else:
                shutil.copyfile(source, target)
        (root / "data").mkdir()
        (root / "data" / ".gitignore").write_text("/history\n/seasons\n/quarantine\n/.seasons.lock\n")
        (root / "params.yaml").write_text(yaml.safe_dump(_small_params(has_int8)))
        # The commit stands in every bundle: of the same files it is the same, whenever a test makes it.
        at_once = {
            **os.environ,
            "GIT_AUTHOR_DATE": "2006-04-01T00:00:00Z",
            "GIT_COMMITTER_DATE": "2006-04-01T00:00:00Z",
        }
        for command in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "The project")):
            git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *command]
            subprocess.run(git, cwd=root, env=at_once, check=True)
        return cls(root)

    def environment(self) -> dict[str, str]:
        """What the loop's process is given: this clone's code before the installed one, nothing of the tests.

        What its Python processes speak to beyond this machine is in `connections_beyond(self.watch)`.
        """
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT", "FIELDLOOP_"))
            and name not in QUIET_ENVIRONMENT
            and name != "PYTHONDONTWRITEBYTECODE"  # five processes would compile this clone's code each time
        }
        path = os.pathsep.join(str(self.root / part) for part in ("src", "edge/src", ""))
        ours = {"PYTHONPATH": path, "FIELDLOOP_EDGE_PYTHON": str(EDGE_PYTHON), "PYTHONFAULTHANDLER": "1"}
        if self.prefect_api_url is not None:
            ours["PREFECT_API_URL"] = self.prefect_api_url
        return watched(self.watch, {**kept, **ours})

    def run(self, *prefix: str, flow: str = "season", is_deployment: bool = False) -> Ended:
        """A flow from start to end, by hand."""
        return self.wait(self.start(*prefix, flow=flow, is_deployment=is_deployment))

    def start(self, *prefix: str, flow: str = "season", is_deployment: bool = False) -> subprocess.Popen[str]:
        """A flow, in a process group of its own as a shell gives it one; `prefix` is put before the command."""
        if is_deployment:
            self.make_keys()
        out, err = self._spoken(".out"), self._spoken(".err")
        with out.open("w") as stdout, err.open("w") as stderr:
            return subprocess.Popen(
                [*prefix, sys.executable, "-m", "flows", flow],
                cwd=self.root,
                env={**self.environment(), "FIELDLOOP_IS_DEPLOYMENT": str(is_deployment).lower()},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )

    def make_keys(self) -> None:
        """Make the keys of a deployment, as an operator does before its first run; there is nothing to do again."""
        medium, passphrase = self.root.with_name(f"{self.root.name}.medium"), self.root.with_name("passphrase")
        if medium.exists() or (self.home / "tuf").exists():
            return
        medium.mkdir()
        passphrase.write_text("put away\n")
        passphrase.chmod(0o600)
        made = self.command(
            *("keys", "init", "--offline", str(medium)),
            FIELDLOOP_OFFLINE_PASSPHRASE_FILE=str(passphrase),
            FIELDLOOP_IS_DEPLOYMENT="true",
        )
        assert made.code == 0, made.stderr

    def command(self, *arguments: str, **variables: str) -> Ended:
        """A command of `fieldloop` in this clone."""
        done = subprocess.run(
            [sys.executable, "-m", "fieldloop.cli", *arguments],
            cwd=self.root,
            env={**self.environment(), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def change(self, name: str, old: str, new: str) -> None:
        """Edit a file of the clone's code, as an upgrade does."""
        path = self.root / name
        text = path.read_text()
        assert old in text, f"{name} has no {old!r}"
        path.write_text(text.replace(old, new))

    def set_params(self, **blocks: dict[str, Any]) -> None:
        """Edit params.yaml: some values of some blocks."""
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for block, values in blocks.items():
            params["agriculture"][block] |= values
        path.write_text(yaml.safe_dump(params))

    def wait(self, process: subprocess.Popen[str], timeout_s: float = PATIENCE_S) -> Ended:
        """Wait until it has ended; one that does not is killed and fails the test."""
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # Python then tells where each of its threads is
            process.wait()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            said = self._spoken(".out").read_text() + self._spoken(".err").read_text()
            pytest.fail(f"the loop had not ended after {timeout_s:.0f} s; it said:\n{said}")
        return Ended(code, self._spoken(".out").read_text(), self._spoken(".err").read_text())

    def cut_off(self, when: Callable[["SmallLoop"], bool], number: signal.Signals) -> Ended:
        """Start the loop and, as soon as `when` is true, send the signal: Ctrl-C to the group, a kill to the process.

        A loop that ends before is a mistake of the test.
        """
        process = self.start()
        deadline = time.monotonic() + PATIENCE_S
        while not when(self):
            if process.poll() is not None or time.monotonic() > deadline:
                ended = self.wait(process, 0)
                pytest.fail(f"the loop was never where it should be cut off; it said:\n{ended.stdout}{ended.stderr}")
            time.sleep(_LOOK_EVERY_S)
        if number is signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        return self.wait(process)

    def processes(self) -> dict[int, str]:
        """Every live process that belongs to this clone by its command line or its environment: its name, and that."""
        mine = str(self.root).encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes()
                if command and (mine in command or mine in (entry / "environ").read_bytes()):
                    said = (entry / "comm").read_bytes() + command.replace(b"\0", b" ")
                    found[int(entry.name)] = said.decode(errors="replace")
            except OSError:
                continue
        return found

    def left_over(self, patience_s: float = PATIENCE_S) -> dict[int, str]:
        """The processes that are still alive when those that end with the loop have had their time."""
        deadline = time.monotonic() + patience_s
        while (found := self.processes()) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
        return found

    def figures(self) -> dict[str, Any]:
        """What report.json says of each season, without what belongs to a run: times, ids and their bytes."""
        report = json.loads((self.home / "report.json").read_text())
        return {str(season["season"]): {name: season[name] for name in _FIGURES} for season in report["seasons"]}

    def validation_losses(self) -> list[float]:
        """What each training run came to."""
        runs = sorted(self.home.glob("runs/*/trained.json"))
        return [float(json.loads(path.read_text())["validation_loss"]) for path in runs]

    def accepted(self) -> dict[str, str]:
        """The content of every accepted partition, as text, by path."""
        return {
            str(path.relative_to(self.seasons)): pd.read_parquet(path).to_csv(index=False)
            for path in sorted(self.seasons.rglob("*.parquet"))
        }

    def _spoken(self, suffix: str) -> Path:
        return self.root.with_name(self.root.name + suffix)


def _small_params(has_int8: bool) -> dict[str, Any]:
    params: dict[str, Any] = yaml.safe_load((PROJECT / "params.yaml").read_text())
    block = params["agriculture"]
    block["history"] |= {"fields_per_region": 2, "regions": {"champion": [2003, 2005]}}
    # Everything fits: what a tight budget leaves out hangs on the size of a batch, and that on measured times.
    block["loop"] |= {"devices": 2, "seasons": [2006], "regions": ["champion"], "upload_budget_bytes": 100_000}
    block["what_if"] = {"generations": 5, "generations_from_champion": 0, "population": 4, "seasons": 8, "pairs": 24}
    block["model"] |= {"hidden": [32, 32], "epochs": 3, "batch_size": 64}
    # Two held-out field-seasons and a few simulated ones say little: what is asked of the floor is wide accordingly.
    floor = {"fields": 16, "generations": 1, "population": 4, "seasons": 8, "max_error_to_mean_pct": 150.0}
    floor |= {"max_loss_to_rule_usd_ha": 100.0, "max_loss_to_thresholds_usd_ha": 100.0}
    block["gates"] |= {"holdout_seasons": [2005], "bootstrap_draws": 200, "floor": floor}
    # Which file ships must not hang on how busy this machine is.
    block["compression"] |= {
        "calibration_rows": 64,
        "max_latency_ratio": 1000.0,
        "max_p99_ratio": 1000.0,
        "decision_rows": 40,
        "closed_loop_fields": 2,
        "timed_calls": 50,
        "search": {"keep": [0.5], "epochs": 2, "rows": 2000, "autotune_trials": 1, "rounding_epochs": 1},
    }
    if not has_int8:
        block["compression"] |= {"device_classes": {"float32-only": {}}, "fleet_class": "float32-only"}
        block["compression"]["search"]["keep"] = []
    return params
