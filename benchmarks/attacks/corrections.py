"""People and late samples that correct what is stored, all the while that it is packed and sent."""

import json
import multiprocessing
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from itertools import count
from multiprocessing.synchronize import Event
from pathlib import Path

from benchmarks.attacks import Outcome, attack
from benchmarks.attacks.acknowledgements import fieldedge
from benchmarks.attacks.device_files import made
from fieldedge.contract import Record
from fieldedge.contract.batches import pack, unpack
from fieldedge.device.config import DeviceDirectory, read_config
from fieldedge.inference.loading import read_reference
from fieldedge.runtime.agent import Agent
from fieldedge.storage.store import Store
from fieldedge.system.errors import DataError
from fieldedge.system.keys import load_key, public_key_hex
from fieldedge.transfer.acknowledgements import Acknowledger
from fieldedge.transfer.outbox import Outbox
from fieldedge.transfer.packing import Packer
from fieldedge.transfer.uploads import Gateway, sync
from fieldedge.workloads.agriculture.operations import field_of, override_day, override_record
from fieldedge.workloads.agriculture.tables import said_last
from fieldloop.core.http_server import HttpServer
from fieldloop.gateway.app import create_app
from fieldloop.gateway.devices import DeviceRegistry
from tests.edge.sample import AGRICULTURE, DEVICE_ID, dated, day_of, season_messages

CONTRACT = AGRICULTURE.contract
SEASONS = (2004, 2005, 2006)
DAYS, SAID_DAYS = 60, range(0, 60, 3)
TODAY = date(2006, 12, 1)
SYNCS = 10
WORDS_FIRST = 40  # before the first sync, so that corrections come from its beginning on


@attack(
    line=11, words="amounts and readings are corrected without a pause while they are packed and sent", at_most_s=600.0
)
def corrected_while_packed(scratch: Path) -> Outcome:
    """What was said last of each day comes home, and what is marked as sent is what came."""
    directory = made(scratch)
    with Store(directory.store) as store:
        agent = Agent(read_config(directory.settings), AGRICULTURE, store, None)
        for season in SEASONS:
            for _ in agent.answers(json.dumps(message) for message in season_messages(DAYS, season)):
                continue
    registry = DeviceRegistry(scratch / "devices.json")
    registry.register({DEVICE_ID: public_key_hex(load_key(directory.private_key))})
    inbox = scratch / "inbox"
    with HttpServer(create_app(scratch / "tuf", inbox, registry.path)) as gateway:
        fieldedge(directory, "update", gateway.url)  # it learns whose acknowledgements count
        words = _corrected_during(directory, scratch / "words", lambda: _send(directory, gateway.url))
        _send(directory, gateway.url)
    came = [unpack(path.read_bytes())["tables"] for path in inbox.rglob("*.batch")]
    home = {record["record_id"]: record for tables in came for rows in tables.values() for record in rows}
    twice = sum(len(rows) for tables in came for rows in tables.values()) - len(home)
    said = {(row["season"], row["date"]): row["irrigation_mm"] for season in SEASONS for row in _said(home, season)}
    lost = sum(said.get(day) != amount for day, amount in words.items())
    with Store(directory.store) as store:
        otherwise = sum(home.get(record["record_id"]) != record for record in _sent(store))
    detail = f"{len(came)} batches, {len(words)} days corrected; {lost} last words lost, {otherwise} sent otherwise"
    return Outcome(twice, lost + otherwise, detail)


def _send(directory: DeviceDirectory, url: str) -> None:
    """As `fieldedge sync` does."""
    acknowledger = Acknowledger(directory, url, lambda: datetime.now(UTC))
    config = read_config(directory.settings)
    gateway = Gateway(url, config.device_id, load_key(directory.private_key), acknowledger)
    with Store(directory.store) as store:
        packer = Packer(config, AGRICULTURE, store, *read_reference(directory, AGRICULTURE))
        sync(store, Outbox(directory.outbox, store), packer, gateway)


def _corrected_during(directory: DeviceDirectory, log: Path, act: Callable[[], object]) -> dict[tuple[int, str], float]:
    """Have others correct while `act` is done over and over; the amount that was said last of each day."""
    context = multiprocessing.get_context("spawn")
    is_over, is_begun = context.Event(), context.Event()
    others = [
        context.Process(target=_correct_amounts, args=(directory, is_begun, is_over, log)),
        context.Process(target=_correct_readings, args=(directory, is_over)),
    ]
    for other in others:
        other.start()
    is_begun.wait()
    for _ in range(SYNCS):
        act()
    is_over.set()
    for other in others:
        other.join()
        if other.exitcode != 0:
            raise RuntimeError(f"who corrects ended with {other.exitcode}")
    said = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return {(season, day): amount for season, day, amount in said}


def _correct_amounts(directory: DeviceDirectory, is_begun: Event, is_over: Event, log: Path) -> None:
    """Say of each day in turn what was done on it; a word is noted once it was taken."""
    with Store(directory.store) as store, log.open("w", encoding="utf-8") as words:
        fields = {season: field_of(store, season) for season in SEASONS}
        days = [(season, day_of(day, season)) for day in SAID_DAYS for season in SEASONS]
        for number in count():
            season, day = days[number % len(days)]
            amount = (number % 149_000) / 1_000
            record = override_record(fields[season], day, amount, 0.0, "I looked again", CONTRACT)
            with suppress(DataError):  # where they are told that of this day enough was said
                override_day(store, fields[season], record, CONTRACT, TODAY)
                words.write(json.dumps([season, day, amount]) + "\n")
            if number == WORDS_FIRST:
                is_begun.set()
            if is_over.is_set():
                return


def _correct_readings(directory: DeviceDirectory, is_over: Event) -> None:
    """Correct the day's reading, as late samples do, until it is on its way."""
    with Store(directory.store) as store:
        for number in count():
            season, day = SEASONS[number % len(SEASONS)], number % DAYS
            former = store.get(str(dated("readings", day, season)["record_id"]))
            with suppress(DataError):
                store.replace("readings", {**(former or {}), "rain_mm": (number % 4_000) / 10}, "samples came late")
            if is_over.is_set():
                return


def _said(home: Mapping[str, Record], season: int) -> list[Record]:
    return said_last(row for name, row in home.items() if name.startswith(f"{season}/") and "/operations/" in name)


def _sent(store: Store) -> list[Record]:
    """What the store says was sent, as it travels."""
    tables = {
        table.name: [
            CONTRACT.current(table.name, row)
            for season in SEASONS
            for row in store.records(str(season), table.name, "acknowledged")
        ]
        for table in CONTRACT.tables
    }
    return [record for rows in unpack(pack({}, tables, CONTRACT))["tables"].values() for record in rows]
