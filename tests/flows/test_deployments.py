"""`prefect.yaml` on a real server: deployed, scheduled, and run to the end by a process worker in a clone of its own.

A resolve that is green says nothing about this: with the wrong versions the second deployment is refused, or the
scheduler is silent.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from fieldloop.ui.ports import LOOPBACK, PortWish, reserved_ports
from fieldloop.ui.server_process import ServerProcess, ServerSpec
from tests.edge.patience import PATIENCE_S
from tests.edge.ports import free_port
from tests.flows.connections import connections_beyond
from tests.flows.small_loop import PROJECT, SmallLoop

LOG_TAIL_CHARACTERS = 5_000
_LOOK_EVERY_S = 0.2

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("orchestrated")]  # one server for all of them


class Orchestrated:
    """A clone, a Prefect server of its own, and what a person does with both."""

    def __init__(self, clone: SmallLoop, server: ServerProcess, environment: dict[str, str]) -> None:
        self.clone = clone
        self.server = server
        self.environment = environment
        self.api = httpx.Client(base_url=f"{server.spec.url}/api", timeout=PATIENCE_S)

    def prefect(self, *arguments: str) -> str:
        """Type a `prefect` command in the clone."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=self.clone.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def found(self, what: str, **where: Any) -> list[dict[str, Any]]:
        """Deployments or flow runs that the server knows."""
        answer = self._asked(f"/{what}/filter", where)
        rows: list[dict[str, Any]] = answer.json()
        return rows

    def deployment(self, flow: str, name: str = "agriculture") -> dict[str, Any]:
        """The deployment of a flow."""
        answer = self.api.get(f"/deployments/name/{flow}/{name}")
        answer.raise_for_status()
        row: dict[str, Any] = answer.json()
        return row

    def run_deployment(self, flow: str) -> dict[str, Any]:
        """Ask for a run, and wait until a worker has brought it to an end."""
        asked = self._asked(f"/deployments/{self.deployment(flow)['id']}/create_flow_run")
        place = f"/flow_runs/{asked.json()['id']}"
        ends = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        until(lambda: self.api.get(place).json()["state_type"] in ends, f"the run of {flow} ends")
        run: dict[str, Any] = self.api.get(place).json()
        return run

    def _asked(self, place: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """Ask until the server is not busy: it says 503 while its SQLite file is locked, and its own client waits."""
        answers: list[httpx.Response] = []

        def is_taken() -> bool:
            answers.append(self.api.post(place, json=body or {}))
            return answers[-1].status_code != 503

        until(is_taken, f"the server takes a request to {place}")
        answers[-1].raise_for_status()
        return answers[-1]

    def tasks_of(self, run: dict[str, Any]) -> dict[str, str]:
        """How each task of a run ended: Completed, or Cached where it did not have to run. Names lose their suffix."""
        rows = self.found("task_runs", task_runs={"flow_run_id": {"any_": [run["id"]]}})
        return {row["name"].rpartition("-")[0]: row["state_name"] for row in rows}

    @contextmanager
    def worker(self) -> Iterator[Path]:
        """A worker for the pool, as prefect.yaml says to start one; its log."""
        log = self.clone.root / "worker.log"  # it runs where its log is, and reads the clone's prefect.toml there
        command = (sys.executable, "-m", "prefect", "worker", "start", "--pool", "fieldloop", "--limit", "1")
        process = ServerProcess(ServerSpec("worker", command, 0, "/", log, self.environment))
        try:
            yield log
        finally:
            process.terminate()
            process.wait_ended(PATIENCE_S)


def until(is_so: Callable[[], bool], what: str) -> None:
    """Look until something is so; a test that waits for ever fails."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {what}"
        time.sleep(_LOOK_EVERY_S)


def seasons_of(clone: SmallLoop) -> list[dict[str, Any]]:
    """The seasons of the clone's report."""
    seasons: list[dict[str, Any]] = json.loads((clone.home / "report.json").read_text())["seasons"]
    return seasons


@pytest.fixture(scope="module")
def orchestrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orchestrated]:
    """A clone whose deployments stand on a server; both are gone afterwards."""
    folder = tmp_path_factory.mktemp("orchestrated")
    clone = SmallLoop.make(folder / "clone", has_int8=False)
    for name in ("prefect.yaml", "prefect.toml"):
        shutil.copyfile(PROJECT / name, clone.root / name)
    (clone.root / ".git" / "info" / "exclude").write_text("*.log\n")
    for command in (
        ("config", "user.name", "The deployment"),
        ("config", "user.email", "deployment@example.org"),
        ("add", "--all"),
        ("commit", "--quiet", "--message", "Its schedule"),
    ):
        subprocess.run(["git", *command], cwd=clone.root, check=True)
    with reserved_ports([PortWish("the test's server", 0, free_port())]) as (port,):
        environment = {
            **clone.environment(),
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": f"http://{LOOPBACK}:{port}/api",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        command = (sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(port))
        spec = ServerSpec("Prefect", command, port, "/api/health", clone.root / "server.log", environment)
        server = ServerProcess(spec)
        try:
            until(server.is_up, "Prefect's server answers")
            made = Orchestrated(clone, server, environment)
            made.prefect("work-pool", "create", "fieldloop", "--type", "process")
            made.prefect("deploy", "--all")
            with made.api:
                yield made
        finally:
            server.terminate()
            server.wait_ended()
    assert clone.left_over() == {}


def test_the_flows_are_deployed_by_their_modules_with_the_parameters_of_the_form(orchestrated: Orchestrated) -> None:
    deployments = {row["entrypoint"]: row for row in orchestrated.found("deployments")}
    assert set(deployments) == {
        "flows.season.season",
        "flows.retrain.retrain",
        "flows.rollout_watch.rollout_watch",
        "flows.refresh_metadata.refresh_metadata",
    }
    form = deployments["flows.season.season"]["parameter_openapi_schema"]["properties"]
    assert set(form) == {"workload", "devices", "seasons"}
    assert all(field["description"] for field in form.values())
    assert all(row["global_concurrency_limit"]["limit"] == 1 for row in deployments.values())


def test_retraining_comes_on_mondays_rollouts_are_watched_releases_signed_anew_and_the_season_waits_to_be_asked(
    orchestrated: Orchestrated,
) -> None:
    retrain, season = orchestrated.deployment("retrain"), orchestrated.deployment("season")
    watch, refresh = orchestrated.deployment("rollout-watch"), orchestrated.deployment("refresh-metadata", "releases")

    def scheduled() -> list[dict[str, Any]]:
        return orchestrated.found("flow_runs", flow_runs={"state": {"type": {"any_": ["SCHEDULED"]}}})

    timed = {retrain["id"], watch["id"], refresh["id"]}
    until(lambda: {run["deployment_id"] for run in scheduled()} >= timed, "the scheduler makes runs of all three")
    runs = scheduled()
    assert {run["deployment_id"] for run in runs} == timed

    def times(deployment: dict[str, Any]) -> list[datetime]:
        own = [run for run in runs if run["deployment_id"] == deployment["id"]]
        return [datetime.fromisoformat(run["expected_start_time"]) for run in own]

    assert {(time.weekday(), time.hour) for time in times(retrain)} == {(0, 3)}
    assert {time.minute for time in times(watch)} == {15}
    assert [schedule["active"] for schedule in season["schedules"]] == [False]


def test_a_worker_lives_the_season_once_repeats_only_what_is_gone_and_then_retrains(orchestrated: Orchestrated) -> None:
    clone = orchestrated.clone
    with orchestrated.worker() as log:
        refused = orchestrated.run_deployment("season")
        assert refused["state_type"] == "FAILED", "in a deployment a person makes the keys first"
        assert "fieldloop keys init --offline" in log.read_text()
        assert not (clone.home / "tuf").exists()
        clone.make_keys()

        waiting = orchestrated.run_deployment("season")
        assert waiting["state_type"] == "FAILED", "in a deployment a person promotes the first model"
        assert "waiting for a person" in log.read_text()
        assert "Cached" not in orchestrated.tasks_of(waiting).values()
        promoted = clone.command("promote", "agriculture", "1", "--why", "it was tried on this test's two fields")
        assert promoted.code == 0, promoted.stderr

        first = orchestrated.run_deployment("season")
        assert first["state_type"] == "COMPLETED", log.read_text()[-LOG_TAIL_CHARACTERS:]
        (turn,) = seasons_of(clone)
        assert (turn["season"], turn["devices"], turn["records_lost"]) == (2006, 2, 0)
        tags = subprocess.run(["git", "tag"], cwd=clone.root, capture_output=True, text=True, check=True).stdout
        assert tags.split() == ["season-2005", "season-2006"]
        keys = {row["key"] for row in orchestrated.found("artifacts")}
        assert keys >= {"validation", "data-docs", "evaluation", "compression", "sync-2006", "season-2006", "report"}

        bundles = sorted((clone.home / "bundles").glob("*.zip"))
        assert len(bundles) > 1, "a file for each class of devices"
        for bundle in bundles:
            bundle.unlink()
        second = orchestrated.run_deployment("season")
        assert second["state_type"] == "COMPLETED", log.read_text()[-LOG_TAIL_CHARACTERS:]
        repeated = {name for name, state in orchestrated.tasks_of(second).items() if state != "Cached"}
        assert repeated == {"history", "release", "report"}  # DVC is the history's cache; the report is always written
        assert sorted((clone.home / "bundles").glob("*.zip")) == bundles
        assert seasons_of(clone) == [turn]

        retrain = orchestrated.run_deployment("retrain")
        assert retrain["state_type"] == "COMPLETED", log.read_text()[-LOG_TAIL_CHARACTERS:]
        assert orchestrated.tasks_of(retrain)["validate"] == "Cached"
        assert orchestrated.tasks_of(retrain)["train"] == "Completed"
    # Of the worker and its runs, by prefect.toml and prefect.yaml alone. Prefect's own server asks GitHub for a list of
    # worker types when a pool is made; that is no run's, and without an answer it takes its own copy.
    spoken = [line for line in connections_beyond(clone.watch) if " prefect server start " not in line]
    assert spoken == []
