"""The crop model as a device's file has it: the same answers in a fifth of the operations.

A small network's time goes into calling operations, not into arithmetic. The effects (model.py) are written term by
term, which a person can read and a search can weigh; once the weights are fixed, most of it is linear between a few
clips and products. Here it is folded into three rounds, each one matrix product, one kind of bound and one product of
columns: what is read off the features; shares of what there is and logarithms of what it costs; what an action earns.
Nothing is approximated; what differs is the order of the sums. It answers as far as the devices' scaling goes.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fieldedge.workloads.agriculture.features import FEATURES, INDEX
from fieldloop.workloads.agriculture.network import model as term
from fieldloop.workloads.agriculture.network.interval import CIRCUMSTANCES, RAMPS, STRETCH_LIMITS, kind_weights

if TYPE_CHECKING:
    from fieldloop.workloads.agriculture.network.model import CropModel

REACH = 2.0  # of a scaled feature: beyond the 1.5 at which devices clip
_FAR = 1e9  # a bound that binds nothing
_SHARE_LIMIT = 1.2  # of the nitrogen need
_TAW_MM = (20.0, 470.0)
_Sum = dict[str, float]  # name of a column: its weight; "" is a constant


def _within_reach(name: str) -> tuple[float, float]:
    """The least and the most of a feature in physical units."""
    feature = FEATURES[INDEX[name]]
    middle, half = (feature.maximum + feature.minimum) / 2.0, (feature.maximum - feature.minimum) / 2.0
    return middle - REACH * half, middle + REACH * half


# The irrigation capacity's share of the total available water, as far as it may come, brought between 0 and 1.
_CAPACITY_LOW, _CAPACITY_HIGH = (mm / _TAW_MM[0] for mm in _within_reach("irrigation_capacity_mm"))
_CAPACITY_SPAN = _CAPACITY_HIGH - _CAPACITY_LOW


class DeployedCropModel(nn.Module):
    """Answers as its `CropModel` does, for export; `body` and `body_inputs` are the same."""

    def __init__(self, network: "CropModel") -> None:
        super().__init__()
        self.body = network.body
        self.states = network.body[0].in_features
        self._fold(network)

    def body_inputs(self, features: Tensor) -> Tensor:
        """What the body sees of scaled features (B, F): all but the candidate action."""
        return features[:, : self.states]

    def forward(self, features: Tensor) -> Tensor:
        raw = self.body(self.body_inputs(features))
        sides = nn.functional.softplus(raw)
        known = nn.functional.hardsigmoid(torch.addmm(self.known_bias, features, self.known))
        first = torch.addmm(self.first_bias, known, self.first)
        told = first * torch.addmm(self.second_bias, known, self.second)
        above, costs, weights, acts, _ = told.split(self.widths, dim=1)
        below = torch.addmm(self.none, told, self.below).clamp(min=1.0)
        shares = (above / below).clamp(0.0, 1.0)
        seen = torch.cat([torch.cat([shares, torch.log(costs)], dim=1) * weights, told], dim=1)
        past = torch.addmm(self.past_bias, seen, self.past)  # the trigger
        share = nn.functional.hardsigmoid(torch.addmm(self.share_bias, seen, self.share))  # of the nitrogen need
        not_saved = torch.sigmoid(torch.addmm(self.not_saved_bias, told, self.not_saved))
        earned = torch.cat([past, share, not_saved], dim=1) * acts
        ramps = torch.addmm(self.ramps_bias, told, self.ramps).clamp(0.0, 1.0)
        sides = sides * torch.addmm(self.stretch_bias, ramps, self.stretch).clamp(*STRETCH_LIMITS)
        # Bounds may turn what is no number into one; the features themselves pass it on to every output.
        parts = torch.cat([raw, sides, earned, told, features], dim=1)
        return torch.addmm(self.centre, parts, self.outputs)

    def _fold(self, network: "CropModel") -> None:
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
        left, depth, kilos, capacity, water_price, nitrogen_price = (
            {columns.plain(name): 1.0}
            for name in (
                "allowance_left_mm",
                "candidate_irrigation_mm",
                "candidate_nitrogen_kg_ha",
                "irrigation_capacity_mm",
                "water_cost_kg_mm",
                "nitrogen_cost_kg_kg",
            )
        )
        water_cost = {columns.clipped("water_cost_kg_mm", 1.0, 40.0): 1.0}
        nitrogen_cost = {columns.clipped("nitrogen_cost_kg_kg", 1.0, 20.0): 1.0}
        taw = {columns.clipped("taw_mm", *_TAW_MM): 1.0}
        told = [
            {columns.plain(name): gain} for name, gain in zip(term._FORECAST_COLUMNS, term._FORECAST_GAINS, strict=True)
        ]
        needed = columns.at_day(term._TYPICAL_NEED_KNOTS_D, term._TYPICAL_NEED_MM)
        crop_need = columns.at_day(term._CROP_NEED_KNOTS_D, term._CROP_NEED_MM)
        rain_so_far = {columns.plain("rain_season_mm"): -1.0, "": -term._USUAL_RAIN_D * term._RAIN_TO_COME_MM_D}
        rain_share = columns.at_day(term._RAIN_SHARE_KNOTS_D, term._RAIN_SHARE)
        scarce, dry = in_phases(named("scarcity_")), columns.at_day(term._DROUGHT_KNOTS_D, named("drought_scarcity_"))
        dry = _total((dry, 1.0), (told[2], forecast[9]))
        carried = in_phases(named("season_scarcity_"))
        costly = in_phases(named("log_water_cost_"))
        log_reference = float(torch.log(torch.tensor(term.REFERENCE_WATER_COST_KG_MM)))
        context = [
            ({columns.plain(name): gain, "": offset}, w[name.removesuffix("_mm")])
            for name, (gain, offset) in term._LINEAR_TERMS.items()
        ]
        foretold_demand = {
            columns.plain("forecast_et0_5d_mm"): 1.0 / term._USUAL_ET0_MM_D,
            columns.plain("has_forecast"): -1.0,
        }
        trigger = _total(
            (columns.at_day(term._STAGE_KNOTS_D, named("depletion_on_day_")), 1.0),
            (costly, -log_reference),
            (scarce, 1.0),
            (dry, 1.0),
            (carried, 1.0),
            ({"": -w["shortage"] - (0.2 - _CAPACITY_LOW) * w["depth_share"]}, 1.0),
            *context,
            (foretold_demand, forecast[10]),
            (
                {columns.plain("raw_fraction"): 4.0, "": -4.0 * term._USUAL_READILY_AVAILABLE},
                w["readily_available"],
            ),
        )
        by_balance = _total(
            (columns.at_day(term._DOSE_KNOTS_D, dose[1:5]), 1.0), ({columns.plain("nni"): 1.0, "": -1.0}, dose[5])
        )
        dryness = _total(({"": 1.0}, 1.0), (wet, -1.0 / sum(term._STORED_M.values())))
        days = {columns.ramp("days", 1.0, 0.0, -_FAR, _FAR): 1.0}
        so_far = {
            name.removesuffix("_mm"): _total(({columns.plain(name): 0.01}, 1.0), (days, -0.01 * usual))
            for name, usual in term._USUAL_SO_FAR_MM_D.items()
        }
        available = _total((storage, 10.0), ({"": -10.0 * term._USUAL_AVAILABLE_M3_M3}, 1.0))
        by_phase = {**so_far, "available_water": available}
        places = {
            "dryness": (dryness, columns.at_day(term._DRYNESS_KNOTS_D, named("dryness_on_day_"))),
            **{name: (one, in_phases(named(f"{name}_around_day_"))) for name, one in by_phase.items()},
        }
        told_weights = [in_phases(forecast[3 * i : 3 * i + 3]) for i in range(3)]
        one: _Sum = {"": 1.0}
        # Every column that follows is a product of two sums of what is read off the features.
        above = {
            "left": (left, one),
            "capacity": (_total((capacity, 1.0), (taw, -_CAPACITY_LOW)), one),
            "left in drought": (left, one),
            "left in season": (left, one),
        }
        costs = {"water cost": (water_cost, one), "nitrogen cost": (nitrogen_cost, one)}
        weights = {  # of the shares of `above`, and of the logarithms of `costs`
            "scarcity": (scarce, one),
            "depth share": ({"": -w["depth_share"] * _CAPACITY_SPAN}, one),
            "drought": (dry, one),
            "season": (carried, one),
            "water price": (_total((costly, -1.0)), one),
            "nitrogen price": ({"": dose[6]}, one),
        }
        acts = {  # what past the trigger, share of the need, and what is not saved later (twice) are multiplied with
            "depth": (depth, one),
            "kilos needed": (kilos, {columns.plain("nitrogen_need_kg_ha"): 1.0}),
            "depth paid": (depth, water_price),
            "depth again": (depth, one),
        }
        summed = {
            "demand": (crop_need, demand),
            "stored": (_total((wet, -term._USABLE_SHARE * 1000.0)), storage),
            "rain": (rain, one),
            "season's rain": (rain_so_far, rain_share),
            "needed": (needed, one),
            "taw": (taw, one),
            **{f"place {name}": pair for name, pair in places.items()},
            **{f"told {i}": (what, how) for i, (what, how) in enumerate(zip(told, told_weights, strict=True))},
            "past": (_total(({columns.plain("depletion_fraction"): 1.0}, 1.0), (trigger, -1.0)), one),
            "by balance": (by_balance, _total((one, 1.0), (planting, -1.0))),
            "at planting": (_total((planting, dose[0]), ({"": -dose[6] * log_reference}, 1.0)), one),
            "not saved": (_total((columns.at_day(term._STAGE_KNOTS_D, saved), -1.0)), one),
            "dose paid": (kilos, _total((kilos, -nitrogen / 10.0), (nitrogen_price, kept_kg))),
            "kilos": (kilos, one),
            **{f"read {name}": ({columns.plain(name): 1.0}, one) for name in CIRCUMSTANCES if name in INDEX},
        }
        groups: list[dict[str, tuple[_Sum, _Sum]]] = [above, costs, weights, acts, summed]
        self.widths = [len(group) for group in groups]
        pairs = {name: pair for group in groups for name, pair in group.items()}
        names = list(pairs)
        shortage = {"demand": 1.0, "stored": 1.0, "rain": 1.0}
        lacking = {"demand": 1.0, "stored": 1.0, "season's rain": 1.0}
        seen = [*(f"{name} weighed" for name in weights), *names]
        past = {
            **dict.fromkeys(
                (f"{n} weighed" for n in ("scarcity", "depth share", "drought", "season", "water price")), 1.0
            ),
            **dict.fromkeys(shortage, -w["shortage"] / 100.0),
            **{f"told {i}": -1.0 for i in range(3)},
            **{f"place {name}": -1.0 for name in places},
            "past": 1.0,
        }
        share = {"nitrogen price weighed": 1.0, "by balance": 1.0, "at planting": 1.0}
        bodys = [f"{what} {i}" for what in ("raw", "side") for i in range(5)]
        parts = [*bodys, *(f"{name} earned" for name in acts), *names, *(feature.name for feature in FEATURES)]
        change = {
            "depth earned": 1e-3 * water,
            "kilos needed earned": 1e-3 * nitrogen / 5.0 * _SHARE_LIMIT,
            "depth paid earned": 1e-3,
            "dose paid": 1e-3,
        }
        spread = [float(v) for v in network.spread]
        outputs: list[_Sum] = [
            {"raw 1": spread[0], "side 0": -spread[0], **change},
            {"raw 1": spread[1], **change},
            {"raw 1": spread[2], "side 2": spread[2], **change},
            {"raw 3": spread[3], "depth again earned": 1.0, "depth": -1.0},
            {"raw 4": spread[4], "kilos": kept_kg - 1.0},
        ]
        circumstances = {"shortage_mm": shortage, "lacking_mm": {**shortage, "left": -1.0}}
        sums = [circumstances.get(ramp.of, {f"read {ramp.of}": 1.0}) for ramp in RAMPS]
        steps = [1.0 / (ramp.last - ramp.first) for ramp in RAMPS]
        sixth = _SHARE_LIMIT / 6.0  # torch's hard sigmoid is a sixth of its input and a half, between 0 and 1
        self._hold(
            **columns.known(),
            **columns.sums("first", [pair[0] for pair in pairs.values()]),
            **columns.sums("second", [pair[1] for pair in pairs.values()]),
            none=torch.zeros(4),
            below=_matrix(names, [{"needed": 1.0}, {"taw": _CAPACITY_SPAN}, shortage, lacking]),
            past=_matrix(seen, [past]),
            past_bias=torch.zeros(1),
            share=_matrix(seen, [{name: weight / sixth for name, weight in share.items()}]),
            share_bias=torch.tensor([-3.0]),
            not_saved=_matrix(names, [{"not saved": 1.0}] * 2),
            not_saved_bias=torch.zeros(2),
            ramps=_matrix(names, [_total((one, step)) for one, step in zip(sums, steps, strict=True)]),
            ramps_bias=torch.tensor([-ramp.first * step for ramp, step in zip(RAMPS, steps, strict=True)]),
            **_stretches(network.stretch),
            outputs=_matrix(parts, outputs),
            centre=network.centre.clone(),
        )

    def _hold(self, **tensors: Tensor) -> None:
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.detach().clone())


class _Columns:
    """What is read off the features: linear columns of one of them, each between two bounds."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, float, float, float, float]] = {}

    def plain(self, feature: str) -> str:
        """The feature in physical units."""
        return self._add(feature, feature, 1.0, 0.0, -_FAR, _FAR)

    def clipped(self, feature: str, low: float, high: float) -> str:
        """The feature in physical units, between two bounds."""
        return self._add(f"{feature} within {low} and {high}", feature, 1.0, 0.0, low, high)

    def ramp(self, name: str, gain: float, offset: float, low: float, high: float) -> str:
        """`gain` times the day after planting plus `offset`, between two bounds."""
        return self._add(name, "dap", gain, offset, low, high)

    def at_day(self, knots: Sequence[float], values: Sequence[float]) -> _Sum:
        """Values at knots in days after planting, interpolated, and flat outside."""
        found: _Sum = {"": values[0]}
        for first, last, before, after in zip(knots[:-1], knots[1:], values[:-1], values[1:], strict=True):
            gain = 1.0 / (last - first)
            found[self.ramp(f"from day {first} to {last}", gain, -first * gain, 0.0, 1.0)] = after - before
        return found

    def known(self) -> dict[str, Tensor]:
        """Weights on scaled features (F, M) and biases (M,): a hard sigmoid of their sum is 0 to 1 from low to high."""
        weights = torch.zeros(len(FEATURES), len(self._found), dtype=torch.float64)
        bias = torch.zeros(len(self._found), dtype=torch.float64)
        for i, (name, gain, offset, _, _) in enumerate(self._found.values()):
            low, high = self._bounds(i)
            feature = FEATURES[INDEX[name]]
            half = (feature.maximum - feature.minimum) / 2.0
            weights[INDEX[name], i] = 6.0 * gain * half / (high - low)
            bias[i] = 6.0 * (gain * (half + feature.minimum) + offset - low) / (high - low) - 3.0
        return {"known": weights.float(), "known_bias": bias.float()}

    def sums(self, name: str, sums: Sequence[_Sum]) -> dict[str, Tensor]:
        """Sums of the columns in their own units: weights on what `known` gives, (M, P), and constants (P,)."""
        at = {column: i for i, column in enumerate(self._found)}
        weights = torch.zeros(len(at), len(sums), dtype=torch.float64)
        bias = torch.zeros(len(sums), dtype=torch.float64)
        for p, one in enumerate(sums):
            for column, weight in one.items():
                if not column:
                    bias[p] += weight
                    continue
                low, high = self._bounds(at[column])
                weights[at[column], p] += weight * (high - low)
                bias[p] += weight * low
        return {name: weights.float(), f"{name}_bias": bias.float()}

    def _bounds(self, i: int) -> tuple[float, float]:
        """A column's bounds; where it has none, how far it comes within the features' reach."""
        name, gain, offset, low, high = list(self._found.values())[i]
        ends = sorted(gain * end + offset for end in _within_reach(name))
        return (ends[0] if low == -_FAR else low), (ends[1] if high == _FAR else high)

    def _add(self, name: str, feature: str, gain: float, offset: float, low: float, high: float) -> str:
        self._found[name] = (feature, gain, offset, low, high)
        return name


def _stretches(table: Tensor) -> dict[str, Tensor]:
    """Weights on the ramps (len(RAMPS), 5) and constants (5,): the stretch of either side, 1 for all else."""
    weights, constants = kind_weights()
    stretch, bias = torch.zeros(len(RAMPS), 5), torch.ones(5)
    stretch[:, [0, 2]] = weights @ table[1:]
    bias[[0, 2]] = table[0] + constants @ table[1:]
    return {"stretch": stretch, "stretch_bias": bias}


def _total(*parts: tuple[Mapping[str, float], float]) -> _Sum:
    """The weighted sum of sums."""
    found: _Sum = {}
    for one, weight in parts:
        for name, value in one.items():
            found[name] = found.get(name, 0.0) + weight * value
    return found


def _matrix(rows: Sequence[str], sums: Sequence[Mapping[str, float]]) -> Tensor:
    """Weights (len(rows), len(sums)) of sums of named rows."""
    at = {name: i for i, name in enumerate(rows)}
    weights = torch.zeros(len(rows), len(sums))
    for column, one in enumerate(sums):
        for name, weight in one.items():
            weights[at[name], column] = weight
    return weights
