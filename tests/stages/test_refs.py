"""What a turn referred to is written down under the names that former code wrote it down by."""

import json

from fieldloop.stages.refs import (
    CompressedRef,
    PeriodRefs,
    RegisteredRef,
    ReleasedRef,
    RunRef,
    SnapshotRef,
    SyncedRef,
)

REFS = PeriodRefs(
    SnapshotRef("d1", 2006, "l1", "kept", is_committed=False),
    RegisteredRef("1", "1", True, "first", "/v.json"),
    CompressedRef("1", "/b.zip", "int8", "as good", "/c.json", "k"),
    ReleasedRef("1", "s" * 64, 9, "/b.zip"),
    RunRef(2006, 2, "/fleet.json"),
    "/practices.json",
    SyncedRef(2006, 7, 1, 0, "/sync.json"),
)


def test_a_turn_is_written_by_its_stored_names_and_read_again() -> None:
    record = json.loads(json.dumps(REFS.as_record()))
    assert record["data"]["season"] == record["lived"]["season"] == record["synced"]["season"] == 2006
    assert "period" not in json.dumps(record)
    assert PeriodRefs.of(record) == REFS
