"""What judges a model: a history, and the fields that persons registered."""

import logging
from dataclasses import replace

import pandas as pd
import pytest

from fieldedge.system.errors import DataError
from fieldloop.gateway.owners import UnitOwners
from fieldloop.stages.access import learnable_hash, open_accepted, read_judging_tables, unjudging
from fieldloop.stages.context import Loop
from fieldloop.stages.evaluate import last_word
from fieldloop.stages.examples import held_out_examples
from fieldloop.stages.refs import SnapshotRef
from fieldloop.stages.train import _run_folder
from tests.sample_season import field_row, season_rows


def accept(loop: Loop, number: int, device_id: str | None, season: int = 0) -> None:
    season = season or loop.params.gates.held_out_periods[0]
    for table, rows in season_rows(field_row(number, season=season, device_id=device_id)).items():
        open_accepted(loop).accept(table, pd.DataFrame(rows), "test")


def test_a_field_that_nobody_registered_judges_no_model(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    seasons = loop.params.gates.held_out_periods
    accept(loop, 1, "dev-66")
    with pytest.raises(DataError, match=r"no model can be judged .* fieldloop register-device"):
        held_out_examples(loop)
    accept(loop, 0, None)
    with caplog.at_level(logging.WARNING):
        before, word = held_out_examples(loop), last_word(loop)
    assert f"({seasons[0]}/champion-01 first): fieldloop register-device" in caplog.text
    assert len(before.groups) == 1
    tables = read_judging_tables(loop, seasons)
    assert {field for rows in tables.values() for field in rows["field_id"]} == {"champion-00"}
    assert len(open_accepted(loop).read("fields")) == 2
    UnitOwners.beside(loop.paths.device_registry).register({"champion-01": "dev-66"})
    assert len(held_out_examples(loop).groups) == 2
    assert unjudging(loop, seasons) == ""
    assert last_word(loop) != word


def test_a_network_that_learned_from_a_season_is_not_taken_for_one_that_did_not(loop: Loop) -> None:
    for season in (2003, 2004, 2005):
        accept(loop, 0, None, season)
    data = SnapshotRef("d" * 32, 2006, learnable_hash(loop, 2006), "", False)
    folders = set()
    for held_out in ((2005,), (2004, 2005)):
        gates = loop.params.gates.model_copy(update={"held_out_periods": held_out})
        other = replace(loop, params=loop.params.model_copy(update={"gates": gates}))
        folders.add(_run_folder(other, data, ""))
    assert len(folders) == 2
