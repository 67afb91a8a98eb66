"""Tunables (`params.yaml`): read once, frozen, passed down; the blocks of the core, which a workload adds its own to.

A missing or broken value is a ConfigError that names it and says what was expected. Where things are on this machine
is in settings.py.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fieldedge.system.errors import ConfigError
from fieldloop.core.broken_values import told
from fieldloop.core.stored_names import HELD_OUT, PERIODS

Block = TypeVar("Block", bound="WorkloadParams")

_WRITTEN = {"periods": PERIODS, "held_out_periods": HELD_OUT}


def _written(name: str) -> str:
    """What a value is called in params.yaml."""
    return _WRITTEN.get(name, name)


class Params(BaseModel):
    """A block of params.yaml: frozen, and nothing in it that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=_written, serialize_by_alias=True)

    def only(self, names: Sequence[str]) -> Self:
        """These blocks and values (`model`, `gates.held_out_periods`): reading any other is an AttributeError."""
        inner: dict[str, list[str]] = {}
        for name in names:
            block, _, rest = name.partition(".")
            inner.setdefault(block, []).extend([rest] if rest else [])
        values = {block: getattr(self, block) for block in inner}
        kept = {block: values[block].only(rest) if rest else values[block] for block, rest in inner.items()}
        narrowed = self.model_construct(**kept)
        for default in set(type(self).model_fields) - set(kept):
            narrowed.__dict__.pop(default, None)
        return narrowed

    def values_of(self, names: Sequence[str]) -> dict[str, Any]:
        """Each of these blocks and values as plain JSON, by name."""
        found: dict[str, Any] = {}
        for name in names:
            value: Any = self
            for part in name.split("."):
                value = getattr(value, part)
            found[name] = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        return found


class ModelParams(Params):
    """The student that ships, and how it is trained."""

    hidden: tuple[int, ...] = Field(min_length=1)
    dropout: float = Field(ge=0, lt=1)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=16)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    seed: int
    precision: Literal["32-true", "bf16-mixed"] = "32-true"


class FloorParams(Params):
    """What a model must show in closed loop and against foreseeing without one; a workload adds what it measures."""

    max_error_to_mean_pct: float = Field(
        default=100.0,
        gt=0,
        description="what the held-out error may be, of the error that one has without a model",
    )


class GateParams(Params):
    """What a challenger must show."""

    held_out_periods: tuple[int, ...] = Field(min_length=1, description="never trained on")
    bootstrap_draws: int = Field(ge=100)
    max_error_increase_pct: float = Field(
        ge=0, description="what the upper end of the interval of challenger against champion, and anchor, may be"
    )
    floor: FloorParams = FloorParams()


class DeviceClassParams(Params):
    """Devices that compute alike: what their processor has, and how this machine can speak for it."""

    machine: str = Field(default="any", description="as `uname -m` says it there; any: nothing is assumed")
    weights: Literal["reduced", "unsigned", "signed"] | None = Field(
        default=None, description="how 8-bit weights are stored for it; empty: it gets float32"
    )
    lacks: tuple[str, ...] = Field(default=(), description="CPU features that these devices do not have")
    emulator: tuple[str, ...] = Field(default=(), description="runs the devices' Python as on such a processor")
    python: str = Field(default="", description="a Python of that machine; empty: the devices' own; relative to root")


class SearchParams(Params):
    """Which small models are made to choose from."""

    keep: tuple[float, ...] = Field(default=(0.375,), description="shares of the neurons; all of them are always tried")
    epochs: int = Field(default=8, ge=1, description="of fine-tuning after neurons were removed")
    learning_rate: float = Field(default=0.003, gt=0)
    batch_size: int = Field(default=256, ge=1)
    teacher_share: float = Field(
        default=0.9, ge=0, le=1, description="of the loss: the teacher's answers; else outcomes"
    )
    teacher_hidden: tuple[int, ...] = Field(default=(), description="of an ensemble; empty: the champion teaches")
    teacher_members: int = Field(default=0, ge=0)
    rows: int = Field(default=100_000, ge=64, description="training examples that are fine-tuned on")
    autotune_trials: int = Field(default=2, ge=1, description="recipes of neural-compressor that are tried at most")
    rounding_epochs: int = Field(default=2, ge=0, description="quantisation-aware, where rounding costs too much")

    @field_validator("keep")
    @classmethod
    def _are_shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0.0 < share <= 1.0 for share in value):
            raise ValueError("each is a share of the neurons, above 0 and at most 1")
        return value


class CompressionParams(Params):
    """What the small model must show to ship, and what is tried."""

    calibration_rows: int = Field(ge=64)
    candidates_per_decision: int = Field(ge=1)
    max_error_increase_pct: float = Field(ge=0, description="of the held-out error, against float32")
    max_latency_ratio: float = Field(gt=0, description="median time of a decision, against float32's")
    max_p99_ratio: float = Field(default=1.5, gt=0, description="the slowest of a hundred calls, against float32's")
    min_agreement_pct: float = Field(
        default=99.0, ge=0, le=100, description="situations with the same action, or little regret"
    )
    max_regret_pct: float = Field(default=0.5, ge=0, description="of an episode's profit: what another action may cost")
    max_profit_loss_pct: float = Field(default=0.5, ge=0, description="of the closed-loop profit, against float32's")
    parity_sd: float = Field(default=0.05, gt=0, description="on golden vectors, in standard deviations of an output")
    decision_rows: int = Field(default=1_000, ge=1)
    closed_loop_fields: int = Field(default=32, ge=1)
    timed_calls: int = Field(default=1_000, ge=50)
    search: SearchParams = SearchParams()
    device_classes: dict[str, DeviceClassParams] = Field(default={"any": DeviceClassParams()}, min_length=1)
    fleet_class: str = Field(default="any", description="the class whose file goes into the bundle")

    @model_validator(mode="after")
    def _fleet_is_of_a_class(self) -> "CompressionParams":
        if self.fleet_class not in self.device_classes:
            raise ValueError(f"fleet_class {self.fleet_class!r} is none of device_classes {list(self.device_classes)}")
        return self


class StageParams(Params):
    """One stage of a rollout."""

    percentage: float = Field(gt=0, le=100, description="of the devices, by their ids")
    soak_d: float = Field(ge=0, le=366, description="days that it lasts at least")


class RolloutLimitParams(Params):
    """What a device's model may do while it is watched; a device beyond one of these counts as failed."""

    max_abstained_pct: float = Field(default=30.0, gt=0, le=100, description="of its decisions, shown beyond chance")
    max_guardrail_pct: float = Field(default=60.0, gt=0, le=100, description="of its decisions, shown beyond chance")
    max_latency_p99_ms: float = Field(default=2_000.0, gt=0)
    max_divergence: float = Field(
        default=3.0, gt=0, description="from the former model's answers on average, in their standard deviations"
    )


class RolloutParams(Params):
    """How a new version goes out, and what stops it. A rollout keeps what stood here when it began."""

    stages: tuple[StageParams, ...] = Field(
        default=(
            *(StageParams(percentage=1, soak_d=21), StageParams(percentage=10, soak_d=10)),
            *(StageParams(percentage=50, soak_d=7), StageParams(percentage=100, soak_d=7)),
        ),
        min_length=1,
    )
    min_sample: int = Field(default=100, ge=1, description="devices that had it so long and said how it went")
    acceptable_failed_pct: float = Field(default=0.5, gt=0, lt=50, description="of devices: as many fail of themselves")
    unacceptable_failed_pct: float = Field(default=2.5, gt=0, lt=50, description="of devices: these must not be missed")
    false_halt_risk: float = Field(default=0.01, gt=0, lt=0.5, description="where no more than acceptable fail")
    missed_halt_risk: float = Field(default=0.01, gt=0, lt=0.5, description="where as many as unacceptable fail")
    confidence: float = Field(default=0.99, gt=0.5, lt=1, description="of the intervals that are shown")
    answer_within_d: float = Field(
        default=21.0, gt=0, description="days after which a device that was online and said nothing counts as failed"
    )
    ripe_after_d: float = Field(
        default=16.0, ge=0, description="days with the version after which a device has said how it went: its watch"
    )
    missed_contacts: float = Field(
        default=2.0, ge=0, description="how many of its own longest silences before are waited for on top"
    )
    limits: RolloutLimitParams = RolloutLimitParams()
    approval: Literal["none", "required"] = Field(default="none", description="whether a person lets each stage begin")

    @model_validator(mode="after")
    def _is_a_plan(self) -> "RolloutParams":
        percentages = [stage.percentage for stage in self.stages]
        shrinks = next((pair for pair in pairwise(percentages) if pair[1] <= pair[0]), None)
        if shrinks is not None:
            raise ValueError(
                f"the stages go from {shrinks[0]:g} % to {shrinks[1]:g} %; a percentage only grows, since no device "
                "hands a version back for a stage"
            )
        if percentages[-1] != 100.0:
            raise ValueError(f"the last stage is {percentages[-1]:g} %; the last one is of all devices, 100 %")
        if self.unacceptable_failed_pct <= self.acceptable_failed_pct:
            raise ValueError(
                f"unacceptable_failed_pct {self.unacceptable_failed_pct:g} must lie above acceptable_failed_pct "
                f"{self.acceptable_failed_pct:g}"
            )
        return self


class LoopParams(Params):
    """The periods that devices live through."""

    devices: int = Field(ge=1, le=10_000)
    periods: tuple[int, ...] = Field(min_length=1)
    upload_budget_bytes: int = Field(ge=1_000)
    rollout: RolloutParams | None = Field(
        default=None, description="how a later period's new model goes out; null: to every device at once"
    )
    bad_release: bool = Field(
        default=False, description="before a new model goes out, one that was built wrong does, and is to be halted"
    )

    @field_validator("periods")
    @classmethod
    def _run_forward(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        """A period is lived once, and what a later one taught cannot be unlearned for an earlier one."""
        if list(value) != sorted(set(value)):
            forward = ", ".join(map(str, sorted(set(value))))
            raise ValueError(f"each period is lived through once, and after those before it; write [{forward}]")
        return value


STEPS = (  # the tasks by their names
    *("history", "validate", "ingest", "version", "train", "register", "compress"),
    *("release", "rollout", "run", "sync", "compare", "report"),
)


class WorkloadParams(Params):
    """One workload's block of params.yaml: the blocks of the core. A workload adds its own in a class of its own.

    `reads` names what each step, one of `STEPS`, reads of the workload's own blocks and values, beside the core's.
    """

    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    history: Params | None = Field(description="null where the past is a company's own records alone")
    loop: LoopParams
    model: ModelParams
    gates: GateParams
    compression: CompressionParams
    rollout: RolloutParams = RolloutParams()

    @model_validator(mode="after")
    def _periods_are_apart(self) -> "WorkloadParams":
        both = set(self.gates.held_out_periods) & set(self.loop.periods)
        if both:
            raise ValueError(f"{sorted(both)} are both in gates.{HELD_OUT} and in loop.{PERIODS}; choose others")
        return self

    def require_history(self) -> Any:
        """The block `history`, as the workload declares it.

        Raises:
            ConfigError: there is none.
        """
        if self.history is None:
            raise ConfigError(
                "params.yaml says `history: null`, so there is no sample world to live in. `retrain` learns from "
                "what was imported and sent; for the sample world write the block that its workload declares"
            )
        return self.history

    def with_loop(self, **changes: Any) -> Self:
        """The same with other values of the block `loop`, as strictly checked as those of params.yaml.

        Raises:
            ConfigError: a value is broken, or does not go with the other blocks.
        """
        document = self.model_dump()
        try:
            return self.model_validate({**document, "loop": {**document["loop"], **changes}})
        except ValidationError as error:
            raise ConfigError(told(error, lambda place: f"the flow's parameters: {place}")) from None


def workloads_of(root: Path) -> list[str]:
    """The workloads that params.yaml has a block of.

    Raises:
        ConfigError: it cannot be read.
    """
    document = _document(root / "params.yaml")
    return [str(name) for name in document] if isinstance(document, dict) else []


def only_workload(root: Path) -> str:
    """The workload that params.yaml is about, where it is about one.

    Raises:
        ConfigError: it cannot be read, or has several blocks; then one is to be named.
    """
    path = root / "params.yaml"
    names = workloads_of(root)
    if len(names) != 1:
        raise ConfigError(
            f"{path} has {', '.join(names) or 'no block'}; say which one is meant: --workload NAME, "
            "or to a flow by its parameter `workload`: python -m flows FLOW NAME"
        )
    return names[0]


def load_block(root: Path, workload: str, block_of: Callable[[], type[Block]]) -> Block:
    """One workload's block of params.yaml.

    Args:
        block_of: the class that it is read as; asked where there is such a block.

    Raises:
        ConfigError: the file or a value is missing or broken; the message names the place and what was expected.
    """
    path = root / "params.yaml"
    document = _document(path)
    if not isinstance(document, dict) or workload not in document:
        known = ", ".join(map(str, document)) if isinstance(document, dict) else "nothing"
        raise ConfigError(f"{path} has no block {workload!r}; it has {known}. Add one, see CONTRIBUTING.md")
    declared = block_of()
    try:
        return declared.model_validate(document[workload])
    except ValidationError as error:
        raise ConfigError(told(error, lambda place: f"{path}: {workload}.{place}")) from None


def _document(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read: {why}. Restore it from git: git checkout params.yaml") from None
