"""What must be true of a device after a fault, and after it went on.

After a death: whatever was answered is in the store, the model is one that was whole at some time, and the gateway
holds nothing twice. After the same job was done again: everything is as in a life without the fault. Times are not
compared.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fieldedge.contract import Record
from fieldedge.contract.batches import unpack
from fieldedge.contract.samples import FlaggedSample
from fieldedge.contract.update_report import read
from fieldedge.inference.loading import NO_MODEL
from fieldedge.inference.slots import Slots
from fieldedge.storage.store import Store
from fieldedge.system.clock import format_utc, parse_utc
from fieldedge.system.instants import in_order
from tests.edge.faults.forks import Ended
from tests.edge.faults.life import Job, World

TIMES = ("latency_ms",)
ANSWERED = ("field", "decide", "harvest")
KEPT = timedelta(days=1)  # of samples at least, whatever is evicted
# What a trial found is found again where a full disk let it go; half a note of it is left over like any other file.
_PASSING = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Facts:
    """What a device and its gateway hold; how its model stands, and what of that is still to be reported."""

    records: dict[str, Record]
    states: dict[str, str]
    samples: dict[str, FlaggedSample]
    rejects: list[Record]
    model: tuple[str, str] | None
    received: dict[str, Record]
    waiting: int
    files: frozenset[str]
    stands: tuple[str | None, int | None] = (None, None)
    told: tuple[str, ...] = ()


def facts(world: World) -> Facts:
    """What there is now. The store is read, and checked, by this process.

    Raises:
        AssertionError: the gateway holds a record twice, or the device says that something is broken.
    """
    status = status_of(world)
    with Store(world.device.store) as store:
        store.check()
        records, states = stored(store)
        samples = samples_of(store)
        rejects = [{"error": row["error"], "body": row["body"]} for row in store.rejects()]
        waiting = len(store.prepared_batches())
    model = status["model"] or {}
    return Facts(
        {identity: untimed(record) for identity, record in records.items()},
        states,
        samples,
        rejects,
        (model["version"], model["slot"]) if model else None,
        received_once(world),
        waiting,
        frozenset(
            str(path.relative_to(world.device.root))
            for path in world.device.root.rglob("*")
            if not path.is_dir() and not path.name.endswith(_PASSING) and path != world.device.trials
        ),
        (model.get("state"), model.get("watched")),
        tuple(read(one.encode()).state for one in Slots(world.device.root).pointer().reports),
    )


def status_of(world: World) -> dict[str, Any]:
    """What `fieldedge status` says. It must always say something, and never that the model is broken."""
    ended = world.call("status", "--json")
    assert ended.code == 0, f"status fails: {ended.err}"
    status: dict[str, Any] = json.loads(ended.out)
    assert status["model"] is None or "error" not in status["model"], status["model"]
    return status


def stored(store: Store) -> tuple[dict[str, Record], dict[str, str]]:
    """All records and their states, by identity."""
    records, states = {}, {}
    for episode in store.episodes():
        for table in ("fields", "readings", "operations", "recommendations", "harvests"):
            for state in ("stored", "selected", "acknowledged"):
                for record in store.records(episode, table, state):
                    records[record["record_id"]], states[record["record_id"]] = record, state
    return records, states


def samples_of(store: Store) -> dict[str, FlaggedSample]:
    """All samples, by origin and time."""
    return {f"{one.sample.origin} {one.sample.time_utc}": one for one in store.samples("", "9")}


def received_once(world: World) -> dict[str, Record]:
    """What the gateway holds, by identity.

    Raises:
        AssertionError: it holds a record in two batches.
    """
    found: dict[str, Record] = {}
    for body in world.gateway.received.values():
        for rows in unpack(body)["tables"].values():
            for record in rows:
                assert record["record_id"] not in found, f"{record['record_id']} came twice"
                found[record["record_id"]] = record
    return found


def untimed(record: Mapping[str, Any]) -> Record:
    return {name: value for name, value in record.items() if name not in TIMES}


def check_after_death(world: World, job: Job, ended: Ended, before: Facts, models: Collection[str]) -> None:
    """A process ended in the middle of its job. `models` are the versions that may be active."""
    is_provisioned = world.device.settings.exists()
    if not is_provisioned:
        assert job.name == "init" and not ended.out, "what was provisioned has gone"
        return
    status = status_of(world)
    version = NO_MODEL if status["model"] is None else status["model"]["version"]
    assert version in models, f"model {version} is active; expected one of {models}"
    with Store(world.device.store) as store:
        store.check()
        records, states = stored(store)
        samples = samples_of(store)
    kept = {identity: untimed(record) for identity, record in records.items()}
    for identity, record in before.records.items():
        assert kept.get(identity) == record, f"{identity} was lost"
    check_acknowledged(job, ended, records)
    check_done(world, samples)
    received = received_once(world)
    for identity, state in states.items():
        assert state != "acknowledged" or identity in received, f"{identity} is freed, and the gateway has it not"


def check_acknowledged(job: Job, ended: Ended, records: Mapping[str, Record]) -> None:
    """Messages are handled in order: an answer acknowledges its message and all before it."""
    answers = ended.answers() if job.messages else []
    expected = [number for number, message in enumerate(job.messages) if message["kind"] in ANSWERED]
    is_over = bool(answers) and answers[-1]["kind"] == "summary"
    last = len(job.messages) - 1 if is_over else expected[len(answers) - 1] if answers else -1
    for message in job.messages[: last + 1]:
        if message["kind"] != "decide":
            identity = message["record"]["record_id"]
            assert identity in records, f"{identity} was acknowledged and is lost"
    for answer in answers:
        if answer["kind"] == "recommendation":
            stored_record = records.get(answer["record_id"])
            said = {name: value for name, value in answer.items() if name != "kind"}
            assert stored_record == said, f"{answer['record_id']} was answered and is lost"


def check_done(world: World, samples: Mapping[str, FlaggedSample]) -> None:
    """A file's lines that its source calls done are in the store, but for those that were old enough to be evicted."""
    marks_file = world.device.sources / "station.json"
    if not marks_file.exists():
        return
    newest = max((one.sample.time_utc for one in samples.values()), default="", key=in_order)
    kept_from = format_utc(parse_utc(newest) - KEPT) if newest else ""
    for name, mark in json.loads(marks_file.read_bytes()).items():
        done = (world.outside / "inbox" / name).read_bytes()[: mark["offset"]]
        for line in done.splitlines():
            at = json.loads(line).get("time")
            assert at is None or at < kept_from or f"station {at}" in samples, f"the sample of {at} is done and lost"


def check_after_recovery(world: World, undisturbed: Facts) -> None:
    """The same job again ends as if there had been no fault."""
    found = facts(world)
    assert found.records == undisturbed.records
    assert found.states == undisturbed.states
    assert found.samples == undisturbed.samples
    assert found.rejects == undisturbed.rejects
    assert found.model == undisturbed.model
    assert found.received == undisturbed.received
    assert found.waiting == undisturbed.waiting
    assert (found.stands, found.told) == (undisturbed.stands, undisturbed.told)
    assert found.files == undisturbed.files, f"left over: {sorted(found.files ^ undisturbed.files)}"


def check_after_time_has_passed(world: World, undisturbed: Facts) -> None:
    """The device works again: what loggers wrote is all there, the model is, and nothing was sent twice or made up.

    A day on which the disk failed may lack its decision, so that advice and what was done by it may differ.
    """
    found = facts(world)
    assert found.samples == undisturbed.samples
    assert found.rejects == undisturbed.rejects
    assert found.model == undisturbed.model
    assert _told(found) == _told(undisturbed)
    assert found.waiting == undisturbed.waiting
    assert found.files <= undisturbed.files, f"left over: {sorted(found.files - undisturbed.files)}"


def _told(found: Facts) -> set[str]:
    """The records that come from outside: the field, its readings and its harvest."""
    return {identity for identity in found.records if identity.split("/")[2] in ("fields", "readings", "harvests")}
