"""Years without a link, and a store that makes room."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

from benchmarks.attacks import Outcome, attack
from benchmarks.attacks.acknowledgements import fieldedge
from benchmarks.attacks.device_files import made
from fieldedge.contract import CHOSEN_ROLES, Record
from fieldedge.contract.batches import unpack
from fieldedge.device.config import DeviceConfig, DeviceDirectory, StoreConfig, write_config
from fieldedge.runtime.agent import Agent
from fieldedge.storage.eviction import make_room
from fieldedge.storage.store import Store
from fieldedge.system.clock import Stamp
from fieldedge.system.keys import load_key, public_key_hex
from fieldedge.workload import chosen_roles
from fieldloop.core.http_server import HttpServer
from fieldloop.gateway.app import create_app
from fieldloop.gateway.devices import DeviceRegistry
from tests.edge.farm import Farm
from tests.edge.sample import AGRICULTURE, DEVICE_ID, season_messages

FIRST, LAST = 2001, 2008
TODAY = date(LAST + 4, 1, 1)
DAYS = 120
BUDGET_BYTES = 3_500
MAX_BYTES = 1_000_000  # the least that the settings take


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
        contract, roles = AGRICULTURE.contract, chosen_roles(AGRICULTURE)
        roomy, full = (StoreConfig(max_bytes=most, max_days=1, min_free_bytes=0) for most in (100_000_000, 1))
        make_room(store, contract, roomy, TODAY, chosen_roles=roles)
        gone = before - store.states()["stored"]
        make_room(store, contract, full, TODAY, chosen_roles=roles)
        outcomes = [len(store.records(str(season), "harvests")) for season in range(FIRST, LAST + 1)]
    lost = gone + outcomes.count(0)
    return Outcome(0, lost, f"{before} records, {gone} gone by age; {sum(outcomes)} of {len(outcomes)} harvests kept")


@attack(line=12, words="eight seasons without a link on a store that holds a few, then a link", at_most_s=600.0)
def small_store_without_a_link(scratch: Path) -> Outcome:
    """The service makes room as it goes, and starts anew each year: of each season comes home what a link would take.

    Every outcome, that is, and days that fill the budget at least half.
    """
    directory = made(scratch)
    write_config(directory.settings, DeviceConfig(DEVICE_ID, "agriculture", upload_budget_bytes=BUDGET_BYTES))
    with directory.settings.open("a") as settings:
        settings.write(f"[store]\nmax_bytes = {MAX_BYTES}\nmax_days = 200\nmin_free_bytes = 0\n")
    told = {season: season_messages(DAYS, season) for season in range(FIRST, LAST + 1)}
    gone = largest = 0
    for season, messages in told.items():
        farm = Farm(directory, datetime(season, 12, 1, tzinfo=UTC))
        for message in messages:
            farm.service.agent.answer_line(json.dumps(message), "the season")
        before = sum(farm.service.store.states().values())
        farm.service.make_room()
        gone += before - sum(farm.service.store.states().values())
        largest = max(largest, farm.service.store.used_bytes())
        farm.close()
    came, sizes = _home_at_last(scratch, directory)
    lost, days = 0, 0
    for season, messages in told.items():
        said = {message["record"]["record_id"] for message in messages if message["kind"] in _OUTCOMES}
        lost += len(said - came.get(season, {}).keys())
        chosen = [_days(came.get(season, {}), table) for table in AGRICULTURE.contract.tables_of(*CHOSEN_ROLES)]
        lost += chosen[0] != chosen[1] or sizes.get(season, 0) < BUDGET_BYTES / 2
        days += len(chosen[0])
    if not gone:
        raise RuntimeError(f"the store had {largest} bytes at most: no room had to be made")
    of_all = f"{days} of {len(told) * DAYS} days of {len(came)} seasons"
    return Outcome(0, lost, f"{of_all} came home, {gone} records made room; {largest:,} bytes at most")


_OUTCOMES = ("field", "operation", "harvest")


def _home_at_last(scratch: Path, directory: DeviceDirectory) -> tuple[dict[int, dict[str, Record]], dict[int, int]]:
    """What a gateway holds after one sync, by season and identity, and the bytes of each season's batches."""
    registry = DeviceRegistry(scratch / "devices.json")
    registry.register({DEVICE_ID: public_key_hex(load_key(directory.private_key))})
    with HttpServer(create_app(scratch / "tuf", scratch / "inbox", registry.path)) as gateway:
        fieldedge(directory, "update", gateway.url)  # it learns whose acknowledgements count
        fieldedge(directory, "sync", gateway.url)
    came: dict[int, dict[str, Record]] = {}
    sizes: dict[int, int] = {}
    for path in (scratch / "inbox").rglob("*.batch"):
        content = unpack(path.read_bytes())
        season = content["season"]
        came.setdefault(season, {}).update(
            {record["record_id"]: record for rows in content["tables"].values() for record in rows}
        )
        sizes[season] = sizes.get(season, 0) + path.stat().st_size
    return came, sizes


def _days(records: dict[str, Record], table: str) -> set[str]:
    return {record["date"] for name, record in records.items() if f"/{table}/" in name}
