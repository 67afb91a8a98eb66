"""The names that a workload's columns may not have are those that the core writes, no more and no fewer."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from fieldedge.contract.reserved import BESIDE_DECISIONS, written_beside
from fieldloop.validation import check_frames
from fieldloop.validation.expectations import Rule
from fieldloop.validation.suites import SuiteRun
from tests.sample_season import CONTRACT, TODAY, field_row, frames, recommendation_row

FIELD = field_row(device_id="dev-00")
# The days into its episode of the row that opens it are not asked.
NOT_ASKED = {f"{column.name}_days_into_episode" for column in CONTRACT.context_table.date_columns}


def test_the_list_is_what_judging_writes_into_frames_and_what_its_rules_speak_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written, spoken_of = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)

    def seen(_run: SuiteRun, table: str, rules: Sequence[Rule], frame: pd.DataFrame) -> dict[int, list[Any]]:
        written[table] |= set(frame.columns)
        for rule in rules:
            said = rule.expectation.dict()
            spoken_of[table] |= {said[name] for name in ("column", "column_A", "column_B") if name in said}
            spoken_of[table] |= {*said.get("column_list", ()), *said.get("column_set", ())}
        return {0: [frame.index[0]]}

    monkeypatch.setattr(SuiteRun, "check", seen)
    advised = recommendation_row(FIELD, "2006-05-02")
    answer = {name: advised[name] for name in ("season", "region", "field_id", "date")}
    answer |= {"factor": "gauge", "times": 1.2, "answer": "taken"}
    tables = {
        **frames(FIELD, days=2),
        "recommendations": pd.DataFrame([advised]),
        "confirmations": pd.DataFrame([CONTRACT.record("confirmations", answer, "an answer")]),
    }
    told = {name: rows.assign(origin="a") for name, rows in tables.items()}
    for sent in (True, False):
        checked = check_frames(
            told,
            CONTRACT,
            TODAY,
            senders={"a": "dev-00"} if sent else None,
            known_devices=None if sent else ["dev-00"],
        )
        for name, rows in (*checked.accepted.items(), *checked.rejected.items()):
            written[name] |= set(rows.columns)
    assert set(written) == {table.name for table in CONTRACT.tables}
    found, listed = set[str](), set[str]()
    for table in CONTRACT.tables:
        beside, own = written_beside(table, CONTRACT.episode), set(table.column_names)
        assert spoken_of[table.name] <= written[table.name]
        assert written[table.name] - own <= beside, table.name
        found, listed = found | (written[table.name] - own), listed | beside
    assert found | set(BESIDE_DECISIONS) | NOT_ASKED == listed
