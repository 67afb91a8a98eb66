"""The files that there are to choose from: (neurons left) x (precision), and what each is worth on any processor.

Every network, whole or with fewer neurons, gives a float32 file, and an 8-bit one for each way that a device class
wants its weights. Beside neural-compressor stands ONNX Runtime's own quantiser on the same body; the one with the
smaller error goes on. What is chosen between (recipe, quantiser, rounding) is chosen on groups of the training
data; the file that comes of it is judged on the held-out periods, which chose nothing. Times and parity are
device_classes.py's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from fieldedge.contract import SCALED_LIMIT
from fieldloop.compression.calibration import Array, CalibrationError, OperatorError, check_calibration
from fieldloop.compression.gates import WHOLE, Candidate, Precision
from fieldloop.compression.inputs import CompressionInputs
from fieldloop.compression.onnx_files import Shell, export_parts, write_whole
from fieldloop.compression.ort_quantise import body_inputs, ort_dynamic, ort_static
from fieldloop.compression.prune import hidden_sizes
from fieldloop.compression.quantise import Tuned, Weights, autotuned, recipes
from fieldloop.compression.saturation import pair_sums
from fieldloop.core.dataset import Dataset
from fieldloop.core.params import CompressionParams
from fieldloop.evaluation.predictor import predictor
from fieldloop.workload import Agreement, Learner, Predict

_SATURATION_ROWS = 256
# Those that this processor surely computes right come first.
_FORMS: tuple[Weights, ...] = ("reduced", "unsigned", "signed")
_EXTREME_ROWS = 256


@dataclass
class CandidateSet:
    """The files (float32 whole is the first), the quantisers that were compared, and what could not be made."""

    candidates: list[Candidate] = field(default_factory=list)
    compared: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        candidates = [one.as_dict() for one in self.candidates]
        return {"candidates": candidates, "compared": self.compared, "refusals": self.refusals}


def make_candidates(inputs: CompressionInputs, params: CompressionParams, folder: Path) -> CandidateSet:
    """Write every candidate's file into `folder` and measure it. What cannot be made is noted, and float32 remains."""
    from fieldloop.compression.distiller import Distiller  # what fits networks takes seconds to import

    scales = Scales(inputs, params)
    made, distiller = CandidateSet(), Distiller(inputs, params)
    asked = {one.weights for one in params.device_classes.values()}
    forms = [form for form in _FORMS if form in asked]
    for keep in sorted({1.0, *params.search.keep}, reverse=True):
        try:
            network = inputs.network if keep == 1.0 else distiller.taught(keep)
        except OperatorError as error:
            made.refusals.append(str(error))
            continue
        name = WHOLE if keep == 1.0 else f"float32-{round(100 * keep)}"
        shell, body = export_parts(network, len(inputs.features))
        path = write_whole(shell, body, dict(inputs.metadata), folder / f"{name}.onnx")
        made.candidates.append(scales.measured(name, "float32", keep, network, "", "", path))
        if forms:
            _make_int8(inputs, params, scales, keep, network, shell, body, forms, folder, made)
    return made


def _make_int8(
    inputs: CompressionInputs,
    params: CompressionParams,
    scales: "Scales",
    keep: float,
    network: torch.nn.Module,
    shell: Shell,
    body: onnx.ModelProto,
    forms: Sequence[Weights],
    folder: Path,
    made: CandidateSet,
) -> None:
    """The network's 8-bit files, one for each form of weights, or a note why there are none."""
    from fieldloop.compression.distiller import with_rounding

    try:
        check_calibration(inputs.calibration, inputs.features, inputs.scale(inputs.held_out.inputs))
        found = _best_recipe(inputs, params, scales, network, shell, made, forms[0])
        if found.best.error_increase_pct > params.max_error_increase_pct and params.search.rounding_epochs:
            network = with_rounding(inputs, params, network, forms[0])
            shell, body = export_parts(network, len(inputs.features))
            found = _best_recipe(inputs, params, scales, network, shell, made, forms[0])
        for form in forms:
            own = replace(found.best.recipe, weights=form)
            ways = {own.words(): found.in_form(form)}
            if form == "reduced":
                seen = body_inputs(network, inputs.calibration)
                ways["ONNX Runtime static, per channel, reduced weights"] = ort_static(body, seen)
                ways["ONNX Runtime dynamic, per channel, reduced weights"] = ort_dynamic(body)
            name = f"int8-{form}" if keep == 1.0 else f"int8-{form}-{round(100 * keep)}"
            _keep_best(inputs, scales, keep, network, shell, ways, form, name, folder, made)
    except (CalibrationError, OperatorError) as error:
        made.refusals.append(str(error))


def _keep_best(
    inputs: CompressionInputs,
    scales: "Scales",
    keep: float,
    network: torch.nn.Module,
    shell: Shell,
    ways: Mapping[str, onnx.ModelProto],
    form: str,
    name: str,
    folder: Path,
    made: CandidateSet,
) -> None:
    """Of several quantisers the one with the least error on `choosing`; dynamic ranges only where static ones fail."""
    path = folder / f"{name}.onnx"
    found: list[tuple[bool, float, str]] = []
    for words, body in ways.items():
        write_whole(shell, body, dict(inputs.metadata), path)
        rise = scales.choosing_increase_pct(predictor(path))
        found.append((("dynamic" in words) and bool(found), rise, words))
        made.compared.append(
            {"file": name, "quantiser": words, "bytes": path.stat().st_size, "error_increase_pct": rise}
        )
    words = min(found)[2]
    write_whole(shell, ways[words], dict(inputs.metadata), path)
    made.candidates.append(scales.measured(name, "int8", keep, network, words, form, path))


def _best_recipe(
    inputs: CompressionInputs,
    params: CompressionParams,
    scales: "Scales",
    network: torch.nn.Module,
    shell: Shell,
    made: CandidateSet,
    form: Weights,
) -> Tuned:
    """neural-compressor's search, judged by how much more the fused session errs than this network's float32."""
    own = scales.of_network(network)
    tried = recipes(network.body, form)[: params.search.autotune_trials]

    def judge(whole: onnx.ModelProto) -> float:
        return 100.0 * (scales.rmse_of(whole) / own - 1.0)

    half = params.max_error_increase_pct / 2  # what pruning takes of the tolerance is not known here
    tuned = autotuned(network, inputs.calibration, shell, tried, judge, half)
    made.compared += [
        {"file": "autotune", "quantiser": one.recipe.words(), "error_increase_pct": one.error_increase_pct}
        for one in tuned.trials
    ]
    return tuned


class Scales:
    """Weighs candidates against the whole float32 network, on the same rows and the same simulated periods."""

    def __init__(self, inputs: CompressionInputs, params: CompressionParams) -> None:
        self._inputs, self._params = inputs, params
        self._workload = inputs.workload
        rows = inputs.held_out.inputs
        count = min(params.decision_rows, len(rows))
        self._situations = rows[np.linspace(0, len(rows) - 1, count).astype(int)]
        self._reference: Predict | None = None
        self._primary, self._primary_choosing = float("nan"), float("nan")
        self._value: float | None = None  # the whole float32 file's

    def measured(
        self, name: str, precision: Precision, keep: float, network: Any, recipe: str, weights: str, path: Path
    ) -> Candidate:
        """Everything about one file that holds on any processor. The whole float32 file must come first."""
        predict = predictor(path)
        found = self._inputs.value(predict)
        value = None if found is None else float(found.per_unit.mean())
        if self._reference is None:
            self._reference, self._value = predict, value
            self._primary = self._error(predict, self._inputs.held_out)
            self._primary_choosing = self._error(predict, self._inputs.choosing)
        told = self._workload.agreement(self._situations, self._reference, predict)
        rise = self.error_increase_pct(predict)
        return Candidate(
            name=name,
            precision=precision,
            keep=keep,
            hidden=tuple(hidden_sizes(network)),
            recipe=recipe,
            weights=weights,
            path=str(path),
            bytes=path.stat().st_size,
            primary=self._primary * (1.0 + rise / 100.0),
            error_increase_pct=rise,
            **self._agreement(told),
            value=value,
            value_change_pct=None
            if value is None or self._value is None
            else _share_pct(value - self._value, self._value),
            is_sound=is_sound(predict, len(self._inputs.features), self._workload.learner),
            is_overflow_free=precision == "float32" or self._is_overflow_free(path),
            primary_metric=self._workload.primary,
            value_metric=None if found is None else found.metric,
        )

    def _agreement(self, told: Agreement | None) -> dict[str, float | None]:
        """How far the decisions are the whole float32 file's. Without a value no regret can be called little."""
        if told is None:
            return {"same_action_pct": None, "agreement_pct": None, "worst_regret_pct": None}
        same_pct = float(100.0 * told.is_same.mean())
        if self._value is None:
            return {"same_action_pct": same_pct, "agreement_pct": same_pct, "worst_regret_pct": None}
        allowed_regret = self._params.max_regret_pct / 100.0 * abs(self._value)
        return {
            "same_action_pct": same_pct,
            "agreement_pct": float(100.0 * (told.is_same | (told.regret <= allowed_regret)).mean()),
            "worst_regret_pct": _share_pct(told.regret.max(), self._value),
        }

    def _error(self, predict: Predict, examples: Dataset) -> float:
        return self._workload.score(predict, examples).value

    def error_increase_pct(self, predict: Predict) -> float:
        """How much more than the whole float32 file this one errs on the held-out periods, %."""
        return 100.0 * (self._error(predict, self._inputs.held_out) / self._primary - 1.0)

    def choosing_increase_pct(self, predict: Predict) -> float:
        """The same on the periods that choose."""
        return 100.0 * (self._error(predict, self._inputs.choosing) / self._primary_choosing - 1.0)

    def of_network(self, network: torch.nn.Module) -> float:
        """The error of a network in torch on the periods that choose."""

        def predict(rows: Array) -> Array:
            with torch.no_grad():
                answers: Array = network.eval()(torch.from_numpy(rows)).numpy()
            return answers

        return self._error(predict, self._inputs.choosing)

    def rmse_of(self, whole: onnx.ModelProto) -> float:
        """The error of a model in the fused session on the periods that choose."""
        return self._error(predictor(whole.SerializeToString()), self._inputs.choosing)

    def _is_overflow_free(self, path: Path) -> bool:
        rows = self._inputs.calibration[:_SATURATION_ROWS]
        layers = pair_sums(onnx.load(path), rows)
        return bool(layers) and all(layer.is_safe for layer in layers)


def _share_pct(part: float, whole: float) -> float:
    return float(100.0 * part / abs(whole))


def is_sound(predict: Predict, features: int, learner: Learner) -> bool:
    """Numbers in order on the most extreme rows that the device's scaling gives; none where an input is none."""
    draw = np.random.default_rng(0)
    corners = draw.choice(np.array([-SCALED_LIMIT, SCALED_LIMIT], np.float32), (_EXTREME_ROWS, features))
    outputs = predict(np.concatenate([corners, np.zeros((1, features), np.float32)]))
    missing = np.zeros((features, features), np.float32)
    np.fill_diagonal(missing, np.nan)
    tells = ~np.isfinite(predict(missing)).all(axis=1)
    return bool(np.isfinite(outputs).all() and learner.is_sound(outputs) and tells.all())


__all__ = ["CandidateSet", "Scales", "is_sound", "make_candidates"]
