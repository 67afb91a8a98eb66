"""A company without a sample world: its own records are imported, and retraining learns from them alone."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from fieldloop.core.paths import Paths
from fieldloop.release import ReleaseRepository
from tests.flows.small_loop import SmallLoop

pytestmark = pytest.mark.slow


def test_what_was_imported_is_learned_from_and_released_without_any_simulated_past(
    tmp_path: Path, prefect_api_url: str
) -> None:
    clone = SmallLoop.make(tmp_path / "clone", has_int8=False)
    clone.prefect_api_url = prefect_api_url
    made = clone.command("history")  # some past, which is then only files
    assert made.code == 0, made.stderr
    own = tmp_path / "own-records"
    for path in clone.history.rglob("*.parquet"):
        to = own / path.relative_to(clone.history).with_suffix(".csv")
        to.parent.mkdir(parents=True, exist_ok=True)
        pd.read_parquet(path).drop(columns="record_id").to_csv(to, index=False)
    without_sample_world(clone)

    lived = clone.run()
    assert lived.code == 1
    assert "params.yaml says `history: null`" in lived.stderr and "Traceback" not in lived.stderr
    imported = clone.command("import", str(own))
    assert imported.code == 0, imported.stderr
    assert "harvests: 6 rows accepted, 0 known, 0 quarantined" in imported.stdout
    assert "harvests: 0 rows accepted, 6 known, 0 quarantined" in clone.command("import", str(own)).stdout

    ended = clone.run(flow="retrain")
    assert (ended.code, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    assert "\n  history " not in ended.stdout and "\n  release " in ended.stdout
    assert not clone.history.exists()
    released = ReleaseRepository(Paths(clone.root, clone.home).tuf).current("agriculture")
    assert released is not None and released.version == "1"


def without_sample_world(clone: SmallLoop) -> None:
    """Delete the simulated past, and have params.yaml say that there is none."""
    shutil.rmtree(clone.history)
    params = clone.root / "params.yaml"
    blocks = yaml.safe_load(params.read_text())
    blocks["agriculture"]["history"] = None
    params.write_text(yaml.safe_dump(blocks))
