"""History that is judged again: what was taken back from it stays in quarantine."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from fieldloop.core.settings import Settings, load_params
from fieldloop.stages.access import new_loop, open_accepted
from fieldloop.stages.refs import HistoryRef
from fieldloop.stages.validate import WITHDRAWN, stands, validate_history
from tests.data.empty_clone import empty_clone
from tests.sample_season import SEASON, field_row, frames, write_partition

PROJECT = Path(__file__).parents[2]


def test_what_was_withdrawn_stays_in_quarantine_when_code_or_rules_judge_the_history_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = empty_clone(tmp_path / "clone", monkeypatch)
    shutil.copyfile(PROJECT / "params.yaml", root / "params.yaml")
    loop = new_loop(Settings(root=root), "agriculture", load_params(root, "agriculture"))
    fields = [field_row(number, device_id=f"dev-0{number}") for number in (0, 1)]
    write_partition(loop.workspace.history, frames(*fields, days=3))
    history = HistoryRef(str(loop.workspace.history), "as it is", 2)
    first = validate_history(loop, history)
    store = open_accepted(loop)
    count = store.withdraw(SEASON, "champion-00", "another device is registered")
    again = validate_history(loop, history)
    for table in ("fields", "readings", "operations", "harvests"):
        assert set(store.read(table)["field_id"]) == {"champion-01"}
    assert (first.quarantined, again.quarantined) == (0, count)
    kept = pd.concat(pd.read_parquet(path) for path in (loop.workspace.quarantine / "history").glob("*.parquet"))
    assert (len(kept), set(kept["expectation"]), set(kept["field_id"])) == (count, {WITHDRAWN}, {"champion-00"})
    assert stands(loop, again)
