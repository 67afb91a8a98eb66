"""Compress: the champion's small model, where it is measured to be as good and as fast."""

import json
from typing import TYPE_CHECKING

import numpy as np

from fieldloop.core.dataset import joined, parted
from fieldloop.registry.model_registry import ModelRegistry
from fieldloop.stages.access import read_judging_tables, training_periods
from fieldloop.stages.context import Loop, contract_of, metadata_of
from fieldloop.stages.examples import held_out_examples, training_examples
from fieldloop.stages.refs import CompressedRef, RegisteredRef, SnapshotRef, write_json
from fieldloop.stages.released import standing_bundle
from fieldloop.stages.workload import workload_of
from fieldloop.workload import Predict, Value

if TYPE_CHECKING:
    from fieldloop.compression import CompressionInputs

CHOOSING_SHARE = 0.25  # of the training groups: they choose between quantisers, and judge no file


def compress_champion(loop: Loop, data: SnapshotRef, registered: RegisteredRef) -> CompressedRef:
    """The small model of the champion, if it is measured to be as good and as fast; otherwise float32.

    What was released of a version stands: it is not compressed again unless parameters or code of compression changed.
    """
    from fieldloop.compression import Bench, compress, compression_key  # torch: as in train.py

    registry = ModelRegistry(loop.settings.tracking_uri, workload_of(loop))
    champion = registry.describe(registered.champion_version)
    key = compression_key(loop.params.compression)
    standing = standing_bundle(loop, registry, champion.version, key)
    if standing is not None:
        told = {**json.loads(standing.report.read_text()), "picture": str(standing.picture or "")}
        report = write_json(standing.report, told)
        return CompressedRef(champion.version, str(standing.bundle), told["shipped"], told["reason"], str(report), key)
    folder = loop.paths.runs / f"compressed-{champion.version}-{champion.mlflow_run_id[:12]}"
    bench = Bench(loop.settings.edge_python_path, loop.settings.root, loop.workload)
    inputs = compression_inputs(loop, data, champion.version)
    made = compress(inputs, loop.params.compression, folder, bench)
    report = write_json(folder / "report.json", made.as_dict())
    registry.note_compression(champion.version, made, report)
    return CompressedRef(champion.version, made.path, made.shipped, made.reason, str(report), key)


def stands(loop: Loop, compressed: CompressedRef) -> bool:
    """Whether the registry has the version that was made small."""
    return ModelRegistry(loop.settings.tracking_uri, workload_of(loop)).has(compressed.version)


def compression_inputs(loop: Loop, data: SnapshotRef, version: str) -> "CompressionInputs":
    """What compression needs of a registered model: its network, what it learned from, and periods to try it on."""
    from fieldloop.compression import CompressionInputs

    workload, examples, params = workload_of(loop), training_examples(loop, data), loop.params.compression
    count = min(len(examples), params.calibration_rows)
    picks = np.sort(np.random.default_rng(0).choice(len(examples), count, replace=False))
    registry = ModelRegistry(loop.settings.tracking_uri, workload_of(loop))
    practised = registry.pretraining_examples(version)
    tables = read_judging_tables(loop, training_periods(loop, data))

    def value(predict: Predict) -> Value | None:
        return workload.value(tables, predict, loop.params, params.closed_loop_fields, loop.params.model.seed)

    return CompressionInputs(
        workload=workload,
        network=registry.network(version),
        features=contract_of(loop).features,
        calibration=workload.device.contract.scale(examples.inputs)[picks],
        training=examples if practised is None else joined(examples, practised),
        choosing=parted(examples, CHOOSING_SHARE),
        held_out=held_out_examples(loop),
        value=value,
        value_of=f"{data.learnable_hash} before {data.period}",
        metadata=metadata_of(loop),
        model=loop.params.model,
    )
