"""Whatever a device sends, ingestion raises for none of it, loses none of it, and the others' batches get in."""

import json
import lzma
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldloop.ingest import accept
from fieldloop.ingest.accept import IngestReport
from fieldloop.validation import checks
from tests.ingest.cloud import Cloud, outcome_of, season_of
from tests.sample_season import CONTRACT, SEASON


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def content_of(device_id: str, tables: Any, **header: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "device_id": device_id,
        "workload": CONTRACT.workload,
        "contract_hash": CONTRACT.hash,
        "bundle_version": "3",
        "season": SEASON,
        "summary": {},
        "tables": tables,
        **header,
    }


def as_rows(tables: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {
        name: {"columns": list(rows[0]), "rows": [list(row.values()) for row in rows]} for name, rows in tables.items()
    }


def packed(content: Any) -> bytes:
    return lzma.compress(json.dumps(content).encode(errors="surrogatepass"), preset=0)


def test_a_batch_that_names_a_table_or_its_season_twice_is_refused_and_not_home(cloud: Cloud) -> None:
    sender = cloud.sender()
    text = json.dumps(content_of("dev-00", as_rows(outcome_of())))
    for twice in (
        text[:-1] + ', "season": 2005}',
        text.replace('"harvests": {', '"fields": {"columns": [], "rows": []}, "harvests": {'),
    ):
        batch = sender.send(lzma.compress(twice.encode()))
        report = cloud.ingest()
        assert "more than once" in report.refused[f"dev-00/{batch}"]
        assert report.records_received == 0
    assert len(cloud.account(SEASON).missing) == 2


def with_good_neighbour(cloud: Cloud, *hostile: bytes) -> IngestReport:
    """Ingest the hostile batches, each of a device of its own, together with a good one that comes last."""
    for number, data in enumerate(hostile, start=1):
        cloud.sender(f"dev-{number:02d}").send(data)
    good = cloud.sender("dev-99")
    good.send(good.batch(outcome_of("dev-99", 50)))
    report = cloud.ingest()
    assert cloud.waiting() == []
    assert "champion-50" in set(cloud.store.read("harvests")["field_id"])
    assert cloud.ingest().batches == ()
    return report


RECORD_IDS: dict[str, Any] = {
    "a list": ["x"],
    "an object": {"x": 1},
    "null": None,
    "a number": 7,
    "true": True,
    "too long": "x" * 100_000,
    "half a pair": "\ud800",
    "empty": "",
}


def test_a_record_id_of_any_type_is_quarantined_counted_and_breaks_no_later_sync(cloud: Cloud) -> None:
    hostile = []
    for number, value in enumerate(RECORD_IDS.values(), start=1):
        tables = season_of(f"dev-{number:02d}", number)
        tables["readings"][0]["record_id"] = value
        hostile.append(packed(content_of(f"dev-{number:02d}", as_rows(tables))))
    report = with_good_neighbour(cloud, *hostile)
    assert report.records_quarantined == len(RECORD_IDS)
    assert report.records_accepted == len(RECORD_IDS) * 11 + 2
    account = cloud.account(SEASON)
    assert (account.received, account.quarantined, account.missing) == (report.records_received, len(RECORD_IDS), ())
    parts = [pd.read_parquet(path) for path in cloud.quarantine_dir.glob("*/readings-*.parquet")]
    assert any("record_id is present" in words for part in parts for words in part["expectation"])
    assert "record_id is a list, not a text" in " ".join(
        path.read_bytes().decode(errors="replace") for path in cloud.quarantine_dir.glob("*/readings-*.parquet")
    )


def test_rows_without_an_id_that_are_gone_from_quarantine_are_missing(cloud: Cloud) -> None:
    sender, tables = cloud.sender(), outcome_of()
    tables["harvests"][0]["record_id"] = None
    sender.send(packed(content_of(sender.device_id, as_rows(tables))))
    (path,) = cloud.ingest().quarantine_files
    assert cloud.account().missing == ()
    path.unlink()
    (missing,) = cloud.account().missing
    assert "record 1 without an id" in missing


HEADERS: dict[str, Any] = {
    "season": [True, None, "2006", 2006.5, 10**4_000, -1, [], {}],
    "device_id": [None, ["dev-00"], {}, 7],
    "workload": [None, [], {"a": 1}],
    "contract_hash": [None, [], "0" * 63, 10**4_000],
    "tables": [None, [], "x", {"readings": []}, {"readings": {"columns": {}, "rows": []}}, {"gossip": {}}],
}


def test_a_header_of_any_type_is_refused_by_name(cloud: Cloud) -> None:
    values = [(name, value) for name, of_header in HEADERS.items() for value in of_header]
    hostile = [
        packed(content_of(f"dev-{number:02d}", {}) | {name: value})
        for number, (name, value) in enumerate(values, start=1)
    ]
    report = with_good_neighbour(cloud, *hostile)
    assert len(report.refused) == len(hostile)


def test_a_header_that_only_informs_is_not_believed_and_refuses_nothing(cloud: Cloud) -> None:
    sender = cloud.sender()
    deep: Any = {}
    for _ in range(400):
        deep = {"a": deep}
    for informs in ({"summary": deep}, {"summary": {"a": "x" * 100_000}}, {"bundle_version": ["x"]}):
        sender.send(packed(content_of(sender.device_id, as_rows(outcome_of()), **informs)))
    cloud.ingest()
    for note in cloud.store.noted_batches().values():
        assert len(json.dumps(note)) < 30_000


def test_a_small_batch_that_unpacks_to_gigabytes_takes_no_memory(cloud: Cloud) -> None:
    head = json.dumps(content_of("dev-00", 0))[: -len("0}")].encode()
    bomb = lzma.compress(head + b'{"readings":{"columns":["a"],"rows":[' + b"[0]," * 12_000_000, preset=1)
    assert len(bomb) < 20_000
    for number in range(4):
        cloud.sender(f"dev-{number:02d}").send(bomb)
    tracemalloc.start()
    try:
        report = cloud.ingest()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(report.refused) == 4
    assert peak_bytes < 60_000_000


def test_every_batch_that_ever_came_is_opened_once(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = cloud.sender()
    batch = sender.send(sender.batch(outcome_of()))
    cloud.ingest()

    def opened(*_: object) -> None:
        raise AssertionError("a batch that is noted was opened again")

    with monkeypatch.context() as patch:
        patch.setattr("fieldloop.ingest.reconcile.named_records", opened)
        assert cloud.account().received == 2
    (cloud.store.root / "batches" / f"{batch}.records").unlink()  # as the code of before left it
    note = cloud.store.root / "batches" / f"{batch}.json"
    note.write_text(json.dumps({k: v for k, v in json.loads(note.read_text()).items() if k != "unnamed"}))
    assert (cloud.account().received, cloud.account().missing) == (2, ())
    monkeypatch.setattr("fieldloop.ingest.reconcile.named_records", opened)
    assert cloud.account().received == 2


def test_what_a_batch_brought_is_missed_when_it_is_gone_from_the_store(cloud: Cloud) -> None:
    sender = cloud.sender()
    sender.send(sender.batch(outcome_of()))
    cloud.ingest()
    next(cloud.store.root.rglob("harvests.parquet")).unlink()
    assert cloud.account(SEASON).missing == (outcome_of()["harvests"][0]["record_id"],)


def test_batches_are_judged_in_groups_of_bounded_size(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "MAX_ROWS_AT_ONCE", 5)
    sizes: list[int] = []
    real = checks._judge

    def judge(*arguments: Any) -> Any:
        sizes.append(len(arguments[3]))
        return real(*arguments)

    monkeypatch.setattr(checks, "_judge", judge)
    for number in range(5):
        sender = cloud.sender(f"dev-{number:02d}")
        sender.send(sender.batch(outcome_of(f"dev-{number:02d}", number)))
    assert cloud.ingest().records_accepted == 10
    assert sizes == [2, 2, 2, 2, 1, 1]
    assert cloud.account().missing == ()


def test_a_batch_that_judging_raises_for_is_refused_and_the_others_get_in(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = accept.check_frames

    def check(frames: Any, *arguments: Any) -> Any:
        if "champion-01" in set(frames["fields"]["field_id"]):
            raise TypeError("unhashable type: 'list'")
        return real(frames, *arguments)

    monkeypatch.setattr(accept, "check_frames", check)
    for number in range(3):
        sender = cloud.sender(f"dev-{number:02d}")
        sender.send(sender.batch(outcome_of(f"dev-{number:02d}", number)))
    report = cloud.ingest()
    assert report.records_accepted == 4
    ((name, reason),) = report.refused.items()
    assert name.startswith("dev-01/")
    assert "cannot be judged: TypeError" in reason
    assert len(cloud.account().missing) == 2


def test_what_raises_for_every_batch_refuses_none(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(*_: object) -> None:
        raise RuntimeError("the validation does not start")

    monkeypatch.setattr(accept, "check_frames", check)
    for number in range(2):
        sender = cloud.sender(f"dev-{number:02d}")
        sender.send(sender.batch(outcome_of(f"dev-{number:02d}", number)))
    with pytest.raises(RuntimeError, match="does not start"):
        cloud.ingest()
    assert len(cloud.waiting()) == 2


cells = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(2**63), 2**64, 1e308, -0.0]),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["2006-05-01", "２００６-05-01", "9999-12-31", "0000-00-00", "\x00", "\ud800", "x" * 2_000, "2006"]
    ),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=2),
)


@st.composite
def hostile_tables(draw: st.DrawFn, device_id: str, number: int) -> Any:
    """A season's tables with some cells, or whole rows, of any type in the place of the true ones."""
    tables = as_rows(season_of(device_id, number))
    for _ in range(draw(st.integers(1, 6))):
        table = tables[draw(st.sampled_from(sorted(tables)))]
        row = draw(st.integers(0, len(table["rows"]) - 1))
        columns = draw(st.lists(st.integers(0, len(table["columns"]) - 1), min_size=1, max_size=4))
        for column in columns:
            table["rows"][row][column] = draw(cells)
    if draw(st.integers(0, 3)) == 0:
        tables[draw(st.sampled_from(sorted(tables)))] = draw(cells)
    return tables


json_values = st.recursive(
    cells, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner)
)


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_content_raises_is_lost_or_keeps_another_batch_out(data: st.DataObject) -> None:
    with TemporaryDirectory() as directory:
        cloud = Cloud(Path(directory))
        hostile = []
        for number in range(1, 7):
            device_id = f"dev-{number:02d}"
            tables = data.draw(hostile_tables(device_id, number))
            header = data.draw(st.dictionaries(st.sampled_from(["season", "summary", "bundle_version"]), json_values))
            hostile.append(packed(content_of(device_id, tables, **(header if number % 3 == 0 else {}))))
        hostile.append(packed(data.draw(json_values)))
        hostile.append(packed(content_of("dev-08", data.draw(json_values))))
        report = with_good_neighbour(cloud, *hostile)
        account = cloud.account()
        assert account.received == account.accepted + account.quarantined + len(account.missing)
        not_home = {name.partition("/")[0] for name in report.refused}
        assert bool(account.missing) <= bool(not_home)
