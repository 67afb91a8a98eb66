"""The step: every candidate made and measured once, every class of devices asked, and what ships with the reason.

Measuring is kept beside the files, under a hash of what it depends on; the gates are asked again each time, so that a
changed tolerance costs nothing. Building the bundle is release/'s.
"""

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from fieldedge.system.durable import write_durably
from fieldloop.compression.candidates import CandidateSet, make_candidates
from fieldloop.compression.device_classes import PROGRAM, Bench, OnClass, measure_class
from fieldloop.compression.gates import WHOLE, Candidate, failures, is_for, latency_ratio, stored_names
from fieldloop.compression.inputs import CompressionInputs
from fieldloop.compression.pictures import front_picture
from fieldloop.compression.search import pareto_front, picked
from fieldloop.core.code_version import code_hash
from fieldloop.core.dataset import Dataset
from fieldloop.core.params import CompressionParams
from fieldloop.evaluation.predictor import predictor
from fieldloop.workload import Metric

PARITY_ROWS = 64
_GATES = {name for name in CompressionParams.model_fields if name.startswith(("max_", "min_", "parity_"))}


@dataclass(frozen=True)
class Compressed:
    """What ships to the fleet's class and why, beside what it is compared with; and the same for every class.

    `int8_*` is the 8-bit file that ships, or the smallest one where none does; `float32_*` is the registered model's.
    """

    shipped: Literal["int8", "float32"]
    reason: str
    path: str
    bytes: int
    int8_bytes: int
    float32_bytes: int
    error_increase_pct: float
    int8_primary: float
    float32_primary: float
    int8_latency_us: float
    float32_latency_us: float
    batch: int
    primary: Metric
    value: Metric | None
    device_class: str = "any"
    neurons_pct: float = 100.0
    agreement_pct: float | None = 100.0
    value_change_pct: float | None = 0.0
    picture: str = ""
    by_class: dict[str, dict[str, Any]] = field(default_factory=dict)
    candidates: list[dict[str, Any]] = field(default_factory=list)
    compared: list[dict[str, Any]] = field(default_factory=list)
    chosen_on: str = ""  # the periods that chose between quantisers
    judged_on: str = ""  # the periods that judged the files

    def as_dict(self) -> dict[str, Any]:
        """For JSON: figures under the workload's own names."""
        names = {
            "int8_primary": f"int8_{self.primary.key}",
            "float32_primary": f"float32_{self.primary.key}",
            "value_change_pct": stored_names(self.primary, self.value).get("value_change_pct", "value_change_pct"),
        }
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        del plain["primary"], plain["value"]
        return {names.get(name, name): value for name, value in plain.items()}


@dataclass(frozen=True)
class Measured:
    """The files, and what each class of devices makes of them."""

    made: CandidateSet
    classes: dict[str, OnClass]
    batch: int
    chosen_on: str = ""
    judged_on: str = ""


def compress(inputs: CompressionInputs, params: CompressionParams, folder: Path, bench: Bench) -> Compressed:
    """Make the small files, measure them beside float32, and choose what ships to each class of devices."""
    return choose(measured(inputs, params, folder, bench), params, folder)


def measured(inputs: CompressionInputs, params: CompressionParams, folder: Path, bench: Bench) -> Measured:
    """The candidates and their figures; what was measured before is read."""
    kept = folder / f"measured-{_key(inputs, params, bench)}.json"
    if kept.is_file():
        return _read(json.loads(kept.read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    with _threads(0 if params.search.teacher_members else 1):
        made = make_candidates(inputs, params, folder)
    rows = inputs.scale(inputs.held_out.inputs)
    golden = rows[np.linspace(0, len(rows) - 1, min(PARITY_ROWS, len(rows))).astype(int)]
    decision = rows[: params.candidates_per_decision]
    classes = {
        name: _on_class(name, made.candidates, params, golden, decision, bench) for name in params.device_classes
    }
    figures = {
        **made.as_dict(),
        "classes": {name: found.as_dict() for name, found in classes.items()},
        "batch": len(decision),
        "chosen_on": _told(inputs.choosing, inputs.workload.card.groups),
        "judged_on": _told(inputs.held_out, inputs.workload.card.groups),
        "primary": asdict(made.candidates[0].primary_metric),
        "value": None if (value := made.candidates[0].value_metric) is None else asdict(value),
    }
    write_durably(kept, json.dumps(figures, indent=1).encode())
    return _read(figures)


def choose(found: Measured, params: CompressionParams, folder: Path) -> Compressed:
    """For each class the smallest file that passes every gate; the fleet's own goes into the bundle."""
    by_class = {name: _choice(found, params, name) for name in params.device_classes}
    own = by_class[params.fleet_class]
    on_class = found.classes[params.fleet_class]
    named = {one.name: one for one in found.made.candidates}
    ships, whole, small = named[own["ships"]], named[WHOLE], named.get(own["int8"], named[WHOLE])
    theirs = [one for one in found.made.candidates if is_for(one, params.device_classes[params.fleet_class])]
    front = pareto_front(theirs, on_class)
    picture = folder / "front.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    write_durably(picture, front_picture(theirs, on_class, front, ships.name, params))
    return Compressed(
        shipped=ships.precision,
        reason=own["reason"],
        path=ships.path,
        bytes=ships.bytes,
        int8_bytes=small.bytes,
        float32_bytes=whole.bytes,
        error_increase_pct=small.error_increase_pct,
        int8_primary=small.primary,
        float32_primary=whole.primary,
        int8_latency_us=on_class.p50_us.get(small.name, float("nan")),
        float32_latency_us=on_class.p50_us.get(WHOLE, float("nan")),
        batch=found.batch,
        primary=whole.primary_metric,
        value=whole.value_metric,
        device_class=params.fleet_class,
        neurons_pct=100.0 * ships.keep,
        agreement_pct=ships.agreement_pct,
        value_change_pct=ships.value_change_pct,
        picture=str(picture),
        by_class=by_class,
        candidates=[{**one.as_dict(), "is_on_front": one.name in front} for one in found.made.candidates],
        compared=found.made.compared,
        chosen_on=found.chosen_on,
        judged_on=found.judged_on,
    )


def _told(examples: Dataset, groups: str) -> str:
    """Which periods these are, for people."""
    return f"{len(examples.groups)} {groups} of {', '.join(examples.periods)}"


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """torch on that many threads for a while; 0: as it is. Small networks on busy cores mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _on_class(
    name: str,
    candidates: Sequence[Candidate],
    params: CompressionParams,
    golden: Any,
    decision: Any,
    bench: Bench,
) -> OnClass:
    """The class's measurement of the files that could ship to it."""
    own = params.device_classes[name]
    files = {one.name: Path(one.path) for one in candidates if is_for(one, own)}
    expected = {file: predictor(path)(golden) for file, path in files.items()}
    return measure_class(name, own, files, golden, expected, decision, params.timed_calls, bench)


def _choice(found: Measured, params: CompressionParams, name: str) -> dict[str, Any]:
    """What ships to one class and why, in figures and words."""
    own, on_class, candidates = params.device_classes[name], found.classes[name], found.made.candidates
    refused = {one.name: failures(one, params, on_class, own) for one in candidates}
    ships = picked(candidates, refused, on_class)
    int8 = [one for one in candidates if one.precision == "int8" and one.weights == own.weights]
    # The file to speak of: the one that ships, else the 8-bit one with the least against it.
    spoken = (
        ships
        if ships.precision == "int8"
        else min(int8, key=lambda one: (len(refused[one.name]), one.bytes), default=None)
    )
    return {
        **{key: value for key, value in on_class.as_dict().items() if key != "name"},
        "ships": ships.name,
        "precision": ships.precision,
        "path": ships.path,
        "bytes": ships.bytes,
        "int8": spoken.name if spoken else "",
        "refused": refused,
        "reason": _reason(ships, spoken, refused, found, on_class, own.weights is None),
    }


def _reason(
    ships: Candidate,
    spoken: Candidate | None,
    refused: Mapping[str, Sequence[str]],
    found: Measured,
    on_class: OnClass,
    is_float32_only: bool,
) -> str:
    whole = next(one for one in found.made.candidates if one.name == WHOLE)
    if ships.precision == "int8":
        return f"int8 ships: {_figures(ships, whole, on_class)}"
    neurons = f", with {100 * ships.keep:.0f} % of the neurons" if ships.keep < 1.0 else ""
    if is_float32_only:
        why = ["the class has no 8-bit kernels"]
    elif spoken is None:
        why = ["; ".join(found.made.refusals) or "there is no INT8 file"]
    else:
        against = " and ".join(refused[spoken.name]) or f"it is smaller than {spoken.name}, which passes every gate too"
        why = [against, f"INT8 has {_figures(spoken, whole, on_class)}"]
    if neurons:
        why.append(f"what ships has {_figures(ships, whole, on_class)}")
    return f"float32 ships{neurons}: {'; '.join(why)}"


def _figures(one: Candidate, whole: Candidate, on_class: OnClass) -> str:
    ratio = latency_ratio(one.name, on_class)
    neurons = f", {100 * one.keep:.0f} % of the neurons" if one.keep < 1.0 and one.precision == "int8" else ""
    time = f", {ratio:.2f} of the time" if ratio is not None else ""
    metric, change, agree = one.value_metric, one.value_change_pct, one.agreement_pct
    value = "its value is not measured" if metric is None else f"{metric.name} {change:+.2f} %"
    decisions = "how far its decisions agree is not measured" if agree is None else f"{agree:.1f} % of decisions"
    return (
        f"held-out error {one.error_increase_pct:+.2f} %, {100 * one.bytes / whole.bytes:.0f} % of the bytes{neurons}"
        f"{time}, {value}, {decisions}"
    )


def _key(inputs: CompressionInputs, params: CompressionParams, bench: Bench) -> str:
    """What the measuring depends on: the inputs, the code here and on devices, every parameter but the tolerances."""
    digest = hashlib.sha256(params.model_dump_json(exclude=_GATES).encode())
    digest.update(inputs.model.model_dump_json().encode())
    named = {**inputs.metadata, "workload": inputs.workload.name, "profits": inputs.value_of}
    code = [code_hash("fieldloop.compression"), code_hash(PROGRAM), str(bench.edge_python)]
    digest.update(json.dumps([named, *code], sort_keys=True).encode())
    _add_array(digest, inputs.calibration)
    for examples in (inputs.training, inputs.choosing, inputs.held_out):
        for array in (examples.inputs, examples.targets, examples.group):
            _add_array(digest, array)
        digest.update(json.dumps(examples.groups).encode())
    for name, tensor in sorted(inputs.network.state_dict().items()):
        digest.update(name.encode())
        _add_array(digest, tensor.numpy())
    return digest.hexdigest()[:10]


def compression_key(params: CompressionParams) -> str:
    """12 hex digits over what makes a bundle of a given version: the parameters, the code of this folder and bundle.py.

    Not the code that they use besides: a change there is no reason to release a kept version with other bytes.
    """
    digest, here = hashlib.sha256(params.model_dump_json().encode()), Path(__file__).parent
    for path in (*sorted(here.glob("*.py")), here.parent / "release" / "bundle.py"):
        digest.update(path.name.encode() + _without_comments(path))
    return digest.hexdigest()[:12]


def _without_comments(path: Path) -> bytes:
    return hashlib.sha256(ast.unparse(ast.parse(path.read_bytes())).encode()).digest()


def _add_array(digest: "hashlib._Hash", array: npt.NDArray[Any]) -> None:
    """The array's shape and kind as well as its bytes: two that are cut otherwise are not alike."""
    digest.update(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())


def _read(figures: Mapping[str, Any]) -> Measured:
    metrics = Metric(**figures["primary"]), None if figures["value"] is None else Metric(**figures["value"])
    candidates = [Candidate.of(one, *metrics) for one in figures["candidates"]]
    classes = {
        name: OnClass(**{**one, "cpu_features": tuple(one["cpu_features"]), "failures": tuple(one["failures"])})
        for name, one in figures["classes"].items()
    }
    return Measured(
        CandidateSet(candidates, figures["compared"], figures["refusals"]),
        classes,
        figures["batch"],
        figures["chosen_on"],
        figures["judged_on"],
    )


__all__ = ["Compressed", "Measured", "choose", "compress", "compression_key", "measured"]
