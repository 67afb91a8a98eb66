"""Release: the small model as a bundle, tried as a device would try it, and signed."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from fieldedge.inference.bundles import Golden, open_bundle
from fieldedge.system.durable import write_durably
from fieldloop.core.dataset import Dataset
from fieldloop.evaluation.predictor import predictor
from fieldloop.registry.model_registry import PICTURE, REPORT, ModelRegistry
from fieldloop.release import Lineage, ReleaseRepository, build_bundle, is_begun, with_slices
from fieldloop.stages.context import Loop, contract_of
from fieldloop.stages.examples import held_out_examples, training_examples
from fieldloop.stages.kept import note_registry
from fieldloop.stages.refs import CompressedRef, ReleasedRef, SnapshotRef
from fieldloop.stages.released import standing_bundle
from fieldloop.stages.workload import workload_of

GOLDEN_ROWS = 32
GOLDEN_TOLERANCE = 0.05  # standard deviations of each output: other processors round 8-bit products otherwise


def release_bundle(loop: Loop, data: SnapshotRef, compressed: CompressedRef) -> ReleasedRef:
    """The small model as a bundle, tried as a device would try it, and signed in the TUF repository.

    What was released of a version stands, unless it was judged again since and other slices are the rule's.
    """
    registry = ModelRegistry(loop.settings.tracking_uri, workload_of(loop))
    standing = standing_bundle(loop, registry, compressed.version, compressed.key)
    if standing is not None:
        bundle = loop.paths.bundles / f"{loop.workload}-{compressed.version}.zip"
        bundle.parent.mkdir(parents=True, exist_ok=True)
        write_durably(bundle, _as_judged(loop, standing.bundle.read_bytes(), registry, compressed.version))
    else:
        bundle = _built_bundle(loop, data, compressed, registry)
    if standing is None or bundle.read_bytes() != standing.bundle.read_bytes():
        picture = Path(json.loads(Path(compressed.report).read_text(encoding="utf-8"))["picture"])
        measured = {REPORT: Path(compressed.report), **({PICTURE: picture} if picture.is_file() else {})}
        registry.note_release(compressed.version, compressed.key, bundle, measured, data.data_hash)
    contract = contract_of(loop)
    run_id = registry.describe(compressed.version).mlflow_run_id
    released = ReleaseRepository(loop.paths.tuf).publish(
        bundle, loop.workload, compressed.version, contract.hash, run_id
    )
    note_registry(loop)
    return ReleasedRef(released.version, released.sha256, released.bytes, str(bundle))


def stands(loop: Loop, released: ReleasedRef) -> bool:
    """Whether these bytes are what devices are offered, and the registry has the version."""
    if not is_begun(loop.paths.tuf):
        return False
    offered = ReleaseRepository(loop.paths.tuf).current(loop.workload)
    registry = ModelRegistry(loop.settings.tracking_uri, workload_of(loop))
    if offered is None or offered.sha256 != released.sha256 or not registry.has(released.version):
        return False
    bundle = open_bundle(Path(released.bundle).read_bytes(), contract_of(loop))
    return bundle.manifest.slices == registry.slices(released.version)


def _as_judged(loop: Loop, data: bytes, registry: ModelRegistry, version: str) -> bytes:
    """A bundle with the slices that stand on its version now; itself where it has these."""
    contract, slices = contract_of(loop), registry.slices(version)
    if open_bundle(data, contract).manifest.slices == slices:
        return data
    return with_slices(data, slices, registry.bundle_card(version), contract)


def _built_bundle(loop: Loop, data: SnapshotRef, compressed: CompressedRef, registry: ModelRegistry) -> Path:
    champion = registry.describe(compressed.version)
    rows = _golden_rows(loop, held_out_examples(loop))
    model = Path(compressed.path)
    return build_bundle(
        loop.paths.bundles / f"{loop.workload}-{champion.version}.zip",
        model,
        contract=contract_of(loop),
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
        reference=_reference(loop, training_examples(loop, data)),
        card=registry.bundle_card(champion.version),
        slices=registry.slices(champion.version),
    )


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
