"""A bundle that was built wrong, on purpose: for the sample world, which shows what a rollout does with one.

Its answers lie far from what the model learned, as after a mix-up of units. It repeats its own golden vectors, so a
device's trial lets it pass: only what is watched in the field tells.
"""

import json
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import helper, numpy_helper

from fieldedge.contract import Contract
from fieldedge.inference.bundles import CARD, GOLDEN, MODEL, REFERENCE, Golden, open_bundle, parse_golden
from fieldedge.inference.model import Model
from fieldloop.release.bundle import Lineage, build_bundle

OFF_SD = 8.0  # by how much every answer is off, in the standard deviations of the golden ones


def misbuilt(data: bytes, version: str, contract: Contract) -> bytes:
    """The bundle as a version whose answers are all off by the same.

    Raises:
        ReleaseError: it is no bundle.
    """
    bundle = open_bundle(data, contract)
    golden = parse_golden(bundle.files[GOLDEN], contract)
    off = (OFF_SD * np.maximum(golden.outputs.std(axis=0), 1e-3)).astype(np.float32)
    model = _shifted(bundle.files[MODEL], off)
    lineage = {field.name: getattr(bundle.manifest, field.name) for field in fields(Lineage)}
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        path.write_bytes(model)
        made = build_bundle(
            Path(scratch) / "bundle.zip",
            path,
            contract=contract,
            lineage=Lineage(**{**lineage, "version": version}),
            golden=Golden(golden.features, Model(model, contract).predict(golden.features)),
            golden_tolerance=bundle.manifest.golden_tolerance,
            reference=json.loads(bundle.files[REFERENCE]),
            card=bundle.files[CARD].decode(),
            slices=bundle.manifest.slices,
        )
        return made.read_bytes()


def _shifted(data: bytes, off: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> bytes:
    """The same network with a last addition."""
    model = onnx.load_from_string(data)
    (output,) = model.graph.output
    inner = f"{output.name}_before"
    for node in model.graph.node:
        node.output[:] = [inner if name == output.name else name for name in node.output]
        node.input[:] = [inner if name == output.name else name for name in node.input]
    model.graph.initializer.append(numpy_helper.from_array(off.reshape(1, -1), "off"))
    model.graph.node.append(helper.make_node("Add", [inner, "off"], [output.name]))
    made: bytes = model.SerializeToString()
    return made
