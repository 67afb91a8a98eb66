"""Release: the small model as a bundle for each device class, tried as a device would try it, and signed."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fieldedge.inference.bundles import Golden, open_bundle
from fieldloop.core.dataset import Dataset
from fieldloop.evaluation.predictor import predictor
from fieldloop.registry.model_registry import PICTURE, REPORT, ModelRegistry
from fieldloop.release import Lineage, ReleaseRepository, build_bundle, is_begun, with_slices
from fieldloop.rollout.signed import note_run
from fieldloop.stages.context import Loop, contract_of
from fieldloop.stages.examples import held_out_examples, training_examples
from fieldloop.stages.kept import note_registry, require_keys
from fieldloop.stages.refs import CompressedRef, ReleasedRef, SnapshotRef
from fieldloop.stages.released import FOR_ALL, bundle_files, standing_bundle, write_bundles
from fieldloop.stages.workload import workload_of

GOLDEN_ROWS = 32
GOLDEN_TOLERANCE = 0.05  # standard deviations of each output: other processors round 8-bit products otherwise


def release_bundle(loop: Loop, data: SnapshotRef, compressed: CompressedRef, *, is_staged: bool = False) -> ReleasedRef:
    """The small model as a bundle for each device class, tried as a device would try it, and signed.

    What was released of a version stands, unless it was judged again since and other slices are the rule's. The
    reference is to the file of the fleet's own class.

    Args:
        is_staged: a version that is not everyone's yet is left to a rollout, which signs it for whom it says. The first
            one is offered to every device at once: there is nothing to go back to, and nothing to compare it with.

    Raises:
        ConfigError: a deployment has no keys yet.
    """
    registry = ModelRegistry(loop.settings.tracking_uri, workload_of(loop))
    require_keys(loop)
    version = compressed.version
    standing = standing_bundle(loop, registry, version, compressed.key)
    if standing is not None:
        stood = {FOR_ALL: standing.bundle, **standing.classes}
        made = {name: _as_judged(loop, path.read_bytes(), registry, version) for name, path in stood.items()}
    else:
        stood, made = {}, _built_bundles(loop, data, compressed, registry)
    run_id = registry.describe(version).mlflow_run_id
    note_run(loop.paths.bundles, loop.workload, version, run_id)
    written = write_bundles(loop, version, made)
    if any(name not in stood or made[name] != stood[name].read_bytes() for name in made):
        picture = Path(json.loads(Path(compressed.report).read_text(encoding="utf-8"))["picture"])
        measured = {REPORT: Path(compressed.report), **({PICTURE: picture} if picture.is_file() else {})}
        by_class = {name: path for name, path in written.items() if name != FOR_ALL}
        registry.note_release(version, compressed.key, written[FOR_ALL], measured, data.data_hash, by_class)
    fleet = made[FOR_ALL]
    released = ReleasedRef(version, hashlib.sha256(fleet).hexdigest(), len(fleet), str(written[FOR_ALL]))
    repository = ReleaseRepository(loop.paths.tuf)
    everyones = repository.current(loop.workload)
    if is_staged and everyones is not None and everyones.version != version:
        return replace(released, is_staged=True)
    repository.publish(bundle_files(loop, version, made), loop.workload, version, contract_of(loop).hash, run_id)
    note_registry(loop)
    first = f"version {version} is the first that is released, so every device is offered it at once"
    return replace(released, told=first if is_staged and everyones is None else "")


def stands(loop: Loop, released: ReleasedRef) -> bool:
    """Whether these bytes are what devices are offered, class by class, or lie ready for a rollout, and the registry
    has the version."""
    if not is_begun(loop.paths.tuf):
        return False
    offers = ReleaseRepository(loop.paths.tuf).offers(loop.workload)
    registry = ModelRegistry(loop.settings.tracking_uri, workload_of(loop))
    if offers.released is None or not registry.has(released.version):
        return False
    is_everyones = offers.released.version == released.version
    if not is_everyones and not released.is_staged:
        return False
    data = Path(released.bundle).read_bytes()
    hashes = {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in bundle_files(loop, released.version, offers.classes).items()
    }
    if hashlib.sha256(data).hexdigest() != released.sha256 or (is_everyones and offers.classes != hashes):
        return False
    return open_bundle(data, contract_of(loop)).manifest.slices == registry.slices(released.version)


def _as_judged(loop: Loop, data: bytes, registry: ModelRegistry, version: str) -> bytes:
    """A bundle with the slices that stand on its version now; itself where it has these."""
    contract, slices = contract_of(loop), registry.slices(version)
    if open_bundle(data, contract).manifest.slices == slices:
        return data
    return with_slices(data, slices, registry.bundle_card(version), contract)


def _built_bundles(
    loop: Loop, data: SnapshotRef, compressed: CompressedRef, registry: ModelRegistry
) -> dict[str, bytes]:
    """A bundle of what ships to each class, and of what ships to the fleet's; classes share what is the same."""
    champion = registry.describe(compressed.version)
    rows = _golden_rows(loop, held_out_examples(loop))
    reference = _reference(loop, training_examples(loop, data))
    card, slices = registry.bundle_card(champion.version), registry.slices(champion.version)
    by_class = json.loads(Path(compressed.report).read_text(encoding="utf-8"))["by_class"]
    ships = {name: (choice["path"], choice["precision"]) for name, choice in by_class.items()}
    ships[FOR_ALL] = (compressed.path, compressed.shipped)
    built: dict[tuple[str, str], bytes] = {}
    with TemporaryDirectory() as scratch:
        for path, precision in sorted(set(ships.values())):
            model = Path(path)
            made = build_bundle(
                Path(scratch) / "bundle.zip",
                model,
                contract=contract_of(loop),
                lineage=Lineage(
                    version=champion.version,
                    precision="int8" if precision == "int8" else "float32",
                    data_hash=champion.data_hash,
                    compression_data_hash=data.data_hash,
                    compression_key=compressed.key,
                    git_commit=champion.git_commit,
                ),
                golden=Golden(rows, predictor(model)(rows)),
                golden_tolerance=GOLDEN_TOLERANCE,
                reference=reference,
                card=card,
                slices=slices,
            )
            built[path, precision] = made.read_bytes()
    return {name: built[shipped] for name, shipped in ships.items()}


def _golden_rows(loop: Loop, examples: Dataset) -> np.ndarray[Any, np.dtype[np.float32]]:
    picks = np.linspace(0, len(examples) - 1, GOLDEN_ROWS).astype(int)
    rows: np.ndarray[Any, np.dtype[np.float32]] = workload_of(loop).device.contract.scale(examples.inputs)[picks]
    return rows


def _reference(loop: Loop, examples: Dataset) -> dict[str, dict[str, float]]:
    """What the model knows: for every feature mean, std, p01 and p99 over the training data, physical units."""
    values = examples.inputs.astype(np.float64)
    low, high = np.quantile(values, [0.01, 0.99], axis=0)
    columns = zip(contract_of(loop).feature_names, values.mean(axis=0), values.std(axis=0), low, high, strict=True)
    return {
        name: {"mean": float(mean), "std": float(std), "p01": float(p01), "p99": float(p99)}
        for name, mean, std, p01, p99 in columns
    }
