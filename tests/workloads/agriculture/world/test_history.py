import hashlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fieldedge.system.errors import DataError
from fieldloop.workloads.agriculture.world import seasons
from fieldloop.workloads.agriculture.world.history import MARKER, TABLES, simulate_history

SEASONS = {"champion": [2001], "cordoba": [2001]}


def _hashes(directory: Path) -> dict[str, str]:
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("history")
    simulate_history(SEASONS, 2, 7, out_dir, workers=1)
    return out_dir


def test_every_partition_holds_the_contract_s_tables(history: Path) -> None:
    for region in SEASONS:
        for table in TABLES:
            read = pq.read_table(
                history / "season=2001" / f"region={region}" / f"{table.name}.parquet", partitioning=None
            )
            assert tuple(read.column_names) == table.column_names
            rows = read.to_pylist()
            assert rows
            assert all(table.check(row, "test") == row for row in rows)
            assert [row["record_id"] for row in rows] == sorted({row["record_id"] for row in rows})


@pytest.mark.slow
def test_the_bytes_are_the_same_on_any_number_of_workers(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seasons, "SEASONS_A_WORKER", 1)  # processes are started for four of them
    progress: list[tuple[int, int]] = []
    simulate_history(SEASONS, 2, 7, tmp_path, 2, lambda done, total: progress.append((done, total)))
    assert _hashes(tmp_path) == _hashes(history)
    assert progress == [(2, 4), (4, 4)]


def test_a_second_run_simulates_nothing_and_a_killed_one_only_what_is_missing(history: Path) -> None:
    before = _hashes(history)
    assert simulate_history(SEASONS, 2, 7, history).simulated == 0
    killed = history / "season=2001" / "region=cordoba"
    (killed / MARKER).unlink()
    (killed / "readings.parquet").write_bytes(b"half a fi")
    (killed / ".harvests.parquet.1a2b.tmp").write_bytes(b"")
    progress: list[tuple[int, int]] = []
    again = simulate_history(SEASONS, 2, 7, history, 1, lambda done, total: progress.append((done, total)))
    assert (again.simulated, again.field_seasons) == (2, 4)
    assert progress == [(2, 4), (4, 4)]
    assert _hashes(history) == before


def test_what_was_made_otherwise_is_made_again_and_what_is_not_asked_for_goes(tmp_path: Path) -> None:
    simulate_history({"champion": [2001, 2002]}, 1, 7, tmp_path, 1)
    first = _hashes(tmp_path)
    assert simulate_history({"champion": [2002]}, 1, 8, tmp_path, 1).simulated == 1
    second = _hashes(tmp_path)
    assert {name.split("/")[0] for name in second} == {"season=2002"}
    assert all(first[name] != second[name] for name in second)


def test_an_impossible_season_stops_it_before_anything_is_simulated(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="champion has no weather for season 2050"):
        simulate_history({"champion": [2001, 2050]}, 1, 7, tmp_path, 1)
    assert not list(tmp_path.rglob("*.parquet"))
