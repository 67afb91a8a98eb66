"""What is said of a thing once more counts, and takes no identity that may have gone home already."""

from pathlib import Path

from fieldedge.storage.corrections import put, said
from fieldedge.storage.store import Store
from fieldedge.system.clock import Stamp
from tests.edge.sample import AGRICULTURE, SEASON, dated, stored_entries

CONTRACT = AGRICULTURE.contract


def test_a_word_after_room_was_made_of_the_first_one_follows_the_last_one(tmp_path: Path) -> None:
    def operation(irrigation_mm: float) -> dict[str, object]:
        return dated("operations", 3, SEASON, irrigation_mm=irrigation_mm)

    with Store(tmp_path / "store.db", lambda: Stamp("boot", "2007-09-01T12:00:00Z", True)) as store:
        first, ids = operation(20.0), []
        for irrigation_mm in (20.0, 5.0):
            put(store, CONTRACT, "operations", operation(irrigation_mm))
            ids = [row["record_id"] for row in store.records(SEASON, "operations")]
            store.mark_selected(f"{len(ids)}" * 64, SEASON, 1000, stored_entries(store, ids[-1:]))
            store.mark_acknowledged(f"{len(ids)}" * 64)
        assert ids == [first["record_id"], f"{first['record_id']}/2"]
        store._connection.execute("DELETE FROM records WHERE record_id = ?", (first["record_id"],))  # as eviction does
        former, outcome = put(store, CONTRACT, "operations", operation(7.0))
        assert (former or {})["irrigation_mm"] == 5.0
        assert outcome == "corrected"
        assert [row["record_id"].rpartition("/")[2] for row in said(store, str(first["record_id"]))] == ["2", "3"]
        assert said(store, str(first["record_id"]))[-1]["irrigation_mm"] == 7.0
