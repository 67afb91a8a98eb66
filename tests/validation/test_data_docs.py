"""Data Docs are written wherever the clone lies."""

from datetime import date
from pathlib import Path

import pytest

from fieldloop.validation import check_frames
from tests.sample_season import CONTRACT, field_row, frames


@pytest.mark.parametrize("name", ["plain", "a b", "$USER is ${HOME}", "50%20#1?", "ü ə 玉米", 'it\'s (1) & [2]; "so"'])
def test_data_docs_are_written_below_a_folder_of_any_name(name: str, tmp_path: Path) -> None:
    docs = tmp_path / name / "docs"
    rows = {table: of_table.assign(origin="history") for table, of_table in frames(field_row(0), days=3).items()}
    checked = check_frames(rows, CONTRACT, date(2026, 1, 1), docs_dir=docs)
    assert checked.docs_index == docs / "index.html"
    assert [path.name for path in (tmp_path / name).iterdir()] == ["docs"]
    assert (docs / "validations" / "readings.html").is_file()
