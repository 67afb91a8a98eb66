"""The bundle: everything a device needs to trust and run one model, as one file.

A bundle is a function of its parts: the same parts give the same bytes, so its hash names it. It is checked with the
device's own code before it is written, so that what a device would refuse is never built. The format is
`fieldedge.inference.bundles`; signing and delivering is `repository.py`.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fieldedge.contract import Contract
from fieldedge.inference.bundles import (
    CARD,
    FILES,
    FORMAT,
    GOLDEN,
    MANIFEST,
    MODEL,
    REFERENCE,
    Golden,
    Manifest,
    open_bundle,
    parse_golden,
)
from fieldedge.inference.model import Model
from fieldedge.inference.slices import Slice
from fieldedge.system.durable import write_durably
from fieldedge.system.errors import ReleaseError

_EARLIEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Lineage:
    """Where a model comes from: the trace from a device's decision back to the data.

    `version` is the MLflow model version. Nothing here tells one making of a model from another, so that the same seed
    gives the same bundle. `data_hash` is what the model learned from; `compression_data_hash` is
    the data by which it was made small and from which the reference comes, and `compression_key` names the parameters
    and the code of that: of one version there may be several bundles, and these tell them apart.
    """

    version: str
    precision: Literal["int8", "float32"]
    data_hash: str
    compression_data_hash: str
    compression_key: str
    git_commit: str


def build_bundle(
    out_path: Path,
    model_path: Path,
    *,
    contract: Contract,
    lineage: Lineage,
    golden: Golden,
    golden_tolerance: float,
    reference: Mapping[str, Mapping[str, float]],
    card: str,
    slices: Sequence[Slice] = (),
) -> Path:
    """Write the bundle to `out_path` in one step, and return that path.

    Args:
        model_path: the ONNX file that ships.
        golden: scaled inputs and the outputs that ONNX Runtime gave for them on that file.
        golden_tolerance: the largest error that a device may find on them, in standard deviations of each output.
        reference: for every feature its mean, std, p01 and p99 over the training data, in physical units.
        card: the model card, Markdown.
        slices: where devices follow the workload's rule.

    Raises:
        ReleaseError: a part is missing or broken, or the model does not repeat its golden vectors.
    """
    model = _model_bytes(model_path)
    manifest = Manifest(
        format=FORMAT,
        workload=contract.workload,
        contract_hash=contract.hash,
        model_sha256=hashlib.sha256(model).hexdigest(),
        golden_tolerance=golden_tolerance,
        slices=tuple(slices),
        **asdict(_complete(lineage)),
    )
    data = _zipped(
        {
            MANIFEST: manifest.as_json(),
            MODEL: model,
            GOLDEN: _npz({"features": golden.features, "outputs": golden.outputs}),
            REFERENCE: _json({name: dict(values) for name, values in reference.items()}),
            CARD: card.encode(),
        }
    )
    try_bundle(data, contract)
    out_path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(out_path, data)
    return out_path


def with_slices(data: bytes, slices: Sequence[Slice], card: str, contract: Contract) -> bytes:
    """The same bundle for devices that follow the workload's rule in these slices.

    Raises:
        ReleaseError: a device would refuse it.
    """
    bundle = open_bundle(data, contract)
    manifest = replace(bundle.manifest, slices=tuple(slices))
    changed = _zipped(
        {**{name: bundle.files[name] for name in FILES}, MANIFEST: manifest.as_json(), CARD: card.encode()}
    )
    try_bundle(changed, contract)
    return changed


def try_bundle(data: bytes, contract: Contract) -> Manifest:
    """Check a bundle as a device does before it switches to it, and return its manifest.

    Raises:
        ReleaseError: a device would refuse this bundle.
    """
    bundle = open_bundle(data, contract)
    model = Model(bundle.files[MODEL], contract)
    model.answer_the_most()
    model.self_test(parse_golden(bundle.files[GOLDEN], contract), bundle.manifest.golden_tolerance)
    return bundle.manifest


def _complete(lineage: Lineage) -> Lineage:
    empty = [name for name, value in asdict(lineage).items() if not value]
    if empty:
        raise ReleaseError(f"the lineage has no {', '.join(empty)}: a model must be traceable to its data")
    return lineage


def _model_bytes(model_path: Path) -> bytes:
    try:
        return model_path.read_bytes()
    except OSError as error:
        raise ReleaseError(f"the model {model_path} cannot be read: {error}") from error


def _json(value: object) -> bytes:
    try:
        return (json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()
    except ValueError as error:
        raise ReleaseError(f"the reference holds a number that is not finite: {error}") from error


def _npz(arrays: Mapping[str, NDArray[np.float32]]) -> bytes:
    members = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
        members[f"{name}.npy"] = buffer.getvalue()
    return _zipped(members)


def _zipped(members: Mapping[str, bytes]) -> bytes:
    """A stored zip whose bytes depend on the members alone: no clock, no user, no platform."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, date_time=_EARLIEST_ZIP_TIME)
            entry.create_system = 3  # "Unix" on every system
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()
