"""The gate measures challenger and champion on the same field-seasons and says why it decides as it does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldedge.workloads import WORKLOADS
from fieldloop.evaluation import Predict, error_change_interval, judge, score, squared_errors_by_group
from fieldloop.settings import GateParams
from fieldloop.workloads.agriculture.examples import Examples

FEATURES = len(WORKLOADS["agriculture"].contract.features)
GATES = GateParams(holdout_seasons=(2005,), bootstrap_draws=400, max_error_increase_pct=2.0)
FIELD_SEASONS, DAYS = 30, 20


@pytest.fixture(scope="module")
def examples() -> Examples:
    draw = np.random.default_rng(5)
    group = np.repeat(np.arange(FIELD_SEASONS, dtype=np.int32), DAYS)
    yields = draw.normal(11.0, 2.0, FIELD_SEASONS)[group]
    targets = np.stack([yields, np.full(len(group), 100.0), np.full(len(group), 60.0)], axis=1)
    names = tuple(f"2005/champion-{i:02d}" for i in range(FIELD_SEASONS))
    return Examples(np.zeros((len(group), FEATURES), np.float32), targets.astype(np.float32), group, names)


def model(examples: Examples, spread_t_ha: float, bias_t_ha: float = 0.0, half_width_t_ha: float = 1.0) -> Predict:
    """A model whose error has one size per field-season and a sign that alternates."""
    sign = np.where(examples.group % 2 == 0, 1.0, -1.0)
    middle = examples.targets[:, 0] + spread_t_ha * sign + bias_t_ha
    water, nitrogen = examples.targets[:, 1] + 30.0, examples.targets[:, 2]
    outputs = np.stack([middle - half_width_t_ha, middle, middle + half_width_t_ha, water, nitrogen], axis=1)
    return lambda rows: outputs[: len(rows)].astype(np.float32)


def test_scores_are_in_the_units_of_the_field(examples: Examples) -> None:
    found = score(model(examples, 0.8, bias_t_ha=0.4), examples)
    assert found.yield_rmse_t_ha == pytest.approx(np.sqrt((1.2**2 + 0.4**2) / 2), rel=1e-4)
    assert found.yield_bias_t_ha == pytest.approx(0.4, rel=1e-3)
    assert found.interval_coverage_pct == pytest.approx(50.0)
    assert found.water_to_come_rmse_mm == pytest.approx(30.0)
    assert (found.field_seasons, found.examples) == (FIELD_SEASONS, FIELD_SEASONS * DAYS)


def test_a_field_season_counts_once_however_many_days_it_has() -> None:
    group = np.array([0] + [1] * 99, np.int32)
    targets = np.zeros((100, 3), np.float32)
    outputs = np.zeros((100, 5), np.float32)
    outputs[0, 1] = 2.0
    examples = Examples(np.zeros((100, FEATURES), np.float32), targets, group, ("2005/a", "2005/b"))
    np.testing.assert_allclose(squared_errors_by_group(lambda _: outputs, examples), [4.0, 0.0])
    assert score(lambda _: outputs, examples).yield_rmse_t_ha == pytest.approx(np.sqrt(2.0))


errors = st.lists(st.floats(0.01, 100.0), min_size=2, max_size=40).map(np.array)


@settings(max_examples=50)
@given(champion=errors, factor=st.floats(0.1, 10.0))
def test_a_model_that_errs_alike_everywhere_by_a_factor_leaves_nothing_to_chance(
    champion: np.ndarray[tuple[int], np.dtype[np.float64]], factor: float
) -> None:
    expected = 100.0 * (np.sqrt(factor) - 1.0)
    assert error_change_interval(factor * champion, champion, 100) == pytest.approx((expected,) * 3, abs=1e-6)


def test_the_interval_holds_the_measured_change_narrows_with_more_fields_and_is_the_same_again() -> None:
    draw = np.random.default_rng(2)

    def interval(fields: int) -> tuple[float, float, float]:
        champion = draw.exponential(1.0, fields)
        return error_change_interval(champion * draw.lognormal(0.0, 0.5, fields), champion, 500)

    few, many = interval(10), interval(1000)
    assert few[1] < few[0] < few[2]
    assert many[2] - many[1] < few[2] - few[1]
    a, b = draw.exponential(1.0, 10), draw.exponential(1.0, 10)
    assert error_change_interval(a, b, 500) == error_change_interval(a, b, 500)


def test_the_first_model_is_promoted_because_there_is_none_to_compare_with(examples: Examples) -> None:
    verdict = judge(model(examples, 3.0), None, None, examples, GATES)
    assert verdict.is_promoted
    assert verdict.reason == "promoted: there is no champion on this contract to compare with"
    assert (verdict.champion, verdict.error_change_pct) == (None, None)


@pytest.mark.parametrize(
    ("spread_t_ha", "is_promoted", "expected"),
    [
        (0.9, True, "promoted: held-out yield error -10.0 % against version 4 (90 % interval -10.0 to -10.0 %)"),
        (1.01, False, "kept back: held-out yield error +1.0 % against version 4 (90 % interval +1.0 to +1.0 %)"),
        (1.05, False, "kept back: held-out yield error +5.0 % against version 4 (90 % interval +5.0 to +5.0 %)"),
    ],
)
def test_the_gate_promotes_the_better_keeps_back_the_surely_worse_and_says_by_how_much(
    examples: Examples, spread_t_ha: float, is_promoted: bool, expected: str
) -> None:
    verdict = judge(model(examples, spread_t_ha), model(examples, 1.0), "4", examples, GATES)
    assert verdict.is_promoted is is_promoted
    assert verdict.reason.startswith(expected)
    assert "surely under +2 %" in verdict.reason
    assert verdict.champion_version == "4"
    assert verdict.champion is not None
    assert verdict.champion.yield_rmse_t_ha == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize(
    ("good_t_ha", "bad_t_ha", "is_promoted"),
    [
        (0.97, 1.04, True),  # a little worse on the whole, which may be chance, and surely under the tolerance
        (0.20, 1.46, False),  # as little worse on the whole, but it could be far beyond the tolerance
    ],
)
def test_where_fields_disagree_the_interval_decides(
    examples: Examples, good_t_ha: float, bad_t_ha: float, is_promoted: bool
) -> None:
    good, bad = (model(examples, spread)(examples.features) for spread in (good_t_ha, bad_t_ha))
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
    examples: Examples, column: int, has_champion: bool
) -> None:
    outputs = model(examples, 0.1)(examples.features)
    outputs[7, column] = np.nan
    champion = (model(examples, 1.0), "4") if has_champion else (None, None)
    verdict = judge(lambda _: outputs, *champion, examples, GATES)
    assert not verdict.is_promoted
    assert verdict.reason == "kept back: the challenger's answers are not numbers"


def test_a_champion_that_answers_no_numbers_holds_nobody_back(examples: Examples) -> None:
    rubbish = np.full((len(examples), 5), np.nan, np.float32)
    verdict = judge(model(examples, 1.0), lambda _: rubbish, "4", examples, GATES)
    assert verdict.is_promoted
    assert verdict.reason == "promoted: the answers of the champion, version 4, are not numbers"


def test_an_equal_challenger_is_promoted(examples: Examples) -> None:
    verdict = judge(model(examples, 1.0), model(examples, 1.0), "4", examples, GATES)
    assert (verdict.is_promoted, verdict.error_change_pct) == (True, 0.0)
