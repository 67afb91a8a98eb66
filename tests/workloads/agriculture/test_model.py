"""The network answers in physical units, its quantiles never cross, and its loss pulls them where they belong."""

import numpy as np
import pytest
import torch

from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.features import FEATURES as FEATURE_LIST
from fieldedge.workloads.agriculture.features import INDEX
from fieldloop.workloads import known_workload, workload_names
from fieldloop.workloads.agriculture.network.model import (
    DOSE_TERMS,
    FORECAST_TERMS,
    TRIGGER_TERMS,
    CropModel,
    calibrate,
    crop_loss,
    dose_terms,
    due_dose_kg_ha,
    forecast_terms,
    forget_calibration,
    trigger_terms,
)

FEATURES = len(known_workload("agriculture").device.contract.features)
PLACE = ("dryness_", "et0_season_", "rain_season_", "available_water_", "readily_available")  # of terms: where it is


@pytest.fixture
def network() -> CropModel:
    torch.manual_seed(0)
    return CropModel(FEATURES, [16, 16], 0.5).eval()


def test_quantiles_never_cross_however_far_the_inputs(network: CropModel) -> None:
    low, middle, high = network(20.0 * torch.randn(500, FEATURES))[:, :3].T
    assert (low <= middle).all()
    assert (middle <= high).all()


def test_an_untrained_network_already_speaks_of_plausible_fields(network: CropModel) -> None:
    mean = network(torch.rand(500, FEATURES) * 2 - 1).mean(dim=0).detach()
    assert 5.0 < float(mean[1]) < 13.0
    assert 0.0 < float(mean[3]) < 250.0


def test_the_loss_of_a_sure_and_right_answer_is_nothing_and_grows_with_error() -> None:
    targets = torch.tensor([[11.0, 80.0, 50.0]])
    right = torch.tensor([[11.0, 11.0, 11.0, 80.0, 50.0]])
    assert float(crop_loss(right, targets)) == 0.0
    losses = [
        float(crop_loss(right + shift * torch.eye(5)[column], targets)) for column in range(5) for shift in (1, 2)
    ]
    assert all(0.0 < near < far for near, far in zip(losses[::2], losses[1::2], strict=True))


def test_the_loss_is_least_at_the_quantiles_of_the_yields() -> None:
    yields = torch.linspace(0.0, 10.0, 1001)
    targets = torch.stack([yields, torch.zeros(1001), torch.zeros(1001)], dim=1)

    def loss(column: int, value: float) -> float:
        outputs = torch.zeros(1001, 5)
        outputs[:, column] = value
        return float(crop_loss(outputs, targets))

    for column, quantile in enumerate((1.0, 5.0, 9.0)):
        assert loss(column, quantile) < min(loss(column, quantile - 0.3), loss(column, quantile + 0.3))


@pytest.mark.parametrize("name", workload_names())
def test_every_workloads_network_takes_its_contracts_features_and_gives_its_outputs(name: str) -> None:
    contract = known_workload(name).device.contract
    network = known_workload(name).learner.network([8], 0.0).eval()
    assert network(torch.zeros(3, len(contract.features))).shape == (3, len(contract.outputs))


def scaled(**values: float) -> torch.Tensor:
    """One row of features, mid-range where nothing is said, as the network gets it."""
    row = np.array([[(f.minimum + f.maximum) / 2 for f in FEATURE_LIST]], np.float32)
    quiet = {"candidate_irrigation_mm": 0.0, "candidate_nitrogen_kg_ha": 0.0, "has_forecast": 0.0}
    quiet |= {name: 0.0 for name in INDEX if name.startswith("forecast_")}
    for name, value in (quiet | values).items():
        row[0, INDEX[name]] = value
    return torch.from_numpy(CONTRACT.scale(row))


def change(network: CropModel, action: dict[str, float], **values: float) -> torch.Tensor:
    """What the action changes in the outputs (5,)."""
    return (network(scaled(**values, **action)) - network(scaled(**values)))[0].detach()


def gain_kg(network: CropModel, water_mm: float, **values: float) -> float:
    """What the irrigation earns beyond its price, kg/ha of grain."""
    changed = change(network, {"candidate_irrigation_mm": water_mm}, **values)
    return float(1000.0 * changed[1] - values["water_cost_kg_mm"] * (water_mm + changed[3]))


def test_without_an_action_the_effects_are_nothing(network: CropModel) -> None:
    rows = torch.rand(200, FEATURES) * 2 - 1
    rows[:, [INDEX["candidate_irrigation_mm"], INDEX["candidate_nitrogen_kg_ha"]]] = -1.0
    assert torch.allclose(network(rows), network.level(rows), atol=1e-4)


def test_irrigation_pays_beyond_the_trigger_and_costs_before_it(network: CropModel) -> None:
    field = {"dap": 60.0, "water_cost_kg_mm": 5.6, "allowance_left_mm": 700.0}
    gains = [gain_kg(network, 25.0, depletion_fraction=share, **field) for share in (0.2, 0.4, 0.6, 0.8)]
    assert gains[0] < 0.0 < gains[-1]
    assert gains == sorted(gains)


def test_dear_and_scarce_water_waits_for_a_drier_soil(network: CropModel) -> None:
    field = {"dap": 60.0, "depletion_fraction": 0.6}
    cheap = gain_kg(network, 25.0, water_cost_kg_mm=5.6, allowance_left_mm=700.0, **field)
    assert gain_kg(network, 25.0, water_cost_kg_mm=20.0, allowance_left_mm=700.0, **field) < cheap
    assert gain_kg(network, 25.0, water_cost_kg_mm=5.6, allowance_left_mm=30.0, **field) < cheap


def test_the_dose_that_is_due_earns_most(network: CropModel) -> None:
    field = {"dap": 50.0, "nitrogen_need_kg_ha": 100.0, "nitrogen_cost_kg_kg": 5.6, "nni": 1.0}
    due = float(due_dose_kg_ha((scaled(**field) + 1.0) * network.half_span + network.low, network.effects.dose_weights))
    assert 60.0 < due < 120.0

    def gain(dose: float) -> float:
        changed = change(network, {"candidate_nitrogen_kg_ha": dose}, **field)
        return float(1000.0 * changed[1] - 5.6 * (dose + changed[4]))

    assert gain(due) > max(gain(due - 30.0), gain(due + 30.0), 0.0)


def test_a_forecast_changes_nothing_until_its_weights_are_learned_and_nothing_where_there_is_none(
    network: CropModel,
) -> None:
    told = {"has_forecast": 1.0, "forecast_rain_2d_mm": 20.0, "forecast_rain_5d_mm": 40.0, "forecast_et0_5d_mm": 4.0}
    dry = (scaled(dap=60.0) + 1.0) * network.half_span + network.low
    wet = (scaled(dap=60.0, **told) + 1.0) * network.half_span + network.low
    assert torch.allclose(forecast_terms(dry), torch.zeros(1, len(FORECAST_TERMS)))
    assert (forecast_terms(wet) != 0.0).any()
    assert torch.equal(network.effects.occasions(dry).beyond, network.effects.occasions(wet).beyond)


@pytest.mark.parametrize("first_appended", [PLACE[0], "season_scarcity"])
def test_a_network_from_before_the_trigger_had_some_terms_decides_as_it_did(
    network: CropModel, first_appended: str
) -> None:
    torch.manual_seed(5)
    terms = [name for name, _, _ in TRIGGER_TERMS]
    count = next(i for i, name in enumerate(terms) if name.startswith(first_appended))
    assert all(name.startswith((*PLACE, "season_scarcity")) for name in terms[count:])
    state = {name: value.clone() for name, value in network.state_dict().items()}
    state["effects.trigger_weights"] = torch.randn(count)
    today = CropModel(FEATURES, [16, 16], 0.5).eval()
    today.load_state_dict(state)
    rows = torch.rand(50, FEATURES) * 2 - 1
    units = today.in_units(rows)
    trigger = trigger_terms(units)[:, :count] @ state["effects.trigger_weights"]
    expected = units[:, INDEX["depletion_fraction"]] - trigger - forecast_terms(units) @ today.effects.forecast_weights
    assert torch.allclose(today.effects.occasions(units).beyond, expected, atol=1e-4)


def test_in_a_dry_season_an_allowance_is_short_that_would_carry_the_crop_in_a_usual_one(network: CropModel) -> None:
    names = [name for name, _, _ in TRIGGER_TERMS]
    season, usual = (names.index(f"{name}_around_day_60") for name in ("season_scarcity", "scarcity"))
    drought = names.index("drought_scarcity_around_day_58")

    def short(rain_season_mm: float, allowance_left_mm: float = 150.0) -> tuple[float, float, float]:
        told = {"dap": 60.0, "rain_season_mm": rain_season_mm, "allowance_left_mm": allowance_left_mm}
        terms = trigger_terms(network.in_units(scaled(**told, et0_7d_mm=45.0)))[0]
        return float(terms[season]), float(terms[usual]), float(terms[drought])

    dry, wet = short(20.0), short(250.0)
    assert dry[0] > wet[0] + 0.2
    assert dry[1:] == wet[1:]
    assert short(20.0, 50.0)[0] > dry[0]
    assert short(20.0, 700.0)[0] == 0.0


@pytest.mark.parametrize(
    ("term", "low", "high"),
    [
        ("dryness_on_day_25", {"wetness_deep": 1.0}, {"wetness_deep": 0.2}),
        ("et0_season_around_day_60", {"et0_season_mm": 250.0}, {"et0_season_mm": 400.0}),
        ("rain_season_around_day_60", {"rain_season_mm": 20.0}, {"rain_season_mm": 300.0}),
        ("available_water_around_day_60", {"field_capacity_m3_m3": 0.2}, {"field_capacity_m3_m3": 0.35}),
        ("readily_available", {"raw_fraction": 0.4}, {"raw_fraction": 0.7}),
    ],
)
def test_the_trigger_can_depend_on_where_it_is(
    network: CropModel, term: str, low: dict[str, float], high: dict[str, float]
) -> None:
    at = [name for name, _, _ in TRIGGER_TERMS].index(term)
    day = 30.0 if "25" in term else 60.0
    rows = [network.in_units(scaled(dap=day, **place)) for place in (low, high)]
    drier, other = (float(trigger_terms(row)[0, at]) for row in rows)
    assert other > drier + 0.1


def test_every_named_weight_has_its_term() -> None:
    rows = torch.rand(7, FEATURES) * 10.0 + 1.0
    assert trigger_terms(rows).shape == (7, len(TRIGGER_TERMS))
    assert dose_terms(rows).shape == (7, len(DOSE_TERMS))
    assert forecast_terms(rows).shape == (7, len(FORECAST_TERMS))


def test_calibration_stretches_the_interval_until_a_tenth_lies_beyond_each_end(network: CropModel) -> None:
    torch.manual_seed(1)
    rows = torch.rand(4000, FEATURES) * 2 - 1
    bare = network(rows).detach()
    targets = torch.zeros(4000, 3)
    targets[:, 0] = bare[:, 1] + torch.randn(4000) * 0.8 * (bare[:, 2] - bare[:, 0])
    calibrate(network, rows, bare, targets)
    stretched = network(rows).detach()
    beyond = ((targets[:, 0] < stretched[:, 0]).float().mean(), (targets[:, 0] > stretched[:, 2]).float().mean())
    assert [round(float(share), 2) for share in beyond] == [0.1, 0.1]
    forget_calibration(network)
    assert torch.equal(network(rows), bare)


def test_a_network_from_before_mornings_had_kinds_answers_as_it_did(network: CropModel) -> None:
    rows = torch.rand(200, FEATURES) * 2 - 1
    low, middle, high = network(rows)[:, :3].T
    former = {**network.state_dict(), "stretch": torch.tensor([0.5, 2.0])}
    network.load_state_dict(former)
    torch.testing.assert_close(network(rows)[:, 0], middle - 0.5 * (middle - low))
    torch.testing.assert_close(network(rows)[:, 2], middle + 2.0 * (high - middle))
    assert former["stretch"].shape == (2,)  # what was read is not changed
