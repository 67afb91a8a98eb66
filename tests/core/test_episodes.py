"""Accepted tables, episode by episode."""

import pandas as pd
import pytest

from fieldedge.contract import Column, Contract, EpisodeKey, Role, Table
from fieldloop.core.episodes import accepted_episodes

MOMENT = "2006-05-01T08:00:00Z"
NAMES = (Column("record_id", "str"), Column("day", "int"), Column("kiosk_id", "str"), Column("at_utc", "time"))
ROLES: dict[str, Role] = {
    "shifts": "context",
    "thanks": "feedback",
    "offers_made": "action",
    "visitors": "observation",
    "offers": "decision",
    "closings": "outcome",
}


@pytest.mark.parametrize("order", [list(ROLES), list(reversed(ROLES))])
def test_of_one_moment_comes_first_what_was_seen_then_what_was_done_and_what_was_said_of_it(order: list[str]) -> None:
    """However a contract declares its tables: an episode is asked after an observation, and not told its answer."""
    tables = tuple(Table(name, NAMES, ("record_id",), role=ROLES[name], identity=("at_utc",)) for name in order)
    contract = Contract("kiosk", 1, tables, (), (), EpisodeKey(("day", "kiosk_id"), ("day", "hall"), "closings"))

    def row(table: str, at_utc: str) -> dict[str, object]:
        return {"record_id": f"1/k/{table}/{at_utc}", "day": 1, "kiosk_id": "k", "at_utc": at_utc}

    rows = {name: pd.DataFrame([row(name, MOMENT)]) for name in ROLES}
    rows["thanks"] = pd.DataFrame([row("thanks", MOMENT), row("thanks", "2006-05-01T07:00:00Z")])
    (episode,) = accepted_episodes(rows, contract)
    assert [table for table, _ in episode.rows] == ["thanks", "visitors", "offers_made", "thanks"]
