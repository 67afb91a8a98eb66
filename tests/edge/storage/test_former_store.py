"""A store of the former contract opens and goes on: what it holds goes home as today's contract has it.

`former_store/` was made by the version before operations said their basis: a season of a few days, its first batch
waiting in the outbox, and one operation that was noted because nobody had said otherwise.
"""

import lzma
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fieldedge.contract.batches import unpack
from fieldedge.device.config import DeviceDirectory, read_config
from fieldedge.runtime.agent import Agent
from fieldedge.storage.store import Store
from fieldedge.system.keys import load_key
from fieldedge.transfer.acknowledgements import Acknowledger
from fieldedge.transfer.outbox import Outbox
from fieldedge.transfer.packing import Packer
from fieldedge.transfer.uploads import Gateway, sync
from fieldedge.workloads.agriculture.operations import confirm_day, field_of
from fieldedge.workloads.agriculture.upgrades import REVISION_2
from tests.edge.sample import AGRICULTURE, EPISODE, SEASON, GatewaySimulator, dated, day_of

FORMER = Path(__file__).parent / "former_store"


@pytest.fixture
def former(device: DeviceDirectory) -> DeviceDirectory:
    """A device whose store and outbox were left by the former version."""
    device.outbox.mkdir(exist_ok=True)
    device.store.write_bytes(lzma.decompress((FORMER / "store.db.xz").read_bytes()))
    for batch in FORMER.glob("*.batch"):
        (device.outbox / batch.name).write_bytes(batch.read_bytes())
    return device


def send(device: DeviceDirectory, url: str) -> None:
    config = read_config(device.settings)
    with Store(device.store) as store:
        packer = Packer(config, AGRICULTURE, store, "none", None)
        acknowledger = Acknowledger(device, url, lambda: datetime.now(UTC))
        gateway = Gateway(url, config.device_id, load_key(device.private_key), acknowledger)
        sync(store, Outbox(device.outbox, store), packer, gateway)


def test_a_batch_that_waits_goes_as_it_is_and_the_rest_as_todays_contract_has_it(
    former: DeviceDirectory, gateway: GatewaySimulator
) -> None:
    (waiting,) = FORMER.glob("*.batch")
    send(former, gateway.url)
    first, second = gateway.posts
    assert first == waiting.read_bytes()
    assert (unpack(first)["contract_hash"], unpack(second)["contract_hash"]) == (
        REVISION_2,
        AGRICULTURE.contract.hash,
    )
    content = unpack(second)["tables"]
    for table, records in content.items():
        for record in records:
            AGRICULTURE.contract.table(table).check(record, "sent")
    assert {record["date"]: record["basis"] for record in content["operations"]} == {
        day_of(3): "confirmed",  # a person's override
        day_of(5): "assumed",  # noted because it was advised
    }
    assert {record["bundle_sha256"] for record in content["recommendations"]} == {None}
    with Store(former.store) as store:
        assert set(store.states()) == {"acknowledged"}


def test_the_season_goes_on_and_what_was_noted_can_be_confirmed(former: DeviceDirectory) -> None:
    with Store(former.store) as store:
        agent = Agent(read_config(former.settings), AGRICULTURE, store, None)
        assert agent.decide(day_of(6))["date"] == day_of(6)
        field, today = field_of(store, SEASON), datetime.now(UTC).date()
        record, outcome = confirm_day(store, field, day_of(5), AGRICULTURE.contract, today)
        assert (outcome, record["basis"], record["source"]) == ("confirmed", "confirmed", "recommendation")
        assert store.get(dated("operations", 5)["record_id"]) == record
        assert {r["season"] for r in store.records(EPISODE, "operations")} == {SEASON}
