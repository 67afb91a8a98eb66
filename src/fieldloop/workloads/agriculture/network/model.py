"""The crop model: yield quantiles, water and nitrogen still to come, for a field's features and a candidate action.

Two parts that add up. The *level* is a multilayer perceptron: what the season will bring when nothing is done today
and the model is followed from then on. The *effects* are what an action changes, and their shape is agronomy's: water
pays once the root zone's depletion passes a trigger, and less so the further below it; nitrogen pays up to the need.
Where the trigger lies (by stage, price of water, allowance left, weather, soil) is learned in closed loop
(policy_search.py); how much an action then changes is learned from paired what-if seasons. So the sign of an
irrigation's gain, which decides, rests on few weights, and stays the same in int8. Output is in physical units.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fieldedge.workloads.agriculture.features import FEATURES, INDEX
from fieldloop.workloads.agriculture.network import interval

QUANTILES = (0.1, 0.5, 0.9)
TARGET_CENTRE = (9.0, 120.0, 90.0)  # t/ha, mm, kg/ha
TARGET_SPREAD = (4.0, 120.0, 90.0)
REFERENCE_WATER_COST_KG_MM = 1000.0 / 180.0  # 1 USD/mm at 180 USD/t

_STATE_COLUMNS = [i for i, feature in enumerate(FEATURES) if not feature.name.startswith("candidate_")]
_STAGE_KNOTS_D = (0.0, 25.0, 40.0, 55.0, 70.0, 85.0, 100.0, 115.0)
_PHASE_KNOTS_D = (25.0, 60.0, 95.0)
_DROUGHT_KNOTS_D = (
    30.0,
    45.0,
    58.0,
    66.0,
    80.0,
    95.0,
)  # finer about flowering: there water that is short must be spent
_TYPICAL_NEED_KNOTS_D, _TYPICAL_NEED_MM = (0.0, 40.0, 55.0, 100.0, 115.0), (170.0, 165.0, 140.0, 45.0, 10.0)
_CROP_NEED_KNOTS_D = (0.0, 40.0, 60.0, 80.0, 100.0, 120.0, 132.0)
_CROP_NEED_MM = (560.0, 480.0, 370.0, 240.0, 110.0, 25.0, 0.0)  # evapotranspiration until maturity at 6 mm/day of ET0
_USABLE_SHARE = 0.6  # of the water stored in the profile
_RAIN_TO_COME_MM_D = 1.8
# What of the rain is still to come, by the season's own so far and that of as many usual days as nothing is known for.
_USUAL_RAIN_D = 30.0
_RAIN_SHARE_KNOTS_D = (0.0, 15.0, 30.0, 50.0, 75.0, 100.0, 132.0)
_RAIN_SHARE = tuple((132.0 - day) / (_USUAL_RAIN_D + day) for day in _RAIN_SHARE_KNOTS_D)
_STORED_M = {  # the thickness that each wetness feature stands for
    "wetness_15cm": 0.25,
    "wetness_35cm": 0.30,
    "wetness_75cm": 0.35,
    "wetness_105cm": 0.30,
    "wetness_deep": 1.10,
}
_LINEAR_TERMS = {  # feature: gain and offset that bring it to about one
    "rain_1d_mm": (0.1, 0.0),
    "rain_3d_mm": (0.05, -0.2),
    "rain_7d_mm": (1 / 30, -0.4),
    "et0_7d_mm": (1 / 42, -1.0),
    "canopy_cover": (1.0, -0.8),
    "surface_wetness": (-1.0, 0.4),
    "wetness_deep": (-1.0, 0.7),
    "relative_transpiration": (1.0, -1.0),
    "field_capacity_m3_m3": (10.0, -2.5),
}
_DRYNESS_KNOTS_D = (0.0, 25.0, 50.0, 80.0)
_USUAL_SO_FAR_MM_D = {"et0_season_mm": 5.0, "rain_season_mm": 2.5}  # where it is drier than that, a climate is dry
_USUAL_AVAILABLE_M3_M3, _USUAL_READILY_AVAILABLE = 0.12, 0.55
_FORECAST_COLUMNS = ("has_forecast", "forecast_rain_2d_mm", "forecast_rain_5d_mm")
_FORECAST_GAINS = (1.0, 0.1, 0.05)
_USUAL_ET0_MM_D = 6.0
_DOSE_KNOTS_D = (26.0, 35.0, 45.0, 55.0)

# name, what it is multiplied with: start weight and the size of a step when it is searched.
TRIGGER_TERMS = (
    *(
        (f"depletion_on_day_{day:.0f}", start, 0.08)
        for day, start in zip(_STAGE_KNOTS_D, (0.45, 0.45, 0.55, 0.55, 0.55, 0.60, 0.65, 0.85), strict=True)
    ),
    *((f"log_water_cost_around_day_{day:.0f}", 0.06, 0.04) for day in _PHASE_KNOTS_D),
    *((f"scarcity_around_day_{day:.0f}", 0.05, 0.10) for day in _PHASE_KNOTS_D),
    *((f"drought_scarcity_around_day_{day:.0f}", 0.05, 0.15) for day in _DROUGHT_KNOTS_D),
    ("shortage", 0.0, 0.05),
    *((name.removesuffix("_mm"), 0.0, 0.05) for name in _LINEAR_TERMS),
    ("depth_share", 0.0, 0.05),
    # Where it is. Only ever append: a network from before has weights for the first ones alone.
    *((f"dryness_on_day_{day:.0f}", 0.0, 0.15) for day in _DRYNESS_KNOTS_D),
    *(
        (f"{name.removesuffix('_mm')}_around_day_{day:.0f}", 0.0, 0.05)
        for name in _USUAL_SO_FAR_MM_D
        for day in _PHASE_KNOTS_D
    ),
    *((f"available_water_around_day_{day:.0f}", 0.0, 0.10) for day in _PHASE_KNOTS_D),
    ("readily_available", 0.0, 0.05),
    # What an allowance cannot carry, in a season as dry as this one.
    *(
        (f"season_scarcity_around_day_{day:.0f}", start, 0.10)
        for day, start in zip(_PHASE_KNOTS_D, (0.0, 0.3, 0.2), strict=True)
    ),
)
_FIRST_APPENDED = (f"dryness_on_day_{_DRYNESS_KNOTS_D[0]:.0f}", f"season_scarcity_around_day_{_PHASE_KNOTS_D[0]:.0f}")
_FORMER_COUNTS = tuple([name for name, _, _ in TRIGGER_TERMS].index(first) for first in _FIRST_APPENDED)
# Added where a forecast is at hand; they are searched apart, and nothing else moves by them.
FORECAST_TERMS = (
    *((f"forecast_around_day_{day:.0f}", 0.0, 0.04) for day in _PHASE_KNOTS_D),
    *((f"forecast_rain_2d_around_day_{day:.0f}", 0.0, 0.08) for day in _PHASE_KNOTS_D),
    *((f"forecast_rain_5d_around_day_{day:.0f}", 0.0, 0.08) for day in _PHASE_KNOTS_D),
    ("forecast_rain_5d_in_scarcity", 0.0, 0.08),
    ("forecast_demand", 0.0, 0.05),
)
DOSE_TERMS = (
    ("share_at_planting", 0.25, 0.10),
    *((f"share_on_day_{day:.0f}", start, 0.15) for day, start in zip(_DOSE_KNOTS_D, (0.3, 0.6, 1.0, 1.0), strict=True)),
    ("nutrition", 0.0, 0.30),
    ("log_nitrogen_cost", -0.05, 0.05),
)


class CropModel(nn.Module):
    """Scaled features (B, F) to (B, 5): yield p10, p50, p90 t/ha; water mm and nitrogen kg/ha to come."""

    def __init__(self, features: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = len(_STATE_COLUMNS)
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
            width = size
        self.body = nn.Sequential(*layers, nn.Linear(width, 5))
        centre_yield, centre_water, centre_nitrogen = TARGET_CENTRE
        spread_yield, spread_water, spread_nitrogen = TARGET_SPREAD
        self.register_buffer("centre", torch.tensor([centre_yield] * 3 + [centre_water, centre_nitrogen]))
        self.register_buffer("spread", torch.tensor([spread_yield] * 3 + [spread_water, spread_nitrogen]))
        self.register_buffer("low", torch.tensor([f.minimum for f in FEATURES], dtype=torch.float32))
        self.register_buffer("half_span", torch.tensor([(f.maximum - f.minimum) / 2 for f in FEATURES]))
        self.register_buffer("stretch", interval.one_for_all(torch.ones(2)))  # below and above, by kind of morning
        self.effects = Effects().requires_grad_(False)  # learned apart (pretrain.py)
        if features != len(FEATURES):
            raise ValueError(f"the contract has {features} features; the model is made for {len(FEATURES)}")

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Of a network from before mornings had kinds, the one stretch is that of all mornings."""
        kept = state.get(f"{prefix}stretch")
        if kept is not None and kept.shape == (2,):
            state[f"{prefix}stretch"] = interval.one_for_all(kept)
        super()._load_from_state_dict(state, prefix, *rest)

    def forward(self, features: Tensor) -> Tensor:
        return self.level(features) + self.effects(self.in_units(features))

    def in_units(self, features: Tensor) -> Tensor:
        """Scaled features (B, F) in physical units."""
        return (features + 1.0) * self.half_span + self.low

    def body_inputs(self, features: Tensor) -> Tensor:
        """What the body sees of scaled features (B, F): all but the candidate action."""
        return features[:, : len(_STATE_COLUMNS)]

    def deployed(self) -> nn.Module:
        """The same answers in fewer operations, for files that devices run; `body` is the same."""
        from fieldloop.workloads.agriculture.network.deployed import DeployedCropModel

        return DeployedCropModel(self)

    def level(self, features: Tensor) -> Tensor:
        """What comes without an action today (B, 5)."""
        raw = self.body(self.body_inputs(features))
        middle = raw[:, 1:2]
        below, above = nn.functional.softplus(raw[:, 0:1]), nn.functional.softplus(raw[:, 2:3])
        if not self.training:
            stretch = interval.stretches_of(circumstances(self.in_units(features)), self.stretch)
            below, above = below * stretch[:, 0:1], above * stretch[:, 1:2]
        outputs = torch.cat([middle - below, middle, middle + above, raw[:, 3:5]], dim=1)
        return outputs * self.spread + self.centre


class Effects(nn.Module):
    """Features in physical units (B, F) to what the candidate action changes (B, 5), in the units of the outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.trigger_weights = nn.Parameter(torch.tensor([start for _, start, _ in TRIGGER_TERMS]))
        self.forecast_weights = nn.Parameter(torch.tensor([start for _, start, _ in FORECAST_TERMS]))
        self.dose_weights = nn.Parameter(torch.tensor([start for _, start, _ in DOSE_TERMS]))
        # Gain per mm and unit of depletion fraction beyond the trigger, kg/mm; share of the water saved later.
        self.water_slope = nn.Parameter(torch.tensor(3.0))
        self.water_saved = nn.Parameter(torch.zeros(len(_STAGE_KNOTS_D)))
        self.dose_slope = nn.Parameter(torch.tensor(-2.0))
        self.dose_saved = nn.Parameter(torch.tensor(0.0))

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Of a network from before the trigger had some terms, those weigh nothing: it decides as it did."""
        name, weights = f"{prefix}trigger_weights", self.trigger_weights
        kept = state.get(name)
        if kept is not None and kept.ndim == 1 and len(kept) in _FORMER_COUNTS:
            state[name] = torch.cat([kept, kept.new_zeros(len(weights) - len(kept))])
        super()._load_from_state_dict(state, prefix, *rest)

    def forward(self, rows: Tensor) -> Tensor:
        return self.of(self.occasions(rows))

    def occasions(self, rows: Tensor) -> "Occasions":
        """What of the rows (B, F), and of when to act, the size of an effect hangs on."""
        trigger = trigger_terms(rows) @ self.trigger_weights + forecast_terms(rows) @ self.forecast_weights
        return Occasions(
            stage=_hats(_columns(rows, ("dap",)), _STAGE_KNOTS_D),
            depth_mm=rows[:, INDEX["candidate_irrigation_mm"]],
            dose_kg_ha=rows[:, INDEX["candidate_nitrogen_kg_ha"]],
            beyond=rows[:, INDEX["depletion_fraction"]] - trigger,
            due_kg_ha=due_dose_kg_ha(rows, self.dose_weights),
            water_cost_kg_mm=rows[:, INDEX["water_cost_kg_mm"]],
            nitrogen_cost_kg_kg=rows[:, INDEX["nitrogen_cost_kg_kg"]],
        )

    def of(self, on: "Occasions") -> Tensor:
        """What the candidate actions change on these occasions (B, 5)."""
        depth, dose = on.depth_mm, on.dose_kg_ha
        saved_mm = depth * torch.sigmoid(on.stage @ self.water_saved)
        saved_kg = dose * torch.sigmoid(self.dose_saved)
        # What is earned beyond its own price, kg/ha of grain; of nitrogen, most at the dose that is due.
        gain_kg = nn.functional.softplus(self.water_slope) * depth * on.beyond
        gain_kg = gain_kg + nn.functional.softplus(self.dose_slope) * dose * (2.0 * on.due_kg_ha - dose) / 10.0
        paid_kg = on.water_cost_kg_mm * (depth - saved_mm)
        paid_kg = paid_kg + on.nitrogen_cost_kg_kg * (dose - saved_kg)
        yields = (gain_kg + paid_kg) / 1000.0
        return torch.stack([yields, yields, yields, -saved_mm, -saved_kg], dim=1)


class Occasions(NamedTuple):
    """B mornings with a candidate action: all that is settled once it is known when to act."""

    stage: Tensor  # (B, K), how near each knot of the season is
    depth_mm: Tensor
    dose_kg_ha: Tensor
    beyond: Tensor  # the depletion fraction less its trigger
    due_kg_ha: Tensor
    water_cost_kg_mm: Tensor
    nitrogen_cost_kg_kg: Tensor


def due_dose_kg_ha(rows: Tensor, weights: Tensor) -> Tensor:
    """The dose that is due today (B,), kg/ha, by weights (K,) or one row of weights for each row (B, K)."""
    share = (dose_terms(rows) * weights).sum(1).clamp(0.0, 1.2)
    return rows[:, INDEX["nitrogen_need_kg_ha"]] * share


def trigger_terms(rows: Tensor) -> Tensor:
    """What the trigger is a weighted sum of: (B, F) physical units to (B, len(TRIGGER_TERMS))."""
    dap = _columns(rows, ("dap",))
    shortage_mm = _shortage_mm(rows, dap)
    left_mm = _columns(rows, ("allowance_left_mm",))
    need_mm = _at_day(dap, _TYPICAL_NEED_KNOTS_D, _TYPICAL_NEED_MM)
    scarcity = (1.0 - left_mm / need_mm).clamp(0.0, 1.0)
    in_drought = (1.0 - left_mm / shortage_mm.clamp(min=1.0)).clamp(0.0, 1.0)
    log_cost = torch.log(_columns(rows, ("water_cost_kg_mm",)).clamp(1.0, 40.0) / REFERENCE_WATER_COST_KG_MM)
    phase, drought = _hats(dap, _PHASE_KNOTS_D), _hats(dap, _DROUGHT_KNOTS_D)
    by_phase = torch.cat([phase * log_cost, phase * scarcity, drought * in_drought], dim=1)
    weather = _columns(rows, tuple(_LINEAR_TERMS)) * rows.new_tensor([gain for gain, _ in _LINEAR_TERMS.values()])
    context = weather + rows.new_tensor([offset for _, offset in _LINEAR_TERMS.values()])
    share = _columns(rows, ("irrigation_capacity_mm",)) / _columns(rows, ("taw_mm",)).clamp(20.0, 470.0) - 0.2
    terms = [_hats(dap, _STAGE_KNOTS_D), by_phase, shortage_mm / 100.0 - 1.0, context, share]
    lacking_mm = shortage_mm + _RAIN_TO_COME_MM_D * (132.0 - dap).clamp(min=0.0) - _rain_to_come_mm(rows, dap)
    in_season = (1.0 - left_mm / lacking_mm.clamp(min=1.0)).clamp(0.0, 1.0)
    return torch.cat([*terms, _place_terms(rows, dap, phase), phase * in_season], dim=1)


def _place_terms(rows: Tensor, dap: Tensor, phase: Tensor) -> Tensor:
    """Where the field is: how dry its profile is, what climate the season has shown, what its soil holds."""
    dryness = 1.0 - _stored_wet_m(rows) / sum(_STORED_M.values())
    so_far = [(_columns(rows, (name,)) - usual * dap) / 100.0 for name, usual in _USUAL_SO_FAR_MM_D.items()]
    available = 10.0 * (_available_m3_m3(rows) - _USUAL_AVAILABLE_M3_M3)
    by_phase = [phase * one for one in (*so_far, available)]
    readily = 4.0 * (_columns(rows, ("raw_fraction",)) - _USUAL_READILY_AVAILABLE)
    return torch.cat([_hats(dap, _DRYNESS_KNOTS_D) * dryness, *by_phase, readily], dim=1)


def forecast_terms(rows: Tensor) -> Tensor:
    """What a forecast adds to the trigger is a weighted sum of: (B, len(FORECAST_TERMS)), 0 without a forecast."""
    dap, foretold = _columns(rows, ("dap",)), _columns(rows, ("has_forecast",))
    told = _columns(rows, _FORECAST_COLUMNS) * rows.new_tensor(_FORECAST_GAINS)
    by_phase = (told[:, :, None] * _hats(dap, _PHASE_KNOTS_D)[:, None, :]).flatten(1)
    lacking_mm = _shortage_mm(rows, dap).clamp(min=1.0)
    scarcity = (1.0 - _columns(rows, ("allowance_left_mm",)) / lacking_mm).clamp(0.0, 1.0)
    demand = _columns(rows, ("forecast_et0_5d_mm",)) * (1.0 / _USUAL_ET0_MM_D) - foretold
    return torch.cat([by_phase, told[:, 2:] * scarcity, demand], dim=1)


def dose_terms(rows: Tensor) -> Tensor:
    """What the share of the need is a weighted sum of: (B, F) physical units to (B, len(DOSE_TERMS))."""
    dap = _columns(rows, ("dap",))
    at_planting = (1.0 - dap).clamp(0.0, 1.0)
    log_cost = torch.log(_columns(rows, ("nitrogen_cost_kg_kg",)).clamp(1.0, 20.0) / REFERENCE_WATER_COST_KG_MM)
    later = torch.cat([_hats(dap, _DOSE_KNOTS_D), _columns(rows, ("nni",)) - 1.0], dim=1) * (1.0 - at_planting)
    return torch.cat([at_planting, later, log_cost], dim=1)


def circumstances(rows: Tensor) -> Tensor:
    """By what a morning's kind goes: (B, F) physical units to (B, len(interval.CIRCUMSTANCES))."""
    shortage_mm = _shortage_mm(rows, _columns(rows, ("dap",)))
    lacking_mm = shortage_mm - _columns(rows, ("allowance_left_mm",))
    found = {"lacking_mm": lacking_mm, "shortage_mm": shortage_mm}
    return torch.cat([found[n] if n in found else _columns(rows, (n,)) for n in interval.CIRCUMSTANCES], dim=1)


def _shortage_mm(rows: Tensor, dap: Tensor) -> Tensor:
    """Roughly what this season's crop will lack until maturity, mm (B, 1): its need less stored water, usual rain."""
    demand = (_columns(rows, ("et0_7d_mm",)) / 42.0).clamp(0.7, 1.4)
    wet_m, storage = _stored_wet_m(rows), _available_m3_m3(rows)
    rain_mm = _RAIN_TO_COME_MM_D * (132.0 - dap).clamp(min=0.0)
    return _at_day(dap, _CROP_NEED_KNOTS_D, _CROP_NEED_MM) * demand - _USABLE_SHARE * 1000.0 * wet_m * storage - rain_mm


def _rain_to_come_mm(rows: Tensor, dap: Tensor) -> Tensor:
    """Rain until maturity if the season goes on as it has been so far, mm (B, 1)."""
    known_mm = _columns(rows, ("rain_season_mm",)) + _USUAL_RAIN_D * _RAIN_TO_COME_MM_D
    return known_mm * _at_day(dap, _RAIN_SHARE_KNOTS_D, _RAIN_SHARE)


def _stored_wet_m(rows: Tensor) -> Tensor:
    """How many metres of the profile the water in it would fill to field capacity (B, 1)."""
    return (_columns(rows, tuple(_STORED_M)).clamp(0.0, 1.0) * rows.new_tensor(list(_STORED_M.values()))).sum(1, True)


def _available_m3_m3(rows: Tensor) -> Tensor:
    """What a soil holds between field capacity and wilting point (B, 1)."""
    return _columns(rows, ("field_capacity_m3_m3",)) - _columns(rows, ("wilting_point_m3_m3",))


def _columns(rows: Tensor, names: Sequence[str]) -> Tensor:
    """Some features by name, (B, len(names))."""
    first, count = INDEX[names[0]], len(names)
    if [INDEX[name] for name in names] == list(range(first, first + count)):
        return rows[:, first : first + count]
    return torch.index_select(rows, 1, torch.tensor([INDEX[name] for name in names]))


def _ramps(days: Tensor, knots: Sequence[float]) -> Tensor:
    """How far the days (B, 1) are on the way from each knot to the next, 0 to 1, (B, K - 1)."""
    at = days.new_tensor(knots)
    return ((days - at[:-1]) * (1.0 / (at[1:] - at[:-1]))).clamp(0.0, 1.0)


def _hats(days: Tensor, knots: Sequence[float]) -> Tensor:
    """Weights of linear interpolation between knots (B, K): flat outside the first and the last."""
    count = len(knots)
    steps = torch.eye(count)[1:] - torch.eye(count)[:-1]
    return _ramps(days, knots) @ steps + torch.eye(count)[:1]


def _at_day(days: Tensor, knots: Sequence[float], values: Sequence[float]) -> Tensor:
    """Values at knots, interpolated (B, 1)."""
    at = days.new_tensor(values)
    return _ramps(days, knots) @ (at[1:] - at[:-1])[:, None] + at[0]


def forget_calibration(network: nn.Module) -> None:
    """Back to the bare quantiles that the fit found."""
    if isinstance(network, CropModel):
        network.stretch.copy_(interval.one_for_all(torch.ones(2)))


def calibrate(network: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor) -> None:
    """Stretch both sides of the interval so that a tenth of `targets` lies beyond each, on every kind of morning.

    `outputs` (B, 5) are the network's bare answers to scaled `inputs` (B, F), `targets` (B, 3) what came, of seasons
    that it was not fitted on.
    """
    if not isinstance(network, CropModel):
        raise TypeError(f"a CropModel is calibrated, not a {type(network).__name__}")
    truth, low, middle, high = targets[:, 0], outputs[:, 0], outputs[:, 1], outputs[:, 2]
    below = (middle - truth) / (middle - low).clamp(min=1e-3)
    above = (truth - middle) / (high - middle).clamp(min=1e-3)
    needed = torch.stack([below, above], dim=1).float()
    network.stretch.copy_(interval.fitted(circumstances(network.in_units(inputs).float()), needed))


def crop_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Pinball loss on the yield quantiles plus Huber loss on water and nitrogen, in units of their spread.

    `outputs` (B, 5) and `targets` (B, 3) are in physical units.
    """
    spread = outputs.new_tensor(TARGET_SPREAD)
    gap = (targets[:, 0:1] - outputs[:, :3]) / spread[0]
    quantiles = outputs.new_tensor(QUANTILES)
    pinball = torch.maximum(quantiles * gap, (quantiles - 1.0) * gap).mean()
    to_come = nn.functional.smooth_l1_loss(outputs[:, 3:] / spread[1:], targets[:, 1:] / spread[1:], beta=0.5)
    return 3.0 * pinball + to_come
