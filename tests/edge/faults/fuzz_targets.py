"""Everything on the device that reads what others wrote: a table of targets for any fuzzer.

A target takes bytes and does with them what the device would. It raises for nothing but a defect: the errors by which
a parser refuses its input are expected, each target's own. What is told to people must be sayable, so each refusal is
also encoded. A new parser is one more line in `TARGETS`.
"""

import hashlib
import io
import json
import lzma
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldedge.acquisition.formats import FORMATS
from fieldedge.acquisition.mapping import Mapper
from fieldedge.acquisition.raw import RawSample
from fieldedge.acquisition.sources.folder import FolderSource, read_folder_settings
from fieldedge.acquisition.sources.mqtt import read_mqtt_settings
from fieldedge.contract.batches import pack, unpack
from fieldedge.contract.update_report import UpdateReport, read
from fieldedge.device.config import DeviceConfig, DeviceDirectory, Table, read_config, write_config
from fieldedge.inference.bundles import (
    FILES,
    GOLDEN,
    MANIFEST,
    MODEL,
    REFERENCE,
    open_bundle,
    parse_golden,
    parse_manifest,
    parse_reference,
)
from fieldedge.inference.model import Model
from fieldedge.inference.slots import Slots
from fieldedge.inference.trial import Trials
from fieldedge.runtime.agent import Agent
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock
from fieldedge.system.errors import ConfigError, DataError, FieldloopError, LinkError, ReleaseError
from fieldedge.system.instants import instant_utc, parse_instant
from fieldedge.system.keys import load_key, load_or_create_key, public_key_hex, sign
from fieldedge.transfer.acknowledgements import Acknowledger
from fieldedge.transfer.outbox import Outbox
from fieldedge.transfer.reports import from_stick, on_stick
from fieldedge.transfer.updates import update
from fieldedge.transfer.uploads import Gateway
from fieldedge.transfer.usb import (
    UsbStick,
    acknowledgement,
    read_acknowledgement,
    take_acknowledgements,
    update_from_usb,
)
from tests.edge.raw_server import RawServer
from tests.edge.sample import (
    AGRICULTURE,
    DEVICE_ID,
    SEASON,
    Repository,
    bundle_files,
    field_record,
    onnx_model,
    reading_record,
    season_messages,
    zipped,
)

CONTRACT = AGRICULTURE.contract
Take = Callable[[bytes], None]


@dataclass(frozen=True)
class Target:
    """`open` gives the function that takes an input; `seeds` are good inputs to begin with."""

    name: str
    open: Callable[[Path], Take]
    seeds: Callable[[], Sequence[bytes]]


@contextmanager
def refused(*errors: type[FieldloopError]) -> Iterator[None]:
    """These errors are an answer. What they say must be text that can be written down."""
    try:
        yield
    except errors as error:
        assert str(error).encode(), "an error that says nothing"


def _plain(take: Callable[[bytes], object], *errors: type[FieldloopError]) -> Callable[[Path], Take]:
    """A target for a function of bytes alone."""

    def taking(data: bytes) -> None:
        with refused(*errors):
            take(data)

    return lambda _scratch: taking


# What a field, a person or a logger sends


def _agent_line(scratch: Path) -> Take:
    agent = Agent(DeviceConfig(DEVICE_ID, "agriculture"), AGRICULTURE, Store(scratch / "store.db"), None)
    for message in season_messages(2, harvest_t_ha=None):
        agent.answer_line(json.dumps(message), "seed")

    def take(data: bytes) -> None:
        answer = agent.answer_line(data.decode(errors="backslashreplace"), "line 1")
        said = json.dumps(answer)
        assert "this fieldedge cannot handle it" not in said, said

    return take


def _logger(name: str) -> Callable[[Path], Take]:
    def open_(_scratch: Path) -> Take:
        format_, mapper = FORMATS[name], Mapper.from_config({}, AGRICULTURE.channels)

        def take(data: bytes) -> None:
            assert data.startswith(format_.header_bytes(data))
            format_.awaits_header(data)
            for parsed in format_.parse(data, "file"):
                parsed.where.encode()
                if isinstance(parsed, RawSample):
                    with refused(DataError):
                        sample = mapper.sample(parsed, "station")
                        json.dumps(dict(sample.values), allow_nan=False)
                        assert instant_utc(parse_instant(sample.time_utc)) == sample.time_utc

        return take

    return open_


def _device_toml(scratch: Path) -> Take:
    path = scratch / "device.toml"

    def take(data: bytes) -> None:
        path.write_bytes(data)
        with refused(ConfigError):
            config = read_config(path)
            for source in config.sources:
                Mapper.from_config(source.fields, AGRICULTURE.channels)
                table = Table("source", dict(source.settings))
                if source.kind == "folder":
                    read_folder_settings(table, scratch)
                elif source.kind == "mqtt":
                    read_mqtt_settings(table, scratch)

    return take


# What a release holds


def _bundle_part(name: str) -> Callable[[Path], Take]:
    def take(data: bytes) -> None:
        with refused(ReleaseError):
            open_bundle(zipped({**good_files(), name: data}), CONTRACT)

    return lambda _scratch: take


def _signed_custom(scratch: Path) -> Take:
    """What the signed metadata says of the bundle beside its hashes: any JSON, and what is none."""
    directory, repository = _provisioned(scratch), Repository(scratch / "tuf")
    stick = UsbStick(scratch / "stick")
    files = zipped(good_files())

    def take(data: bytes) -> None:
        for folder in (directory.trust, stick.release):
            shutil.rmtree(folder, ignore_errors=True)
        directory.trust.mkdir()
        shutil.copy(repository.trusted_root, directory.bootstrap_root)
        try:
            custom = json.loads(data)
        except (ValueError, RecursionError):
            custom = [data.hex()]
        target = repository.release(files)
        repository.targets["agriculture/bundle.zip"].unrecognized_fields["custom"] = custom
        with suppress(Exception):  # what cannot be signed is not on a stick
            repository.publish()
        shutil.copytree(repository.metadata.parent, stick.release)
        with refused(ReleaseError, LinkError):
            update_from_usb(stick, directory, CONTRACT, _now)
        target.unlink(missing_ok=True)

    return take


def _model_file(data: bytes) -> object:
    """A model file, and what the walk through it lets by given to the runtime."""
    return Model(data, CONTRACT)


def _trials(scratch: Path) -> Take:
    trials = Trials(scratch, CONTRACT)

    def take(data: bytes) -> None:
        (scratch / "trials.json").write_bytes(data)
        trials.has_passed("0")
        for said in (trials.failure("0"), trials.refusal("0")):
            (said or "").encode()
        trials.keep_passed("1")

    return take


def _batch_content(data: bytes) -> object:
    return unpack(lzma.compress(data, preset=0))


def _golden_features(data: bytes) -> object:
    """The array of features as it stands inside of the archive: beyond its checksum."""
    outputs = io.BytesIO()
    np.save(outputs, np.ones((1, len(CONTRACT.outputs)), np.float32))
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("features.npy", data)
        archive.writestr("outputs.npy", outputs.getvalue())
    return parse_golden(whole.getvalue(), CONTRACT)


_TUF_FILES = ("timestamp.json", "1.snapshot.json", "1.targets.json", "2.root.json", "2.snapshot.json", "2.targets.json")


def _stick(scratch: Path) -> Take:
    """Which file of the stick is another, and what it holds: its first byte, and the rest."""
    directory, stick, repository = _provisioned(scratch), UsbStick(scratch / "stick"), Repository(scratch / "tuf")
    directory.trust.mkdir(exist_ok=True)
    shutil.copy(repository.trusted_root, directory.bootstrap_root)
    target = repository.release(zipped(good_files()))
    held = repository.targets_dir / "acknowledgements"
    held.mkdir()
    (held / f"{DEVICE_ID}.json").write_bytes(acknowledgement(DEVICE_ID, frozenset({"0" * 64})))
    places = [stick.release / "metadata" / name for name in _TUF_FILES]
    places.append(stick.release / "targets" / target.relative_to(repository.targets_dir))
    store = Store(directory.store)
    outbox = Outbox(directory.outbox, store)

    def take(data: bytes) -> None:
        shutil.rmtree(stick.release, ignore_errors=True)
        shutil.rmtree(directory.trust)
        directory.trust.mkdir()
        shutil.copy(repository.trusted_root, directory.bootstrap_root)
        shutil.copytree(repository.metadata, stick.release / "metadata")
        shutil.copytree(repository.targets_dir, stick.release / "targets")
        places[(data[0] if data else 0) % len(places)].write_bytes(data[1:])
        with refused(ReleaseError, LinkError):
            take_acknowledgements(stick, directory, outbox, DEVICE_ID, _now)
        with refused(ReleaseError, LinkError):
            update_from_usb(stick, directory, CONTRACT, _now)
        Slots(directory.root).first_sound()

    return take


# What the device itself wrote, as a bad disk gives it back


def _pointer(scratch: Path) -> Take:
    slots = Slots(scratch)

    def take(data: bytes) -> None:
        (scratch / "active.json").write_bytes(data)
        assert slots.first_sound() is None
        with refused(ReleaseError):
            slots.active()
        try:
            assert slots.free_slot() in ("a", "b")
        except ValueError:
            assert slots.pointer().is_on_watch, "none is free while the confirmed one is the other one"

    return take


def _key(scratch: Path) -> Take:
    path = scratch / "device.pem"

    def take(data: bytes) -> None:
        path.write_bytes(data)
        path.chmod(0o600)
        with refused(ConfigError):
            sign(load_key(path), b"body")

    return take


def _clock_floor(scratch: Path) -> Take:
    path = scratch / "clock.json"

    def take(data: bytes) -> None:
        path.write_bytes(data)
        clock = Clock(path, boot_id="boot", is_synchronised=lambda: False)
        clock.now()
        clock.keep()
        Clock(path, boot_id="boot", is_synchronised=lambda: False).stamp()

    return take


def _folder_state(scratch: Path) -> Take:
    """How far the files are done, as it was kept: whatever stands there, the file is read."""
    folder, state = scratch / "in", scratch / "state.json"
    folder.mkdir()
    (folder / "one.jsonl").write_bytes(b'{"time": "2026-05-01T12:15:00Z", "rain_mm": 1}\n')
    settings = read_folder_settings(Table("source", {"path": str(folder)}), scratch)

    def take(data: bytes) -> None:
        state.write_bytes(data)
        told: list[str] = []
        source = FolderSource(
            "folder", settings, FORMATS["jsonlines"], state, told.append, monotonic=lambda: 0.0, now=_now
        )
        for delivery in source.poll(1_000_000):
            delivery.done()
        source.close()
        "".join(told).encode()

    return take


# What the network answers


def _gateway_answer(scratch: Path) -> Take:
    """The whole answer of a gateway, headers and all, as it stands on the wire."""
    key, answers = load_or_create_key(scratch / "device.pem"), RawServer()
    directory, repository = _provisioned(scratch), Repository(scratch / "tuf")
    directory.trust.mkdir()
    shutil.copy(repository.trusted_root, directory.bootstrap_root)

    def take(data: bytes) -> None:
        answers.next = data
        gateway = Gateway(answers.url, DEVICE_ID, key, Acknowledger(directory, answers.url, _now))
        with refused(LinkError, DataError, ConfigError):
            gateway.post(_BATCH)
            raise AssertionError("a batch was freed that no gateway acknowledged")

    return take


def _update_answer(scratch: Path) -> Take:
    """What an update server says to every question, headers and all."""
    directory, repository, answers = _provisioned(scratch), Repository(scratch / "tuf"), RawServer()

    def take(data: bytes) -> None:
        shutil.rmtree(directory.trust, ignore_errors=True)
        directory.trust.mkdir()
        shutil.copy(repository.trusted_root, directory.bootstrap_root)
        answers.next = data
        with refused(ReleaseError, LinkError):
            update(directory, CONTRACT, answers.url, _now)
        assert Slots(directory.root).first_sound() is None

    return take


# Good inputs


def _now() -> datetime:
    return datetime.now(UTC)


@cache
def good_files() -> dict[str, bytes]:
    return bundle_files(onnx_model(CONTRACT))


@cache
def _batch() -> bytes:
    header = {"device_id": DEVICE_ID, "season": SEASON, "summary": {"recommendations": 0}}
    return pack(header, {"fields": [field_record()], "readings": [reading_record(day) for day in range(3)]}, CONTRACT)


_BATCH = b"a batch"
_BATCH_ID = hashlib.sha256(_BATCH).hexdigest().encode()


def _provisioned(scratch: Path) -> DeviceDirectory:
    directory = DeviceDirectory(scratch / "device")
    directory.root.mkdir()
    write_config(directory.settings, DeviceConfig(DEVICE_ID, "agriculture"))
    return directory


def _messages() -> list[bytes]:
    return [json.dumps(message).encode() for message in season_messages(4)[:8]]


def _toml() -> list[bytes]:
    return [
        b'device_id = "dev-00"\nworkload = "agriculture"\nupload_budget_bytes = 1000\naudit_fraction = 0.1\n',
        b"""device_id = "dev-00"
workload = "agriculture"
[site]
latitude_deg = 41.2
elevation_m = 400
[[source]]
name = "station"
kind = "folder"
format = "toa5"
path = "in"
[source.fields]
air_temperature_c = { field = "AirTC_Avg", unit = "degF" }
time = { field = "TIMESTAMP", format = "%m/%d/%y %H:%M", utc_offset_h = -6 }
[[source]]
name = "broker"
kind = "mqtt"
host = "localhost"
topic = "farm/+/samples"
[store]
max_bytes = 5000000
[page]
port = 8080
[link]
gateway = "https://gateway.example.org"
[decide]
at_utc = "12:00"
""",
    ]


def _tuf() -> list[bytes]:
    with tempfile.TemporaryDirectory() as scratch:
        repository = Repository(Path(scratch) / "tuf")
        return [
            bytes([number]) + (repository.metadata / name).read_bytes()
            for number, name in enumerate(("timestamp.json", "1.snapshot.json", "1.targets.json", "1.root.json"))
        ]


def _answers() -> list[bytes]:
    body = json.dumps({"acknowledged": _BATCH_ID.decode(), "signature": "AAAA"}).encode()
    other = json.dumps({"acknowledged": "0" * 64, "error": "full"}).encode()
    statuses = (201, 200, 401, 400, 503, 302)
    return [_http(status, answer) for status in statuses for answer in (body, other)] + [_http_in_chunks(body)]


def _http(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d Any\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body)


def _http_in_chunks(body: bytes) -> bytes:
    return b"HTTP/1.1 200 Any\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def _signed_answers() -> list[bytes]:
    with tempfile.TemporaryDirectory() as scratch:
        metadata = Repository(Path(scratch) / "tuf").metadata
        files = [(metadata / name).read_bytes() for name in ("timestamp.json", "1.root.json")]
    return [_http(200, files[0]), _http_in_chunks(files[0]), _http(200, files[1]), _http(404, b"none")]


def _pem() -> list[bytes]:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "keys" / "device.pem"
        assert public_key_hex(load_or_create_key(path))
        return [path.read_bytes()]


def _npz() -> list[bytes]:
    whole = io.BytesIO()
    np.savez(whole, features=np.zeros((1, len(CONTRACT.features))), outputs=np.ones((1, len(CONTRACT.outputs))))
    return [good_files()[GOLDEN], whole.getvalue()]


def _npy() -> list[bytes]:
    whole = io.BytesIO()
    np.save(whole, np.zeros((1, len(CONTRACT.features)), np.float32))
    return [whole.getvalue()]


def _logged(name: str) -> Callable[[], list[bytes]]:
    seeds = {
        "jsonlines": b'{"time": "2026-05-01T12:15:00Z", "rain_mm": 0.2, "soil": {"vwc": [0.2, 0.3]}}\n'
        b'{"kind": "decide"}\n',
        "toa5": b'"TOA5","S","CR1000","1","C","P","5","Met15"\n"TIMESTAMP","RECORD","rain_mm"\n"TS","RN","mm"\n'
        b'"","","Tot"\n"2026-05-01 12:15:00",0,0.5\n',
        "zentra": b"Timestamps,rain_mm\n05/01/2026 12:15,0.5\n",
        "hobo": b'"Plot Title: a"\n"#","Date Time, GMT+00:00","Temp, \xc2\xb0C (LGR S/N: 1, SEN S/N: 2, LBL: air)"\n'
        b"1,05/01/26 12:15:00 PM,21.5\n",
        "weatherlink": b'"Date & Time","Temp - C","Rain - mm"\n"5/1/26 12:15 PM","21.5","0.5"\n',
        "thethingsstack": b'{"result": {"end_device_ids": {"device_id": "a"}, "received_at": "2026-05-01T12:15:00Z",'
        b' "uplink_message": {"decoded_payload": {"rain_mm": 0.5}}}}\n',
        "chirpstack": b'{"deviceInfo": {"devEui": "0102030405060708"}, "time": "2026-05-01T12:15:00Z",'
        b' "object": {"rain_mm": 0.5}}\n',
    }
    return lambda: [seeds[name]]


def _pointers() -> list[bytes]:
    slot = {"slot": "a", "version": "1", "precision": "float32", "bundle_sha256": "0", "model_sha256": "0"}
    pointers = [{"format": 1, "active": slot, "former": former} for former in (None, slot)]
    left = {"version": "2", "bundle_sha256": "1", "reason": "it failed", "at": "2027-04-01T00:00:00Z"}
    watched = {**pointers[1], "watched_since": "2027-04-01T00:00:00Z", "taken_back": [left], "reports": ["{}"]}
    return [json.dumps(pointer).encode() for pointer in (*pointers, watched)]


def _reports() -> list[bytes]:
    report = UpdateReport("dev-00", "2027-04-01T00:00:00Z", "agriculture", "12", "11", "confirmed", "all is well", 14)
    return [report.as_json()]


def _on_stick() -> list[bytes]:
    return [on_stick(Ed25519PrivateKey.generate(), DEVICE_ID, report) for report in _reports()]


def _customs() -> list[bytes]:
    return [b'{"contract_hash": "0"}', b"[]", b'{"contract_hash": {"a": [1]}}']


def _notes_of_trials() -> list[bytes]:
    with tempfile.TemporaryDirectory() as scratch:
        trials = Trials(Path(scratch), CONTRACT)
        trials.keep_refused("0", "it loops")
        trials.keep_failed("0", "it does not load")
        trials.keep_passed("1")
        return [(Path(scratch) / "trials.json").read_bytes()]


def _marks() -> list[bytes]:
    return [b'{"one.jsonl": {"inode": 12, "offset": 5, "lines": 1, "crc": 7, "edges": "00"}}']


_TARGETS = (
    Target("agent line", _agent_line, _messages),
    *(Target(f"logger {name}", _logger(name), _logged(name)) for name in FORMATS),
    Target("device.toml", _device_toml, _toml),
    Target("bundle", _plain(lambda data: open_bundle(data, CONTRACT), ReleaseError), lambda: [zipped(good_files())]),
    *(Target(f"bundle's {name}", _bundle_part(name), lambda name=name: [good_files()[name]]) for name in FILES),
    Target("manifest", _plain(parse_manifest, ReleaseError), lambda: [good_files()[MANIFEST]]),
    Target("golden vectors", _plain(lambda data: parse_golden(data, CONTRACT), ReleaseError), _npz),
    Target(
        "reference",
        _plain(lambda data: parse_reference(data, CONTRACT), ReleaseError),
        lambda: [good_files()[REFERENCE]],
    ),
    Target("golden features", _plain(_golden_features, ReleaseError), _npy),
    Target("batch", _plain(unpack, DataError), lambda: [_batch()]),
    Target("batch's content", _plain(_batch_content, DataError), lambda: [lzma.decompress(_batch())]),
    Target(
        "acknowledgement",
        _plain(lambda data: read_acknowledgement(data, DEVICE_ID), ReleaseError),
        lambda: [acknowledgement(DEVICE_ID, frozenset({"0" * 64}))],
    ),
    Target("stick", _stick, _tuf),
    Target(
        "signed custom", _signed_custom, lambda: [b'{"contract_hash": "0"}', b"[]", b'{"contract_hash": {"a": [1]}}']
    ),
    Target("model file", _plain(_model_file, ReleaseError), lambda: [good_files()[MODEL]]),
    Target("trials", _trials, _notes_of_trials),
    Target("gateway's answer", _gateway_answer, _answers),
    Target("update server's answer", _update_answer, _signed_answers),
    Target("model pointer", _pointer, _pointers),
    Target("update report", _plain(read, DataError), _reports),
    Target("report on a stick", _plain(from_stick, DataError), _on_stick),
    Target("device key", _key, _pem),
    Target("clock's floor", _clock_floor, lambda: [b'{"floor_utc": "2026-05-01T12:15:00Z", "boot_id": "x"}']),
    Target("folder's marks", _folder_state, _marks),
)
TARGETS: dict[str, Target] = {target.name: target for target in _TARGETS}
