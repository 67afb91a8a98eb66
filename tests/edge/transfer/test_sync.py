"""What is worth sending arrives once; what is not acknowledged is kept."""

import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import fieldedge.contract.batches
import fieldedge.transfer.outbox
import fieldedge.transfer.packing
from fieldedge.cli import main
from fieldedge.contract import ALWAYS_SENT_ROLES, CHOSEN_ROLES, Record
from fieldedge.contract.batches import batch_id, check_batch, pack, unpack
from fieldedge.device.config import DeviceConfig, DeviceDirectory, read_config, write_config
from fieldedge.diagnostics.doctor import examine
from fieldedge.inference.loading import LoadedModel, read_reference
from fieldedge.inference.model import Model
from fieldedge.inference.slots import Installed
from fieldedge.runtime.agent import Agent
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock
from fieldedge.system.errors import ConfigError, DataError, LinkError, ReleaseError
from fieldedge.system.keys import load_key, load_or_create_key, sign
from fieldedge.transfer.acknowledgements import Acknowledger, statement, trusted_keys
from fieldedge.transfer.outbox import Outbox
from fieldedge.transfer.packing import Packer
from fieldedge.transfer.uploads import Gateway, sync
from tests.edge.raw_server import RawServer
from tests.edge.sample import (
    AGRICULTURE,
    DEVICE_ID,
    EPISODE,
    SEASON,
    GatewaySimulator,
    Repository,
    dated,
    field_record,
    onnx_model,
    season_messages,
)

ALWAYS_SENT = AGRICULTURE.contract.tables_of(*ALWAYS_SENT_ROLES)
CHOSEN_FROM = AGRICULTURE.contract.tables_of(*CHOSEN_ROLES)

BUDGET_BYTES = 3_500


def live(device: DeviceDirectory, days: int = 60, **season: Any) -> None:
    """A season on the device, with a model."""
    model = Model(onnx_model(AGRICULTURE.contract), AGRICULTURE.contract)
    with Store(device.store) as store:
        loaded = LoadedModel(Installed("a", "1", "float32", "", ""), model, None)
        agent = Agent(read_config(device.settings), AGRICULTURE, store, loaded)
        list(agent.answers(json.dumps(message) for message in season_messages(days, **season)))


def send(device: DeviceDirectory, url: str) -> Record:
    config = read_config(device.settings)
    acknowledger = Acknowledger(device, url, lambda: datetime.now(UTC))
    with Store(device.store) as store:
        packer = Packer(config, AGRICULTURE, store, *read_reference(device, AGRICULTURE))
        gateway = Gateway(url, config.device_id, load_key(device.private_key), acknowledger)
        return sync(store, Outbox(device.outbox, store), packer, gateway)


@pytest.fixture(scope="module")
def lived_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a device after a season of 60 days; made once."""
    directory = DeviceDirectory(tmp_path_factory.mktemp("lived"))
    write_config(directory.settings, DeviceConfig(DEVICE_ID, "agriculture", BUDGET_BYTES))
    live(directory)
    return directory.store


@pytest.fixture
def lived(device: DeviceDirectory, lived_store: Path) -> DeviceDirectory:
    """A device after a season of 60 days, with a budget for a part of them."""
    write_config(device.settings, DeviceConfig(DEVICE_ID, "agriculture", BUDGET_BYTES))
    shutil.copy(lived_store, device.store)
    return device


def received_records(gateway: GatewaySimulator) -> list[Record]:
    tables = [unpack(body)["tables"] for body in gateway.received.values()]
    return [record for table in tables for records in table.values() for record in records]


def stored_ids(device: DeviceDirectory, table: str, state: str | None = None) -> set[str]:
    with Store(device.store) as store:
        return {record["record_id"] for episode in store.episodes() for record in store.records(episode, table, state)}


def test_a_season_goes_home_in_one_batch_within_the_budget(lived: DeviceDirectory, gateway: GatewaySimulator) -> None:
    report = send(lived, gateway.url)
    (body,) = gateway.received.values()
    content = unpack(body)
    assert report == {
        "season": SEASON,
        "records_collected": 1 + 60 + 60 + 9 + 1,
        "records_selected": len(received_records(gateway)),
        "records_acknowledged": len(received_records(gateway)),
        "bytes_collected": report["bytes_collected"],
        "bytes_sent": len(body),
        "batches": 1,
    }
    assert len(body) <= BUDGET_BYTES < report["bytes_collected"]
    assert content["summary"]["recommendations"] == 60
    assert {content[name] for name in ("device_id", "workload", "contract_hash")} == {
        DEVICE_ID,
        "agriculture",
        AGRICULTURE.contract.hash,
    }
    for table, records in content["tables"].items():
        for record in records:
            assert tuple(record) == AGRICULTURE.contract.table(table).column_names
            AGRICULTURE.contract.table(table).check(record, "received")


def test_all_outcomes_go_and_a_day_goes_whole_or_not_at_all(lived: DeviceDirectory, gateway: GatewaySimulator) -> None:
    send(lived, gateway.url)
    received = {record["record_id"] for record in received_records(gateway)}
    for table in ALWAYS_SENT:
        assert stored_ids(lived, table) <= received
    days = {table: {r.split("/")[-1] for r in received if f"/{table}/" in r} for table in CHOSEN_FROM}
    assert days["readings"] == days["recommendations"]
    assert 5 < len(days["readings"]) < 60


def test_outcomes_go_even_where_the_budget_is_nothing(device: DeviceDirectory, gateway: GatewaySimulator) -> None:
    write_config(device.settings, DeviceConfig(DEVICE_ID, "agriculture", upload_budget_bytes=0))
    live(device, days=10)
    send(device, gateway.url)
    (body,) = gateway.received.values()
    never_asked = set(AGRICULTURE.contract.tables_of("feedback"))
    assert set(unpack(body)["tables"]) == set(ALWAYS_SENT) - never_asked


def test_a_second_sync_sends_nothing_and_reports_the_same(lived: DeviceDirectory, gateway: GatewaySimulator) -> None:
    first = send(lived, gateway.url)
    assert send(lived, gateway.url) == first
    assert len(gateway.posts) == 1
    assert list(lived.outbox.iterdir()) == []


def test_before_the_harvest_only_outcomes_go_and_the_days_follow_with_it(
    device: DeviceDirectory, gateway: GatewaySimulator
) -> None:
    live(device, days=10, harvest_t_ha=None)
    send(device, gateway.url)
    (early,) = gateway.received.values()
    assert set(unpack(early)["tables"]) == {"fields", "operations"}
    live(device, days=10)
    report = send(device, gateway.url)
    late = list(gateway.received.values())[1]
    assert set(unpack(late)["tables"]) == {"harvests", "readings", "recommendations"}
    assert (report["batches"], report["records_acknowledged"]) == (2, report["records_collected"])


def test_a_season_without_harvest_is_sent_when_the_next_one_has_begun(
    device: DeviceDirectory, gateway: GatewaySimulator
) -> None:
    live(device, days=5, harvest_t_ha=None)
    live(device, days=2, season=SEASON + 1, harvest_t_ha=None)
    report = send(device, gateway.url)
    assert report["season"] == SEASON + 1
    sent = stored_ids(device, "readings", "acknowledged")
    assert sent == {f"{SEASON}/champion-00/readings/2006-05-0{day}" for day in range(1, 6)}


def acknowledge_other_bytes(_body: bytes) -> tuple[int, Any]:
    return 201, {"acknowledged": "0" * 64}


@pytest.mark.parametrize(
    ("behave", "kind", "said"),
    [
        (acknowledge_other_bytes, LinkError, "acknowledged 000000000000 where"),
        (lambda _body: (200, {"ok": True}), LinkError, "acknowledged None"),
        (lambda _body: (200, b"<html>log in to the hotel's network</html>"), LinkError, "acknowledged None"),
        (lambda body: (202, {"acknowledged": hashlib.sha256(body).hexdigest()}), LinkError, "answered 202"),
        (lambda _body: (302, {}), LinkError, "answers 302 and points to 'nowhere'"),
        (lambda _body: (500, b"oops"), LinkError, "answered 500"),
        (lambda _body: (503, {"error": "full"}), LinkError, "full"),
        (lambda _body: (401, {"error": "unknown device"}), ConfigError, "unknown device"),
        (lambda _body: (400, {"error": "not xz"}), DataError, "not xz"),
        (lambda _body: (413, {"error": "too large"}), DataError, "too large"),
    ],
)
def test_only_the_right_acknowledgement_frees_a_batch_and_a_retry_sends_the_same_bytes(
    lived: DeviceDirectory,
    gateway: GatewaySimulator,
    behave: Callable[[bytes], tuple[int, Any]],
    kind: type[Exception],
    said: str,
) -> None:
    gateway.behave = behave
    with pytest.raises(kind, match=said):
        send(lived, gateway.url)
    with Store(lived.store) as store:
        assert [said in event["text"] for event in store.events(kind="not_acknowledged")] == [True] * (
            "acknowledged" in said
        )
    (file,) = lived.outbox.iterdir()
    kept = file.read_bytes()
    assert file.name == f"{batch_id(kept)}.batch"
    assert stored_ids(lived, "harvests", "selected") == stored_ids(lived, "harvests")

    gateway.behave = None
    send(lived, gateway.url)
    assert gateway.posts == [kept, kept]
    assert stored_ids(lived, "harvests", "acknowledged") == stored_ids(lived, "harvests")


def test_a_redirect_is_told_with_where_it_points(lived: DeviceDirectory) -> None:
    moved = RawServer()
    moved.next = b"HTTP/1.1 308 Any\r\nLocation: https://gateway.example.org/v1/batches\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(LinkError, match=r"answers 308 and points to 'https://gateway\.example\.org/v1/batches'"):
        send(lived, moved.url)


def test_without_a_link_the_batch_waits(lived: DeviceDirectory, gateway: GatewaySimulator) -> None:
    with pytest.raises(LinkError, match="cannot be reached"):
        send(lived, "http://127.0.0.1:9")
    assert len(list(lived.outbox.iterdir())) == 1
    assert send(lived, gateway.url)["batches"] == 1


def test_an_acknowledgement_that_got_lost_costs_a_second_post_and_nothing_else(
    lived: DeviceDirectory, gateway: GatewaySimulator
) -> None:
    def hold_it_but_fail(body: bytes) -> tuple[int, Any]:
        gateway.store(body)
        return 500, b""

    gateway.behave = hold_it_but_fail
    with pytest.raises(LinkError):
        send(lived, gateway.url)
    gateway.behave = None
    report = send(lived, gateway.url)
    assert (len(gateway.posts), len(gateway.received), report["batches"]) == (2, 1, 1)


def test_a_device_with_a_key_that_the_gateway_does_not_know_keeps_everything(
    lived: DeviceDirectory, gateway: GatewaySimulator
) -> None:
    gateway.public_keys.clear()
    with pytest.raises(ConfigError, match="register the device's public key"):
        send(lived, gateway.url)
    assert len(list(lived.outbox.iterdir())) == 1


def test_a_refused_batch_does_not_hold_up_the_others(device: DeviceDirectory, gateway: GatewaySimulator) -> None:
    live(device, days=5)
    live(device, days=4, season=SEASON + 1)

    def refuse_the_first_season(body: bytes) -> tuple[int, Any]:
        return (400, {"error": "no"}) if unpack(body)["season"] == SEASON else gateway.store(body)

    gateway.behave = refuse_the_first_season
    with pytest.raises(DataError):
        send(device, gateway.url)
    assert [unpack(body)["season"] for body in gateway.received.values()] == [SEASON + 1]


class PowerLoss(BaseException):
    """Ends the process where it is raised: no handler may mend anything."""


@pytest.mark.parametrize("step", ["mark_selected", "mark_acknowledged"])
def test_power_loss_between_file_and_store_loses_nothing(
    lived: DeviceDirectory, gateway: GatewaySimulator, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def power_loss(*_values: object) -> None:
        raise PowerLoss

    with monkeypatch.context() as patch, pytest.raises(PowerLoss):
        patch.setattr(fieldedge.transfer.outbox.Store, step, power_loss)
        send(lived, gateway.url)
    report = send(lived, gateway.url)
    assert report["records_acknowledged"] == report["records_selected"] == len(received_records(gateway))
    assert len(gateway.received) == 1
    assert list(lived.outbox.iterdir()) == []


@pytest.mark.parametrize("damage", ["lost", "cut"])
def test_records_of_a_batch_that_the_disk_lost_are_selected_anew(
    lived: DeviceDirectory, gateway: GatewaySimulator, damage: str
) -> None:
    with pytest.raises(LinkError):
        send(lived, "http://127.0.0.1:9")
    (file,) = lived.outbox.iterdir()
    if damage == "lost":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:50])
    report = send(lived, gateway.url)
    assert report["batches"] == 1
    assert stored_ids(lived, "harvests", "acknowledged") == stored_ids(lived, "harvests")


def test_what_one_batch_cannot_hold_goes_home_in_several(
    lived: DeviceDirectory, gateway: GatewaySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fieldedge.contract.batches, "MAX_ROWS", 7)
    report = send(lived, gateway.url)
    assert len(gateway.received) > 2
    for body in gateway.received.values():
        check_batch(body)
    assert report["records_acknowledged"] == report["records_selected"] == len(received_records(gateway))
    days = [body for body in gateway.received.values() if not set(CHOSEN_FROM).isdisjoint(unpack(body)["tables"])]
    assert len(days) == 1, "days are chosen once, so what is chosen is one batch: a power cut takes all of it or none"
    for table in ALWAYS_SENT:
        assert stored_ids(lived, table, "acknowledged") == stored_ids(lived, table)
    send(lived, gateway.url)
    assert stored_ids(lived, "readings", "acknowledged") == {
        record["record_id"] for body in days for record in unpack(body)["tables"]["readings"]
    }


def test_a_record_that_fits_into_no_batch_stays_is_told_of_once_and_holds_up_no_other(
    lived: DeviceDirectory, gateway: GatewaySimulator
) -> None:
    endless = dated("operations", 1, irrigation_mm=5.0, nitrogen_kg_ha=0.0, basis="confirmed") | {
        "source": "[" * 60_000
    }
    with Store(lived.store) as store:
        store.add("operations", endless)
    for _ in range(2):
        send(lived, gateway.url)
    assert stored_ids(lived, "operations", "stored") == {endless["record_id"]}
    assert stored_ids(lived, "harvests", "acknowledged") == stored_ids(lived, "harvests")
    with Store(lived.store) as store:
        (event,) = store.events(kind="not_sent")
    assert event["times"] == 2 and f"such as {endless['record_id']}: the batch has more than" in event["text"]


def test_a_batch_that_a_former_agent_made_too_large_is_made_anew_in_parts(
    lived: DeviceDirectory, gateway: GatewaySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LinkError):
        send(lived, "http://127.0.0.1:9")
    (former,) = lived.outbox.iterdir()
    monkeypatch.setattr(fieldedge.contract.batches, "MAX_ROWS", 7)
    send(lived, gateway.url)
    assert former.stem not in gateway.received and list(lived.outbox.iterdir()) == []
    for body in gateway.received.values():
        check_batch(body)
    assert stored_ids(lived, "operations", "acknowledged") == stored_ids(lived, "operations")


def test_a_device_that_has_lived_nothing_has_nothing_to_send(
    device: DeviceDirectory, gateway: GatewaySimulator
) -> None:
    assert send(device, gateway.url)["season"] is None
    assert gateway.posts == []


def test_an_operation_recorded_after_the_season_was_sent_still_goes(
    lived: DeviceDirectory, gateway: GatewaySimulator
) -> None:
    send(lived, gateway.url)
    late = dated("operations", 1, irrigation_mm=5.0, nitrogen_kg_ha=0.0, source="override")
    late["basis"] = "confirmed"
    with Store(lived.store) as store:
        store.add("operations", late)
    send(lived, gateway.url)
    assert unpack(list(gateway.received.values())[1])["tables"] == {"operations": [late]}


def correction(day: int) -> Record:
    """What a person says of a day after all."""
    return dated("operations", day, irrigation_mm=7.5, nitrogen_kg_ha=0.0, source="override", basis="confirmed")


def meanwhile(monkeypatch: pytest.MonkeyPatch, device: DeviceDirectory, act: Callable[[Store], None]) -> None:
    """While a batch is packed, another process of the device does something in the store."""

    def pack_slowly(*values: Any) -> bytes:
        with Store(device.store) as store:
            act(store)
        return pack(*values)

    monkeypatch.setattr(fieldedge.transfer.packing, "pack", pack_slowly)


@pytest.mark.parametrize("times", [1, 10_000])
def test_a_correction_that_comes_while_a_batch_is_packed_goes_home_and_what_it_corrects_does_not(
    lived: DeviceDirectory, gateway: GatewaySimulator, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    left = iter(range(times))

    def correct(store: Store) -> None:
        if next(left, None) is not None:
            store.replace("operations", correction(3), "I looked again")

    with monkeypatch.context() as patch:
        meanwhile(patch, lived, correct)
        send(lived, gateway.url)
    send(lived, gateway.url)
    received = [record for record in received_records(gateway) if record["record_id"] == correction(3)["record_id"]]
    assert received == [correction(3)]
    assert stored_ids(lived, "operations", "acknowledged") == stored_ids(lived, "operations")


def test_a_corrected_reading_of_a_chosen_day_goes_home_with_the_day(
    lived: DeviceDirectory, gateway: GatewaySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def correct_all(store: Store) -> None:
        for day in range(60):
            record = {**store.get(dated("readings", day)["record_id"]), "rain_mm": 77.0}  # type: ignore[dict-item]
            store.replace("readings", record, "samples came late")

    with monkeypatch.context() as patch:
        meanwhile(patch, lived, correct_all)
        send(lived, gateway.url)
    send(lived, gateway.url)
    assert {r["rain_mm"] for r in received_records(gateway) if "/readings/" in r["record_id"]} == {77.0}
    days = {t: {r["date"] for r in received_records(gateway) if f"/{t}/" in r["record_id"]} for t in CHOSEN_FROM}
    assert days["readings"] == days["recommendations"]


def test_what_is_evicted_while_a_batch_is_packed_is_in_the_batch(
    device: DeviceDirectory, gateway: GatewaySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(device, days=5)
    live(device, days=1, season=SEASON + 1)

    def evict(store: Store) -> None:
        store.evict("days", "records", "t.episode = :e AND t.table_name = 'readings'", "t.sequence", {"e": EPISODE}, 99)

    with monkeypatch.context() as patch:
        meanwhile(patch, device, evict)
        send(device, gateway.url)
    assert len([r for r in received_records(gateway) if f"{SEASON}/champion-00/readings/" in r["record_id"]]) == 5


def test_what_another_process_has_put_into_a_batch_meanwhile_goes_once(
    lived: DeviceDirectory, gateway: GatewaySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_first = iter([True])

    def pack_too(_store: Store) -> None:
        if next(is_first, False):
            with Store(lived.store) as store:
                config = read_config(lived.settings)
                packer = Packer(config, AGRICULTURE, store, *read_reference(lived, AGRICULTURE))
                assert packer.prepare(Outbox(lived.outbox, store), EPISODE)

    with monkeypatch.context() as patch:
        meanwhile(patch, lived, pack_too)
        send(lived, gateway.url)
    identities = [record["record_id"] for record in received_records(gateway)]
    assert len(identities) == len(set(identities))
    assert stored_ids(lived, "harvests", "acknowledged") == stored_ids(lived, "harvests")


def test_a_season_that_is_told_again_after_it_went_makes_the_very_batch_that_is_held_already(
    device: DeviceDirectory, gateway: GatewaySimulator
) -> None:
    """Deleted when it was acknowledged and old, told once more by the field: there is nothing to send, and no error."""

    def tell() -> None:
        with Store(device.store) as store:
            store.add("fields", field_record())
            store.add("harvests", dated("harvests", 9, yield_t_ha=11.0))

    tell()
    send(device, gateway.url)
    with Store(device.store) as store:
        store.evict("all", "records", "1", "t.sequence", {}, 99)
    tell()
    report = send(device, gateway.url)
    assert (len(gateway.posts), report["records_acknowledged"]) == (1, 2)
    assert list(device.outbox.iterdir()) == []


def signed_by(path: Path, device_id: str, identity: str) -> Record:
    return {"acknowledged": identity, "signature": sign(load_or_create_key(path), statement(device_id, identity))}


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (lambda _, identity: {"acknowledged": identity}, "it is not signed, so anyone can have made it"),
        (lambda _, identity: {"acknowledged": identity, "signature": None}, "it is not signed"),
        (lambda _, identity: {"acknowledged": identity, "signature": "no base64!"}, "is not that of a gateway"),
        (lambda gateway, identity: signed_by(gateway.files / "other.pem", DEVICE_ID, identity), "is not that of"),
        (lambda gateway, identity: gateway.acknowledgement(identity, "dev-77"), "is not that of a gateway over this"),
        (lambda gateway, identity: {**gateway.acknowledgement("0" * 64), "acknowledged": identity}, "is not that of"),
        (lambda gateway, _: gateway.acknowledgement("0" * 64), "acknowledged 000000000000 where"),
    ],
    ids=["unsigned", "null", "garbage", "another key", "another device's", "another batch's", "another batch"],
)
def test_what_the_gateway_did_not_sign_for_this_batch_of_this_device_frees_nothing_and_it_is_told_why(
    lived: DeviceDirectory,
    gateway: GatewaySimulator,
    capsys: Any,
    forge: Callable[[GatewaySimulator, str], Record],
    said: str,
) -> None:
    gateway.behave = lambda body: (201, forge(gateway, batch_id(body)))
    assert main(["sync", "--dir", str(lived.root), "--gateway", gateway.url]) == 1
    assert said in capsys.readouterr().err
    assert len(list(lived.outbox.iterdir())) == 1
    assert stored_ids(lived, "harvests", "selected") == stored_ids(lived, "harvests")
    (finding,) = (found for found in examine(lived, Clock(lived.clock_floor)) if found.check == "acknowledgements")
    assert (finding.state, said in finding.found) == ("warn", True)
    main(["status", "--dir", str(lived.root)])
    assert said in json.loads(capsys.readouterr().out)["events"][0]["text"]

    gateway.behave = None
    assert send(lived, gateway.url)["batches"] == 1
    assert all(found.check != "acknowledgements" for found in examine(lived, Clock(lived.clock_floor)))


def test_a_server_that_has_no_release_metadata_frees_nothing(
    lived: DeviceDirectory, gateway: GatewaySimulator, repository: Repository
) -> None:
    """A device that never heard of a key asks for it, and believes no one in the meantime."""
    hidden = repository.metadata.rename(repository.metadata.with_name("hidden"))
    with pytest.raises(LinkError, match="the release metadata cannot be refreshed"):
        send(lived, gateway.url)
    assert len(list(lived.outbox.iterdir())) == 1
    hidden.rename(repository.metadata)
    assert send(lived, gateway.url)["batches"] == 1


def test_a_repository_of_somebody_else_frees_nothing(
    lived: DeviceDirectory, gateway: GatewaySimulator, repository: Repository
) -> None:
    """Whoever stands in the way may sign whatever he likes, with metadata of his own."""
    stranger = Repository(repository.metadata.parent.parent / "stranger")
    gateway.files = stranger.metadata.parent
    with pytest.raises(LinkError, match="cannot be trusted"):
        send(lived, gateway.url)
    assert len(list(lived.outbox.iterdir())) == 1


def test_once_the_key_is_known_no_metadata_is_asked_for(
    lived: DeviceDirectory, gateway: GatewaySimulator, repository: Repository
) -> None:
    send(lived, gateway.url)
    live(lived, days=5, season=SEASON + 1)
    repository.metadata.rename(repository.metadata.with_name("away"))
    assert send(lived, gateway.url)["batches"] == 1


def test_a_key_that_was_changed_is_known_after_a_refresh_and_the_former_frees_nothing_more(
    lived: DeviceDirectory, gateway: GatewaySimulator, repository: Repository
) -> None:
    send(lived, gateway.url)
    stolen = repository.acknowledgements_key_path.rename(repository.acknowledgements_key_path.with_name("stolen.pem"))
    repository.new_acknowledgements_key()
    live(lived, days=5, season=SEASON + 1)
    assert send(lived, gateway.url)["batches"] == 1

    live(lived, days=5, season=SEASON + 2)
    gateway.behave = lambda body: (201, signed_by(stolen, DEVICE_ID, batch_id(body)))
    with pytest.raises(LinkError, match="is not that of a gateway"):
        send(lived, gateway.url)
    assert len(list(lived.outbox.iterdir())) == 1


def test_metadata_that_has_expired_frees_nothing_until_it_is_signed_anew(
    lived: DeviceDirectory, gateway: GatewaySimulator, repository: Repository
) -> None:
    repository.publish(expires_days=1)
    send(lived, gateway.url)
    live(lived, days=5, season=SEASON + 1)
    in_two_days = datetime.now(UTC) + timedelta(days=2)
    acknowledger = Acknowledger(lived, gateway.url, lambda: in_two_days)
    identity = "1" * 64
    with pytest.raises(LinkError, match="expired"):
        acknowledger.check(gateway.acknowledgement(identity), DEVICE_ID, identity)
    repository.publish()
    Acknowledger(lived, gateway.url, lambda: in_two_days).check(gateway.acknowledgement(identity), DEVICE_ID, identity)


def test_metadata_that_was_changed_on_the_disk_is_not_believed(
    lived: DeviceDirectory, gateway: GatewaySimulator, repository: Repository, tmp_path: Path
) -> None:
    send(lived, gateway.url)
    stranger = Repository(tmp_path / "stranger")
    shutil.copy(stranger.metadata / f"{stranger.version}.targets.json", lived.trust / "targets.json")
    with pytest.raises(ReleaseError, match="damaged"):
        trusted_keys(lived.trust, DEVICE_ID, datetime.now(UTC))


def test_metadata_without_a_key_for_acknowledgements_says_that_the_gateway_is_too_old(
    lived: DeviceDirectory, gateway: GatewaySimulator, repository: Repository
) -> None:
    del repository.signers["acknowledgements"]
    repository.publish()
    with pytest.raises(LinkError, match="names no key for acknowledgements of dev-00: update the gateway"):
        send(lived, gateway.url)
    assert len(list(lived.outbox.iterdir())) == 1


@pytest.mark.parametrize("times", [(0.1, 0.1), (0.001, 123456.789)])
def test_how_fast_a_machine_is_decides_nothing_of_what_is_sent(
    lived: DeviceDirectory, gateway: GatewaySimulator, tmp_path: Path, times: tuple[float, float]
) -> None:
    """The same readings on a fast and on a slow machine make the same batch, to the last byte."""
    batches = []
    for number, latency_ms in enumerate(times):
        device = DeviceDirectory(tmp_path / f"machine-{number}")
        shutil.copytree(lived.root, device.root)
        with Store(device.store) as store:
            for day, record in enumerate(store.records(EPISODE, "recommendations")):
                slow = {**record, "latency_ms": round(latency_ms * (1 + day % 7), 3)}
                store.replace("recommendations", slow, "another machine")
        send(device, gateway.url)
        batches.append(gateway.posts[-1])
    assert batches[0] == batches[1]


def test_whichever_release_advised_the_same_days_are_chosen(
    lived: DeviceDirectory, gateway: GatewaySimulator, tmp_path: Path
) -> None:
    """Two releases of one model have other hashes, because each names its own run; the days do not depend on it."""
    chosen = []
    for number in range(4):
        device = DeviceDirectory(tmp_path / f"run-{number}")
        shutil.copytree(lived.root, device.root)
        with Store(device.store) as store:
            for record in store.records(EPISODE, "recommendations"):
                released = {**record, "bundle_sha256": hashlib.sha256(bytes([number])).hexdigest()}
                store.replace("recommendations", released, "another release")
        send(device, gateway.url)
        tables = unpack(gateway.posts[-1])["tables"]
        chosen.append([row["date"] for row in tables["recommendations"]])
        assert len(gateway.posts[-1]) <= BUDGET_BYTES
    assert all(dates == chosen[0] for dates in chosen)


def test_a_folder_beside_the_batches_is_left_alone_and_holds_nothing_up(tmp_path: Path) -> None:
    outbox = tmp_path / "outbox"
    (outbox / "lost+found").mkdir(parents=True)
    (outbox / "left-over.batch").write_bytes(b"of nothing that waits")
    with Store(tmp_path / "store.db") as store:
        Outbox(outbox, store).settle()
    assert [file.name for file in outbox.iterdir()] == ["lost+found"]
