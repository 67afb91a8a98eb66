"""Bad history put before the whole loop: it stops or sets rows aside, says why, and changes nothing it accepted."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.flows.conftest import Undisturbed
from tests.flows.small_loop import Ended, SmallLoop

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("undisturbed")]  # one loop for all of them


@dataclass(frozen=True)
class History:
    """The past seasons of a loop, open to every mischief."""

    directory: Path

    def path(self, season: int, table: str = "readings") -> Path:
        return self.directory / f"season={season}" / "region=champion" / f"{table}.parquet"

    def change(self, season: int, change: Callable[[pd.DataFrame], pd.DataFrame], table: str = "readings") -> None:
        change(pd.read_parquet(self.path(season, table))).to_parquet(self.path(season, table), index=False)


@pytest.fixture
def history(undisturbed: Undisturbed, tmp_path: Path) -> Iterator[History]:
    """The finished loop's history, put back afterwards."""
    kept = tmp_path / "kept"
    shutil.copytree(undisturbed.loop.history, kept)
    yield History(undisturbed.loop.history)
    shutil.rmtree(undisturbed.loop.history)
    shutil.copytree(kept, undisturbed.loop.history)


def refused(loop: SmallLoop) -> str:
    """Run the loop, which must stop with an error of its own words; those."""
    before = {path: path.read_bytes() for path in loop.seasons.rglob("*.parquet")}
    ended = loop.run()
    assert ended.code == 1, ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
    assert ended.stderr.strip().startswith(f"fieldloop: the data in {loop.history} was refused; nothing of it")
    assert {path: path.read_bytes() for path in loop.seasons.rglob("*.parquet")} == before
    return ended.stderr


def test_a_corrupt_parquet_and_a_missing_column_stop_the_loop_by_name(
    undisturbed: Undisturbed, history: History
) -> None:
    corrupt = history.path(2003)
    corrupt.write_bytes(corrupt.read_bytes()[:1000])
    history.change(2004, lambda rows: rows.drop(columns="rain_mm"))

    told = refused(undisturbed.loop)

    assert "readings: season=2003/region=champion/readings.parquet cannot be read as Parquet" in told
    assert "season=2004/region=champion/readings.parquet has no column rain_mm; expected float mm" in told


def test_another_unit_stops_the_loop_and_the_unit_is_guessed(undisturbed: Undisturbed, history: History) -> None:
    history.change(2003, lambda rows: rows.assign(tmin_c=rows.tmin_c * 1.8 + 32, tmax_c=rows.tmax_c * 1.8 + 32))
    history.change(2004, lambda rows: rows.assign(vwc_15cm_m3_m3=rows.vwc_15cm_m3_m3 * 100))

    told = refused(undisturbed.loop)

    assert "degrees Fahrenheit instead of Celsius" in told
    assert "percent instead of fraction" in told


def test_bad_rows_are_set_aside_with_their_reason_and_the_loop_goes_on(
    undisturbed: Undisturbed, history: History
) -> None:
    history.change(2004, with_bad_rows)
    # In range, and another value than the one accepted before.
    history.change(2003, lambda rows: rows.assign(rain_mm=rows.rain_mm.where(rows.index != 5, rows.rain_mm + 1)))

    ended = undisturbed.loop.run()

    assert (ended.code, ended.stderr) == (0, "")
    reasons = reasons_in_quarantine(undisturbed.loop)
    for words in ("rain_mm", "et0_mm", "date", "record_id", "conflicts with an accepted row"):
        assert any(words in reason for reason in reasons), (words, reasons)
    assert said_in_quarantine(ended) >= 5
    assert undisturbed.loop.accepted() == undisturbed.accepted
    # Another history is another version of the data; what the devices did with it stays what it was.
    assert without_versions(undisturbed.loop.figures()) == without_versions(undisturbed.figures)


def with_bad_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """A negative rain, a value that is none, a day to come, and one row twice."""
    rows.loc[10, "rain_mm"] = -4.0
    rows.loc[11, "et0_mm"] = float("nan")
    rows.loc[12, "date"] = "2999-06-01"
    return pd.concat([rows, rows.iloc[[13]]])


def without_versions(figures: dict[str, Any]) -> dict[str, Any]:
    return {season: {**told, "data_hash": None} for season, told in figures.items()}


def reasons_in_quarantine(loop: SmallLoop) -> set[str]:
    files = (loop.quarantine / "history").glob("readings-*.parquet")
    return {words for path in files for words in pd.read_parquet(path)["expectation"]}


def said_in_quarantine(ended: Ended) -> int:
    """What the validation's line on the terminal says."""
    (line,) = (line for line in ended.stdout.splitlines() if line.startswith("  validate"))
    return int(line.split(", ")[1].split(" ")[0])
