"""The flow `rollout-watch` on a real server: it looks, and where a person is to be asked, asks by a form and waits."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fieldedge.contract.update_report import UpdateReport
from fieldedge.workloads import known_workload
from fieldloop.core.params import RolloutParams
from fieldloop.core.process_setup import QUIET_ENVIRONMENT
from fieldloop.core.settings import Settings
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.reports import Reports
from fieldloop.release import ReleaseRepository
from fieldloop.rollout.store import RolloutStore
from fieldloop.stages.rollouts import open_rollouts
from tests.edge.patience import PATIENCE_S

PROJECT = Path(__file__).resolve().parents[2]
KEY = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
WATCH = "from flows.rollout_watch import rollout_watch; print('SAID', rollout_watch(ask_within_s={within_s}))"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("orchestrated")]


@pytest.fixture
def clone(tmp_path: Path, make_bundle: Callable[..., Path]) -> Path:
    """A clone in which version 2 has shown itself on its only device, and a person is to let it go to all."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    stages = [{"percentage": 99, "soak_d": 0}, {"percentage": 100, "soak_d": 0}]
    params["agriculture"]["rollout"] = {"stages": stages, "approval": "required"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    home = tmp_path / "home"
    (home / "bundles").mkdir(parents=True)
    for version in ("1", "2"):
        shutil.copy(make_bundle(version), home / "bundles" / f"agriculture-{version}.zip")
    contract = known_workload("agriculture").contract
    ReleaseRepository(home / "tuf").publish(home / "bundles/agriculture-1.zip", "agriculture", "1", contract.hash)
    (home / "gateway").mkdir()
    DeviceRegistry(home / "gateway" / "devices.json").register({"dev-00": KEY})
    now = datetime.now(UTC)
    said = UpdateReport("dev-00", f"{now:%Y-%m-%dT%H:%M:%SZ}", "agriculture", "2", "1", "confirmed", "", 14)
    Reports(home / "gateway" / "reports").keep(said.as_json(), "dev-00", "AAAA", now)
    plan = RolloutParams.model_validate(params["agriculture"]["rollout"])
    open_rollouts(Settings(root=tmp_path, home=home), "agriculture").start("agriculture", "2", plan, "someone")
    return tmp_path


def started(clone: Path, api_url: str, within_s: int = 300) -> "subprocess.Popen[str]":
    environment = {**os.environ, **QUIET_ENVIRONMENT, "PREFECT_API_URL": api_url, "PYTHONPATH": str(PROJECT)}
    environment |= {"FIELDLOOP_ROOT": str(clone), "FIELDLOOP_HOME": str(clone / "home")}
    command = [sys.executable, "-c", WATCH.format(within_s=within_s)]
    return subprocess.Popen(
        command, cwd=clone, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def paused_run(api: httpx.Client) -> dict[str, Any]:
    """The run that waits for a person, once one does."""
    ends_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends_s:
        found = api.post("/flow_runs/filter", json={"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}}).json()
        if found:
            run: dict[str, Any] = found[0]
            return run
        time.sleep(0.5)
    raise AssertionError("no run waits for a person")


def ended(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output[-3_000:]
    return output


def test_a_person_is_asked_by_a_form_with_the_numbers_and_what_they_answer_is_done(
    clone: Path, prefect_api_url: str
) -> None:
    watching = started(clone, prefect_api_url)
    with httpx.Client(base_url=prefect_api_url, timeout=PATIENCE_S) as api:
        run = paused_run(api)
        keyset = run["state"]["state_details"]["run_input_keyset"]
        asked = api.get(f"/flow_runs/{run['id']}/input/{keyset['schema']}").text
        assert all(name in asked for name in ("approve", "hold", "revert", "who decides"))
        assert "1 confirmed" in api.get(f"/flow_runs/{run['id']}/input/{keyset['description']}").text
        answer = {"answer": "approve", "by": "someone", "why": "looks well"}
        api.post(f"/flow_runs/{run['id']}/resume", json={"run_input": answer}).raise_for_status()
    assert "SAID approve by someone: looks well; the rollout is running" in ended(watching)
    state = RolloutStore(clone / "home" / "rollouts").current("agriculture")
    assert state is not None
    assert (state.percentage, state.by, state.why) == (100.0, "someone", "looks well")


def test_a_form_that_nobody_answers_leaves_the_rollout_as_it_is(clone: Path, prefect_api_url: str) -> None:
    assert "SAID nobody answered within 5 s" in ended(started(clone, prefect_api_url, within_s=5))
    state = RolloutStore(clone / "home" / "rollouts").current("agriculture")
    assert state is not None
    assert (state.phase, state.percentage) == ("awaiting", 99.0)
