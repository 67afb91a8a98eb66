"""The steps of the loop as plain functions: each takes and returns small references, never rows or tensors.

Prefect's tasks wrap them one by one; a notebook or a test can call them as they are. Every step may be cut off and
called again: it continues, or finds its work done.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fieldedge.inference.bundles import Golden
from fieldedge.system.durable import write_durably
from fieldedge.system.errors import DataError, ReleaseError
from fieldedge.workloads import WORKLOADS as EDGE_WORKLOADS
from fieldloop.core.paths import Workspace, workspace_of
from fieldloop.core.settings import Settings, WorkloadParams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from fieldloop.compression import Material
    from fieldloop.data import SeasonStore
    from fieldloop.evaluation.gate import Absent, Predict
    from fieldloop.fleet import Fleet
    from fieldloop.ingest.accept import IngestReport
    from fieldloop.registry.model_registry import Champion, ModelRegistry, StandingBundle
    from fieldloop.report import SeasonStory
    from fieldloop.training.trainer import Practise, Trained
    from fieldloop.workloads.agriculture.dataset import Examples
    from fieldloop.workloads.agriculture.floor import FloorProfits
    from fieldloop.workloads.agriculture.world.world import FieldSpec

OnProgress = Callable[[int, int], None]
TURN = "turn.json"
KEPT_EXAMPLES = 12  # cached files of examples, the last used to be built
GOLDEN_ROWS = 32
CHOOSING_SHARE = 0.25  # of the training field-seasons: they choose between quantisers, and judge no file
GOLDEN_TOLERANCE = 0.05  # standard deviations of each output: other processors round 8-bit products otherwise


NOT_IN_KEY = {"in_key": False}  # a value of a reference that no later step depends on


@dataclass(frozen=True)
class Loop:
    """What every step needs to know: where, which workload, with which parameters."""

    settings: Settings
    workload: str
    params: WorkloadParams

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
    """A version of the accepted data, from which a model for `season` may learn what lies before it.

    `learnable_hash` is the content of that alone: two versions that differ in later seasons teach the same.
    """

    data_hash: str = field(metadata=NOT_IN_KEY)
    season: int
    learnable_hash: str
    note: str = field(metadata=NOT_IN_KEY)
    is_committed: bool = field(metadata=NOT_IN_KEY)


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
    """The champion's small model: what ships and why; `path` is its bundle where it was released before.

    `key` names the parameters and the code that compressed it.
    """

    version: str
    path: str
    shipped: str
    reason: str
    report: str
    key: str = ""


@dataclass(frozen=True)
class ReleasedRef:
    """A signed bundle that devices can fetch."""

    version: str
    sha256: str
    bytes: int
    bundle: str

    @property
    def summary(self) -> str:
        """Its last words for the terminal."""
        return f"bundle {self.version} is signed and released: {self.bytes / 1000:.0f} kB, sha256 {self.sha256}"


@dataclass(frozen=True)
class IngestedRef:
    """What one ingest took out of the gateway's inbox. `report` is its JSON."""

    batches: int
    accepted: int
    quarantined: int
    refused: int
    report: str
    waiting: int = 0


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
    waiting: int = 0


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

    @classmethod
    def of(cls, record: dict[str, Any]) -> "SeasonRefs":
        """The references that `asdict` wrote down."""
        return cls(
            SnapshotRef(**record["data"]),
            RegisteredRef(**record["registered"]),
            CompressedRef(**record["compressed"]),
            ReleasedRef(**record["released"]),
            LivedRef(**record["lived"]),
            str(record["compared"]),
            SyncedRef(**record["synced"]),
        )

    def files(self) -> list[Path]:
        """The files that it refers to."""
        parts: list[Any] = [self.registered, self.compressed, self.released, self.lived, self.synced]
        values = [value for part in parts for value in asdict(part).values()] + [self.compared]
        return [Path(value) for value in values if isinstance(value, str) and value.startswith("/")]


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
    from fieldloop.data import reproduce

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
    from fieldloop.data import snapshot

    root = loop.settings.root
    what = f"season {accepted.season}" if isinstance(accepted, SyncedRef) else "the history"
    made = snapshot(
        root,
        loop.workspace.seasons.relative_to(root),
        f"Data: {what} accepted",
        loop.settings.is_deployment,
        accepted.season if isinstance(accepted, SyncedRef) else season - 1,
    )
    return SnapshotRef(made.data_hash, season, _learnable_hash(loop, season), made.note, made.committed)


def accepted_so_far(loop: Loop, accepted: AcceptedRef) -> AcceptedRef:
    """The same validation, named by everything that is accepted by now: what devices sent since is another content."""
    return replace(accepted, content_hash=folder_hash(loop.workspace.seasons, "*.parquet"))


def next_season(loop: Loop) -> int:
    """The harvest year after the last accepted one: a model for it may learn from everything.

    Raises:
        DataError: nothing is accepted yet.
    """
    seasons = _store(loop).seasons()
    if not seasons:
        raise DataError(f"nothing is accepted in {loop.workspace.seasons} yet: there is nothing to learn from")
    return max(seasons) + 1


def train_model(loop: Loop, data: SnapshotRef, on_progress: OnProgress) -> "Trained":
    """Fit the workload's model on every accepted season before `data.season` that is not held out."""
    from fieldloop.core.code_version import code_hash
    from fieldloop.registry.model_registry import git_commit
    from fieldloop.training.trainer import train

    folder = _run_folder(loop, data)
    examples = _training_examples(loop, data)
    tags = {
        "git_commit": git_commit(loop.settings.root),
        "code_hash": code_hash("fieldloop.steps:train_model"),
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
        loop.settings.artifact_location,
    )


def _practise(loop: Loop, data: SnapshotRef, on_progress: OnProgress) -> "Practise":
    """Practice on what-if seasons made of what is accepted, from the champion's weights where it fits the contract."""
    from fieldloop.registry.model_registry import Champion, ModelRegistry
    from fieldloop.training.trainer import OtherNetworkError
    from fieldloop.workloads import WORKLOADS

    def practise(network: "nn.Module") -> "Examples":
        registry = ModelRegistry(loop.settings.tracking_uri, loop.workload)
        champion = registry.champion(_contract(loop).hash, data.season, challenger_run_id="")
        start = None
        if isinstance(champion, Champion):
            with suppress(OtherNetworkError):  # from before an upgrade: practice starts anew
                start = registry.network(champion.version)
        workload, params = WORKLOADS[loop.workload], loop.params
        tables = _tables(loop, _training_seasons(loop, data))
        return workload.practise(network, tables, params.what_if, start, params.model.seed, on_progress)

    return practise


def last_word(loop: Loop) -> str:
    """The last promotion by a person: with another one, challengers are judged anew."""
    from fieldloop.registry.model_registry import ModelRegistry

    return ModelRegistry(loop.settings.tracking_uri, loop.workload).last_word()


def evaluate_and_register(loop: Loop, data: SnapshotRef, trained: "Trained") -> RegisteredRef:
    """Challenger against champion and anchor on the held-out seasons; `champion` moves only if the gate says so.

    Raises:
        ReleaseError: there is no version that devices may run; the message says why and what to do.
    """
    from fieldloop.compression import export_float32
    from fieldloop.evaluation.gate import NO_CHAMPION_YET, judge
    from fieldloop.evaluation.predictor import predictor
    from fieldloop.registry.model_registry import Champion, ModelRegistry, git_commit
    from fieldloop.training.trainer import load_network, network_folder
    from fieldloop.workloads import WORKLOADS

    contract, folder = _contract(loop), network_folder(trained)
    path = export_float32(load_network(folder), len(contract.features), _metadata(loop), folder / "challenger.onnx")
    held_out = _held_out_examples(loop)
    registry = ModelRegistry(loop.settings.tracking_uri, loop.workload)
    found = _none_lost(loop, registry, registry.champion(contract.hash, data.season, trained.mlflow_run_id))
    champion = found if isinstance(found, Champion) else None
    anchor = None
    if champion is not None:
        anchor = registry.anchor(contract.hash, data.season, trained.mlflow_run_id, champion.version)

    def floor() -> "FloorProfits":
        seen, unseen = _training_seasons(loop, data), loop.params.gates.holdout_seasons
        tables = _tables(loop, seen), _tables(loop, unseen)
        return WORKLOADS[loop.workload].floor_profits(*tables, predictor(path), loop.params.gates.floor)

    verdict = judge(
        predictor(path),
        champion.predict if champion else None,
        champion.version if champion else None,
        held_out,
        loop.params.gates,
        anchor=anchor,
        absent=NO_CHAMPION_YET if isinstance(found, Champion) else found,
        floor=floor,
        is_deployment=loop.settings.is_deployment,
    )
    example = held_out.model_inputs()[:4]
    commit = git_commit(loop.settings.root)
    registered = registry.register(trained, path, example, verdict, contract.hash, commit, data.season)
    written = _write_json(folder / "verdict.json", {**verdict.as_dict(), "registered": asdict(registered)})
    former = found.version if isinstance(found, Champion) else found.runnable
    serving = registered.version if registered.is_champion else former
    if serving is None:
        raise ReleaseError(
            f"version {registered.version} of {loop.workload} cannot be released ({verdict.reason}), and there is no "
            "other that devices can run; look at the run in MLflow (`make ui`), then change the model's block in "
            f"params.yaml, or let a person release it: fieldloop promote {loop.workload} {registered.version}"
        )
    return RegisteredRef(registered.version, serving, registered.is_champion, registered.reason, str(written))


def _none_lost(loop: Loop, registry: "ModelRegistry", found: "Champion | Absent") -> "Champion | Absent":
    """The same, unless devices have a release and the registry no champion: then its store was lost or exchanged."""
    from fieldloop.evaluation.gate import Absent
    from fieldloop.release import ReleaseRepository

    if not isinstance(found, Absent) or registry.champion_version() is not None or not loop.workspace.tuf.is_dir():
        return found
    released = ReleaseRepository(loop.workspace.tuf).current(loop.workload)
    if found.is_damage or released is None:
        return found
    return Absent(
        f"devices are offered version {released.version}, and the registry knows of no champion: its store was lost, "
        "or is another one",
        is_damage=True,
    )


def compress_champion(loop: Loop, data: SnapshotRef, registered: RegisteredRef) -> CompressedRef:
    """The small model of the champion, if it is measured to be as good and as fast; otherwise float32.

    What was released of a version stands: it is not compressed again unless parameters or code of compression changed.
    """
    from fieldloop.compression import Bench, compress, compression_key
    from fieldloop.registry.model_registry import ModelRegistry

    registry = ModelRegistry(loop.settings.tracking_uri, loop.workload)
    champion = registry.describe(registered.champion_version)
    key = compression_key(loop.params.compression)
    standing = _standing_bundle(loop, registry, champion.version, key)
    if standing is not None:
        told = {**json.loads(standing.report.read_text()), "picture": str(standing.picture or "")}
        report = _write_json(standing.report, told)
        return CompressedRef(champion.version, str(standing.bundle), told["shipped"], told["reason"], str(report), key)
    folder = loop.workspace.runs / f"compressed-{champion.version}-{champion.mlflow_run_id[:12]}"
    bench = Bench(loop.settings.edge_python_path, loop.settings.root, loop.workload)
    material = compression_material(loop, data, champion.version)
    made = compress(material, loop.params.compression, folder, bench)
    report = _write_json(folder / "report.json", made.as_dict())
    registry.note_compression(champion.version, made, report)
    return CompressedRef(champion.version, made.path, made.shipped, made.reason, str(report), key)


def compression_material(loop: Loop, data: SnapshotRef, version: str) -> "Material":
    """What compression needs of a registered model: its network, what it learned from, and seasons to try it on."""
    from fieldloop.compression import Material
    from fieldloop.registry.model_registry import ModelRegistry
    from fieldloop.workloads import WORKLOADS
    from fieldloop.workloads.agriculture.dataset import joined, parted

    examples, params = _training_examples(loop, data), loop.params.compression
    count = min(len(examples), params.calibration_rows)
    picks = np.sort(np.random.default_rng(0).choice(len(examples), count, replace=False))
    registry = ModelRegistry(loop.settings.tracking_uri, loop.workload)
    practised = registry.practised_examples(version)
    tables = _tables(loop, _training_seasons(loop, data))

    def profits(predict: "Predict") -> "np.ndarray[Any, np.dtype[np.float64]]":
        workload = WORKLOADS[loop.workload]
        return workload.closed_loop_profits_usd_ha(tables, predict, params.closed_loop_fields, loop.params.model.seed)

    return Material(
        workload=loop.workload,
        network=registry.network(version),
        features=_contract(loop).features,
        calibration=examples.model_inputs()[picks],
        training=examples if practised is None else joined(examples, practised),
        choosing=parted(examples, CHOOSING_SHARE),
        held_out=_held_out_examples(loop),
        profits=profits,
        profits_of=f"{data.learnable_hash} before {data.season}",
        metadata=_metadata(loop),
        model=loop.params.model,
    )


def release_bundle(loop: Loop, data: SnapshotRef, compressed: CompressedRef) -> ReleasedRef:
    """The small model as a bundle, tried as a device would try it, and signed in the TUF repository."""
    from fieldloop.registry.model_registry import PICTURE, REPORT, ModelRegistry
    from fieldloop.release import ReleaseRepository

    registry = ModelRegistry(loop.settings.tracking_uri, loop.workload)
    standing = _standing_bundle(loop, registry, compressed.version, compressed.key)
    if standing is not None:
        bundle = loop.workspace.bundles / f"{loop.workload}-{compressed.version}.zip"
        bundle.parent.mkdir(parents=True, exist_ok=True)
        write_durably(bundle, standing.bundle.read_bytes())
    else:
        bundle = _built_bundle(loop, data, compressed, registry)
        picture = Path(json.loads(Path(compressed.report).read_text())["picture"])
        measured = {REPORT: Path(compressed.report), **({PICTURE: picture} if picture.is_file() else {})}
        registry.note_release(compressed.version, compressed.key, bundle, measured, data.data_hash)
    contract = _contract(loop)
    run_id = registry.describe(compressed.version).mlflow_run_id
    released = ReleaseRepository(loop.workspace.tuf).publish(
        bundle, loop.workload, compressed.version, contract.hash, run_id
    )
    return ReleasedRef(released.version, released.sha256, released.bytes, str(bundle))


def _standing_bundle(loop: Loop, registry: "ModelRegistry", version: str, key: str) -> "StandingBundle | None":
    """What was released of a version under this key, fetched from the registry."""
    return registry.standing_bundle(version, key, loop.workspace.runs / f"released-{version}-{key}")


def _built_bundle(loop: Loop, data: SnapshotRef, compressed: CompressedRef, registry: "ModelRegistry") -> Path:
    from fieldloop.evaluation.predictor import predictor
    from fieldloop.release import Lineage, build_bundle

    champion = registry.describe(compressed.version)
    rows = _golden_rows(_held_out_examples(loop))
    model = Path(compressed.path)
    return build_bundle(
        loop.workspace.bundles / f"{loop.workload}-{champion.version}.zip",
        model,
        contract=_contract(loop),
        lineage=Lineage(
            version=champion.version,
            precision="int8" if compressed.shipped == "int8" else "float32",
            data_hash=champion.data_hash,
            compression_data_hash=data.data_hash,
            compression_key=compressed.key,
            git_commit=champion.git_commit,
        ),
        golden=Golden(rows, predictor(model)(rows)),
        golden_tolerance=GOLDEN_TOLERANCE,
        reference=_reference(loop, _training_examples(loop, data)),
        card=registry.bundle_card(champion.version),
    )


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
    path = _season_folder(loop, season) / "fleet.json"
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


def ingest_inbox(loop: Loop) -> IngestedRef:
    """Every batch that waits in the gateway's inbox into the accepted data, exactly once."""
    report = _ingest(loop, loop.workspace.data_docs / "ingest")
    path = _write_json(loop.workspace.home / "validation" / "ingest.json", report.as_dict())
    return IngestedRef(
        len(report.batches),
        report.records_accepted,
        report.records_quarantined,
        len(report.refused),
        str(path),
        len(report.waiting),
    )


def sync_season(loop: Loop, lived: LivedRef) -> SyncedRef:
    """What the devices sent of a season into the accepted data; then every record of it is looked for."""
    from fieldloop.ingest.accept import account_for

    space = loop.workspace
    report = _ingest(loop, space.data_docs / f"season-{lived.season}")
    account = account_for(space.inbox, _store(loop), space.quarantine, lived.season)
    fleet = json.loads(Path(lived.report).read_text())
    unacknowledged = fleet["records_selected"] - fleet["records_acknowledged"]
    path = _write_json(
        Path(lived.report).with_name("sync.json"), {"ingest": report.as_dict(), "account": asdict(account)}
    )
    lost = unacknowledged + len(account.missing)
    return SyncedRef(lived.season, account.accepted, account.quarantined, lost, str(path), account.records_waiting)


def _ingest(loop: Loop, docs: Path) -> "IngestReport":
    from fieldloop.ingest.accept import ingest_batches

    space = loop.workspace
    return ingest_batches(
        space.inbox, space.device_registry, _store(loop), space.quarantine, _contract(loop), date.today(), docs
    )


def compare_practices(loop: Loop, season: int, on_progress: OnProgress) -> str:
    """The same fields and weather under the grower's other practices; the path of the outcomes, JSON."""
    from fieldloop.workloads.agriculture.world.practices import baselines
    from fieldloop.workloads.agriculture.world.seasons import run_practices

    practices = baselines(loop.params.practices.model_dump())
    fields = season_fields(loop, season)
    jobs = [(spec, practice) for practice in practices.values() for spec in fields]
    outcomes = [outcome.as_record() for outcome in run_practices(jobs, loop.settings.worker_count, on_progress)]
    by_practice = {name: outcomes[i * len(fields) : (i + 1) * len(fields)] for i, name in enumerate(practices)}
    return str(_write_json(_season_folder(loop, season) / "practices.json", by_practice))


def write_season_report(
    loop: Loop, seasons: Sequence[SeasonRefs], after: SnapshotRef, started: str, wall_s: float
) -> ReportShown:
    """report.json and report.html under `.fieldloop/`, from the steps' own reports."""
    from fieldloop.registry.model_registry import git_commit
    from fieldloop.report import build_report, read_improvement, season_markdown, season_pictures, write_report

    hashes = [refs.data.data_hash for refs in seasons[1:]] + [after.data_hash]
    stories = [_story(loop, refs, data_hash) for refs, data_hash in zip(seasons, hashes, strict=True)]
    environment = {
        "started_utc": started,
        "git_commit": git_commit(loop.settings.root),
        "sample_world": loop.workspace.sample.number,
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
    from fieldloop.registry.model_registry import ModelRegistry
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
    from fieldloop.workloads.agriculture.world.world import field_specs

    specs: list[FieldSpec] = []
    ids, regions, prefix = device_ids(loop), loop.params.loop.regions, loop.workspace.sample.prefix
    for i, region in enumerate(regions):
        devices = ids[i :: len(regions)]
        if devices:
            specs += field_specs(
                region, season, len(devices), loop.params.history.seed, "fieldloop", devices, prefix=prefix
            )
    return specs


def device_ids(loop: Loop) -> list[str]:
    """The names of the sample world's devices."""
    prefix = loop.workspace.sample.prefix
    return [f"{prefix}dev-{i:02d}" for i in range(loop.params.loop.devices)]


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
    from fieldedge.inference.model import METADATA_CONTRACT_HASH, METADATA_WORKLOAD

    return {METADATA_CONTRACT_HASH: _contract(loop).hash, METADATA_WORKLOAD: loop.workload}


def _store(loop: Loop) -> "SeasonStore":
    from fieldloop.data import open_store

    space, settings = loop.workspace, loop.settings
    return open_store(settings.root, space.seasons, _contract(loop), space.quarantine, settings.is_deployment)


def _fleet(loop: Loop) -> "Fleet":
    from fieldloop.fleet import Fleet
    from fieldloop.gateway.devices import DeviceRegistry
    from fieldloop.release import ReleaseRepository

    ids = device_ids(loop)
    fleet = Fleet(
        loop.workspace.sample.devices,
        loop.settings.edge_python_path,
        ReleaseRepository(loop.workspace.tuf).trusted_root(),
        DeviceRegistry(loop.workspace.device_registry),
        loop.workload,
        loop.params.loop.upload_budget_bytes,
        ids,
    )
    if not fleet.is_provisioned():
        fleet.provision(ids, loop.settings.worker_count)
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
    from fieldloop.core.code_version import code_hash

    params = [part.model_dump(mode="json") for part in (loop.params.model, loop.params.what_if)]
    key = json.dumps([code_hash("fieldloop.steps:train_model"), data.learnable_hash, data.season, params])
    return loop.workspace.runs / f"{data.season}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"


def _training_examples(loop: Loop, data: SnapshotRef) -> "Examples":
    return _examples(loop, _training_seasons(loop, data))


def _training_seasons(loop: Loop, data: SnapshotRef) -> list[int]:
    held_out = set(loop.params.gates.holdout_seasons)
    return [s for s in _store(loop).seasons() if s < data.season and s not in held_out]


def _tables(loop: Loop, seasons: Sequence[int]) -> dict[str, Any]:
    store = _store(loop)
    return {table.name: store.read(table.name, seasons) for table in _contract(loop).tables}


def _held_out_examples(loop: Loop) -> "Examples":
    return _examples(loop, loop.params.gates.holdout_seasons)


def _examples(loop: Loop, seasons: Sequence[int]) -> "Examples":
    """Examples of some seasons, built once for the same rows and the same code."""
    from fieldloop.core.code_version import code_hash
    from fieldloop.workloads import WORKLOADS
    from fieldloop.workloads.agriculture.dataset import load_examples, save_examples

    code = code_hash("fieldloop.workloads.agriculture.dataset")
    path = loop.workspace.examples / f"{code}-{_content_hash(loop, seasons)[:20]}.npz"
    if path.is_file():
        return load_examples(path)
    examples = WORKLOADS[loop.workload].examples(_tables(loop, seasons))
    save_examples(examples, path)
    files = sorted(loop.workspace.examples.glob("*.npz"), key=lambda file: file.stat().st_mtime)
    for outdated in files[:-KEPT_EXAMPLES]:
        outdated.unlink(missing_ok=True)
    return examples


def _learnable_hash(loop: Loop, season: int) -> str:
    return _content_hash(loop, [accepted for accepted in _store(loop).seasons() if accepted < season])


def _content_hash(loop: Loop, seasons: Sequence[int]) -> str:
    """SHA-256 over the accepted rows of some seasons, as they lie on disk."""
    digest = hashlib.sha256()
    for season in sorted(seasons):
        digest.update(f"{season} {folder_hash(loop.workspace.seasons / f'season={season}', '*.parquet')}".encode())
    return digest.hexdigest()


def _season_folder(loop: Loop, season: int) -> Path:
    return loop.workspace.sample.seasons / str(season)


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


def new_loop(settings: Settings, workload: str, params: WorkloadParams) -> Loop:
    """The loop of these parameters, over what this clone has: nothing that was kept is moved.

    Accepted data that was deleted by hand is brought back from its last version, and data of a former contract is
    migrated.

    Raises:
        DataError: a part of the accepted data is gone; the message says which, and how to bring it back.
    """
    from fieldloop.data import missing_from_last_version, restore

    loop = Loop(settings, workload, params)
    space = loop.workspace
    space.prepare()
    if not space.seasons.exists():
        restore(settings.root, space.seasons)
    elif missing := missing_from_last_version(settings.root, space.seasons):
        pointer = space.seasons.with_name(f"{space.seasons.name}.dvc").relative_to(settings.root)
        raise DataError(
            f"{len(missing)} files of accepted data that {pointer} names are gone from {space.seasons}, "
            f"{missing[0]} among them; nothing is learned without them. Bring them back: dvc checkout {pointer}"
        )
    _store(loop)  # data of a former contract is migrated before anything is named by its content
    return loop


def finished_turn(loop: Loop, season: int) -> SeasonRefs | None:
    """What a season that the sample world's devices lived through to the end referred to; None where it is to be lived.

    A season is lived once: other code or parameters later do not change what happened in it. Where a file of it is
    gone, its steps are gone through again, and what is cached of them is found.
    """
    path = _season_folder(loop, season) / TURN
    try:
        refs = SeasonRefs.of(json.loads(path.read_bytes())["refs"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # not lived to the end, or by code that referred to other things
    return refs if all(file.exists() for file in refs.files()) else None


def finish_turn(loop: Loop, season: int, refs: SeasonRefs) -> SeasonRefs:
    """Note that a season was lived to the end."""
    _write_json(_season_folder(loop, season) / TURN, {"refs": asdict(refs)})
    return refs


def started_utc() -> str:
    """Now, for reports."""
    return datetime.now(UTC).isoformat(timespec="seconds")
