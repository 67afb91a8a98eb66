"""The whole device on an emulated aarch64: it installs, decides and sends as this machine does, to the last number."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.edge.patience import PATIENCE_S
from tests.edge.sample import (
    AGRICULTURE,
    DEVICE_ID,
    GatewaySimulator,
    Repository,
    bundle_files,
    onnx_model,
    season_messages,
    zipped,
)

EMULATED = Path(__file__).parents[2] / ".venv-aarch64" / "python"
DAYS = 100

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EMULATED.is_file(), reason="sh tools/aarch64.sh was not run here"),
]


def lived(python: str, root: Path, repository: Repository, gateway: GatewaySimulator) -> list[Any]:
    """What a device says from its first command to its last: init, update, a season, sync."""

    def call(name: str, *options: str, given: str = "") -> list[Any]:
        command = [python, "-m", "fieldedge", name, "--dir", str(root), *options]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    (made,) = call(
        "init", "--device-id", DEVICE_ID, "--workload", "agriculture", "--root", str(repository.trusted_root)
    )
    gateway.public_keys[DEVICE_ID] = made["public_key"]
    updated = call("update", "--gateway", gateway.url)
    answers = call("run", given="".join(json.dumps(message) + "\n" for message in season_messages(DAYS)))
    synced = call("sync", "--gateway", gateway.url)
    told = (*updated, *answers, *synced)
    differs = ("latency", "bytes")  # times, and the digits that they take
    return [{key: value for key, value in said.items() if not key.startswith(differs)} for said in told]


def test_it_lives_a_season_as_this_machine_does(
    tmp_path: Path, repository: Repository, gateway: GatewaySimulator
) -> None:
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract), "7")))
    here = lived(sys.executable, tmp_path / "here", repository, gateway)
    there = lived(str(EMULATED), tmp_path / "there", repository, gateway)
    assert sum(answer.get("kind") == "recommendation" for answer in here) == DAYS
    assert there == here
