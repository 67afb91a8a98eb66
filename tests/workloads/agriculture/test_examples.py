"""One feature builder: what a model is trained on is what a device computed, or would have, in the field."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fieldedge.system.errors import DataError
from fieldedge.workloads import known_workload
from fieldedge.workloads.agriculture import Day
from fieldedge.workloads.agriculture.features import INDEX, days_between
from fieldloop.core.dataset import load_dataset, save_dataset
from fieldloop.workloads.agriculture.dataset import build_examples
from tests.sample_season import CONTRACT, Tables, field_row, frames
from tests.training.small_training import scaled

AGRICULTURE = known_workload("agriculture")
DAYS = 40


def whole(tables: Tables) -> Tables:
    """Every table of the contract, empty where none is given, as the store reads them."""
    return {table.name: tables.get(table.name, pd.DataFrame(columns=table.column_names)) for table in CONTRACT.tables}


def device_season(tables: Tables, record: dict[str, Any]) -> tuple[list[Day], list[dict[str, Any]]]:
    """The season as a device lives it: its history, and the recommendations that it stores each morning."""
    rows = {row["date"]: row for row in tables["readings"].to_dict("records")}
    done = tables["operations"].set_index("date")
    history: list[Day] = []
    told = []
    for number in range(DAYS):
        today = (date.fromisoformat(record["planting_date"]) + timedelta(days=number)).isoformat()
        advice = AGRICULTURE.recommend(record, history, today, None)
        values = advice.as_values(record, "3")
        told.append({"record_id": CONTRACT.record_id("recommendations", values), **values})
        reading = rows.get(today)
        reading = {name: None if value != value else value for name, value in reading.items()} if reading else None
        applied = done.loc[today] if today in done.index else {"irrigation_mm": 0.0, "nitrogen_kg_ha": 0.0}
        history.append(Day(today, reading, float(applied["irrigation_mm"]), float(applied["nitrogen_kg_ha"])))
    return history, told


def as_table(told: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(told)[list(CONTRACT.table("recommendations").column_names)]


def test_examples_are_the_devices_own_rows_after_the_days_action() -> None:
    record = field_row()
    tables = frames(record, days=DAYS)
    examples = build_examples(whole(tables))
    history, _ = device_season(tables, record)
    for number, row in enumerate(AGRICULTURE.featurize(history, record)[:DAYS]):
        (after,) = AGRICULTURE.with_actions(
            row, np.float32([history[number].irrigation_mm]), np.float32([history[number].nitrogen_kg_ha])
        )
        # Folded by the device's own functions, compiled: the last bits may be others.
        np.testing.assert_allclose(examples.inputs[number], after, rtol=5e-5, atol=1e-6)


def test_seasons_of_any_length_folded_at_once_give_what_each_gives_alone() -> None:
    rows = [field_row(number) for number in range(4)]
    for number, planting in enumerate(("2006-06-20", "2006-04-11", "2006-05-01", "2006-10-10")):
        rows[number]["planting_date"] = planting
    tables = frames(*rows, days=DAYS)
    for number, harvest in enumerate(("2006-10-10", "2006-09-30", "2006-10-10", "2006-10-10")):
        is_its = tables["harvests"]["field_id"] == f"champion-{number:02d}"
        tables["harvests"].loc[is_its, "date"] = harvest
    together = build_examples(whole(tables))
    assert len(together.groups) == 4, together.left_out
    for number, name in enumerate(together.groups):
        own = {table: frame[frame["field_id"] == name.partition("/")[2]] for table, frame in tables.items()}
        alone = build_examples(whole(own))
        np.testing.assert_array_equal(together.inputs[together.group == number], alone.inputs)
        np.testing.assert_array_equal(together.targets[together.group == number], alone.targets)


def test_where_one_season_cannot_be_folded_with_the_others_it_alone_is_left_out() -> None:
    tables = frames(field_row(0), field_row(1), days=DAYS)
    tables["readings"]["tmax_c"] = tables["readings"]["tmax_c"].astype(object)
    tables["readings"].loc[3, "tmax_c"] = "hot"
    examples = build_examples(whole(tables))
    assert examples.groups == ("2006/champion-01",)
    assert "it cannot be built" in examples.left_out["2006/champion-00"]


def test_days_that_a_device_sent_give_the_examples_that_all_its_readings_would_have_given() -> None:
    record = field_row(device_id="dev-00")
    tables = frames(record, days=DAYS)
    from_readings = build_examples(whole(tables))
    _, told = device_season(tables, record)
    sent = [3, 12, 13, 28]
    from_device = build_examples(whole({**tables, "recommendations": as_table([told[i] for i in reversed(sent)])}))
    np.testing.assert_allclose(from_device.inputs, from_readings.inputs[sent], atol=6e-5)
    np.testing.assert_array_equal(from_device.targets, from_readings.targets[sent])


def test_what_is_still_to_come_counts_from_after_the_days_action_to_the_harvest() -> None:
    record = field_row()
    examples = build_examples(whole(frames(record, days=DAYS)))
    assert len(examples) == days_between(record["planting_date"], "2006-10-10") + 1
    water = examples.targets[:, 1]
    assert (water[0], water[6], water[7], water[35]) == (125.0, 125.0, 100.0, 0.0)
    before, today = (examples.inputs[:, INDEX[n]] for n in ("irrigation_season_mm", "candidate_irrigation_mm"))
    assert (today[:8] == [25.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 25.0]).all()
    np.testing.assert_array_equal(before + today + water, np.full(len(examples), 150.0))
    assert (examples.targets[:, 0] == np.float32(11.5)).all()
    assert (examples.targets[:, 2] == 0.0).all()


def test_only_harvested_field_seasons_teach_and_each_is_a_group() -> None:
    tables = frames(field_row(0), field_row(1), field_row(2), days=DAYS)
    tables["harvests"] = tables["harvests"][tables["harvests"]["field_id"] != "champion-01"]
    examples = build_examples(whole(tables))
    assert examples.groups == ("2006/champion-00", "2006/champion-02")
    np.testing.assert_array_equal(np.bincount(examples.group), [len(examples) // 2] * 2)


def test_the_order_of_rows_in_the_tables_changes_nothing() -> None:
    tables = frames(field_row(0), field_row(1), days=DAYS)
    shuffled = {name: frame.sample(frac=1, random_state=4) for name, frame in tables.items()}
    straight, mixed = build_examples(whole(tables)), build_examples(whole(shuffled))
    assert straight.groups == mixed.groups
    np.testing.assert_array_equal(straight.inputs, mixed.inputs)
    np.testing.assert_array_equal(straight.targets, mixed.targets)


def test_operations_outside_the_season_are_not_counted() -> None:
    record = field_row()
    tables = frames(record, days=DAYS)
    before, after = tables["operations"].iloc[:1].copy(), tables["operations"].iloc[:1].copy()
    before["date"], after["date"] = "2006-04-20", "2006-12-24"
    more = {**tables, "operations": pd.concat([before, tables["operations"], after])}
    np.testing.assert_array_equal(build_examples(whole(more)).targets, build_examples(whole(tables)).targets)


def test_nothing_is_learned_of_what_was_only_assumed_to_be_done() -> None:
    tables = frames(field_row(), days=DAYS)
    all_known = build_examples(whole(tables))
    operations = tables["operations"].copy()
    operations.loc[operations.index[0], "basis"] = "assumed"
    partly = build_examples(whole({**tables, "operations": operations}))
    assert len(partly) == len(all_known) - 1
    np.testing.assert_array_equal(partly.targets[-1], all_known.targets[-1])


def test_what_was_said_last_of_a_day_counts() -> None:
    tables = frames(field_row(), days=DAYS)
    later = tables["operations"].iloc[:1].copy()
    later["record_id"], later["irrigation_mm"] = later["record_id"] + "/2", 7.0
    more = build_examples(whole({**tables, "operations": pd.concat([later, tables["operations"]])}))
    corrected = tables["operations"].copy()
    corrected.loc[corrected.index[0], "irrigation_mm"] = 7.0
    instead = build_examples(whole({**tables, "operations": corrected}))
    np.testing.assert_array_equal(more.targets, instead.targets)
    np.testing.assert_array_equal(more.inputs, instead.inputs)


def redated(rows: pd.DataFrame, day: str) -> pd.DataFrame:
    """The same rows about another day."""
    said = [identity.replace(date_, day) for identity, date_ in zip(rows["record_id"], rows["date"], strict=True)]
    return rows.assign(record_id=said, date=day)


@pytest.mark.parametrize("day", ["2005-10-10", "2006-04-30", "2016-10-10"])
def test_a_harvest_outside_its_season_leaves_out_that_field_season_alone_and_says_so(
    caplog: pytest.LogCaptureFixture, day: str
) -> None:
    tables = frames(field_row(0), field_row(1), days=DAYS)
    harvests = tables["harvests"]
    wrong = pd.concat([redated(harvests.iloc[:1], day), harvests.iloc[1:]])
    examples = build_examples(whole({**tables, "harvests": wrong}))
    assert examples.groups == ("2006/champion-01",)
    assert list(examples.left_out) == ["2006/champion-00"]
    assert f"date is {day}, which is not in 2006/champion-00" in examples.left_out["2006/champion-00"]
    assert "nothing is learned from 2006/champion-00" in caplog.text


def test_of_two_harvests_none_is_chosen_and_the_field_season_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    tables = frames(field_row(0), field_row(1), days=DAYS)
    second = redated(tables["harvests"].iloc[:1], "2006-10-11").assign(yield_t_ha=2.0)
    examples = build_examples(whole({**tables, "harvests": pd.concat([tables["harvests"], second])}))
    assert (examples.groups, set(examples.targets[:, 0])) == (("2006/champion-01",), {np.float32(11.5)})
    assert "2 harvests, 11.5 t/ha on 2006-10-10 and 2 t/ha on 2006-10-11" in examples.left_out["2006/champion-00"]
    assert "nothing is learned from 2006/champion-00" in caplog.text


def test_what_nobody_foresaw_of_one_field_season_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    tables = frames(field_row(0), field_row(1), days=DAYS)
    tables["readings"].loc[3, "date"] = "someday"
    examples = build_examples(whole(tables))
    assert examples.groups == ("2006/champion-01",)
    assert "it cannot be built: ValueError" in examples.left_out["2006/champion-00"]
    assert "Traceback" in caplog.text


def test_a_field_season_with_a_value_that_is_not_finite_spoils_no_training() -> None:
    tables = frames(field_row(0), field_row(1), days=DAYS)
    tables["harvests"].loc[0, "yield_t_ha"] = np.nan
    examples = build_examples(whole(tables))
    assert examples.groups == ("2006/champion-01",)
    assert "not finite" in examples.left_out["2006/champion-00"]


def test_where_every_field_season_is_left_out_it_says_why() -> None:
    tables = frames(field_row(), days=5)
    tables["harvests"] = redated(tables["harvests"], "2005-10-10")
    with pytest.raises(DataError, match=r"no harvested field-season .* 2006/champion-00 is left out: .* 2005-10-10"):
        build_examples(whole(tables))


def test_without_one_harvest_it_says_what_is_missing() -> None:
    tables = frames(field_row(), days=5)
    with pytest.raises(DataError, match=r"no harvested field-season .* rows of `harvests`"):
        build_examples(whole({name: tables[name] for name in ("fields", "readings")}))


def test_kept_examples_come_back_as_they_were(tmp_path: Path) -> None:
    tables = frames(field_row(0), field_row(1), days=DAYS)
    tables["harvests"].loc[0, "yield_t_ha"] = np.nan
    examples = build_examples(whole(tables))
    save_dataset(examples, tmp_path / "examples" / "x.npz")
    again = load_dataset(tmp_path / "examples" / "x.npz")
    assert again.groups == examples.groups
    assert again.left_out == examples.left_out and len(again.left_out) == 1
    for name in ("inputs", "targets", "group"):
        found, kept = getattr(again, name), getattr(examples, name)
        assert found.dtype == kept.dtype
        np.testing.assert_array_equal(found, kept)
    assert scaled(again).dtype == np.float32
