"""For which season a model is trained: the one after the last that was lived, and nobody claims one into being."""

import logging

import pandas as pd
import pytest

from fieldedge.system.errors import DataError
from fieldloop.gateway.owners import UnitOwners
from fieldloop.stages.access import open_accepted
from fieldloop.stages.context import Loop
from fieldloop.stages.version import next_period
from tests.sample_season import SEASON, field_row, season_rows


def accept(loop: Loop, season: int, device_id: str | None, *tables: str) -> None:
    for table, rows in season_rows(field_row(season=season, device_id=device_id), days=3).items():
        if table in tables:
            open_accepted(loop).accept(table, pd.DataFrame(rows), "test")


def test_a_season_is_past_when_an_episode_of_it_ended_and_not_when_a_device_claims_it(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DataError, match=r"no season has ended .* register-device"):
        next_period(loop)
    accept(loop, SEASON, None, "fields", "harvests")  # of a history, by hand
    assert next_period(loop) == SEASON + 1
    accept(loop, SEASON + 1, "dev-00", "fields", "readings", "operations")
    assert next_period(loop) == SEASON + 1
    accept(loop, SEASON + 1, "dev-00", "harvests")
    with caplog.at_level(logging.WARNING):
        assert next_period(loop) == SEASON + 1
    (said,) = [record.getMessage() for record in caplog.records]
    assert f"season {SEASON + 1} is not learned from yet" in said
    assert "(champion-00 of dev-00): fieldloop register-device" in said
    owners = UnitOwners.beside(loop.paths.device_registry)
    owners.register({f"{SEASON + 1}/champion-00": "dev-17"})  # another, whose rows are not in yet
    assert next_period(loop) == SEASON + 1
    owners.register({f"{SEASON + 1}/champion-00": "dev-00"}, instead_of="dev-17")
    assert next_period(loop) == SEASON + 2
    accept(loop, 2100, "dev-00", "fields")
    assert next_period(loop) == SEASON + 2
