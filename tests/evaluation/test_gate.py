"""The gate measures challenger and champion on the same field-seasons and says why it decides as it does."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldedge.workloads import known_workload
from fieldloop.core.dataset import Dataset
from fieldloop.core.params import GateParams
from fieldloop.evaluation import gate
from fieldloop.evaluation.gate import Absent, Rival, Verdict, change_interval
from fieldloop.workload import Decider, FloorValues, Metric, Predict, Scores
from fieldloop.workloads.agriculture.metrics import PROFIT, YIELD_ERROR, score

FEATURES = len(known_workload("agriculture").contract.features)
GATES = GateParams(holdout_seasons=(2005,), bootstrap_draws=400, max_error_increase_pct=2.0)
FIELD_SEASONS, DAYS = 30, 20
MEAN_HARVEST_RMSE_T_HA = 2.0  # about what the harvests below differ from their mean


def judge(
    challenger: Predict,
    champion: Predict | None,
    version: str | None,
    examples: Dataset,
    gates: GateParams,
    *,
    anchor: Predict | None = None,
    **others: Any,
) -> Verdict:
    """The gate's verdict on models, by their scores on these examples; beside a champion, by these alone."""
    if champion is not None:
        others = {"floor": lambda: None, **others}
    return gate.judge(
        score(challenger, examples),
        score(champion, examples) if champion else None,
        version,
        gates,
        anchor=Rival("2", score(anchor, examples)) if anchor else None,
        **others,
    )


@pytest.fixture(scope="module")
def examples() -> Dataset:
    draw = np.random.default_rng(5)
    group = np.repeat(np.arange(FIELD_SEASONS, dtype=np.int32), DAYS)
    yields = draw.normal(11.0, 2.0, FIELD_SEASONS)[group]
    targets = np.stack([yields, np.full(len(group), 100.0), np.full(len(group), 60.0)], axis=1)
    names = tuple(f"2005/champion-{i:02d}" for i in range(FIELD_SEASONS))
    return Dataset(np.zeros((len(group), FEATURES), np.float32), targets.astype(np.float32), group, names)


def model(examples: Dataset, spread_t_ha: float, bias_t_ha: float = 0.0, half_width_t_ha: float = 1.0) -> Predict:
    """A model whose error has one size per field-season and a sign that alternates."""
    sign = np.where(examples.group % 2 == 0, 1.0, -1.0)
    middle = examples.targets[:, 0] + spread_t_ha * sign + bias_t_ha
    water, nitrogen = examples.targets[:, 1] + 30.0, examples.targets[:, 2]
    outputs = np.stack([middle - half_width_t_ha, middle, middle + half_width_t_ha, water, nitrogen], axis=1)
    return lambda rows: outputs[: len(rows)].astype(np.float32)


def test_scores_are_in_the_units_of_the_field(examples: Dataset) -> None:
    found = score(model(examples, 0.8, bias_t_ha=0.4), examples)
    assert found.value == pytest.approx(np.sqrt((1.2**2 + 0.4**2) / 2), rel=1e-4)
    assert found.figures["yield_bias_t_ha"] == pytest.approx(0.4, rel=1e-3)
    assert found.figures["interval_coverage_pct"] == pytest.approx(50.0)
    assert found.figures["water_to_come_rmse_mm"] == pytest.approx(30.0)
    assert (found.figures["field_seasons"], found.figures["examples"]) == (FIELD_SEASONS, FIELD_SEASONS * DAYS)


def test_a_field_season_counts_once_however_many_days_it_has() -> None:
    group = np.array([0] + [1] * 99, np.int32)
    targets = np.zeros((100, 3), np.float32)
    outputs = np.zeros((100, 5), np.float32)
    outputs[0, 1] = 2.0
    examples = Dataset(np.zeros((100, FEATURES), np.float32), targets, group, ("2005/a", "2005/b"))
    np.testing.assert_allclose(score(lambda _: outputs, examples).per_group, [4.0, 0.0])
    assert score(lambda _: outputs, examples).value == pytest.approx(np.sqrt(2.0))


errors = st.lists(st.floats(0.01, 100.0), min_size=2, max_size=40).map(np.array)


@settings(max_examples=50)
@given(champion=errors, factor=st.floats(0.1, 10.0))
def test_a_model_that_errs_alike_everywhere_by_a_factor_leaves_nothing_to_chance(
    champion: np.ndarray[tuple[int], np.dtype[np.float64]], factor: float
) -> None:
    expected = 100.0 * (np.sqrt(factor) - 1.0)
    assert change_interval(YIELD_ERROR, factor * champion, champion, 100) == pytest.approx((expected,) * 3, abs=1e-6)


def test_the_interval_holds_the_measured_change_narrows_with_more_fields_and_is_the_same_again() -> None:
    draw = np.random.default_rng(2)

    def interval(fields: int) -> tuple[float, float, float]:
        champion = draw.exponential(1.0, fields)
        return change_interval(YIELD_ERROR, champion * draw.lognormal(0.0, 0.5, fields), champion, 500)

    few, many = interval(10), interval(1000)
    assert few[1] < few[0] < few[2]
    assert many[2] - many[1] < few[2] - few[1]
    a, b = draw.exponential(1.0, 10), draw.exponential(1.0, 10)
    assert change_interval(YIELD_ERROR, a, b, 500) == change_interval(YIELD_ERROR, a, b, 500)


def profits(over_rule: float, over_thresholds: float) -> FloorValues:
    """Fields that earn so much more under the model than otherwise, USD/ha, field by field alike but for some noise."""
    draw, fields = np.random.default_rng(8), 64
    model_usd_ha = draw.normal(2000.0, 400.0, fields)
    noise = draw.normal(0.0, 20.0, (2, fields))
    noise -= noise.mean(axis=1, keepdims=True)
    rule, thresholds = model_usd_ha - over_rule + noise[0], model_usd_ha - over_thresholds + noise[1]
    others = (
        Decider("rule", "the FAO-56 rule", rule, 0.0),
        Decider("thresholds", "tuned thresholds", thresholds, 40.0),
    )
    figures = {"depletion_fractions": (0.95, 0.55, 0.6, 0.8), "mean_harvest_rmse_t_ha": MEAN_HARVEST_RMSE_T_HA}
    return FloorValues(PROFIT, "fields", model_usd_ha, others, "the mean harvest", MEAN_HARVEST_RMSE_T_HA, figures)


@pytest.mark.parametrize("is_deployment", [False, True])
def test_nothing_to_compare_with_is_never_a_reason_to_promote(examples: Dataset, is_deployment: bool) -> None:
    verdict = judge(model(examples, 0.01), None, None, examples, GATES, is_deployment=is_deployment)
    assert (verdict.is_promoted, verdict.waits_for_person, verdict.gate) == (False, False, "kept back")
    assert verdict.reason == "kept back: there is no champion yet, and the absolute floor was not measured"


def test_a_first_model_that_earns_more_than_the_rule_and_about_as_much_as_thresholds_is_promoted_and_says_by_how_much(
    examples: Dataset,
) -> None:
    verdict = judge(model(examples, 1.0), None, None, examples, GATES, floor=lambda: profits(120.0, -10.0))
    assert verdict.is_promoted
    assert verdict.reason.startswith(
        "promoted: there is no champion yet, and it passed the absolute floor: on 64 simulated fields it earned "
        "+120 USD/ha (90 % interval +"
    )
    assert "against the FAO-56 rule and -10 USD/ha (90 % interval -" in verdict.reason
    assert "its held-out yield error is 1.00 t/ha, the mean harvest's" in verdict.reason
    assert verdict.floor is not None and verdict.floor.is_passed
    told = verdict.floor.as_dict()
    assert told["against_rule_usd_ha"]["low"] < 120.0 < told["against_rule_usd_ha"]["high"]
    assert (verdict.champion, verdict.error_change_pct) == (None, None)


@pytest.mark.parametrize(
    ("over_rule", "over_thresholds", "spread_t_ha", "bias_t_ha"),
    [
        (-1.0, 50.0, 1.0, 0.0),  # less than the rule in the box
        (2.0, 50.0, 1.0, 0.0),  # more, and it may be chance
        (120.0, -60.0, 1.0, 0.0),  # much less than tuned thresholds
        (120.0, 50.0, 1.0, 8.0),  # acts well, and is 8 t/ha off
        (120.0, 50.0, 6.0, 0.0),  # acts well, and foresees less than the mean harvest does
        (float("nan"), 50.0, 1.0, 0.0),
        (120.0, float("inf"), 1.0, 0.0),
    ],
)
@pytest.mark.parametrize("is_deployment", [False, True])
def test_what_does_not_pass_the_floor_is_kept_back_whatever_there_is_to_compare_with(
    examples: Dataset,
    over_rule: float,
    over_thresholds: float,
    spread_t_ha: float,
    bias_t_ha: float,
    is_deployment: bool,
) -> None:
    verdict = judge(
        model(examples, spread_t_ha, bias_t_ha),
        None,
        None,
        examples,
        GATES,
        absent=Absent("the champion, version 3, is of contract aaaa, and the challenger of bbbb"),
        floor=lambda: profits(over_rule, over_thresholds),
        is_deployment=is_deployment,
    )
    assert verdict.gate == "kept back"
    assert verdict.reason.startswith("kept back: the champion, version 3, is of contract aaaa")


def test_in_a_deployment_a_model_that_has_only_passed_the_floor_waits_for_a_person(examples: Dataset) -> None:
    floor = lambda: profits(120.0, 30.0)  # noqa: E731
    verdict = judge(model(examples, 1.0), None, None, examples, GATES, floor=floor, is_deployment=True)
    assert (verdict.is_promoted, verdict.gate) == (False, "waiting for a person")
    assert verdict.reason.startswith("waiting for a person: there is no champion yet, and it passed the absolute floor")


@pytest.mark.parametrize("is_deployment", [False, True])
def test_where_a_champion_should_be_and_is_not_nothing_is_promoted(examples: Dataset, is_deployment: bool) -> None:
    lost = Absent("the champion, version 3, has lost its tags for_season", is_damage=True)
    measured: list[int] = []

    def floor() -> FloorValues:
        measured.append(1)
        return profits(500.0, 500.0)

    verdict = judge(
        model(examples, 0.1), None, None, examples, GATES, absent=lost, floor=floor, is_deployment=is_deployment
    )
    assert verdict.gate == "kept back"
    assert verdict.reason == f"kept back: {lost.reason}, so that nothing can be compared"
    assert measured == []


def test_where_the_workload_measures_no_floor_the_gate_is_skipped_and_a_person_decides(examples: Dataset) -> None:
    verdict = judge(model(examples, 1.0), None, None, examples, GATES, floor=lambda: None)
    assert (verdict.gate, verdict.floor) == ("waiting for a person", None)
    assert verdict.reason == (
        "waiting for a person: there is no champion yet, and the absolute floor was skipped: the workload measures none"
    )


@pytest.mark.parametrize(
    ("over_rule", "over_thresholds", "over_champion", "is_promoted"),
    [
        (120.0, -10.0, 5.0, True),
        (120.0, -10.0, -1.0, True),  # less than the champion, and it may be chance
        (120.0, -10.0, -40.0, False),
        (-1.0, 50.0, 20.0, False),  # a better model than the champion, and worse than the rule in the box
        (120.0, -60.0, 20.0, False),
        (120.0, 50.0, float("nan"), False),
    ],
)
def test_beside_a_champion_too_it_must_earn_in_closed_loop(
    examples: Dataset, over_rule: float, over_thresholds: float, over_champion: float, is_promoted: bool
) -> None:
    values = profits(over_rule, over_thresholds)
    noise = np.random.default_rng(9).normal(0.0, 20.0, len(values.model))
    values = replace(values, champion=values.model - over_champion + noise - noise.mean())
    verdict = judge(model(examples, 0.9), model(examples, 1.0), "4", examples, GATES, floor=lambda: values)
    assert verdict.is_promoted is is_promoted
    assert "held-out yield error -10.0 % against version 4" in verdict.reason
    if np.isfinite(over_champion):
        assert f"{over_champion:+.1f}"[:3] in verdict.reason and "against the champion" in verdict.reason
        assert verdict.floor is not None
        told = verdict.floor.as_dict()["against_champion_usd_ha"]
        assert told["low"] < over_champion < told["high"]
    else:
        assert verdict.reason.endswith("profits in closed loop are not numbers")


def test_what_earns_well_and_foresees_worse_than_the_champion_is_kept_back(examples: Dataset) -> None:
    values = replace(profits(120.0, 50.0), champion=profits(120.0, 50.0).model - 50.0)
    verdict = judge(model(examples, 1.05), model(examples, 1.0), "4", examples, GATES, floor=lambda: values)
    assert verdict.gate == "kept back"


def test_beside_a_champion_what_was_not_measured_in_closed_loop_is_kept_back_and_what_cannot_be_is_said(
    examples: Dataset,
) -> None:
    rivals = score(model(examples, 0.9), examples), score(model(examples, 1.0), examples), "4"
    unmeasured = gate.judge(*rivals, GATES)
    assert (unmeasured.gate, unmeasured.reason[-34:]) == ("kept back", "; the closed loop was not measured")
    skipped = gate.judge(*rivals, GATES, floor=lambda: None)
    assert skipped.is_promoted and skipped.floor is None
    assert skipped.reason.endswith("the closed loop was skipped: the workload measures none")


@pytest.mark.parametrize(
    ("spread_t_ha", "is_promoted", "expected"),
    [
        (0.9, True, "promoted: held-out yield error -10.0 % against version 4 (90 % interval -10.0 to -10.0 %)"),
        (1.01, False, "kept back: held-out yield error +1.0 % against version 4 (90 % interval +1.0 to +1.0 %)"),
        (1.05, False, "kept back: held-out yield error +5.0 % against version 4 (90 % interval +5.0 to +5.0 %)"),
    ],
)
def test_the_gate_promotes_the_better_keeps_back_the_surely_worse_and_says_by_how_much(
    examples: Dataset, spread_t_ha: float, is_promoted: bool, expected: str
) -> None:
    verdict = judge(model(examples, spread_t_ha), model(examples, 1.0), "4", examples, GATES)
    assert verdict.is_promoted is is_promoted
    assert verdict.reason.startswith(expected)
    assert "surely under +2 %" in verdict.reason
    assert verdict.champion_version == "4"
    assert verdict.champion is not None
    assert verdict.champion.value == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize(
    ("good_t_ha", "bad_t_ha", "is_promoted"),
    [
        (0.97, 1.04, True),  # a little worse on the whole, which may be chance, and surely under the tolerance
        (0.20, 1.46, False),  # as little worse on the whole, but it could be far beyond the tolerance
    ],
)
def test_where_fields_disagree_the_interval_decides(
    examples: Dataset, good_t_ha: float, bad_t_ha: float, is_promoted: bool
) -> None:
    good, bad = (model(examples, spread)(examples.inputs) for spread in (good_t_ha, bad_t_ha))
    outputs = np.where((examples.group % 4 < 2)[:, None], good, bad)
    verdict = judge(lambda _: outputs, model(examples, 1.0), "4", examples, GATES)
    change, low, high = verdict.error_change_pct, verdict.error_change_low_pct, verdict.error_change_high_pct
    assert change is not None and low is not None and high is not None
    assert low < 0.0 < change < GATES.max_error_increase_pct
    assert (high <= GATES.max_error_increase_pct) is is_promoted
    assert verdict.is_promoted is is_promoted


@pytest.mark.parametrize("column", range(5))
@pytest.mark.parametrize("has_champion", [True, False])
def test_a_challenger_without_numbers_in_any_output_is_kept_back(
    examples: Dataset, column: int, has_champion: bool
) -> None:
    outputs = model(examples, 0.1)(examples.inputs)
    outputs[7, column] = np.nan
    champion = (model(examples, 1.0), "4") if has_champion else (None, None)
    verdict = judge(lambda _: outputs, *champion, examples, GATES)
    assert not verdict.is_promoted
    assert verdict.reason == "kept back: the challenger's answers are not numbers"


@pytest.mark.parametrize(("over_rule", "is_promoted"), [(120.0, True), (-120.0, False)])
def test_against_a_champion_that_answers_no_numbers_the_floor_decides(
    examples: Dataset, over_rule: float, is_promoted: bool
) -> None:
    rubbish = np.full((len(examples), 5), np.nan, np.float32)
    verdict = judge(
        model(examples, 1.0), lambda _: rubbish, "4", examples, GATES, floor=lambda: profits(over_rule, 30.0)
    )
    assert verdict.is_promoted is is_promoted
    assert "the answers of the champion, version 4, are not numbers" in verdict.reason


def test_an_equal_challenger_is_promoted(examples: Dataset) -> None:
    verdict = judge(model(examples, 1.0), model(examples, 1.0), "4", examples, GATES)
    assert (verdict.is_promoted, verdict.error_change_pct) == (True, 0.0)


def test_a_challenger_a_little_worse_than_the_champion_is_kept_back_where_it_is_far_from_the_anchor(
    examples: Dataset,
) -> None:
    anchor = model(examples, 0.97)
    verdict = judge(model(examples, 1.0), model(examples, 1.0), "4", examples, GATES, anchor=anchor)
    assert not verdict.is_promoted
    assert "held-out yield error +0.0 % against version 4" in verdict.reason
    assert "+3.1 % against the anchor, version 2 (+3.1 to +3.1 %)" in verdict.reason
    assert "and surely under +2 % against the anchor too" in verdict.reason
    assert verdict.anchor_version == "2"
    assert judge(
        model(examples, 0.98), model(examples, 1.0), "4", examples, GATES, anchor=model(examples, 0.97)
    ).is_promoted


RETRAININGS, TRUE_LOSS = 52, 1.01
YEAR_GATES = GateParams(holdout_seasons=(2005,), bootstrap_draws=200, max_error_increase_pct=5.0)


def a_year_of_small_losses(has_anchor: bool, seed: int) -> tuple[int, float]:
    """Promotions of 52 retrainings that each truly err 1 % more than the champion, and what the year has lost, %.

    What a held-out season shows of a model is its true error and, field by field, what its fit made of chance.
    """
    fields, draw = 64, np.random.default_rng(seed)
    group = np.arange(fields, dtype=np.int32)
    names = tuple(f"2005/champion-{i:02d}" for i in group)
    examples = Dataset(np.zeros((fields, FEATURES), np.float32), np.full((fields, 3), 10.0, np.float32), group, names)
    hard = draw.lognormal(0.0, 0.2, fields)  # some fields are hard to foresee, for every model

    def fitted(true_error: float) -> Predict:
        middle = 10.0 + true_error * hard * draw.lognormal(0.0, 0.10, fields)
        outputs = np.stack([middle - 1.0, middle, middle + 1.0, middle, middle], axis=1).astype(np.float32)
        return lambda _rows: outputs

    true, promotions = 1.0, 0
    champion = best = fitted(true)
    for number in range(RETRAININGS):
        challenger = fitted(true * TRUE_LOSS)
        anchor = best if has_anchor and best is not champion else None
        verdict = judge(challenger, champion, str(number), examples, YEAR_GATES, anchor=anchor)
        if verdict.is_promoted:
            promotions, true, champion = promotions + 1, true * TRUE_LOSS, challenger
            if score(challenger, examples).value < score(best, examples).value:
                best = challenger
    return promotions, 100.0 * (true - 1.0)


def test_many_small_losses_do_not_add_up_beyond_the_tolerance() -> None:
    without = [a_year_of_small_losses(has_anchor=False, seed=seed) for seed in range(8)]
    assert np.mean([lost for _, lost in without]) > 10.0  # what the anchor is there against
    for promotions, lost in (a_year_of_small_losses(has_anchor=True, seed=seed) for seed in range(8)):
        assert lost <= YEAR_GATES.max_error_increase_pct + 1.0  # the last step may be the one that reaches it
        assert promotions >= 1


def test_where_more_is_better_the_gate_promotes_what_rises_and_keeps_back_what_falls() -> None:
    accuracy = Metric("accuracy", "%", "accuracy_pct", lower_is_better=False)

    def right(share: float) -> Scores:
        return Scores(accuracy, np.full(20, share), {"accuracy_pct": share})

    def nothing() -> None:
        return None

    risen = gate.judge(right(82.0), right(80.0), "4", GATES, floor=nothing)
    fallen = gate.judge(right(79.0), right(80.0), "4", GATES, floor=nothing)
    assert (risen.is_promoted, fallen.is_promoted) == (True, False)
    assert "held-out accuracy +2.5 % against version 4" in risen.reason
    assert "when it is higher, or not shown to be lower and surely over -2 %" in risen.reason
    far = gate.judge(right(80.0), right(80.0), "4", GATES, anchor=Rival("2", right(90.0)), floor=nothing)
    assert not far.is_promoted and "-11.1 % against the anchor" in far.reason


STORED = [
    *("is_promoted", "reason", "challenger", "champion", "champion_version"),
    *("error_change_pct", "error_change_low_pct", "error_change_high_pct", "waits_for_person"),
    *("anchor_version", "anchor_yield_rmse_t_ha"),
    *("anchor_change_pct", "anchor_change_low_pct", "anchor_change_high_pct", "floor"),
]


def test_a_verdict_is_stored_under_the_names_that_its_readers_know(examples: Dataset) -> None:
    anchor = model(examples, 0.97)
    told = judge(model(examples, 1.0), model(examples, 1.0), "4", examples, GATES, anchor=anchor).as_dict()
    assert list(told) == STORED
    assert told["anchor_yield_rmse_t_ha"] == pytest.approx(0.97, rel=1e-4)
    scores = ["yield_rmse_t_ha", "yield_bias_t_ha", "interval_coverage_pct", "water_to_come_rmse_mm"]
    assert list(told["challenger"]) == list(told["champion"]) == [*scores, "field_seasons", "examples"]
    floor = judge(model(examples, 1.0), None, None, examples, GATES, floor=lambda: profits(120.0, 30.0)).as_dict()[
        "floor"
    ]
    assert list(floor) == [
        *("is_passed", "reason", "fields", "model_usd_ha", "rule_usd_ha", "thresholds_usd_ha"),
        *("against_rule_usd_ha", "against_thresholds_usd_ha", "depletion_fractions", "mean_harvest_rmse_t_ha"),
        "slices",
    ]


def test_what_is_earned_in_small_units_is_said_with_the_digits_that_tell_it() -> None:
    gain = Metric("gain", "CHF", "gained_chf", lower_is_better=False)
    rule = Decider("rule", "the device's rule", np.full(8, 1.0), 0.0)
    values = FloorValues(gain, "kiosks", np.array([1.25, 1.45] * 4), (rule,), "the mean of the past", 0.0042, {})
    error = Scores(Metric("error", "CHF", "error_chf", lower_is_better=True), np.zeros(2), {"error_chf": 0.0031})
    found = gate.floor_of(values, error, GATES)
    assert re.search(r"it earned \+0\.35 CHF \(90 % interval \+0\.\d\d to \+0\.\d\d\) against", found.reason)
    assert "error is 0.0031 CHF, the mean of the past's 0.0042 CHF" in found.reason
