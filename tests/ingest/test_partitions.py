"""Partitions on disk, read, judged and accepted: every bad input is caught by name, and says where it is."""

import math
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from fieldedge.system.errors import DataError
from fieldloop.data import AcceptedStore
from fieldloop.ingest.intake import Taken, take_in
from fieldloop.validation import Ownership
from fieldloop.validation.tables import read_tables
from tests.sample_season import CONTRACT, TODAY, Tables, field_row, frames, write_partition

OUTSIDE = "date is not before planting_date of the row's season and field_id, and at most 400 days after it"


def take(source: Path, today: date = TODAY, docs_dir: Path | None = None) -> Taken:
    """The source into the accepted data and the quarantine beside it."""
    return take_in(
        read_tables(source, CONTRACT),
        accepted(source),
        Ownership(),
        today,
        source=source,
        came_with=source.name,
        docs_dir=docs_dir,
        is_whole=True,
    )


def accepted(source: Path) -> AcceptedStore:
    return AcceptedStore(source.parent / "seasons", CONTRACT)


@dataclass(frozen=True)
class Run:
    """One intake of a source with one bad row of each kind, and what came of it."""

    source: Path
    quarantine: Path
    report: Taken

    def accepted(self, table: str) -> pd.DataFrame:
        return accepted(self.source).read(table)

    def reasons(self, table: str) -> dict[str, str]:
        """The reason by record_id of every quarantined row of a table."""
        rows = pd.concat(pd.read_parquet(path) for path in self.report.quarantine_files if path.name.startswith(table))
        return dict(zip(rows["record_id"], rows["expectation"], strict=True))

    def accepted_ids(self, table: str) -> list[str]:
        return list(self.accepted(table)["record_id"])


def reading_id(day: str, field: str = "champion-00") -> str:
    return f"2006/{field}/readings/{day}"


def spoil(tables: Tables) -> None:
    readings = tables["readings"].set_index("record_id", drop=False)
    readings.loc[reading_id("2006-05-02"), "rain_mm"] = -1.0
    readings.loc[reading_id("2006-05-03"), "et0_mm"] = math.nan
    readings.loc[reading_id("2006-05-04"), "tmax_c"] = -20.0
    readings.loc[reading_id("2006-05-05"), ["date", "record_id"]] = ["2006-5-5", reading_id("2006-5-5")]
    readings.loc[reading_id("2006-05-06"), ["date", "record_id"]] = ["2031-05-06", reading_id("2031-05-06")]
    readings.loc[reading_id("2006-05-07"), "tmin_c"] = -math.inf
    readings.loc[reading_id("2006-05-08"), "date"] = "2006-05-09"
    readings.loc[reading_id("2006-05-13"), ["date", "record_id"]] = ["2005-05-13", reading_id("2005-05-13")]
    same = readings.loc[[reading_id("2006-05-10")]]
    other = readings.loc[[reading_id("2006-05-11")]].assign(rain_mm=7.0)
    orphan = readings.loc[[reading_id("2006-05-12")]].assign(
        field_id="champion-77", record_id=reading_id("2006-05-12", "champion-77")
    )
    tables["readings"] = pd.concat([readings, same, other, orphan], ignore_index=True)
    tables["operations"].loc[0, "source"] = "guess"
    tables["harvests"].loc[0, "yield_t_ha"] = 45.0
    upside_down = field_row(8) | {"wilting_point_m3_m3": 0.4}
    unsafe = field_row(9) | {"region": "../elsewhere"}
    tables["fields"] = pd.concat([tables["fields"], pd.DataFrame([upside_down, unsafe])], ignore_index=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = tmp_path_factory.mktemp("run")
    tables = frames(field_row(0), field_row(1), field_row(2))
    spoil(tables)
    source = directory / "history"
    write_partition(source, tables)
    report = take(source, docs_dir=directory / "docs")
    return Run(source, directory / "quarantine", report)


@pytest.mark.parametrize(
    ("record_id", "reason"),
    [
        (reading_id("2006-05-02"), "rain_mm is between 0 and 450 mm/day"),
        (reading_id("2006-05-03"), "et0_mm is present"),
        (reading_id("2006-05-04"), "tmax_c is not below tmin_c"),
        (reading_id("2006-5-5"), "date is a calendar date like 2006-05-01"),
        (reading_id("2006-05-07"), "tmin_c is between -45 and 40 degC"),
        (reading_id("2006-05-08"), "record_id says the row's season, field, table and date"),
        (reading_id("2006-05-12", "champion-77"), "the row's field has an accepted row in fields in the same region"),
        (reading_id("2005-05-13"), OUTSIDE),
    ],
)
def test_a_bad_reading_is_quarantined_with_the_expectation_that_it_broke(run: Run, record_id: str, reason: str) -> None:
    assert run.reasons("readings")[record_id] == reason
    assert record_id not in run.accepted_ids("readings")


def test_a_date_in_the_future_is_caught_by_name(run: Run) -> None:
    assert "date is not in the future" in run.reasons("readings")[reading_id("2031-05-06")]


def test_an_identical_duplicate_is_quarantined_and_one_of_the_pair_kept(run: Run) -> None:
    assert run.reasons("readings")[reading_id("2006-05-10")] == "record_id is unique"
    assert run.accepted_ids("readings").count(reading_id("2006-05-10")) == 1


def test_of_duplicates_that_contradict_each_other_none_is_accepted(run: Run) -> None:
    assert reading_id("2006-05-11") not in run.accepted_ids("readings")
    assert run.report.tables["readings"].broken["record_id is unique"] == 3


def test_other_tables_are_judged_by_their_own_columns(run: Run) -> None:
    assert list(run.reasons("operations").values()) == ["source is one of practice, recommendation, override"]
    assert list(run.reasons("harvests").values()) == ["yield_t_ha is between 0 and 30 t/ha dry grain"]
    reasons = run.reasons("fields")
    assert "field_capacity_m3_m3 is above wilting_point_m3_m3" in reasons["2006/champion-08/fields"]
    assert "region is a plain name" in reasons["2006/champion-09/fields"]


def test_every_row_is_either_accepted_or_quarantined_and_unchanged(run: Run) -> None:
    source = pd.read_parquet(run.source / "season=2006/region=champion/readings.parquet")
    table = run.report.tables["readings"]
    assert table.rows == len(source) == table.accepted + table.quarantined
    rejected = pd.concat(pd.read_parquet(p) for p in run.report.quarantine_files if "readings" in p.name)
    columns = list(CONTRACT.table("readings").column_names)
    together = pd.concat([run.accepted("readings")[columns], rejected[columns]])
    order = ["record_id", "rain_mm"]
    pd.testing.assert_frame_equal(
        together.sort_values(order).reset_index(drop=True),
        source[columns].sort_values(order).reset_index(drop=True),
        check_dtype=False,
    )


def test_a_quarantined_row_says_which_file_it_came_from(run: Run) -> None:
    for path in run.report.quarantine_files:
        expected = f"season=2006/region=champion/{path.name.split('-')[0]}.parquet"
        assert set(pd.read_parquet(path)["origin"]) == {expected}


@pytest.mark.slow
def test_running_twice_adds_nothing_to_quarantine(run: Run) -> None:
    before = {path: path.read_bytes() for path in run.quarantine.rglob("*.parquet")}
    again = take(run.source, TODAY.replace(year=2008))
    assert {path: path.read_bytes() for path in run.quarantine.rglob("*.parquet")} == before
    assert again.quarantine_files == run.report.quarantine_files


def test_data_docs_load_nothing_from_the_net_and_their_links_lead_somewhere(run: Run) -> None:
    assert run.report.docs_index is not None
    pages = list(run.report.docs_index.parent.rglob("*.html"))
    assert len(pages) == 1 + 2 * len(run.report.tables)
    for page in pages:
        text = page.read_text()
        assert not re.search(r"<script|<link|(?:src|href|action)\s*=\s*[\"']?\s*(?:https?:)?//|@import", text)
        for link in re.findall(r'href="([^"#]+)', text):
            assert (page.parent / link).is_file(), f"{page.name} links to {link}"


def test_data_docs_say_expectations_and_what_was_broken_in_plain_words(run: Run) -> None:
    assert run.report.docs_index is not None
    docs = run.report.docs_index.parent
    for page in (docs / "index.html", docs / "expectations" / "readings.html"):
        assert "rain_mm is between 0 and 450 mm/day" in page.read_text()


def refusal(source: Path) -> str:
    """What the error says; a refused source leaves no quarantine."""
    quarantine = source.parent / "quarantine"
    with pytest.raises(DataError) as caught:
        take(source)
    assert not quarantine.exists()
    return str(caught.value)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_partition(tmp_path / "history", frames(*(field_row(number) for number in range(6))))
    return tmp_path / "history"


def readings_path(source: Path) -> Path:
    return source / "season=2006" / "region=champion" / "readings.parquet"


@pytest.mark.parametrize("kept_bytes", [0, 100, -200])
def test_a_corrupt_parquet_is_refused_by_name(source: Path, kept_bytes: int) -> None:
    path = readings_path(source)
    path.write_bytes(path.read_bytes()[:kept_bytes])
    said = refusal(source)
    assert "season=2006/region=champion/readings.parquet cannot be read as Parquet" in said
    assert "nothing of it was accepted" in said


def test_a_flipped_page_inside_a_parquet_is_refused_by_name(source: Path) -> None:
    path = readings_path(source)
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    assert "readings.parquet cannot be read as Parquet" in refusal(source)


def test_a_missing_column_is_refused_by_name(source: Path) -> None:
    path = readings_path(source)
    pd.read_parquet(path).drop(columns="rain_mm").to_parquet(path)
    said = refusal(source)
    assert "readings: season=2006/region=champion/readings.parquet has no column rain_mm" in said


def test_a_column_of_another_type_is_refused_by_name(source: Path) -> None:
    path = readings_path(source)
    pd.read_parquet(path).astype({"tmax_c": "str"}).to_parquet(path)
    assert "readings.parquet has tmax_c as" in (said := refusal(source))
    assert "expected float degC" in said


def test_a_missing_file_an_empty_table_and_an_empty_folder_are_refused_by_name(source: Path) -> None:
    path = readings_path(source)
    empty = pd.read_parquet(path).iloc[:0]
    path.unlink()
    assert "readings.parquet is missing" in refusal(source)
    empty.to_parquet(path)
    assert "readings: the table is empty" in refusal(source)
    assert "no partitions" in refusal(source.parent / "nothing-here")


def test_all_problems_of_a_source_are_said_at_once(source: Path) -> None:
    readings_path(source).write_bytes(b"")
    path = readings_path(source).with_name("harvests.parquet")
    pd.read_parquet(path).drop(columns="yield_t_ha").to_parquet(path)
    said = refusal(source)
    assert "readings.parquet" in said
    assert "harvests.parquet" in said


def test_a_file_in_fahrenheit_or_percent_is_refused_and_says_what_it_looks_like(source: Path) -> None:
    path = readings_path(source)
    readings = pd.read_parquet(path)
    readings[["tmin_c", "tmax_c"]] = readings[["tmin_c", "tmax_c"]] * 1.8 + 32
    readings["vwc_15cm_m3_m3"] *= 100
    readings.to_parquet(path)
    said = refusal(source)
    assert "tmin_c" in said
    assert "degrees Fahrenheit instead of Celsius" in said
    assert "'vwc_15cm_m3_m3 is between 0 and 0.75 m3/m3'; found 21 to 21" in said
    assert "percent instead of fraction" in said


@pytest.mark.slow
def test_one_field_in_fahrenheit_is_quarantined_whole_and_the_others_are_accepted(source: Path) -> None:
    path = readings_path(source)
    readings = pd.read_parquet(path)
    mistaken = readings["field_id"] == "champion-03"
    readings.loc[mistaken, ["tmin_c", "tmax_c"]] = readings.loc[mistaken, ["tmin_c", "tmax_c"]] * 1.8 + 32
    readings.to_parquet(path)
    report = take(source)
    assert set(accepted(source).read("readings")["field_id"]) == set(readings["field_id"]) - {"champion-03"}
    assert report.tables["readings"].quarantined == mistaken.sum()
    assert any("looks like degrees Fahrenheit" in words for words in report.tables["readings"].broken)
