"""Years without a link, and a store that makes room."""

import json
from datetime import date
from pathlib import Path

from benchmarks.attacks import Outcome, attack
from fieldedge.agent import Agent
from fieldedge.clock import Stamp
from fieldedge.config import DeviceConfig, StoreConfig
from fieldedge.eviction import make_room
from fieldedge.store import Store
from tests.edge.sample import AGRICULTURE, DEVICE_ID, season_messages

FIRST, LAST = 2001, 2008
TODAY = date(LAST + 4, 1, 1)


@attack(line=12, words="eight seasons without a link, the youngest of them beyond the age limit")
def aged_without_a_link(scratch: Path) -> Outcome:
    """Where there is room nothing goes that nobody chose from; on a full store no outcome goes."""
    with Store(scratch / "store.db", lambda: Stamp("boot", f"{TODAY}T12:00:00Z", True)) as store:
        agent = Agent(DeviceConfig(DEVICE_ID, "agriculture"), AGRICULTURE, store, None)
        for season in range(FIRST, LAST + 1):
            lines = (json.dumps(message) for message in season_messages(30, season))
            for _ in agent.answers(lines):
                continue
        before = store.states()["stored"]
        make_room(store, StoreConfig(max_bytes=100_000_000, max_days=1, min_free_bytes=0), TODAY)
        gone = before - store.states()["stored"]
        make_room(store, StoreConfig(max_bytes=1, max_days=1, min_free_bytes=0), TODAY)
        outcomes = [len(store.records(season, "harvests")) for season in range(FIRST, LAST + 1)]
    lost = gone + outcomes.count(0)
    return Outcome(0, lost, f"{before} records, {gone} gone by age; {sum(outcomes)} of {len(outcomes)} harvests kept")
