"""The crop model as a device's file has it: the same answers in a fifth of the operations.

A small network's time goes into calling operations, not into arithmetic. The effects (model.py) are written term by
term, which a person can read and a search can weigh; once the weights are fixed, most of it is linear between a few
clips and products. Here it is folded: every linear part is one matrix product over all columns at once. Nothing is
approximated; what differs is the order of the sums.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fieldedge.workloads.agriculture.features import FEATURES, INDEX
from fieldloop.workloads.agriculture import model as term

if TYPE_CHECKING:
    from fieldloop.workloads.agriculture.model import CropModel

_FAR = 1e9  # a bound that binds nothing
_Sum = dict[str, float]  # name of a column: its weight; "" is a constant


class DeployedCropModel(nn.Module):
    """Answers as its `CropModel` does, for export; `body` and `body_inputs` are the same."""

    def __init__(self, network: "CropModel") -> None:
        super().__init__()
        self.body = network.body
        self.states = network.body[0].in_features
        self._fold_level(network)
        self._fold_effects(network)

    def body_inputs(self, features: Tensor) -> Tensor:
        """What the body sees of scaled features (B, F): all but the candidate action."""
        return features[:, : self.states]

    def forward(self, features: Tensor) -> Tensor:
        raw = self.body(self.body_inputs(features))
        known = _within(torch.addmm(self.known_bias, features, self.known), self.known_low, self.known_high)
        parts = torch.addmm(self.mixed_bias, known, self.mixed).split(self.widths, dim=1)
        terms, factors, less_rain, over, under_need, costs, told, one_less_planting, weights, rest, worth, use, acts = (
            parts
        )
        shortage = torch.addmm(less_rain, terms * factors, self.ones)
        shares = over / torch.cat([under_need, shortage.clamp(min=1.0)], dim=1)
        shares = _within(shares, self.shares_low, self.shares_high)
        seen = torch.cat([torch.log(costs), shares, told, shortage, one_less_planting], dim=1)
        found = torch.addmm(rest, weights * seen, self.sums)  # how far past the trigger; share of the nitrogen need
        past = found[:, :1]
        share = found[:, 1:].clamp(0.0, 1.2)
        not_saved = torch.sigmoid(worth[:, :1])
        gains = torch.cat([worth[:, 1:] * torch.cat([not_saved, share], dim=1), past], dim=1)
        earned = torch.addmm(use, gains, self.gains)  # per mm of water and kg of nitrogen
        changed = acts * torch.cat([earned, not_saved], dim=1)
        level = torch.addmm(torch.addmm(self.centre, raw, self.level), nn.functional.softplus(raw), self.spans)
        return torch.addmm(torch.addmm(level, known, self.direct), changed, self.changes)

    def _fold_level(self, network: "CropModel") -> None:
        spread, stretch = network.spread, network.stretch
        level, spans = torch.zeros(5, 5), torch.zeros(5, 5)
        level[1, :3] = spread[:3]
        level[3, 3], level[4, 4] = spread[3], spread[4]
        spans[0, 0], spans[2, 2] = -stretch[0] * spread[0], stretch[1] * spread[2]
        self._hold(level=level, spans=spans, centre=network.centre.clone())

    def _fold_effects(self, network: "CropModel") -> None:
        effects = network.effects
        columns = _Columns()
        w = {name: float(v) for (name, _, _), v in zip(term.TRIGGER_TERMS, effects.trigger_weights, strict=True)}
        forecast = [float(v) for v in effects.forecast_weights]
        dose = [float(v) for v in effects.dose_weights]
        water = float(nn.functional.softplus(effects.water_slope))
        nitrogen = float(nn.functional.softplus(effects.dose_slope))
        kept_kg = 1.0 - float(torch.sigmoid(effects.dose_saved))
        saved = [float(v) for v in effects.water_saved]
        phases = [columns.at_day(term._PHASE_KNOTS_D, list(unit)) for unit in torch.eye(3).tolist()]

        def in_phases(weights: Sequence[float]) -> _Sum:
            return _total(*((phase, weight) for phase, weight in zip(phases, weights, strict=True)))

        def named(prefix: str) -> list[float]:
            return [value for name, value in w.items() if name.startswith(prefix)]

        wet = _total(*(({columns.clipped(name, 0.0, 1.0): 1.0}, m) for name, m in term._STORED_M.items()))
        demand = {columns.clipped("et0_7d_mm", 0.7 * 42.0, 1.4 * 42.0): 1 / 42.0}
        storage = {columns.plain("field_capacity_m3_m3"): 1.0, columns.plain("wilting_point_m3_m3"): -1.0}
        rain = {columns.ramp("days_to_rain", -1.0, 132.0, 0.0, _FAR): -term._RAIN_TO_COME_MM_D}
        planting = {columns.ramp("at_planting", -1.0, 1.0, 0.0, 1.0): 1.0}
        left, depth, kilos = (
            {columns.plain(name): 1.0}
            for name in ("allowance_left_mm", "candidate_irrigation_mm", "candidate_nitrogen_kg_ha")
        )
        water_cost = columns.clipped("water_cost_kg_mm", 1.0, 40.0)
        nitrogen_cost = columns.clipped("nitrogen_cost_kg_kg", 1.0, 20.0)
        told = [
            {columns.plain(name): gain} for name, gain in zip(term._FORECAST_COLUMNS, term._FORECAST_GAINS, strict=True)
        ]
        needed = columns.at_day(term._TYPICAL_NEED_KNOTS_D, term._TYPICAL_NEED_MM)
        crop_need = columns.at_day(term._CROP_NEED_KNOTS_D, term._CROP_NEED_MM)
        scarce, dry = in_phases(named("scarcity_")), columns.at_day(term._DROUGHT_KNOTS_D, named("drought_scarcity_"))
        dry = _total((dry, 1.0), (told[2], forecast[9]))
        costly, log_ref = (
            in_phases(named("log_water_cost_")),
            float(torch.log(torch.tensor(term.REFERENCE_WATER_COST_KG_MM))),
        )
        context = [
            ({columns.plain(name): gain, "": offset}, w[name.removesuffix("_mm")])
            for name, (gain, offset) in term._LINEAR_TERMS.items()
        ]
        trigger = _total(
            (columns.at_day(term._STAGE_KNOTS_D, named("depletion_on_day_")), 1.0),
            (costly, -log_ref),
            (scarce, 1.0),
            (dry, 1.0),
            ({"": -w["shortage"] - 0.2 * w["depth_share"]}, 1.0),
            *context,
            (
                {columns.plain("forecast_et0_5d_mm"): 1.0 / term._USUAL_ET0_MM_D, columns.plain("has_forecast"): -1.0},
                forecast[10],
            ),
        )
        by_balance = _total(
            (columns.at_day(term._DOSE_KNOTS_D, dose[1:5]), 1.0), ({columns.plain("nni"): 1.0, "": -1.0}, dose[5])
        )
        told_weights = [in_phases(forecast[3 * i : 3 * i + 3]) for i in range(3)]
        groups: list[list[_Sum]] = [
            [crop_need, _total((wet, -term._USABLE_SHARE * 1000.0))],
            [demand, storage],
            [rain],
            [left, {columns.plain("irrigation_capacity_mm"): 1.0}, left],
            [needed, {columns.clipped("taw_mm", 20.0, 470.0): 1.0}],
            [{water_cost: 1.0}, {nitrogen_cost: 1.0}],
            told,
            [_total(({"": 1.0}, 1.0), (planting, -1.0))],
            [
                _total((costly, -1.0)),
                {"": dose[6]},
                scarce,
                {"": -w["depth_share"]},
                dry,
                *(_total((one, -1.0)) for one in told_weights),
                {"": -w["shortage"] / 100.0},
                by_balance,
            ],
            [
                _total(({columns.plain("depletion_fraction"): 1.0}, 1.0), (trigger, -1.0)),
                _total((planting, dose[0]), ({"": -dose[6] * log_ref}, 1.0)),
            ],
            [
                _total((columns.at_day(term._STAGE_KNOTS_D, saved), -1.0)),
                {columns.plain("water_cost_kg_mm"): 1.0},
                {columns.plain("nitrogen_need_kg_ha"): 1.0},
            ],
            [{}, _total((kilos, -nitrogen / 10.0), ({columns.plain("nitrogen_cost_kg_kg"): 1.0}, kept_kg))],
            [depth, kilos, depth],
        ]
        self.widths = [len(group) for group in groups]
        changes = torch.zeros(3, 5)
        changes[:2, :3], changes[2, 3] = 1e-3, 1.0
        sums = torch.zeros(10, 2)
        sums[[0, 2, 3, 4, 5, 6, 7, 8], 0] = 1.0
        sums[[1, 9], 1] = 1.0
        self._hold(
            **columns.first(),
            **columns.mixed([one for group in groups for one in group]),
            direct=columns.matrix([{}, {}, {}, _total((depth, -1.0)), _total((kilos, kept_kg - 1.0))])[1],
            ones=torch.ones(2, 1),
            shares_low=torch.tensor([0.0, -_FAR, 0.0]),
            shares_high=torch.tensor([1.0, _FAR, 1.0]),
            sums=sums,
            gains=torch.tensor([[1.0, 0.0], [0.0, nitrogen / 5.0], [water, 0.0]]),
            changes=changes,
        )

    def _hold(self, **tensors: Tensor) -> None:
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.detach().clone())


class _Columns:
    """What is read off the features: linear columns of them, each between two bounds."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[dict[str, float], float, float, float]] = {}

    def plain(self, feature: str) -> str:
        """The feature in physical units."""
        return self._add(feature, {feature: 1.0}, 0.0, -_FAR, _FAR)

    def clipped(self, feature: str, low: float, high: float) -> str:
        """The feature in physical units, between two bounds."""
        return self._add(f"{feature} within {low} and {high}", {feature: 1.0}, 0.0, low, high)

    def ramp(self, name: str, gain: float, offset: float, low: float, high: float) -> str:
        """`gain` times the day after planting plus `offset`, between two bounds."""
        return self._add(name, {"dap": gain}, offset, low, high)

    def at_day(self, knots: Sequence[float], values: Sequence[float]) -> _Sum:
        """Values at knots in days after planting, interpolated, and flat outside."""
        found: _Sum = {"": values[0]}
        for first, last, before, after in zip(knots[:-1], knots[1:], values[:-1], values[1:], strict=True):
            gain = 1.0 / (last - first)
            found[self.ramp(f"from day {first} to {last}", gain, -first * gain, 0.0, 1.0)] = after - before
        return found

    def first(self) -> dict[str, Tensor]:
        """The columns as weights on scaled features, (F, M), (M,), and their bounds."""
        weights, bias = torch.zeros(len(FEATURES), len(self._found), dtype=torch.float64), []
        for i, (features, offset, _, _) in enumerate(self._found.values()):
            for name, gain in features.items():
                feature = FEATURES[INDEX[name]]
                half = (feature.maximum - feature.minimum) / 2.0
                weights[INDEX[name], i] = gain * half
                offset += gain * (half + feature.minimum)
            bias.append(offset)
        low, high = (torch.tensor([found[at] for found in self._found.values()]) for at in (2, 3))
        return {"known": weights.float(), "known_bias": torch.tensor(bias), "known_low": low, "known_high": high}

    def mixed(self, sums: Sequence[_Sum]) -> dict[str, Tensor]:
        """Sums of the columns, (M, P), and their constants (P,)."""
        bias, weights = self.matrix(sums)
        return {"mixed": weights, "mixed_bias": bias}

    def matrix(self, sums: Sequence[_Sum]) -> tuple[Tensor, Tensor]:
        """Constants (P,) and weights (M, P) of sums of the columns."""
        at = {name: i for i, name in enumerate(self._found)}
        weights, bias = torch.zeros(len(at), len(sums)), torch.zeros(len(sums))
        for column, one in enumerate(sums):
            for name, weight in one.items():
                if name:
                    weights[at[name], column] = weight
                else:
                    bias[column] = weight
        return bias, weights

    def _add(self, name: str, features: dict[str, float], offset: float, low: float, high: float) -> str:
        self._found[name] = (features, offset, low, high)
        return name


def _total(*parts: tuple[Mapping[str, float], float]) -> _Sum:
    """The weighted sum of sums."""
    found: _Sum = {}
    for one, weight in parts:
        for name, value in one.items():
            found[name] = found.get(name, 0.0) + weight * value
    return found


def _within(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(values, low), high)
