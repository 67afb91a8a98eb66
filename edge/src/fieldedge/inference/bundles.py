"""What a release carries, and the checks of a bundle against itself and the contract.

A bundle is a zip of five files with fixed names. Signatures are checked before (`updates.py`); whether the model
computes what it should is checked after (`trial.py`). Bytes in, plain data out: no disk, no network. Nothing is
believed of its own size: each file has a most that it may unpack to, and an array is made only of bytes that are there.
"""

import hashlib
import io
import json
import math
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldedge.contract import Contract
from fieldedge.inference.model_file import MAX_MODEL_BYTES
from fieldedge.inference.slices import Slice, check_slices, parse_slices
from fieldedge.system import strict_json
from fieldedge.system.errors import ReleaseError
from fieldedge.system.strict_json import as_finite, shown

FORMAT = 1
MANIFEST = "manifest.json"
MODEL = "model.onnx"
GOLDEN = "golden.npz"
REFERENCE = "reference.json"
CARD = "model_card.md"
FILES = (MANIFEST, MODEL, GOLDEN, REFERENCE, CARD)
MAX_FILE_BYTES = {MANIFEST: 100_000, MODEL: MAX_MODEL_BYTES, GOLDEN: 4_000_000, REFERENCE: 1_000_000, CARD: 1_000_000}
MAX_GOLDEN_TOLERANCE = 0.1  # standard deviations: twice what rounding on other processors needs
MAX_TEXT_CHARACTERS = 200  # of a value in the manifest
MAX_ZIP_ENTRIES = 1_000  # far more than a release has: zipfile makes all of them before one can be looked at
SLICES = "slices"  # of the manifest
GOLDEN_ARRAYS = ("features", "outputs")
REFERENCE_STATISTICS = ("mean", "std", "p01", "p99")
_ZIP_ENTRY = b"PK\x01\x02"  # begins every entry of a zip's directory


@dataclass(frozen=True)
class Manifest:
    """Where a model comes from and how to recognise it.

    `data_hash` is the data that it learned from. One version may be made small more than once: `compression_data_hash`
    is the data of that, `compression_key` its parameters and code. Both are empty in releases from before they were.
    Run and time are in such releases alone: they differ between two makings of the same model, whose bundles do not.
    The signed release names the run beside the bundle. `slices` say where the workload's rule decides, and are in no
    release from before they were: a device from before reads past them.
    """

    format: int
    workload: str
    version: str
    contract_hash: str
    precision: str
    model_sha256: str
    data_hash: str
    git_commit: str
    golden_tolerance: float
    compression_data_hash: str = ""
    compression_key: str = ""
    mlflow_run_id: str = ""
    created_utc: str = ""
    slices: tuple[Slice, ...] = ()

    def as_json(self) -> bytes:
        values = {name: value for name, value in asdict(self).items() if name != SLICES}
        if self.slices:
            values[SLICES] = [one.as_record() for one in self.slices]
        return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()


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
    files = _unpacked(data, "the bundle", MAX_FILE_BYTES)
    manifest = parse_manifest(files[MANIFEST])
    check_fits(manifest, contract)
    found = hashlib.sha256(files[MODEL]).hexdigest()
    if found != manifest.model_sha256:
        raise ReleaseError(f"{MODEL} has sha256 {found}; the manifest says {manifest.model_sha256}: release it again")
    parse_golden(files[GOLDEN], contract)
    parse_reference(files[REFERENCE], contract)
    return Bundle(manifest, files, hashlib.sha256(data).hexdigest())


def check_fits(manifest: Manifest, contract: Contract) -> None:
    """Refuse a bundle of another format, workload or contract, or with conditions that this contract cannot answer.

    Raises:
        ReleaseError: with what was found and what this device needs.
    """
    if manifest.format != FORMAT:
        raise ReleaseError(f"the bundle has format {manifest.format}; this fieldedge reads {FORMAT}: update fieldedge")
    if manifest.workload != contract.workload:
        raise ReleaseError(f"the bundle is for {manifest.workload!r}; this device runs {contract.workload!r}")
    check_contract_hash(manifest.contract_hash, contract, "the bundle's manifest")
    check_slices(manifest.slices, contract, MANIFEST)


def check_contract_hash(found: object, contract: Contract, where: str) -> None:
    """Refuse anything made for another contract.

    Raises:
        ReleaseError: the hashes differ.
    """
    if isinstance(found, str) and found in contract.upgrades:
        raise ReleaseError(
            f"{where} is for a former version of this software (contract {found[:12]}, now {contract.hash[:12]}); "
            "the next release brings one for this version"
        )
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
    plain = [field for field in fields(Manifest) if field.name != SLICES]
    for field in plain:
        if field.name not in values and field.default is not MISSING:
            continue  # a former release lacks what came later
        value = values.get(field.name)
        kinds = (int, float) if field.type is float else field.type
        if not isinstance(value, kinds) or isinstance(value, bool):  # type: ignore[arg-type]  # field.type is a class here
            expected = getattr(field.type, "__name__", "")
            raise ReleaseError(f"{MANIFEST}: {field.name} is {shown(value)}; expected {expected}")
        if isinstance(value, str) and (len(value) > MAX_TEXT_CHARACTERS or not value.isprintable()):
            expected = f"at most {MAX_TEXT_CHARACTERS} characters that can be printed"
            raise ReleaseError(f"{MANIFEST}: {field.name} is {shown(value)}; expected {expected}")
    manifest = Manifest(
        **{field.name: values[field.name] for field in plain if field.name in values},
        slices=parse_slices(values.get(SLICES, []), f"{MANIFEST}: {SLICES}"),
    )
    tolerance = as_finite(manifest.golden_tolerance)
    if tolerance is None or not 0.0 < tolerance <= MAX_GOLDEN_TOLERANCE:
        found = shown(values["golden_tolerance"])
        expected = f"expected more than 0 and at most {MAX_GOLDEN_TOLERANCE:g} standard deviations"
        raise ReleaseError(f"{MANIFEST}: golden_tolerance is {found}; {expected}")
    return replace(manifest, golden_tolerance=tolerance)


def parse_golden(data: bytes, contract: Contract) -> Golden:
    """The golden vectors in `golden.npz`.

    Raises:
        ReleaseError: they are damaged, empty, not finite, or of the wrong shape.
    """
    arrays = _unpacked(data, f"{GOLDEN}", {f"{name}.npy": MAX_FILE_BYTES[GOLDEN] for name in GOLDEN_ARRAYS})
    golden = Golden(*(_array(arrays[f"{name}.npy"], name) for name in GOLDEN_ARRAYS))
    rows = golden.features.shape[0] if golden.features.ndim else 0
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
            if as_finite(value) is None:
                raise ReleaseError(f"{REFERENCE}: {statistic} of {name} is {shown(value)}; expected a finite number")

    def column(statistic: str) -> NDArray[np.float64]:
        return np.array([float(values[name][statistic]) for name in contract.feature_names], dtype=np.float64)

    return Reference(*(column(statistic) for statistic in REFERENCE_STATISTICS))


def _unpacked(data: bytes, what: str, most_bytes: Mapping[str, int]) -> dict[str, bytes]:
    """The files of a zip: exactly these, stored or deflated, none larger than it may be."""
    listed = data.count(_ZIP_ENTRY)
    if listed > MAX_ZIP_ENTRIES:
        raise ReleaseError(f"{what} lists {listed} files; expected {', '.join(most_bytes)}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = [entry.orig_filename for entry in entries]  # as it stands there: `filename` ends at a NUL
            if sorted(names) != sorted(most_bytes):
                found = ", ".join(name[:60] for name in names[:10]) or "nothing"
                raise ReleaseError(f"{what} holds {found}; expected {', '.join(most_bytes)}")
            for entry in entries:
                if entry.file_size > most_bytes[entry.filename]:
                    raise ReleaseError(
                        f"{entry.filename} of {what} unpacks to {entry.file_size} bytes; at most "
                        f"{most_bytes[entry.filename]} are taken"
                    )
                if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
                    raise ReleaseError(f"{entry.filename} of {what} is no plain file; release it again")
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ReleaseError(f"{entry.filename} of {what} is neither stored nor deflated; release it again")
            return {entry.filename: archive.read(entry) for entry in entries}
    except ReleaseError:
        raise
    except Exception as error:  # zipfile documents few of its errors
        raise ReleaseError(f"{what} is damaged, not a readable zip: {error!r:.200}; release it again") from error


def _array(data: bytes, name: str) -> NDArray[np.float32]:
    """An array in numpy's own form, if all the values that its header speaks of are there."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[
            version
        ]
        shape, is_fortran, kind = read_header(stream)
        values = data[stream.tell() :]
        if kind.kind != "f" or is_fortran or math.prod(shape) * kind.itemsize != len(values):
            raise ValueError(f"its header says {shape} of {kind}, and {len(values)} bytes follow")
        return np.ascontiguousarray(np.frombuffer(values, kind).reshape(shape), dtype=np.float32)
    except Exception as error:  # numpy reads an array's header with Python's tokenizer: anything comes
        raise ReleaseError(f"{GOLDEN} is damaged: {name}: {error!r:.200}") from error


def _json_object(data: bytes, name: str) -> dict[str, Any]:
    try:
        values = strict_json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ReleaseError(f"{name} is not readable JSON: {str(error)[:200]}; release it again") from error
    if not isinstance(values, dict):
        raise ReleaseError(f"{name} holds {type(values).__name__}; expected an object")
    return values
