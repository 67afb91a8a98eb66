"""The notebooks run from top to bottom, as a person runs them, without a warning; they are kept without outputs."""

import json
import sys
from pathlib import Path

import pytest

from fieldedge.inference.slots import Slots
from tests.edge.patience import PATIENCE_S

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
PATHS = [pytest.param(path, id=path.stem) for path in sorted(NOTEBOOKS.glob("*.ipynb"))]


def test_there_are_two_notebooks() -> None:
    assert [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))] == ["01_first_season", "02_a_bad_release"]


@pytest.mark.parametrize("path", PATHS)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert [cell for cell in cells if cell["outputs"] or cell["execution_count"] is not None] == []


@pytest.mark.slow
def test_the_first_season_is_lived_in_a_folder_of_its_own_and_ends_with_the_reports_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, pictures = executed("01_first_season", "first-season-*", tmp_path, monkeypatch)
    (season,) = json.loads((scratch / ".fieldloop" / "report.json").read_text())["seasons"]
    assert (season["season"], season["devices"], season["records_lost"]) == (2006, 4, 0)
    assert season["records_acknowledged"] > 0
    assert pictures >= 3 + len(("profit", "yield", "water", "error", "bytes", "latency"))


@pytest.mark.slow
def test_a_bad_release_is_halted_and_left_and_the_good_one_reaches_every_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, pictures = executed("02_a_bad_release", "bad-release-*", tmp_path, monkeypatch)
    (told,) = (scratch / ".fieldloop" / "sample").rglob("2007/fleet.json")
    bad, good = json.loads(told.read_text())["rollouts"]
    assert (bad["version"], bad["phase"], good["version"], good["phase"]) == ("2.bad", "halted", "2", "finished")
    assert [(stage["cohort"], stage["failed"]) for stage in bad["stages"]] == [(2, 2)]
    pointers = [Slots(folder).pointer() for folder in told.parents[2].glob("**/devices/*") if folder.is_dir()]
    assert sorted(len(pointer.taken_back) for pointer in pointers) == [0, 0, 1, 1]
    assert {pointer.active.version for pointer in pointers if pointer.active is not None} == {"2"}
    assert pictures == 2


def executed(
    name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, int]:
    """Run a notebook from top to bottom without a warning: the folder that it worked in, and how many pictures it shows."""
    import nbclient
    import nbformat

    for variable, folder in {"TMPDIR": "scratch", "HOME": "home", "JUPYTER_RUNTIME_DIR": "runtime"}.items():
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / folder))
    # The kernel of this environment, whatever else is installed on this machine.
    monkeypatch.setenv("JUPYTER_PATH", str(Path(sys.prefix) / "share" / "jupyter"))
    for variable in ("FIELDLOOP_ROOT", "FIELDLOOP_HOME", "FIELDLOOP_EDGE_PYTHON", "PYTHONDONTWRITEBYTECODE", "MPLBACKEND"):
        monkeypatch.delenv(variable, raising=False)

    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    where = {"metadata": {"path": str(NOTEBOOKS)}}
    patience = {"timeout": int(PATIENCE_S), "startup_timeout": int(PATIENCE_S)}
    nbclient.NotebookClient(notebook, **patience, kernel_name="python3", resources=where).execute()

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"] == []
    (scratch,) = (tmp_path / "scratch").glob(place)
    return scratch, sum("image/png" in output.get("data", {}) for output in outputs)
