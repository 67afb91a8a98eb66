"""What a release carries, and the checks of a bundle against itself and the contract.

A bundle is a zip of five files with fixed names. Signatures are checked before (`updates.py`); whether the model
computes what it should is checked after (`inference.py`). Bytes in, plain data out: no disk, no network.
"""

import hashlib
import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldedge.contract import Contract
from fieldedge.errors import ReleaseError

FORMAT = 1
MANIFEST = "manifest.json"
MODEL = "model.onnx"
GOLDEN = "golden.npz"
REFERENCE = "reference.json"
CARD = "model_card.md"
FILES = (MANIFEST, MODEL, GOLDEN, REFERENCE, CARD)
MAX_UNPACKED_BYTES = 50_000_000
REFERENCE_STATISTICS = ("mean", "std", "p01", "p99")


@dataclass(frozen=True)
class Manifest:
    """Where a model comes from and how to recognise it.

    `data_hash` is the data that it learned from. One version may be made small more than once: `compression_data_hash`
    is the data of that, `compression_key` its parameters and code. Both are empty in releases from before they were.
    """

    format: int
    workload: str
    version: str
    contract_hash: str
    precision: str
    model_sha256: str
    data_hash: str
    git_commit: str
    mlflow_run_id: str
    created_utc: str
    golden_tolerance: float
    compression_data_hash: str = ""
    compression_key: str = ""

    def as_json(self) -> bytes:
        return (json.dumps(asdict(self), indent=2, sort_keys=True) + "\n").encode()


@dataclass(frozen=True)
class Golden:
    """Scaled inputs (n, F) and what the shipped file answered to them (n, outputs), both float32."""

    features: NDArray[np.float32]
    outputs: NDArray[np.float32]


@dataclass(frozen=True)
class Reference:
    """Each feature (F,) in the training data, in physical units: mean, standard deviation, 1st and 99th percentile."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    p01: NDArray[np.float64]
    p99: NDArray[np.float64]


@dataclass(frozen=True)
class Bundle:
    """A bundle whose parts fit each other and the contract."""

    manifest: Manifest
    files: Mapping[str, bytes]
    sha256: str


def open_bundle(data: bytes, contract: Contract) -> Bundle:
    """Unpack a bundle in memory and check it against itself and the contract.

    Raises:
        ReleaseError: it is damaged, incomplete, for another contract, or its model is not the declared one.
    """
    files = _unpacked(data)
    manifest = parse_manifest(files[MANIFEST])
    check_fits(manifest, contract)
    found = hashlib.sha256(files[MODEL]).hexdigest()
    if found != manifest.model_sha256:
        raise ReleaseError(f"{MODEL} has sha256 {found}; the manifest says {manifest.model_sha256}: release it again")
    parse_golden(files[GOLDEN], contract)
    parse_reference(files[REFERENCE], contract)
    return Bundle(manifest, files, hashlib.sha256(data).hexdigest())


def check_fits(manifest: Manifest, contract: Contract) -> None:
    """Refuse a bundle of another format, workload or contract.

    Raises:
        ReleaseError: with what was found and what this device needs.
    """
    if manifest.format != FORMAT:
        raise ReleaseError(f"the bundle has format {manifest.format}; this fieldedge reads {FORMAT}: update fieldedge")
    if manifest.workload != contract.workload:
        raise ReleaseError(f"the bundle is for {manifest.workload!r}; this device runs {contract.workload!r}")
    check_contract_hash(manifest.contract_hash, contract, "the bundle's manifest")


def check_contract_hash(found: object, contract: Contract, where: str) -> None:
    """Refuse anything made for another contract.

    Raises:
        ReleaseError: the hashes differ.
    """
    if found != contract.hash:
        raise ReleaseError(
            f"{where} is for contract {str(found)[:12]}; this device has {contract.hash[:12]}: "
            "train and release with the same fieldedge version as the device's"
        )


def parse_manifest(data: bytes) -> Manifest:
    """The manifest in `manifest.json`.

    Raises:
        ReleaseError: a key is missing or has the wrong type.
    """
    values = _json_object(data, MANIFEST)
    for field in fields(Manifest):
        if field.name not in values and field.default is not MISSING:
            continue  # a former release lacks what came later
        value = values.get(field.name)
        kinds = (int, float) if field.type is float else field.type
        if not isinstance(value, kinds) or isinstance(value, bool):  # type: ignore[arg-type]  # field.type is a class here
            raise ReleaseError(f"{MANIFEST}: {field.name} is {value!r}; expected {getattr(field.type, '__name__', '')}")
    manifest = Manifest(**{field.name: values[field.name] for field in fields(Manifest) if field.name in values})
    if not math.isfinite(manifest.golden_tolerance) or manifest.golden_tolerance <= 0:
        raise ReleaseError(f"{MANIFEST}: golden_tolerance is {manifest.golden_tolerance}; expected more than 0")
    return manifest


def parse_golden(data: bytes, contract: Contract) -> Golden:
    """The golden vectors in `golden.npz`.

    Raises:
        ReleaseError: they are damaged, empty, not finite, or of the wrong shape.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            golden = Golden(
                np.ascontiguousarray(arrays["features"], dtype=np.float32),
                np.ascontiguousarray(arrays["outputs"], dtype=np.float32),
            )
    except Exception as error:  # numpy reads an array's header with Python's tokenizer: anything comes
        raise ReleaseError(f"{GOLDEN} is damaged: {error!r:.200}") from error
    rows = len(golden.features)
    wanted = ((rows, len(contract.features)), (rows, len(contract.outputs)))
    if rows == 0 or (golden.features.shape, golden.outputs.shape) != wanted:
        raise ReleaseError(
            f"{GOLDEN} holds {golden.features.shape} and {golden.outputs.shape}; "
            f"expected (n, {len(contract.features)}) and (n, {len(contract.outputs)}) with n > 0"
        )
    if not (np.isfinite(golden.features).all() and np.isfinite(golden.outputs).all()):
        raise ReleaseError(f"{GOLDEN} holds values that are not finite")
    return golden


def parse_reference(data: bytes, contract: Contract) -> Reference:
    """The statistics in `reference.json`: for each feature of the contract, mean, std, p01 and p99.

    Raises:
        ReleaseError: a feature or a statistic is missing or is not a finite number.
    """
    values = _json_object(data, REFERENCE)
    for name in contract.feature_names:
        found = values.get(name)
        for statistic in REFERENCE_STATISTICS:
            value = found.get(statistic) if isinstance(found, dict) else None
            if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
                raise ReleaseError(f"{REFERENCE}: {statistic} of {name} is {value!r}; expected a finite number")

    def column(statistic: str) -> NDArray[np.float64]:
        return np.array([values[name][statistic] for name in contract.feature_names], dtype=np.float64)

    return Reference(*(column(statistic) for statistic in REFERENCE_STATISTICS))


def _unpacked(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if sorted(names) != sorted(FILES):
                raise ReleaseError(f"the bundle holds {', '.join(names) or 'nothing'}; expected {', '.join(FILES)}")
            size_bytes = sum(entry.file_size for entry in archive.infolist())
            if size_bytes > MAX_UNPACKED_BYTES:
                raise ReleaseError(f"the bundle unpacks to {size_bytes} bytes; at most {MAX_UNPACKED_BYTES} are taken")
            return {name: archive.read(name) for name in FILES}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise ReleaseError(f"the bundle is not a readable zip: {error}") from error


def _json_object(data: bytes, name: str) -> dict[str, Any]:
    try:
        values = json.loads(data)
    except ValueError as error:
        raise ReleaseError(f"{name} is not readable JSON: {error}") from error
    if not isinstance(values, dict):
        raise ReleaseError(f"{name} holds {type(values).__name__}; expected an object")
    return values
