"""What the device's tests are made of: real models made with onnx, a real signed repository, a field's messages.

The gateway here is small and scriptable (it can refuse, lie or cut an answer), but speaks the protocol in full and
holds what it acknowledges. Nothing of the cloud package is used: the device must stand without it.
"""

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from fieldedge.contract import Contract, Record
from fieldedge.contract.update_report import UpdateReport, read, signed_part
from fieldedge.inference.bundles import CARD, GOLDEN, MANIFEST, MODEL, REFERENCE, Manifest
from fieldedge.inference.model import Model
from fieldedge.storage.store import Entry, Store
from fieldedge.system.keys import is_signed_by, load_key, load_or_create_key, sign
from fieldedge.transfer.acknowledgements import statement
from fieldedge.transfer.reports import REPORTS_PATH
from fieldedge.workloads import known_workload

SEASON, REGION, FIELD_ID, DEVICE_ID = 2006, "champion", "champion-00", "dev-00"
EPISODE = str(SEASON)  # as the store names it
PLANTING = date(2006, 5, 1)
AGRICULTURE = known_workload("agriculture")


def onnx_model(
    contract: Contract,
    *,
    contract_hash: str | None = None,
    workload: str | None = None,
    seed: int = 0,
    bias: float = 0,
    slope: float = 0.1,
) -> bytes:
    """A linear model of the contract's shape, with plausible yields: p10 < p50 < p90."""
    rng = np.random.default_rng(seed)
    weights = np.repeat(rng.normal(0, slope, (len(contract.features), 1)), len(contract.outputs), axis=1)
    offsets = np.array([9.0, 11.0, 13.0, 100.0, 80.0]) + bias
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["features", "weights", "offsets"], ["outputs"])],
        "tiny",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", len(contract.features)])],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["batch", len(contract.outputs)])],
        [
            numpy_helper.from_array(weights.astype(np.float32), "weights"),
            numpy_helper.from_array(offsets.astype(np.float32), "offsets"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(
        model,
        {
            "fieldloop.contract_hash": contract_hash or contract.hash,
            "fieldloop.workload": workload or contract.workload,
        },
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def bundle_files(model: bytes, version: str = "1", contract: Contract = AGRICULTURE.contract) -> dict[str, bytes]:
    """The five files of a bundle around a model, golden vectors computed by the runtime itself."""
    features = np.random.default_rng(7).uniform(-1, 1, (16, len(contract.features))).astype(np.float32)
    try:
        outputs = Model(model, contract).predict(features)
    except Exception:  # noqa: BLE001  (a model that is meant to be refused has no answers)
        outputs = np.ones((16, len(contract.outputs)), np.float32)
    golden = io.BytesIO()
    np.savez(golden, features=features, outputs=outputs)
    manifest = Manifest(
        format=1,
        workload=contract.workload,
        version=version,
        contract_hash=contract.hash,
        precision="float32",
        model_sha256=hashlib.sha256(model).hexdigest(),
        data_hash="d" * 32,
        git_commit="c" * 40,
        mlflow_run_id="r" * 32,
        created_utc="2006-04-01T00:00:00Z",
        golden_tolerance=0.01,
    )
    reference = {
        f.name: {"mean": (f.minimum + f.maximum) / 2, "std": 1.0, "p01": f.minimum, "p99": f.maximum}
        for f in contract.features
    }
    return {
        MANIFEST: manifest.as_json(),
        MODEL: model,
        GOLDEN: golden.getvalue(),
        REFERENCE: json.dumps(reference).encode(),
        CARD: b"# Tiny\n",
    }


def with_manifest(files: dict[str, bytes], **changes: Any) -> dict[str, bytes]:
    manifest = replace(Manifest(**json.loads(files[MANIFEST])), **changes)
    return {**files, MANIFEST: manifest.as_json()}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


class Repository:
    """A signed TUF repository on disk, as a release would leave it."""

    def __init__(self, root: Path) -> None:
        self.metadata, self.targets_dir = root / "metadata", root / "targets"
        self.metadata.mkdir(parents=True)
        self.targets_dir.mkdir()
        self.signers = {role: CryptoSigner.generate_ed25519() for role in ("root", "targets", "snapshot", "timestamp")}
        self.acknowledgements_key_path = root / "keys" / "acknowledgements.pem"
        self.version = 0
        self.padded: Mapping[str, Mapping[str, Any]] = {}
        self.says_its_length = False
        keys = {role: signer.public_key for role, signer in self.signers.items()}
        root_role = Root(
            version=1,
            expires=_in_days(365),
            keys={key.keyid: key for key in keys.values()},
            roles={role: Role([key.keyid], 1) for role, key in keys.items()},
            consistent_snapshot=True,
        )
        self._write("root", root_role, "1.root.json")
        self.targets: dict[str, TargetFile] = {}
        self.new_acknowledgements_key()

    @property
    def trusted_root(self) -> Path:
        return self.metadata / "1.root.json"

    def release(self, data: bytes, contract_hash: str = AGRICULTURE.contract.hash, expires_days: int = 30) -> Path:
        """Publish a bundle; the path of its target file."""
        target = TargetFile.from_data("agriculture/bundle.zip", data, ["sha256"])
        target.unrecognized_fields["custom"] = {"workload": "agriculture", "contract_hash": contract_hash}
        self.targets[target.path] = target
        path = self.targets_dir / "agriculture" / f"{target.hashes['sha256']}.bundle.zip"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        self.publish(expires_days)
        return path

    def offer(self, data: bytes, path: str, **custom: Any) -> None:
        """Put a bundle under any path, with what its metadata says beside the contract; `publish` signs it."""
        target = TargetFile.from_data(path, data, ["sha256"])
        said = {"workload": "agriculture", "contract_hash": AGRICULTURE.contract.hash, **custom}
        target.unrecognized_fields["custom"] = said
        self.targets[path] = target
        folder, _, name = path.rpartition("/")
        file = self.targets_dir / folder / f"{target.hashes['sha256']}.{name}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def new_acknowledgements_key(self) -> None:
        """Sign acknowledgements with a key of its own from now on, and say so in the metadata."""
        self.acknowledgements_key_path.unlink(missing_ok=True)
        self.signers["acknowledgements"] = CryptoSigner(load_or_create_key(self.acknowledgements_key_path))
        self.publish()

    def publish(
        self,
        expires_days: int = 30,
        padded: Mapping[str, Mapping[str, Any]] | None = None,
        says_its_length: bool = False,
    ) -> None:
        """Sign the next version of all but the root; `padded` names what else stands in the metadata of a role."""
        self.padded, self.says_its_length = padded or {}, says_its_length
        self.version += 1
        version, expires = self.version, _in_days(expires_days)
        targets = Targets(version, expires=expires, targets=self.targets, delegations=self.delegations())
        self._write("targets", targets, f"{version}.targets.json")
        meta = {"targets.json": MetaFile(version, self._length("targets"))}
        if targets.delegations is not None:
            self._write("acknowledgements", Targets(version, expires=expires), f"{version}.acknowledgements.json")
            meta["acknowledgements.json"] = MetaFile(version)
        snapshot = Snapshot(version, expires=expires, meta=meta)
        self._write("snapshot", snapshot, f"{version}.snapshot.json")
        meta_of_snapshot = MetaFile(version, self._length("snapshot"))
        if "root" in self.padded:
            root = Metadata[Root].from_bytes(self.trusted_root.read_bytes()).signed
            root.version += 1
            self._write("root", root, "2.root.json")
        self._write("timestamp", Timestamp(version, expires=expires, snapshot_meta=meta_of_snapshot), "timestamp.json")

    def delegations(self) -> Delegations | None:
        if "acknowledgements" not in self.signers:
            return None
        key = self.signers["acknowledgements"].public_key
        role = DelegatedRole("acknowledgements", [key.keyid], 1, terminating=True, paths=["acknowledgements/*.json"])
        return Delegations({key.keyid: key}, {role.name: role})

    def _length(self, role: str) -> int | None:
        return (self.metadata / f"{self.version}.{role}.json").stat().st_size if self.says_its_length else None

    def _write(self, role: str, signed: Any, name: str) -> None:
        signed.unrecognized_fields.update(self.padded.get(role, {}))
        metadata = Metadata(signed)
        metadata.sign(self.signers[role])
        (self.metadata / name).write_bytes(metadata.to_bytes())


def _in_days(days: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)


@dataclass
class GatewaySimulator:
    """The device's side of the gateway protocol.

    To misbehave, `behave` maps a body to (status, answer), `redirect` a path to (status, where to), and what `drips`
    comes a byte every tenth of a second, until nobody listens. `breaks_off` says after how many bytes, from the byte of
    that number on, the connection ends. `served` are the path, the first byte and the bytes of each answer to a GET.
    """

    files: Path
    public_keys: dict[str, str] = field(default_factory=dict)
    received: dict[str, bytes] = field(default_factory=dict)
    posts: list[bytes] = field(default_factory=list)
    behave: Callable[[bytes], tuple[int, Any]] | None = None
    url: str = ""
    asked: list[str] = field(default_factory=list)
    redirect: Callable[[str], tuple[int, str] | None] | None = None
    drips: Callable[[str], bool] | None = None
    reports: dict[str, bytes] = field(default_factory=dict)
    breaks_off: Callable[[str, int], int | None] | None = None
    knows_ranges: bool = True
    served: list[tuple[str, int, int]] = field(default_factory=list)

    def take_report(self, device_id: str, signature: str, data: bytes) -> tuple[int, Any]:
        """What the gateway answers to what a device says of its model."""
        if not is_signed_by(self.public_keys.get(device_id, ""), signed_part(data), signature):
            return 401, {"error": "unknown device or bad signature"}
        assert read(data).device_id == device_id
        identity = hashlib.sha256(data).hexdigest()
        status = 200 if identity in self.reports else 201
        self.reports[identity] = data
        return status, self.acknowledgement(identity, device_id)

    @property
    def told(self) -> list[UpdateReport]:
        return [read(data) for data in self.reports.values()]

    def accept(self, device_id: str, signature: str, body: bytes) -> tuple[int, Any]:
        self.posts.append(body)
        if self.behave is not None:
            return self.behave(body)
        if not is_signed_by(self.public_keys.get(device_id, ""), body, signature):
            return 401, {"error": "unknown device or bad signature"}
        return self.store(body)

    def store(self, body: bytes) -> tuple[int, Any]:
        identity = hashlib.sha256(body).hexdigest()
        status = 200 if identity in self.received else 201
        self.received[identity] = body
        return status, self.acknowledgement(identity)

    def acknowledgement(self, identity: str, device_id: str = DEVICE_ID) -> Record:
        """The answer for one batch of one device, signed as the repository's metadata says."""
        key = load_key(self.files / "keys" / "acknowledgements.pem")
        return {"acknowledged": identity, "signature": sign(key, statement(device_id, identity))}


@contextmanager
def serving(simulator: GatewaySimulator) -> Iterator[GatewaySimulator]:
    """The gateway over real HTTP on the loopback; `url` says where."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            simulator.asked.append(self.path)
            moved = simulator.redirect(self.path) if simulator.redirect is not None else None
            if moved is not None:
                self.send_response(moved[0])
                self.send_header("Location", moved[1])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path = simulator.files / self.path.removeprefix("/tuf/")
            if not path.is_file():
                self._answer(404, b"")
                return
            self._send_file(path.read_bytes())

        def _send_file(self, data: bytes) -> None:
            """A file, or the rest of it, as far as the simulator lets it come."""
            asked = self.headers.get("Range", "") if simulator.knows_ranges else ""
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            most = None if simulator.breaks_off is None else simulator.breaks_off(self.path, start)
            if not asked and most is None:
                simulator.served.append((self.path, 0, len(data)))
                self._answer(200, data)
                return
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            sent = data[start:][:most]
            simulator.served.append((self.path, start, len(sent)))
            self.wfile.write(sent)
            self.close_connection = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            take = simulator.take_report if self.path == REPORTS_PATH else simulator.accept
            status, answer = take(self.headers["Fieldloop-Device"], self.headers["Fieldloop-Signature"], body)
            self._answer(status, answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) or (600 if simulator.drips else 0)))
            self.end_headers()
            if simulator.drips is not None and simulator.drips(self.path):
                self._drip(body or b" " * 600)
            else:
                self.wfile.write(body)

        def _drip(self, body: bytes) -> None:
            with suppress(OSError):
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.1)

        def log_message(self, format: str, *values: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    simulator.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield simulator
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def field_record(season: int = SEASON) -> Record:
    return {
        "record_id": f"{season}/{FIELD_ID}/fields",
        "season": season,
        "region": REGION,
        "field_id": FIELD_ID,
        "device_id": DEVICE_ID,
        "crop": "maize",
        "soil": "SandyLoam",
        "planting_date": PLANTING.replace(year=season).isoformat(),
        "field_capacity_m3_m3": 0.22,
        "wilting_point_m3_m3": 0.10,
        "saturation_m3_m3": 0.41,
        "root_depth_max_m": 1.5,
        "initial_water_pct": None,
        "application_efficiency": 1.0,
        "irrigation_capacity_mm": 25.0,
        "water_allowance_mm": 400.0,
        "grain_price_usd_t": 180.0,
        "water_price_usd_mm": 1.0,
        "nitrogen_price_usd_kg": 1.0,
        "fixed_cost_usd_ha": 1728.0,
        "practice": "fieldloop",
    }


def stored_entries(store: Store, identities: Iterable[str]) -> list[Entry]:
    """What is stored under these identities, as who packs a batch reads it."""
    wanted = set(identities)
    tables = [table.name for table in AGRICULTURE.contract.tables]
    entries = [entry for episode in store.episodes() for table in tables for entry in store.entries(episode, table)]
    return [entry for entry in entries if entry.record["record_id"] in wanted]


def day_of(day: int, season: int = SEASON) -> str:
    return (PLANTING.replace(year=season) + timedelta(days=day)).isoformat()


def dated(table: str, day: int, season: int = SEASON, **values: Any) -> Record:
    date_ = day_of(day, season)
    identity = AGRICULTURE.contract.record_id(table, {"season": season, "field_id": FIELD_ID, "date": date_})
    return {
        "record_id": identity,
        "season": season,
        "region": REGION,
        "field_id": FIELD_ID,
        "date": date_,
        **values,
    }


def reading_record(day: int, season: int = SEASON) -> Record:
    """A hot and nearly rainless season, with a flight every tenth day and a probe that is often away.

    Flights see the canopy that the balance foretells of the sample's field, more or less.
    """
    rng = np.random.default_rng([season, day])
    is_flight = day % 10 == 5
    ndvi = float(np.interp(day, (15, 25, 35, 45, 55, 65, 115, 125), (0.18, 0.21, 0.42, 0.74, 0.74, 0.77, 0.57, 0.41)))
    return dated(
        "readings",
        day,
        season,
        tmin_c=round(15 + rng.normal(0, 2), 2),
        tmax_c=round(30 + rng.normal(0, 2), 2),
        rain_mm=round(float(rng.exponential(8)), 1) if rng.random() < 0.15 else 0.0,
        et0_mm=round(6 + rng.normal(0, 0.7), 2),
        vwc_15cm_m3_m3=round(0.20 - 0.0006 * day + rng.normal(0, 0.004), 4),
        vwc_35cm_m3_m3=round(0.21 - 0.0006 * day + rng.normal(0, 0.004), 4),
        vwc_75cm_m3_m3=None if rng.random() < 0.3 else round(0.22 + rng.normal(0, 0.004), 4),
        vwc_105cm_m3_m3=round(0.22 + rng.normal(0, 0.004), 4),
        ndvi=round(ndvi, 3) if is_flight else None,
        ndre=round(min(0.1 + 0.003 * day, 0.5), 3) if is_flight else None,
    )


def season_messages(days: int, season: int = SEASON, harvest_t_ha: float | None = 11.5) -> list[Record]:
    """What a field sends: every day a decision, then what was done, then the day's reading."""
    messages: list[Record] = [{"kind": "field", "record": field_record(season)}]
    for day in range(days):
        messages.append({"kind": "decide", "date": day_of(day, season)})
        if day % 7 == 3:
            done = dated(
                "operations", day, season, irrigation_mm=20.0, nitrogen_kg_ha=0.0, source="override", basis="confirmed"
            )
            messages.append({"kind": "operation", "record": done})
        messages.append({"kind": "reading", "record": reading_record(day, season)})
    if harvest_t_ha is not None:
        harvest = dated("harvests", days, season, yield_t_ha=harvest_t_ha)
        messages.append({"kind": "harvest", "record": harvest})
    return messages
