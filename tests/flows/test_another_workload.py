"""The flow turns the loop of a workload that the core has never heard of, as it is installed beside it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.data.empty_clone import empty_clone
from tests.workloads.conftest import installed  # noqa: F401  (a fixture)
from tests.workloads.test_toy_loop import DVC, MONTH, PARAMS

PROGRAM = "from flows.season import season; season('bearing')"


@pytest.mark.slow
def test_the_season_flow_turns_the_toys_loop_and_writes_its_report(
    tmp_path: Path,
    installed: Path,  # noqa: F811
    prefect_api_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = empty_clone(tmp_path / "clone", monkeypatch)
    (root / "params.yaml").write_text(yaml.safe_dump({"bearing": PARAMS}))
    (root / "dvc.yaml").write_text(DVC)
    project = Path(__file__).parents[2]
    own = {"FIELDLOOP_ROOT": str(root), "FIELDLOOP_EDGE_PYTHON": str(installed), "PREFECT_API_URL": prefect_api_url}
    path = {"PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], str(project)])}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=root, env={**os.environ, **own, **path}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"\n  month      {MONTH} lived offline by 1 devices" in ran.stdout
    assert (root / ".fieldloop" / "data_docs" / f"month-{MONTH}" / "index.html").is_file()
    report = json.loads((root / ".fieldloop" / "report.json").read_text())
    (turn,) = report["seasons"]
    assert (turn["season"], turn["model_version"], turn["records_lost"]) == (MONTH, "1", 0)
    assert turn["gate"]["reason"].startswith("promoted")
    assert turn["earned_usd_ours"] > 0 and turn["earned_usd_rule"] > 0
    assert "cost error" in (root / ".fieldloop" / "report.html").read_text()
