"""What a small file must show to ship: pure functions over what was measured.

Every gate compares with the float32 file of the registered model, measured beside it. A figure that is missing or is
no number fails its gate: what is not measured does not ship. Where a workload has no measure of its decisions or of
their value, that figure is None for every file: its gate is skipped, and whatever speaks of the file says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

from fieldloop.compression.device_classes import OnClass
from fieldloop.core.params import CompressionParams, DeviceClassParams
from fieldloop.workload import Metric

Precision = Literal["int8", "float32"]
WHOLE = "float32"  # the name of the file that always may ship


@dataclass(frozen=True)
class Candidate:
    """One file and everything about it that holds on any processor."""

    name: str
    precision: Precision
    keep: float  # share of the neurons
    hidden: tuple[int, ...]
    recipe: str
    weights: str  # how 8-bit weights are stored; "" for float32
    path: str
    bytes: int
    primary: float  # on held-out groups
    error_increase_pct: float
    same_action_pct: float | None
    agreement_pct: float | None  # the same action, or a regret within the tolerance
    worst_regret_pct: float | None
    value: float | None  # the mean of what following it is worth
    value_change_pct: float | None
    is_sound: bool  # numbers on extreme inputs, quantiles in order, and no number where an input is none
    is_overflow_free: bool  # no input can make 8-bit products overflow where they are added in 16 bits
    primary_metric: Metric
    value_metric: Metric | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: figures under the workload's own names."""
        names = stored_names(self.primary_metric, self.value_metric)
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        del plain["primary_metric"], plain["value_metric"]
        return {names.get(name, name): value for name, value in plain.items()}

    @classmethod
    def of(cls, record: Mapping[str, Any], primary: Metric, value: Metric | None) -> Self:
        """What `as_dict` made, of these metrics."""
        ours = {stored: name for name, stored in stored_names(primary, value).items()}
        plain = {ours.get(name, name): figure for name, figure in record.items()}
        return cls(**{**plain, "hidden": tuple(plain["hidden"])}, primary_metric=primary, value_metric=value)


def stored_names(primary: Metric, value: Metric | None) -> dict[str, str]:
    """What a file's figures are called where they are stored."""
    names = {} if value is None else {"value": value.key, "value_change_pct": f"{value.name}_change_pct"}
    return {"primary": primary.key, **names}


def is_for(candidate: Candidate, class_params: DeviceClassParams) -> bool:
    """Whether the file has the form that the class's kernels want."""
    return candidate.precision == "float32" or candidate.weights == class_params.weights


def failures(
    candidate: Candidate, params: CompressionParams, on_class: OnClass, class_params: DeviceClassParams
) -> list[str]:
    """Why this file does not ship to that class; nothing where it may."""
    if candidate.name == WHOLE:
        return []
    if not is_for(candidate, class_params):
        wants = f"its 8-bit weights are {class_params.weights}" if class_params.weights else "it has no 8-bit kernels"
        return [f"it is not for this class: {wants}"]
    return [
        *_accuracy_failures(candidate, params),
        *_parity_failures(candidate, params, on_class),
        *_time_failures(candidate, params, on_class),
    ]


def _accuracy_failures(candidate: Candidate, params: CompressionParams) -> list[str]:
    """The gates that hold on any processor."""
    found = []
    if not candidate.is_sound:
        found.append(
            "on extreme inputs its answers are not all numbers in order, or it hides an input that is no number"
        )
    if not candidate.error_increase_pct <= params.max_error_increase_pct:
        found.append(f"the error may rise by {params.max_error_increase_pct:g} % at most")
    if candidate.agreement_pct is not None and not candidate.agreement_pct >= params.min_agreement_pct:
        found.append(
            f"{candidate.agreement_pct:.1f} % of the decisions agree, {params.min_agreement_pct:g} % at least are asked"
        )
    metric, change_pct = candidate.value_metric, candidate.value_change_pct
    if metric is not None and change_pct is not None and not change_pct >= -params.max_profit_loss_pct:
        found.append(
            f"the closed-loop {metric.name} changes by {change_pct:+.2f} %, "
            f"{params.max_profit_loss_pct:g} % may be lost at most"
        )
    return found


def _parity_failures(candidate: Candidate, params: CompressionParams, on_class: OnClass) -> list[str]:
    error_sd = on_class.parity_sd.get(candidate.name)
    if error_sd is None:
        # Without overflow, 8-bit products are whole numbers and the same on every processor.
        is_proven = candidate.precision == "float32" or (candidate.is_overflow_free and candidate.weights == "reduced")
        return [] if is_proven else [f"parity on such a processor is not measured ({on_class.parity_on})"]
    if not error_sd <= params.parity_sd:
        return [
            f"on such a processor its answers differ by {error_sd:.2g} sd, {params.parity_sd:g} at most are allowed"
        ]
    return []


def _time_failures(candidate: Candidate, params: CompressionParams, on_class: OnClass) -> list[str]:
    ratio = latency_ratio(candidate.name, on_class)
    if ratio is None:
        # A float32 file with fewer neurons does a part of the same operations; 8 bits must be timed.
        return [] if candidate.precision == "float32" else [f"its time there is not measured ({on_class.timed_on})"]
    found = []
    if not ratio <= params.max_latency_ratio:
        found.append(f"the time may be {params.max_latency_ratio:g} of float32's at most, it is {ratio:.2f}")
    tail = on_class.p99_us[candidate.name] / on_class.p99_us[WHOLE]
    if not tail <= params.max_p99_ratio:
        found.append(
            f"the slowest of a hundred calls may take {params.max_p99_ratio:g} of float32's at most, it is {tail:.2f}"
        )
    return found


def latency_ratio(name: str, on_class: OnClass) -> float | None:
    """The median time of a decision, against the whole float32 file's; None where it was not timed."""
    if name not in on_class.p50_us or WHOLE not in on_class.p50_us:
        return None
    return on_class.p50_us[name] / on_class.p50_us[WHOLE]
