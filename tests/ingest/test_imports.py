"""A company's own records: read as the contract says, judged like a device's, accepted once, and never a device's."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldedge.contract import Record
from fieldedge.system.errors import DataError
from fieldloop.data import AcceptedStore
from fieldloop.data.accepted import CONFLICT
from fieldloop.data.withdrawn import withdrawals
from fieldloop.ingest.imports import ImportReport, import_folder
from fieldloop.validation import Ownership
from tests.sample_season import CONTRACT, TODAY, field_row, recommendation_row, season_rows

Rows = dict[str, list[Record]]
DAYS = 20


class Company:
    """A folder of files, and the accepted data that they go into."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "own-records"
        self.folder.mkdir()
        self.store = AcceptedStore(root / "seasons", CONTRACT)
        self.devices: list[str] = []

    def write(self, rows: Rows, *without: str, **changed: str) -> None:
        for name, of_table in rows.items():
            text = pd.DataFrame(of_table).drop(columns=list(without), errors="ignore").to_csv(index=False)
            (self.folder / f"{name}.csv").write_text(changed.get(name, text))

    def change(self, table: str, old: str, new: str) -> None:
        path = self.folder / f"{table}.csv"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def take(self, registered: dict[str, str] | None = None) -> ImportReport:
        ownership = Ownership.of(registered or {}, self.store.read("fields"), self.devices)
        return import_folder(self.folder, self.store, ownership, TODAY)

    def accepted(self) -> dict[str, int]:
        return {table.name: len(self.store.read(table.name)) for table in CONTRACT.tables}

    def quarantined(self) -> dict[str, str]:
        files = sorted(self.store.quarantine_dir.rglob("*.parquet"))
        rows = pd.concat(pd.read_parquet(path) for path in files)
        return dict(zip(rows["record_id"], rows["expectation"], strict=True))


@pytest.fixture
def company(tmp_path: Path) -> Company:
    return Company(tmp_path)


@pytest.fixture
def rows() -> Rows:
    return season_rows(field_row(3), days=DAYS)


def test_files_without_identities_are_accepted_under_the_contracts_and_once(company: Company, rows: Rows) -> None:
    company.write(rows, "record_id", "device_id", "ndre")
    report = company.take()
    assert {name: (table.accepted, table.quarantined) for name, table in report.tables.items()} == {
        "fields": (1, 0),
        "readings": (DAYS, 0),
        "operations": (3, 0),
        "harvests": (1, 0),
    }
    assert set(company.store.read("readings")["record_id"]) == {row["record_id"] for row in rows["readings"]}
    found = company.store.read("readings").set_index("record_id")["tmin_c"].to_dict()
    assert found == {row["record_id"]: row["tmin_c"] for row in rows["readings"]}
    again = company.take()
    assert {(table.accepted, table.quarantined) for table in again.tables.values()} == {(0, 0)}
    assert sum(table.known for table in again.tables.values()) == DAYS + 5


def test_parquet_in_folders_and_a_table_in_two_files_are_read_alike(company: Company, rows: Rows) -> None:
    company.write({name: of_table for name, of_table in rows.items() if name != "readings"})
    (company.folder / "2006" / "north").mkdir(parents=True)
    readings = pd.DataFrame(rows["readings"])
    readings.iloc[:5].to_parquet(company.folder / "2006" / "north" / "readings.parquet")
    readings.iloc[5:].drop(columns="record_id").to_csv(company.folder / "readings-later.csv", index=False)
    assert company.take().tables["readings"].accepted == DAYS


def test_readings_of_a_field_that_was_imported_before_come_alone(company: Company, rows: Rows) -> None:
    company.write({"fields": rows["fields"]})
    company.take()
    (company.folder / "fields.csv").unlink()
    company.write({"readings": rows["readings"]}, "record_id")
    assert company.take().tables["readings"].accepted == DAYS


@pytest.mark.parametrize("cell", ["1,000", "1_0", "0x1F", "inf", "4.5 mm", "four"])
def test_a_cell_that_is_no_plain_number_sets_its_row_aside(company: Company, rows: Rows, cell: str) -> None:
    company.write(rows)
    company.change("readings", ",4.5,", f',"{cell}",')
    table = company.take().tables["readings"]
    assert (table.accepted, table.quarantined) == (DAYS - 1, 1)
    assert f"et0_mm is {cell!r}, not a number" in company.quarantined()[rows["readings"][0]["record_id"]]


def header(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text + "\n1\n")


@pytest.mark.parametrize(
    ("name", "spoil", "told"),
    [
        ("readings.csv", header("season;field_id;date"), "separates its cells by ';'"),
        ("readings.csv", header("rain_in"), "has the columns rain_in, which readings has not"),
        ("readings.csv", header("season"), "has no region"),
        ("readings.csv", header("season,season"), "has a column twice"),
        ("readings.csv", lambda path: path.write_text(path.read_text() + "1,2,3\n"), "has 3 cells in line 22"),
        ("readings.csv", lambda path: path.write_bytes(b"season\n\xff\n"), "is not UTF-8"),
        ("readings.csv", lambda path: path.write_text(""), "has no season"),
        ("weather.csv", header("season"), "is of no table; expected a name like fields.csv, readings.csv"),
        ("harvests.parquet", lambda path: path.write_bytes(b"PAR1"), "harvests.parquet cannot be read as Parquet ("),
        (
            "harvests.parquet",
            lambda path: pd.DataFrame({"yield_t_ha": ["much"], "date": [1]}).to_parquet(path),
            "has date as int64; expected date UTC; has yield_t_ha as ",
        ),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_named_and_nothing_is_accepted(
    company: Company, rows: Rows, name: str, spoil: Callable[[Path], None], told: str
) -> None:
    company.write(rows)
    spoil(company.folder / name)
    with pytest.raises(DataError, match="nothing of it was accepted") as error:
        company.take()
    assert told in str(error.value)
    assert sum(company.accepted().values()) == 0


def test_a_column_in_another_unit_refuses_the_folder(company: Company, rows: Rows) -> None:
    for row in rows["readings"]:
        row["tmax_c"] = row["tmax_c"] * 9 / 5 + 132
    company.write(rows)
    with pytest.raises(DataError, match="tmax_c"):
        company.take()
    assert sum(company.accepted().values()) == 0


def test_nothing_is_added_to_a_season_that_a_device_has(company: Company, rows: Rows) -> None:
    field = field_row(3, device_id="dev-03")
    company.store.accept("fields", pd.DataFrame([field]), "a batch")
    company.write(rows)
    report = company.take()
    assert sum(table.accepted for table in report.tables.values()) == 0
    assert company.accepted() == {**dict.fromkeys(company.accepted(), 0), "fields": 1}
    assert set(company.quarantined().values()) == {
        "the season of the field was accepted from, or is registered for, dev-03: what is said of it is theirs"
    }


def test_the_past_of_a_field_that_has_a_device_by_now_is_the_companys(company: Company, rows: Rows) -> None:
    company.write(rows)
    assert company.take({"champion-03": "dev-03"}).tables["readings"].accepted == DAYS
    other = season_rows(field_row(4), days=DAYS)
    company.write(other)
    assert company.take({"2006/champion-04": "dev-04"}).tables["readings"].accepted == 0


def test_a_folder_that_is_none_or_empty_is_said(company: Company) -> None:
    with pytest.raises(DataError, match=r"expected files like fields\.csv"):
        company.take()
    company.folder = company.folder / "gone"
    with pytest.raises(DataError, match="is no folder"):
        company.take()


def test_a_season_that_is_accepted_is_not_accepted_again_under_another_region(company: Company, rows: Rows) -> None:
    company.write(rows, "record_id")
    company.take()
    before = company.accepted()
    company.write({name: [row | {"region": "north"} for row in of_table] for name, of_table in rows.items()})
    report = company.take()
    assert {table.accepted + table.known for table in report.tables.values()} == {0}
    assert company.accepted() == before
    assert set(company.quarantined().values()) == {
        "region is that of the accepted row of this field and season, where there is one",
        "the row's field has an accepted row in fields in the same region",
    }


def test_a_row_of_another_region_than_its_field_is_set_aside(company: Company, rows: Rows) -> None:
    rows["readings"][4]["region"] = "north"
    company.write(rows)
    table = company.take().tables["readings"]
    assert (table.accepted, table.broken) == (
        DAYS - 1,
        {"the row's field has an accepted row in fields in the same region": 1},
    )


def test_a_column_that_pandas_kept_as_the_index_is_read_like_every_other(company: Company, rows: Rows) -> None:
    company.write({"fields": rows["fields"], "operations": rows["operations"]}, "record_id")
    readings = pd.DataFrame(rows["readings"]).drop(columns="record_id")
    readings.set_index("ndvi").to_parquet(company.folder / "readings.parquet")
    company.take()
    found = company.store.read("readings").set_index("record_id")["ndvi"].dropna().to_dict()
    assert found == {row["record_id"]: row["ndvi"] for row in rows["readings"] if row["ndvi"] is not None}


def test_row_numbers_that_pandas_kept_are_no_column(company: Company, rows: Rows) -> None:
    company.write({"fields": rows["fields"]})
    pd.DataFrame(rows["readings"]).iloc[[1, 5, 9]].to_parquet(company.folder / "readings.parquet")
    assert company.take().tables["readings"].accepted == 3


def test_an_index_of_no_column_and_a_column_twice_refuse_the_folder(company: Company, rows: Rows) -> None:
    company.write({"fields": rows["fields"]})
    readings = pd.DataFrame(rows["readings"])
    readings.assign(rain_in=0.1).set_index("rain_in").to_parquet(company.folder / "readings-a.parquet")
    table = pa.Table.from_pandas(readings)
    pq.write_table(table.append_column("tmax_c", table["tmin_c"]), company.folder / "readings-b.parquet")
    with pytest.raises(DataError) as error:
        company.take()
    assert "readings-a.parquet has the columns rain_in, which readings has not" in str(error.value)
    assert "readings-b.parquet has a column twice" in str(error.value)


@pytest.mark.parametrize("device_id", ["NA", "logger 7"])
def test_a_season_of_a_device_that_nobody_registered_is_set_aside_until_it_is(company: Company, device_id: str) -> None:
    rows = season_rows(field_row(3, device_id=device_id), days=DAYS)
    company.write(rows, "record_id")
    report = company.take()
    assert sum(company.accepted().values()) == 0
    assert [words.partition(":")[0] for words in report.tables["fields"].broken] == ["device_id is empty or a device's"]
    assert "fieldloop register-device" in company.quarantined()["2006/champion-03/fields"]
    company.devices = [device_id]
    assert company.take().tables["readings"].accepted == DAYS
    assert company.store.read("fields")["device_id"].tolist() == [device_id]


def test_a_mark_of_a_missing_value_is_no_text_where_a_cell_may_be_empty(company: Company, rows: Rows) -> None:
    advice = [recommendation_row(field_row(3), day) for day in ("2006-05-02", "2006-05-03", "2006-05-04")]
    company.write(rows | {"recommendations": advice})
    company.change("recommendations", "b" * 64, "NA")
    company.change("recommendations", "b" * 64, "")
    table = company.take().tables["recommendations"]
    assert (table.accepted, table.quarantined) == (2, 1)
    assert next(iter(table.broken)).startswith("bundle_sha256 is no mark of a missing value (NA, N/A, ")


@pytest.mark.parametrize(
    "name", ["readings.tsv", "Readings.CSV.gz", "readings-2019.xlsx", "deeper/HARVESTS", "fields.csv~"]
)
def test_a_file_named_like_a_table_that_is_not_read_refuses_the_folder(company: Company, rows: Rows, name: str) -> None:
    company.write(rows)
    (company.folder / "deeper").mkdir()
    (company.folder / "notes.txt").write_text("of no table")
    (company.folder / name).write_bytes(b"")
    with pytest.raises(DataError) as error:
        company.take()
    assert f"{name} is named like a table and not read: only .csv and .parquet are" in str(error.value)
    assert sum(company.accepted().values()) == 0
    (company.folder / name).unlink()
    assert company.take().tables["readings"].accepted == DAYS


def test_a_corrected_row_is_told_with_how_to_correct_it_and_the_way_told_can_be_gone(
    company: Company, rows: Rows
) -> None:
    company.write(rows)
    company.take()
    said = {name: dict(of_table[0]) for name, of_table in rows.items()}
    for name, changed in (("fields", {"soil": "Clay"}), ("operations", {"irrigation_mm": 7.0})):
        rows[name][0] |= changed
    rows["harvests"] = [rows["harvests"][0] | {"date": "2006-10-11"}]
    company.write(rows, "record_id")
    report = company.take()
    told = {name: "".join(table.broken) for name, table in report.tables.items()}
    assert {name: sum(table.broken.values()) for name, table in report.tables.items()} == {
        "fields": 1,
        "readings": 0,
        "operations": 1,
        "harvests": 1,
    }
    assert told["fields"].startswith(f"{CONFLICT}: what was accepted stays; to correct it go back to a version")
    assert "dvc checkout --force seasons.dvc" in told["fields"]
    assert told["harvests"].startswith("another row of this season and field_id is accepted")
    assert "takes the same record_id with /2" in told["operations"]
    rows["operations"][0] |= {"record_id": f"{said['operations']['record_id']}/2"}
    company.write({"operations": rows["operations"]})
    assert company.take().tables["operations"].accepted == 1


def test_what_was_accepted_of_a_device_that_nobody_registered_is_known_and_can_be_added_to(company: Company) -> None:
    rows = season_rows(field_row(device_id="logger-7"), days=DAYS)
    company.devices = ["logger-7"]
    company.write({name: rows[name] for name in ("fields", "readings")})
    company.take()
    company.devices = []  # as code accepted it that asked for no registration
    company.write(rows)
    report = company.take()
    assert [report.tables[name].quarantined for name in ("fields", "readings", "harvests")] == [0, 0, 0]
    assert (report.tables["fields"].known, report.tables["harvests"].accepted) == (1, 1)


def test_a_season_that_a_person_returned_to_the_company_is_imported_at_once(company: Company) -> None:
    device, ours = (season_rows(field_row(device_id=name), days=DAYS) for name in ("dev-00", None))
    for table, frame in device.items():
        company.store.accept(table, pd.DataFrame(frame), "sync")
    company.write(ours)
    report = company.take({"2006/champion-00": ""})
    assert report.tables["fields"].accepted == 1
    assert company.store.read("fields")["device_id"].isna().all()


def test_readings_alone_of_a_season_that_was_returned_to_the_company_wait_for_its_own_row(company: Company) -> None:
    rows = season_rows(field_row(), days=DAYS)
    company.store.accept("fields", pd.DataFrame([field_row(device_id="dev-00")]), "sync")
    company.write({"readings": rows["readings"]})
    assert company.take({"2006/champion-00": ""}).tables["readings"].accepted == 0
    company.write(rows)
    assert company.take({"2006/champion-00": ""}).tables["readings"].accepted == DAYS


def test_a_claim_that_was_taken_back_for_the_fields_device_is_no_imports_to_take(company: Company, rows: Rows) -> None:
    device = season_rows(field_row(3, device_id="dev-99"), days=DAYS)
    company.store.accept("fields", pd.DataFrame(device["fields"]), "sync")
    company.store.withdraw(2006, "champion-03", "the field is registered for another device")
    company.write(rows)
    assert company.take({"champion-03": "dev-03"}).tables["readings"].accepted == 0
    assert {words.split(", ")[1] for words in company.quarantined().values() if "dev-03" in words} == {
        "or is registered for"
    }


def test_what_an_import_brings_back_is_not_in_quarantine_any_more(company: Company, rows: Rows) -> None:
    company.write(rows)
    company.take()
    company.store.withdraw(2006, "champion-03", "another device is registered")
    assert withdrawals(company.store.quarantine_dir)
    assert company.take().tables["readings"].accepted == DAYS
    assert withdrawals(company.store.quarantine_dir) == []
