"""The notebooks run from top to bottom, as a person runs them, without a warning; they are kept without outputs."""

import json
import sys
from pathlib import Path

import pytest
from tests.edge.patience import PATIENCE_S

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
PATHS = [pytest.param(path, id=path.stem) for path in sorted(NOTEBOOKS.glob("*.ipynb"))]


def test_there_is_a_first_notebook() -> None:
    assert (NOTEBOOKS / "01_first_season.ipynb").is_file()


@pytest.mark.parametrize("path", PATHS)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert [cell for cell in cells if cell["outputs"] or cell["execution_count"] is not None] == []


@pytest.mark.slow
def test_the_first_season_is_lived_in_a_folder_of_its_own_and_ends_with_the_reports_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbclient
    import nbformat

    for name, folder in {"TMPDIR": "scratch", "HOME": "home", "JUPYTER_RUNTIME_DIR": "runtime"}.items():
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(name, str(tmp_path / folder))
    # The kernel of this environment, whatever else is installed on this machine.
    monkeypatch.setenv("JUPYTER_PATH", str(Path(sys.prefix) / "share" / "jupyter"))
    for name in ("FIELDLOOP_ROOT", "FIELDLOOP_HOME", "FIELDLOOP_EDGE_PYTHON", "PYTHONDONTWRITEBYTECODE", "MPLBACKEND"):
        monkeypatch.delenv(name, raising=False)

    notebook = nbformat.read(NOTEBOOKS / "01_first_season.ipynb", as_version=4)
    where = {"metadata": {"path": str(NOTEBOOKS)}}
    patience = {"timeout": int(PATIENCE_S), "startup_timeout": int(PATIENCE_S)}
    nbclient.NotebookClient(notebook, **patience, kernel_name="python3", resources=where).execute()

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"] == []
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    (report,) = (tmp_path / "scratch").glob("first-season-*/.fieldloop/report.json")
    (season,) = json.loads(report.read_text())["seasons"]
    assert (season["season"], season["devices"], season["records_lost"]) == (2006, 4, 0)
    assert season["records_acknowledged"] > 0
    assert len(pictures) >= 3 + len(("profit", "yield", "water", "error", "bytes", "latency"))
