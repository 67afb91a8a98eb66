"""A batch says what it holds, is the same bytes for the same content, and cannot harm who opens it."""

import hashlib
import json
import lzma
import math
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldedge.contract import Column, Contract, Table, batches
from fieldedge.contract.batches import batch_id, check_batch, pack, unpack
from fieldedge.system.errors import DataError
from tests.edge.sample import AGRICULTURE, SEASON, field_record, reading_record

HEADER = {"device_id": "dev-00", "season": SEASON}


def test_a_batch_opens_to_what_was_packed_in_the_contracts_columns() -> None:
    readings = [{**reading_record(day), "not_in_the_contract": 1} for day in range(3)]
    data = pack(HEADER, {"fields": [field_record()], "readings": readings, "harvests": []}, AGRICULTURE.contract)
    content = unpack(data)
    assert content["device_id"] == "dev-00"
    assert content["tables"] == {
        "fields": [field_record()],
        "readings": [reading_record(day) for day in range(3)],
    }


def test_the_same_content_is_the_same_bytes() -> None:
    tables = {"readings": [reading_record(day) for day in range(20)]}
    one, other = (pack(HEADER, tables, AGRICULTURE.contract) for _ in range(2))
    assert one == other
    assert batch_id(one) == batch_id(other)


def test_numbers_travel_with_no_more_digits_than_a_sensor_has() -> None:
    reading = {**reading_record(0), "et0_mm": 6.123456789}
    content = unpack(pack(HEADER, {"readings": [reading]}, AGRICULTURE.contract))
    assert content["tables"]["readings"][0]["et0_mm"] == 6.123


_VALUES = {
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "int": st.integers(-(2**63), 2**63 - 1),
    "str": st.text(st.characters(exclude_categories=("Cs",))),
}


@given(st.data())
@settings(deadline=None)
def test_an_arbitrary_table_comes_home_exactly_whatever_it_is_called(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(sorted(_VALUES)), min_size=1, max_size=6))
    columns = tuple(Column(f"c{number}", kind, is_nullable=True) for number, kind in enumerate(kinds))  # type: ignore[arg-type]
    name = data.draw(st.sampled_from(["readings", "recommendations", "harvests", "vibrations"]))
    row = st.fixed_dictionaries({c.name: st.none() | _VALUES[c.kind] for c in columns})
    rows = data.draw(st.lists(row, min_size=1, max_size=8))
    contract = Contract("any", 1, (Table(name, columns, ()),), (), ())
    assert unpack(pack({}, {name: rows}, contract))["tables"] == {name: rows}


def test_a_column_of_another_table_keeps_its_seconds_since_1970() -> None:
    contract = Contract("any", 1, (Table("windows", (Column("begin_s", "float", digits=None),), ()),), (), ())
    rows = [{"begin_s": 1764374525.123456}]
    assert unpack(pack({}, {"windows": rows}, contract))["tables"]["windows"] == rows


ANY = Contract(
    "any", 1, (Table("readings", (Column("a", "str"),), ()), Table("harvests", (Column("a", "str"),), ())), (), ()
)


def nested(levels: int) -> object:
    value: object = 0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("header", "tables", "said"),
    [
        ({}, {"readings": [{"a": 0}] * 25_001, "harvests": [{"a": 0}] * 25_000}, "has 50001 rows; expected at most"),
        ({}, {"readings": [{"a": "x" * 5_000_000}] * 4}, "unpacks to more than 20000000 bytes"),
        ({}, {"readings": [{"a": "," * 2_000_001}]}, "more than 50000 rows or 2000000 values"),
        ({}, {"readings": [{"a": "[" * 60_000}]}, "more than 50000 rows or 2000000 values"),
        ({}, {"readings": [{"a": nested(900)}]}, "nested more than 50 levels"),
        ({"summary": nested(900)}, {}, "nested more than 50 levels"),
        ({}, {"readings": [{"a": math.nan}]}, "cannot be written as JSON"),
        ({}, {"readings": [{"a": 10**5_000}]}, "cannot be written as JSON"),
        ({}, {"readings": [{"a": "half a pair \ud83d"}]}, "cannot be written as JSON"),
        ({}, {"readings": [{"record_id": "2006/x", "b": 0}]}, "the record '2006/x' has no 'a'"),
    ],
)  # fmt: skip
def test_what_no_reader_would_take_is_refused_where_it_is_packed(
    header: dict[str, object], tables: dict[str, list[dict[str, object]]], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        pack(header, tables, ANY)


def test_what_is_larger_than_the_gateway_takes_is_refused_by_its_packed_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_PACKED_BYTES", len(pack(HEADER, {"readings": [{"a": "x"}]}, ANY)))
    check_batch(pack(HEADER, {"readings": [{"a": "x"}]}, ANY))
    with pytest.raises(DataError, match="bytes; expected at most"):
        pack(HEADER, {"readings": [{"a": hashlib.sha256(b"x").hexdigest()}]}, ANY)


@pytest.mark.parametrize(
    "tables",
    [
        {"readings": [{"a": 0}] * 25_000, "harvests": [{"a": 0}] * 25_000},
        {"readings": [{"a": nested(49)}]},
        {"readings": [{"a": "[" * 50_000}]},
    ],
)
def test_what_is_just_within_the_bounds_is_taken_by_both_ends(tables: dict[str, list[dict[str, object]]]) -> None:
    data = pack({}, tables, ANY)
    check_batch(data)
    assert unpack(data)["tables"] == tables


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


@given(st.dictionaries(st.sampled_from(["summary", "season"]), JSON), st.lists(JSON, max_size=5), st.integers(1, 40))
def test_whatever_is_packed_unpacks_under_whatever_bounds(header: dict[str, Any], cells: list[Any], bound: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "MAX_ROWS", bound % 7)
        patch.setattr(batches, "MAX_VALUES", bound)
        patch.setattr(batches, "_OTHER_CONTAINERS", bound)
        patch.setattr(batches, "MAX_PACKED_BYTES", 90 + 5 * bound)
        try:
            data = pack(header, {"readings": [{"a": cell} for cell in cells]}, ANY)
        except DataError:
            return
        assert unpack(data)["tables"].get("readings", []) == [{"a": cell} for cell in cells]
        check_batch(data)


def test_the_largest_float_rounds_up_to_none_and_travels_whole() -> None:
    contract = Contract("any", 1, (Table("readings", (Column("a", "float", digits=4),), ()),), (), ())
    rows = [{"a": 1.7976931348623157e308}, {"a": 0.1 + 0.2}]
    assert unpack(pack({}, {"readings": rows}, contract))["tables"]["readings"] == [rows[0], {"a": 0.3}]


def xz(content: object) -> bytes:
    return lzma.compress(json.dumps(content).encode())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cut short"),
        (b"plain text, and long enough for a header", "not readable xz"),
        (xz({"format": 1, "tables": {}})[:-8], "cut short"),
        (lzma.compress(b"{"), "not readable JSON"),
        (xz([1]), "not a batch of format 1"),
        (xz({"format": 2, "tables": {}}), "not a batch of format 1"),
        (xz({"format": 1, "tables": {"readings": {"columns": ["a"], "rows": [[1, 2]]}}}), "broken table"),
        (xz({"format": 1, "tables": {"readings": 3}}), "broken table"),
        (xz({"format": 1, "tables": {"readings": {"columns": "a", "rows": [[1]]}}}), "columns and rows as lists"),
        (xz({"format": 1, "tables": {"readings": {"columns": ["a"], "rows": {"a": 1}}}}), "columns and rows as lists"),
        (xz({"format": 1, "tables": {"readings": {"columns": ["a", "a"], "rows": [[1, 2]]}}}), "names, each once"),
        (xz({"format": 1, "tables": {"readings": {"columns": [["a"]], "rows": [[1]]}}}), "names, each once"),
        (xz({"format": 1, "tables": {"readings": {"columns": ["a"], "rows": ["x"]}}}), "row 0 has not 1 values"),
        (xz({"format": 1, "tables": [1]}), "not a batch of format 1"),
        (lzma.compress(b"[" * 900), "not readable JSON"),
        (lzma.compress(b'{"format": 1, "season": ' + b"9" * 5_000 + b"}"), "not readable JSON"),
    ],
)
def test_a_broken_batch_is_named(data: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        unpack(data)


def test_a_batch_that_unpacks_without_end_is_refused() -> None:
    bomb = lzma.compress(b" " * 5_000_000)
    with pytest.raises(DataError, match="more than 1000000 bytes"):
        unpack(bomb, max_bytes=1_000_000)


def bomb_of(row: bytes) -> bytes:
    return lzma.compress(b'{"format":1,"tables":{"readings":{"columns":["a"],"rows":[' + row * 4_000_000, preset=1)


@pytest.mark.parametrize("row", [b"[0],", b"{},", b"0,", b'"a",', b"[[[[[[[["])
def test_a_small_batch_of_many_rows_is_refused_before_it_takes_memory(row: bytes) -> None:
    bomb = bomb_of(row)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="more than 50000 rows or 2000000 values"):
            unpack(bomb)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 20_000_000


def test_rows_are_counted_over_all_tables() -> None:
    tables = {name: {"columns": ["a"], "rows": [[0]] * 25_001} for name in ("fields", "readings")}
    with pytest.raises(DataError, match="has 50002 rows; expected at most 50000"):
        unpack(xz({"format": 1, "tables": tables}))


def test_a_batch_that_asks_for_a_huge_dictionary_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 80 << 20, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3}]
    small = lzma.compress(b"{}", format=lzma.FORMAT_XZ, filters=filters)
    with pytest.raises(DataError, match="not readable xz"):
        unpack(small)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lzma.compress))
def test_no_bytes_do_worse_than_a_data_error(data: bytes) -> None:
    with pytest.raises(DataError):
        unpack(data)
