"""The store of accepted rows: what was accepted stays as it is, and the same rows give the same bytes."""

import itertools
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldedge.system.errors import DataError
from fieldloop.data import AcceptedStore, merge
from fieldloop.data.accepted import CONFLICT, ELSEWHERE
from fieldloop.validation.typed import finished
from tests.sample_season import CONTRACT, SEASON, WORDS, Tables, field_row, frames

HARVESTS = CONTRACT.table("harvests")


@pytest.fixture
def store(tmp_path: Path) -> AcceptedStore:
    return AcceptedStore(tmp_path / "seasons", CONTRACT)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return frames(field_row(0), field_row(1), field_row(0, "cordoba"), days=20)


def content(store: AcceptedStore) -> dict[str, bytes]:
    return {str(p.relative_to(store.root)): p.read_bytes() for p in sorted(store.root.rglob("*.parquet"))}


def test_rows_come_back_as_they_were_accepted(store: AcceptedStore, tables: Tables) -> None:
    outcome = store.accept("readings", tables["readings"], "history")
    assert (outcome.added, outcome.known, outcome.conflicts) == (60, 0, 0)
    expected = tables["readings"].sort_values(["region", "record_id"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(store.read("readings"), expected, check_dtype=False)
    assert store.periods() == [SEASON]


def test_the_same_rows_again_change_no_byte(store: AcceptedStore, tables: Tables) -> None:
    store.accept("readings", tables["readings"], "history")
    before = content(store)
    outcome = store.accept("readings", tables["readings"].sample(frac=1.0, random_state=1), "history")
    assert (outcome.added, outcome.known, outcome.conflicts) == (0, 60, 0)
    assert content(store) == before


def test_the_same_rows_in_another_order_and_in_parts_give_the_same_bytes(tmp_path: Path, tables: Tables) -> None:
    whole, parts = AcceptedStore(tmp_path / "a", CONTRACT), AcceptedStore(tmp_path / "b", CONTRACT)
    whole.accept("readings", tables["readings"], "history")
    shuffled = tables["readings"].sample(frac=1.0, random_state=5)
    for part in (shuffled.iloc[:7], shuffled.iloc[30:], shuffled.iloc[5:40]):
        parts.accept("readings", part, "sync")
    assert content(whole) == content(parts)


def test_a_row_that_contradicts_an_accepted_one_is_refused_and_the_old_one_kept(
    store: AcceptedStore, tables: Tables
) -> None:
    store.accept("harvests", tables["harvests"], "history")
    before = content(store)
    outcome = store.accept("harvests", tables["harvests"].assign(yield_t_ha=2.0, origin="late.batch"), "sync")
    assert (outcome.added, outcome.known, outcome.conflicts) == (0, 0, 3)
    assert content(store) == before
    assert outcome.quarantine_file is not None
    refused = pd.read_parquet(outcome.quarantine_file)
    assert set(refused["expectation"]) == {CONFLICT}
    assert set(refused["yield_t_ha"]) == {2.0}
    assert set(refused["origin"]) == {"late.batch"}


def test_a_region_that_is_no_plain_name_never_becomes_a_folder(store: AcceptedStore, tables: Tables) -> None:
    with pytest.raises(DataError, match="cannot name a folder"):
        store.accept("harvests", tables["harvests"].assign(region="../../etc"), "sync")
    assert content(store) == {}


def test_a_damaged_file_is_named_left_alone_and_nothing_is_added_to_it(store: AcceptedStore, tables: Tables) -> None:
    store.accept("harvests", tables["harvests"], "history")
    path = store.root / f"season={SEASON}" / "region=champion" / "harvests.parquet"
    path.write_bytes(path.read_bytes()[:50])
    before = content(store)
    with pytest.raises(DataError, match=r"harvests\.parquet is damaged .*dvc checkout"):
        store.accept("harvests", tables["harvests"], "history")
    assert content(store) == before


def test_a_crash_while_writing_leaves_the_old_file_whole(
    store: AcceptedStore, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.accept("harvests", tables["harvests"].iloc[:1], "history")
    before = content(store)

    def power_cut(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", power_cut)
    with pytest.raises(KeyboardInterrupt):
        store.accept("harvests", tables["harvests"], "history")
    monkeypatch.undo()
    assert content(store) == before
    assert store.accept("harvests", tables["harvests"], "history").added == 2


def test_a_batch_note_stands_as_first_written(store: AcceptedStore) -> None:
    store.note_batch("ab", {"device_id": "dev-00"})
    store.note_batch("ab", {"device_id": "dev-01"})
    assert store.noted_batches() == {"ab": {"device_id": "dev-00"}}


def harvests(rows: list[tuple[int, float | None]]) -> pd.DataFrame:
    frame = pd.DataFrame(
        [
            {
                "record_id": f"2006/champion-{number}/harvests/2006-10-10",
                "season": 2006,
                "region": "champion",
                "field_id": f"champion-{number}",
                "date": "2006-10-10",
                "yield_t_ha": yield_t_ha,
            }
            for number, yield_t_ha in rows
        ],
        columns=list(HARVESTS.column_names),
    )
    return finished(HARVESTS, frame)


some_rows = st.lists(st.tuples(st.integers(0, 6), st.sampled_from([None, 1.0, 2.0])), max_size=8)
NOTHING = harvests([])


@settings(max_examples=30, deadline=None)
@given(st.lists(some_rows, max_size=4))
def test_merging_keeps_the_first_row_of_each_identity_and_accounts_for_every_other(
    arrivals: list[list[tuple[int, float | None]]],
) -> None:
    held = NOTHING
    first: dict[int, float | None] = {}
    for rows in arrivals:
        merged = merge(HARVESTS, held, harvests(rows), CONTRACT.episode)
        new = {number for number, _ in rows} - first.keys()
        for number, yield_t_ha in rows:
            first.setdefault(number, yield_t_ha)
        assert merged.added == len(new)
        assert merged.added + merged.known + len(merged.conflicts) == len(rows)
        assert len(merged.conflicts) == sum(first[number] != yield_t_ha for number, yield_t_ha in rows)
        held = merged.rows
    expected = harvests(sorted(first.items(), key=lambda item: str(item[0])))
    pd.testing.assert_frame_equal(held, expected, check_dtype=False)


def on(day: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The same rows of another day."""
    return rows.assign(record_id=rows["record_id"].str.replace("2006-10-10", day), date=day)


def test_of_two_harvests_of_one_season_the_first_accepted_stands_and_the_other_is_told() -> None:
    first, second = harvests([(0, 1.0), (1, 1.0)]), on("2006-09-09", harvests([(0, 2.0)]))
    held = merge(HARVESTS, NOTHING, first, CONTRACT.episode).rows
    merged = merge(HARVESTS, held, second, CONTRACT.episode)
    pd.testing.assert_frame_equal(merged.rows, held)
    assert (merged.added, merged.known) == (0, 0)
    assert list(merged.conflicts["expectation"]) == [
        "another row of this season and field_id is accepted, and there is one for each"
    ]
    at_once = merge(HARVESTS, NOTHING, pd.concat([first, second], ignore_index=True), CONTRACT.episode)
    pd.testing.assert_frame_equal(at_once.rows, held)
    assert (at_once.added, at_once.known, len(at_once.conflicts)) == (2, 0, 1)


def test_two_harvests_that_were_accepted_before_are_both_known_and_neither_is_lost() -> None:
    both = pd.concat([harvests([(0, 1.0)]), on("2006-10-11", harvests([(0, 2.0)]))], ignore_index=True)
    merged = merge(HARVESTS, both, both, CONTRACT.episode)
    pd.testing.assert_frame_equal(merged.rows, both)
    assert (merged.added, merged.known, len(merged.conflicts)) == (0, 2, 0)


def test_merging_rows_without_conflict_is_the_same_in_every_order() -> None:
    parts = [harvests([(0, 1.0), (1, None)]), harvests([(2, 2.0)]), harvests([(1, None), (3, 1.0)])]
    outcomes = []
    for order in itertools.permutations(parts):
        held = NOTHING
        for part in order:
            held = merge(HARVESTS, held, part, CONTRACT.episode).rows
        outcomes.append(held)
    for outcome in outcomes[1:]:
        pd.testing.assert_frame_equal(outcome, outcomes[0])


def test_what_one_region_has_is_not_accepted_under_another_whoever_brings_it(
    store: AcceptedStore, tables: Tables
) -> None:
    of_field = {name: rows[rows["field_id"] == "champion-00"] for name, rows in tables.items()}
    for name, rows in of_field.items():
        store.accept(name, rows, "history")
    before = content(store)
    for name, rows in of_field.items():
        outcome = store.accept(name, rows.assign(region="north"), "sync")
        assert (outcome.added, outcome.known, outcome.conflicts) == (0, 0, len(rows))
        assert outcome.quarantine_file is not None
        assert set(pd.read_parquet(outcome.quarantine_file)["expectation"]) == {WORDS.say(ELSEWHERE)}
    later = on("2006-10-11", of_field["harvests"])
    assert store.accept("harvests", later.assign(region="north"), "sync").conflicts == 1
    assert content(store) == before
    at_once = pd.concat([tables["readings"], tables["readings"].assign(region="south")], ignore_index=True)
    outcome = store.accept("readings", at_once, "sync")
    assert (outcome.added, outcome.known, outcome.conflicts) == (40, 20, 60)


def test_rows_that_two_regions_have_from_before_are_both_known(store: AcceptedStore, tables: Tables) -> None:
    store.accept("harvests", tables["harvests"].iloc[:1], "history")
    there = store.root / f"season={SEASON}" / "region=north"
    there.mkdir()
    moved = tables["harvests"].iloc[:1].assign(region="north")
    elsewhere = AcceptedStore(store.root.parent / "another", CONTRACT)
    elsewhere.accept("harvests", moved, "history")
    path = elsewhere.root / f"season={SEASON}" / "region=north" / "harvests.parquet"
    (there / "harvests.parquet").write_bytes(path.read_bytes())
    both = pd.concat([tables["harvests"].iloc[:1], moved], ignore_index=True)
    outcome = store.accept("harvests", both, "history")
    assert (outcome.added, outcome.known, outcome.conflicts) == (0, 2, 0)


def test_another_contracts_data_is_told_by_its_workload_or_by_the_hash_that_has_no_upgrade(
    store: AcceptedStore, tables: Tables
) -> None:
    store.accept("fields", tables["fields"], "x")
    before = content(store)
    another = AcceptedStore(store.root, replace(CONTRACT, workload="kiosk"))
    with pytest.raises(DataError, match=r"holds the accepted data of the workload agriculture, and this is kiosk"):
        another.accept("fields", tables["fields"], "x")
    changed = AcceptedStore(store.root, replace(CONTRACT, revision=99))
    with pytest.raises(DataError, match=rf"of the contract {CONTRACT.hash}, .* `upgrades` do not name it.* add one"):
        changed.accept("fields", tables["fields"], "x")
    assert content(store) == before
