"""Agriculture's block of params.yaml: sample world and practices, what-if seasons, and what the gate asks."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from fieldloop.core import params as core


class HistoryParams(core.Params):
    """Past field-seasons of the sample world."""

    seed: int
    fields_per_region: int = Field(ge=1, le=10_000)
    regions: dict[str, tuple[int, int]] = Field(min_length=1, description="region: first and last harvest year")

    @field_validator("regions")
    @classmethod
    def _run_forward(cls, value: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        for region, (first, last) in value.items():
            if first > last:
                raise ValueError(f"{region} runs from {first} to {last}; name the first harvest year, then the last")
        return value


class LoopParams(core.LoopParams):
    """The seasons that devices live through, in the history's world (its seed)."""

    regions: tuple[str, ...] = Field(min_length=1)


class PracticeParams(core.Params):
    """The practices that Fieldloop is compared with."""

    calendar_interval_d: int = Field(ge=1)
    calendar_depth_mm: float = Field(gt=0)
    threshold_depletion_fractions: tuple[float, float, float, float]
    threshold_depth_mm: float = Field(gt=0)
    nitrogen_kg_ha: float = Field(ge=0)
    rainfed_nitrogen_kg_ha: float = Field(ge=0)


class WhatIfParams(core.Params):
    """What a model is taught by simulated what-if seasons: when to act, and what an action changes."""

    generations: int = Field(ge=0, description="of the search for when to act, in closed loop")
    generations_from_champion: int = Field(ge=0, description="the same, where it starts from found weights")
    from_shipped: bool = Field(default=True, description="whether the weights that are shipped may be that start")
    population: int = Field(ge=4)
    seasons: int = Field(ge=8, description="what-if seasons that each candidate lives")
    pairs: int = Field(ge=16, description="seasons lived twice, once with an action")
    followed: int = Field(
        default=600, ge=16, description="seasons that follow the advice, to calibrate the interval on"
    )


class FloorParams(core.FloorParams):
    """What a model must show in closed loop.

    The profits are those of the same simulated fields; what a model may lose is asked of the lower end of the interval.
    """

    fields: int = Field(default=288, ge=2, description="simulated fields that all deciders live")
    generations: int = Field(default=6, ge=0, description="of the search for thresholds of depletion")
    population: int = Field(default=8, ge=4)
    seasons: int = Field(default=64, ge=2, description="simulated fields that each candidate of thresholds lives")
    max_loss_to_rule_usd_ha: float = Field(default=0.0, ge=0, description="against the device's FAO-56 rule")
    max_loss_to_thresholds_usd_ha: float = Field(default=40.0, ge=0, description="against the tuned thresholds")


class SliceParams(core.Params):
    """When devices are to follow the rule in a slice of the floor's fields."""

    least_fields: int = Field(default=12, ge=2, description="a slice of fewer is not judged")
    max_loss_usd_ha: float = Field(default=5.0, ge=0, description="what the rule may be expected to earn more")
    max_risk_usd_ha: float = Field(default=25.0, ge=0, description="and what it may, with one chance in ten")


class GateParams(core.GateParams):
    """What a challenger must show."""

    floor: FloorParams = FloorParams()
    slices: SliceParams = SliceParams()


class AgricultureParams(core.WorkloadParams):
    """The block `agriculture` of params.yaml."""

    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "train": ("what_if",),
        "run": ("loop.regions", "history.seed"),
        "compare": ("practices", "loop.regions", "history"),
    }

    history: HistoryParams | None = Field(description="null where the past is a company's own records alone")
    loop: LoopParams
    practices: PracticeParams
    what_if: WhatIfParams
    gates: GateParams

    @model_validator(mode="after")
    def _held_out_seasons_exist(self) -> "AgricultureParams":
        if self.history is None:
            return self
        spans = self.history.regions.values()
        strange = [s for s in self.gates.held_out_periods if not any(first <= s <= last for first, last in spans)]
        if strange:
            raise ValueError(f"held-out seasons {strange} are not in the history of any region; choose years within it")
        return self
