"""The steps of the loop as plain functions: each takes and returns small references, never rows or tensors.

Prefect's tasks wrap them one by one; a notebook or a test can call them as they are. Every step may be cut off and
called again: it continues, or finds its work done.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fieldedge.bundles import Golden
from fieldedge.durable import write_durably
from fieldedge.errors import DataError, ReleaseError
from fieldedge.workloads import WORKLOADS as EDGE_WORKLOADS
from fieldloop.settings import Settings, WorkloadParams
from fieldloop.workspace import Workspace, workspace_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from fieldloop.compression import Material
    from fieldloop.evaluation import Predict
    from fieldloop.field_data import SeasonStore
    from fieldloop.fleet import Fleet
    from fieldloop.report import SeasonStory
    from fieldloop.simulation.world import FieldSpec
    from fieldloop.training import Practise, Trained
    from fieldloop.workloads.agriculture.examples import Examples

OnProgress = Callable[[int, int], None]
GOLDEN_ROWS = 32
GOLDEN_TOLERANCE = 0.05  # standard deviations of each output: other processors round 8-bit products otherwise


@dataclass(frozen=True)
class Loop:
    """What every step needs to know: where, which workload, with which parameters."""

    settings: Settings
    workload: str
    params: WorkloadParams
    loop_id: str

    @property
    def workspace(self) -> Workspace:
        return workspace_of(self.settings)


@dataclass(frozen=True)
class HistoryRef:
    """The past seasons on disk."""

    path: str
    content_hash: str
    field_seasons: int


@dataclass(frozen=True)
class AcceptedRef:
    """What a validation let through. `report` is its JSON."""

    content_hash: str
    rows: int
    quarantined: int
    docs_index: str
    report: str


@dataclass(frozen=True)
class SnapshotRef:
    """A version of the accepted data, from which a model for `season` may learn what lies before it."""

    data_hash: str
    season: int
    note: str
    is_committed: bool


@dataclass(frozen=True)
class RegisteredRef:
    """The challenger's version, the gate's verdict on it, and the champion that devices should run."""

    version: str
    champion_version: str
    is_promoted: bool
    reason: str
    verdict: str


@dataclass(frozen=True)
class CompressedRef:
    """The champion's small model: what ships and why."""

    version: str
    path: str
    shipped: str
    reason: str
    report: str


@dataclass(frozen=True)
class ReleasedRef:
    """A signed bundle that devices can fetch."""

    version: str
    sha256: str
    bytes: int
    bundle: str


@dataclass(frozen=True)
class LivedRef:
    """A season that the fleet has lived, as JSON."""

    season: int
    devices: int
    report: str


@dataclass(frozen=True)
class SyncedRef:
    """What came home of a season and where each record is now, as JSON."""

    season: int
    accepted: int
    quarantined: int
    lost: int
    report: str


@dataclass(frozen=True)
class SeasonRefs:
    """Everything that one season's turn of the loop referred to. `compared` is the path of the other practices."""

    data: SnapshotRef
    registered: RegisteredRef
    compressed: CompressedRef
    released: ReleasedRef
    lived: LivedRef
    compared: str
    synced: SyncedRef


@dataclass(frozen=True)
class ReportRef:
    """The written report, and its last words for the terminal."""

    html: str
    json: str
    summary: str


@dataclass(frozen=True)
class ReportShown:
    """The report and what Prefect's UI shows of it."""

    html: Path
    json: Path
    report: dict[str, Any]
    links: dict[str, str]
    pictures: dict[str, bytes]
    season_markdown: dict[int, str]


def simulate_history(loop: Loop, on_output: Callable[[str], None]) -> HistoryRef:
    """Past field-seasons as Parquet, made once: DVC's stage `history` runs only when what it depends on changed."""
    from fieldloop.field_data import reproduce

    reproduce(loop.settings.root, "history", on_output)
    path = loop.workspace.history
    fields = loop.params.history.fields_per_region
    seasons = sum(last - first + 1 for first, last in loop.params.history.regions.values())
    return HistoryRef(str(path), folder_hash(path, "*.parquet"), fields * seasons)


def validate_history(loop: Loop, history: HistoryRef) -> AcceptedRef:
    """Great Expectations over every table; good rows are accepted, bad ones quarantined with what they broke.

    Raises:
        DataError: a table breaks a critical expectation; the message says which and where.
    """
    from fieldloop.validation import validate_tables

    space = loop.workspace
    report = validate_tables(
        Path(history.path), space.quarantine, space.data_docs / "history", _contract(loop), date.today()
    )
    store = _store(loop)
    stored = [store.accept(table, frame, came_with="history") for table, frame in report.accepted.items()]
    quarantined = report.quarantined + sum(outcome.conflicts for outcome in stored)
    path = _write_json(space.home / "validation" / "history.json", report.as_dict())
    return AcceptedRef(history.content_hash, report.rows, quarantined, str(report.docs_index), str(path))


def version_data(loop: Loop, accepted: AcceptedRef | SyncedRef, season: int) -> SnapshotRef:
    """A DVC version of everything accepted so far, for the model of `season`."""
    from fieldloop.field_data import snapshot

    root = loop.settings.root
    what = f"season {accepted.season}" if isinstance(accepted, SyncedRef) else "the history"
    made = snapshot(
        root,
        loop.workspace.seasons.relative_to(root),
        f"Data: {what} accepted",
        loop.settings.is_deployment,
        accepted.season if isinstance(accepted, SyncedRef) else season - 1,
    )
    return SnapshotRef(made.data_hash, season, made.note, made.committed)


def accepted_so_far(loop: Loop, accepted: AcceptedRef) -> AcceptedRef:
    """The same validation, named by everything that is accepted by now: what devices sent since is another content."""
    return replace(accepted, content_hash=folder_hash(loop.workspace.seasons, "*.parquet"))


def next_season(loop: Loop) -> int:
    """The harvest year after the last accepted one: a model for it may learn from everything."""
    return max(_store(loop).seasons()) + 1


def train_model(loop: Loop, data: SnapshotRef, on_progress: OnProgress) -> "Trained":
    """Fit the workload's model on every accepted season before `data.season` that is not held out."""
    from fieldloop.registry import git_commit
    from fieldloop.training import train

    folder = _run_folder(loop, data)
    examples = _training_examples(loop, data)
    tags = {
        "git_commit": git_commit(loop.settings.root),
        "loop_id": loop.loop_id,
        "for_season": str(data.season),
        "contract_hash": _contract(loop).hash,
    }
    return train(
        loop.workload,
        examples,
        loop.params.model,
        folder,
        loop.settings.tracking_uri,
        data.data_hash,
        tags,
        on_progress,
        _practise(loop, data, on_progress),
    )


def _practise(loop: Loop, data: SnapshotRef, on_progress: OnProgress) -> "Practise":
    """Practice on what-if seasons made of what is accepted, from the champion's weights where it fits the contract."""
    from fieldloop.registry import ModelRegistry
    from fieldloop.training import load_network
    from fieldloop.workloads import WORKLOADS

    def practise(network: "nn.Module") -> "Examples":
        registry = ModelRegistry(loop.settings.tracking_uri, loop.workload)
        champion = registry.champion(_contract(loop).hash, data.season, challenger_run_id="")
        start = None
        if champion is not None:
            with suppress(RuntimeError):  # a champion of another shape, from before an upgrade: practice starts anew
                start = load_network(Path(registry.describe(champion.version).checkpoint))
        workload, params = WORKLOADS[loop.workload], loop.params
        tables = _tables(loop, _training_seasons(loop, data))
        return workload.practise(network, tables, params.what_if, start, params.model.seed, on_progress)

    return practise


def evaluate_and_register(loop: Loop, data: SnapshotRef, trained: "Trained") -> RegisteredRef:
    """Challenger against champion on the held-out seasons; the alias `champion` moves only if the gate says so."""
    from fieldloop.compression import export_float32
    from fieldloop.evaluation import judge
    from fieldloop.inference import predictor
    from fieldloop.registry import ModelRegistry, git_commit
    from fieldloop.training import load_network

    contract, folder = _contract(loop), Path(trained.folder)
    network = load_network(Path(trained.checkpoint))
    path = export_float32(network, len(contract.features), _metadata(loop), folder / "challenger.onnx")
    held_out = _held_out_examples(loop)
    registry = ModelRegistry(loop.settings.tracking_uri, loop.workload)
    champion = registry.champion(contract.hash, data.season, trained.mlflow_run_id)
    verdict = judge(
        predictor(path),
        champion.predict if champion else None,
        champion.version if champion else None,
        held_out,
        loop.params.gates,
    )
    registered = registry.register(
        trained,
        path,
        held_out.model_inputs()[:4],
        verdict,
        contract.hash,
        git_commit(loop.settings.root),
        data.season,
    )
    written = _write_json(folder / "verdict.json", {**verdict.as_dict(), "registered": asdict(registered)})
    if champion is None and not verdict.is_promoted:
        raise ReleaseError(
            f"version {registered.version} of {loop.workload} cannot be released ({verdict.reason}), and there is no "
            "other; look at the run in MLflow (`make ui`), then change the model's block in params.yaml"
        )
    serving = registered.version if champion is None or verdict.is_promoted else champion.version
    return RegisteredRef(registered.version, serving, verdict.is_promoted, verdict.reason, str(written))


def compress_champion(loop: Loop, data: SnapshotRef, registered: RegisteredRef) -> CompressedRef:
    """The small model of the champion, if it is measured to be as good and as fast; otherwise float32."""
    from fieldloop.compression import Bench, compress
    from fieldloop.registry import ModelRegistry

    registry = ModelRegistry(loop.settings.tracking_uri, loop.workload)
    champion = registry.describe(registered.champion_version)
    folder = Path(champion.checkpoint).parent
    bench = Bench(loop.settings.edge_python_path, loop.settings.root, loop.workload)
    material = compression_material(loop, data, Path(champion.checkpoint))
    made = compress(material, loop.params.compression, folder / "compressed", bench)
    report = _write_json(Path(made.path).parent / "report.json", made.as_dict())
    registry.note_compression(champion.version, made, report)
    return CompressedRef(champion.version, made.path, made.shipped, made.reason, str(report))


def compression_material(loop: Loop, data: SnapshotRef, checkpoint: Path) -> "Material":
    """What compression needs of a trained model: its network, what it learned from, and seasons to try it on."""
    from fieldloop.compression import Material
    from fieldloop.training import load_network, practised_examples
    from fieldloop.workloads import WORKLOADS
    from fieldloop.workloads.agriculture.examples import joined

    examples, params = _training_examples(loop, data), loop.params.compression
    count = min(len(examples), params.calibration_rows)
    picks = np.sort(np.random.default_rng(0).choice(len(examples), count, replace=False))
    practised = practised_examples(checkpoint.parent)
    tables = _tables(loop, _training_seasons(loop, data))

    def profits(predict: "Predict") -> "np.ndarray[Any, np.dtype[np.float64]]":
        workload = WORKLOADS[loop.workload]
        return workload.closed_loop_profits_usd_ha(tables, predict, params.closed_loop_fields, loop.params.model.seed)

    return Material(
        workload=loop.workload,
        network=load_network(checkpoint),
        features=_contract(loop).features,
        calibration=examples.model_inputs()[picks],
        training=examples if practised is None else joined(examples, practised),
        held_out=_held_out_examples(loop),
        profits=profits,
        metadata=_metadata(loop),
        model=loop.params.model,
    )


def release_bundle(loop: Loop, data: SnapshotRef, compressed: CompressedRef) -> ReleasedRef:
    """The small model as a bundle, tried as a device would try it, and signed in the TUF repository."""
    from fieldloop.inference import predictor
    from fieldloop.registry import ModelRegistry
    from fieldloop.release import Lineage, ReleaseRepository, build_bundle

    contract = _contract(loop)
    registry = ModelRegistry(loop.settings.tracking_uri, loop.workload)
    champion = registry.describe(compressed.version)
    rows = _golden_rows(_held_out_examples(loop))
    model = Path(compressed.path)
    bundle = build_bundle(
        loop.workspace.bundles / f"{loop.workload}-{champion.version}.zip",
        model,
        contract=contract,
        lineage=Lineage(
            version=champion.version,
            precision="int8" if compressed.shipped == "int8" else "float32",
            data_hash=champion.data_hash,
            git_commit=champion.git_commit,
            mlflow_run_id=champion.mlflow_run_id,
            created_utc=registry.created_utc(champion.version),
        ),
        golden=Golden(rows, predictor(model)(rows)),
        golden_tolerance=GOLDEN_TOLERANCE,
        reference=_reference(loop, _training_examples(loop, data)),
        card=registry.card(champion.version),
    )
    released = ReleaseRepository(loop.workspace.tuf).publish(bundle, loop.workload, champion.version, contract.hash)
    return ReleasedRef(released.version, released.sha256, released.bytes, str(bundle))


def deliver(loop: Loop, released: ReleasedRef, on_progress: OnProgress) -> int:
    """Every device fetches, verifies and installs the release over the air; how many changed their model."""
    with _gateway(loop) as url:
        updates = _fleet(loop).update_all(url, loop.settings.worker_count, on_progress)
    wrong = sorted(update.device_id for update in updates if update.version != released.version)
    if wrong:
        raise DataError(
            f"after the update {', '.join(wrong)} run another version than {released.version}; "
            "`fieldedge status` on the device says why"
        )
    return sum(update.changed for update in updates)


def live_season(loop: Loop, released: ReleasedRef, season: int, on_progress: OnProgress) -> LivedRef:
    """Every device lives through the season offline, one process each, in its own simulated field."""
    lived = _fleet(loop).live_season(season_fields(loop, season), loop.settings.worker_count, on_progress)
    path = loop.workspace.seasons_lived / str(season) / "fleet.json"
    _write_json(path, {**lived.as_record(), "bundle_sha256": released.sha256})
    return LivedRef(season, lived.devices, str(path))


def send_home(loop: Loop, lived: LivedRef, on_progress: OnProgress) -> LivedRef:
    """The devices are online again and send what they selected; only an acknowledgement frees a record."""
    from fieldloop.fleet import FleetSeason

    path = Path(lived.report)
    record = json.loads(path.read_text())
    bundle_sha256 = record.pop("bundle_sha256")
    with _gateway(loop) as url:
        sync = _fleet(loop).sync_all(url, loop.settings.worker_count, on_progress)
    home = FleetSeason(**record).with_sync(sync).as_record()
    _write_json(path, {**home, "bundle_sha256": bundle_sha256})
    return lived


def ingest(loop: Loop, lived: LivedRef) -> SyncedRef:
    """Batches into the accepted data, exactly once, through the same expectations; then every record is looked for."""
    from fieldloop.ingest import account_for, ingest_batches

    space = loop.workspace
    store = _store(loop)
    docs = space.data_docs / f"season-{lived.season}"
    report = ingest_batches(
        space.inbox, space.device_registry, store, space.quarantine, _contract(loop), date.today(), docs
    )
    account = account_for(space.inbox, store, space.quarantine, lived.season)
    fleet = json.loads(Path(lived.report).read_text())
    unacknowledged = fleet["records_selected"] - fleet["records_acknowledged"]
    path = _write_json(
        Path(lived.report).with_name("sync.json"), {"ingest": report.as_dict(), "account": asdict(account)}
    )
    return SyncedRef(
        lived.season, account.accepted, account.quarantined, unacknowledged + len(account.missing), str(path)
    )


def compare_practices(loop: Loop, season: int, on_progress: OnProgress) -> str:
    """The same fields and weather under the grower's other practices; the path of the outcomes, JSON."""
    from fieldloop.simulation.practices import baselines
    from fieldloop.simulation.seasons import run_practices

    practices = baselines(loop.params.practices.model_dump())
    fields = season_fields(loop, season)
    jobs = [(spec, practice) for practice in practices.values() for spec in fields]
    outcomes = [outcome.as_record() for outcome in run_practices(jobs, loop.settings.worker_count, on_progress)]
    by_practice = {name: outcomes[i * len(fields) : (i + 1) * len(fields)] for i, name in enumerate(practices)}
    return str(_write_json(loop.workspace.seasons_lived / str(season) / "practices.json", by_practice))


def write_season_report(
    loop: Loop, seasons: Sequence[SeasonRefs], after: SnapshotRef, started: str, wall_s: float
) -> ReportShown:
    """report.json and report.html under `.fieldloop/`, from the steps' own reports."""
    from fieldloop.registry import git_commit
    from fieldloop.report import build_report, read_improvement, season_markdown, season_pictures, write_report

    hashes = [refs.data.data_hash for refs in seasons[1:]] + [after.data_hash]
    stories = [_story(loop, refs, data_hash) for refs, data_hash in zip(seasons, hashes, strict=True)]
    environment = {
        "started_utc": started,
        "loop_id": loop.loop_id,
        "git_commit": git_commit(loop.settings.root),
        "processes": loop.settings.worker_count,
    }
    report = build_report(stories, wall_s, environment)
    home = loop.workspace.home
    links = {"Report": str(home / "report.html"), "Figures": str(home / "report.json")}
    improvement = read_improvement(loop.settings.root)
    written = write_report(report, stories, home, {"Data Docs": str(loop.workspace.data_docs)}, improvement)
    return ReportShown(
        written.html,
        written.json,
        report,
        links,
        season_pictures(report, stories),
        {story.season: season_markdown(story, stories) for story in stories},
    )


def _story(loop: Loop, refs: SeasonRefs, data_hash_after: str) -> "SeasonStory":
    from fieldloop.registry import ModelRegistry
    from fieldloop.report import SeasonStory, season_trace

    registry = ModelRegistry(loop.settings.tracking_uri, loop.workload)
    verdict = json.loads(Path(refs.registered.verdict).read_text())
    synced = json.loads(Path(refs.synced.report).read_text())
    return SeasonStory(
        fleet=json.loads(Path(refs.lived.report).read_text()),
        baselines=json.loads(Path(refs.compared).read_text()),
        ingest=synced["ingest"],
        account=synced["account"],
        registered=verdict.pop("registered"),
        verdict=verdict,
        compressed=json.loads(Path(refs.compressed.report).read_text()),
        released=asdict(refs.released),
        data_hash=refs.data.data_hash,
        data_hash_after=data_hash_after,
        validation=json.loads((loop.workspace.home / "validation" / "history.json").read_text()),
        snapshot_note=refs.data.note,
        deployed=asdict(registry.describe(refs.released.version)),
        trace=season_trace(_store(loop), refs.lived.season),
    )


def require_devices(loop: Loop) -> None:
    """Make sure that devices can run here, before anything is spent on a model for them.

    Raises:
        ConfigError: the device environment is missing.
    """
    from fieldloop.fleet.process import EdgeCommand

    EdgeCommand(loop.settings.edge_python_path)


def season_fields(loop: Loop, season: int) -> "list[FieldSpec]":
    """The field of every device in a season, spread evenly over the regions."""
    from fieldloop.simulation.world import field_specs

    specs: list[FieldSpec] = []
    ids, regions = device_ids(loop), loop.params.loop.regions
    for i, region in enumerate(regions):
        devices = ids[i :: len(regions)]
        if devices:
            specs += field_specs(region, season, len(devices), loop.params.history.seed, "fieldloop", devices)
    return specs


def device_ids(loop: Loop) -> list[str]:
    """The devices' names."""
    return [f"dev-{i:02d}" for i in range(loop.params.loop.devices)]


def folder_hash(folder: Path, pattern: str) -> str:
    """SHA-256 over the names and bytes of a folder's files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob(pattern)):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _contract(loop: Loop) -> Any:
    return EDGE_WORKLOADS[loop.workload].contract


def _metadata(loop: Loop) -> dict[str, str]:
    from fieldedge.inference import METADATA_CONTRACT_HASH, METADATA_WORKLOAD

    return {METADATA_CONTRACT_HASH: _contract(loop).hash, METADATA_WORKLOAD: loop.workload}


def _store(loop: Loop) -> "SeasonStore":
    from fieldloop.field_data import SeasonStore

    return SeasonStore(loop.workspace.seasons, _contract(loop), loop.workspace.quarantine)


def _fleet(loop: Loop) -> "Fleet":
    from fieldloop.fleet import Fleet
    from fieldloop.gateway.devices import DeviceRegistry
    from fieldloop.release import ReleaseRepository

    fleet = Fleet(
        loop.workspace.devices,
        loop.settings.edge_python_path,
        ReleaseRepository(loop.workspace.tuf).trusted_root(),
        DeviceRegistry(loop.workspace.device_registry),
        loop.workload,
        loop.params.loop.upload_budget_bytes,
    )
    if fleet.device_ids() != device_ids(loop):
        fleet.provision(device_ids(loop), loop.settings.worker_count)
    return fleet


@contextmanager
def _gateway(loop: Loop) -> "Iterator[str]":
    """The gateway, up only as long as the devices have a link."""
    from fieldloop.gateway.app import create_app
    from fieldloop.gateway.server import GatewayServer

    space = loop.workspace
    with GatewayServer(create_app(space.tuf, space.inbox, space.device_registry)) as server:
        yield server.url


def _run_folder(loop: Loop, data: SnapshotRef) -> Path:
    params = [part.model_dump(mode="json") for part in (loop.params.model, loop.params.what_if)]
    key = json.dumps([loop.loop_id, data.data_hash, data.season, params])
    return loop.workspace.runs / f"{data.season}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"


def _training_examples(loop: Loop, data: SnapshotRef) -> "Examples":
    return _examples(loop, _training_seasons(loop, data), f"{data.data_hash[:16]}-before-{data.season}")


def _training_seasons(loop: Loop, data: SnapshotRef) -> list[int]:
    held_out = set(loop.params.gates.holdout_seasons)
    return [s for s in _store(loop).seasons() if s < data.season and s not in held_out]


def _tables(loop: Loop, seasons: Sequence[int]) -> dict[str, Any]:
    store = _store(loop)
    return {table.name: store.read(table.name, seasons) for table in _contract(loop).tables}


def _held_out_examples(loop: Loop) -> "Examples":
    return _examples(loop, loop.params.gates.holdout_seasons, "held-out")


def _examples(loop: Loop, seasons: Sequence[int], name: str) -> "Examples":
    """Examples of some seasons, built once for this loop."""
    from fieldloop.workloads import WORKLOADS
    from fieldloop.workloads.agriculture.examples import load_examples, save_examples

    path = loop.workspace.home / "examples" / f"{loop.loop_id}-{name}.npz"
    if path.is_file():
        return load_examples(path)
    examples = WORKLOADS[loop.workload].examples(_tables(loop, seasons))
    save_examples(examples, path)
    return examples


def _golden_rows(examples: "Examples") -> "np.ndarray[Any, np.dtype[np.float32]]":
    picks = np.linspace(0, len(examples) - 1, GOLDEN_ROWS).astype(int)
    rows: np.ndarray[Any, np.dtype[np.float32]] = examples.model_inputs()[picks]
    return rows


def _reference(loop: Loop, examples: "Examples") -> dict[str, dict[str, float]]:
    """What the model knows: for every feature mean, std, p01 and p99 over the training data, physical units."""
    values = examples.features.astype(np.float64)
    low, high = np.quantile(values, [0.01, 0.99], axis=0)
    columns = zip(_contract(loop).feature_names, values.mean(axis=0), values.std(axis=0), low, high, strict=True)
    return {
        name: {"mean": float(mean), "std": float(std), "p01": float(p01), "p99": float(p99)}
        for name, mean, std, p01, p99 in columns
    }


def _write_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, json.dumps(value, indent=1).encode() + b"\n")
    return path


def new_loop(settings: Settings, workload: str, params: WorkloadParams) -> tuple[Loop, Path | None]:
    """The loop of these parameters and this code, and where a former loop's devices went, if there was one.

    Accepted data that was deleted by hand is brought back from its last version.
    """
    from fieldloop.field_data import restore
    from fieldloop.workspace import loop_id_of

    loop = Loop(settings, workload, params, loop_id_of(settings.root, params))
    is_same = loop.workspace.loop_id() == loop.loop_id
    archived = loop.workspace.begin(loop.loop_id)
    if is_same and not loop.workspace.seasons.exists():
        restore(settings.root, loop.workspace.seasons)
    return loop, archived


def started_utc() -> str:
    """Now, for reports."""
    return datetime.now(UTC).isoformat(timespec="seconds")
