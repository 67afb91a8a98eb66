"""Slices in which a model is worse than the rule go to the rule; those that only look so by chance stay the model's."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fieldedge.inference.slices import Condition, parse_slices
from fieldedge.inference.slices import Slice as DeviceSlice
from fieldloop.core.params import GateParams
from fieldloop.evaluation.gate import floor_of, judge
from fieldloop.evaluation.slices import SliceFound, decided_by_rule, slices_of
from fieldloop.workload import RULE, Decider, Floats, FloorValues, Metric, Scores, Slice, SliceTerms

GAIN = Metric("gain", "CHF", "gained_chf", lower_is_better=False)
ERROR = Metric("error", "CHF", "error_chf", lower_is_better=True)
GATES = GateParams(holdout_seasons=(2005,), bootstrap_draws=200, max_error_increase_pct=2.0)
TERMS = SliceTerms(least_units=12, max_loss=5.0, max_risk=25.0)
UNITS, SPREAD = 288, 120.0
HALLS, SIZES = ("north", "east", "south", "west"), ("small", "middle", "large")


def in_(column: str, value: str) -> Condition:
    return Condition("context", column, one_of=(value,))


def slices() -> tuple[Slice, ...]:
    """Kiosks by hall, by size, and by both; and those with a broken till, which no device can know."""
    draw = np.random.default_rng(1)
    hall, size = draw.choice(HALLS, UNITS), draw.choice(SIZES, UNITS)
    halls = [Slice(f"hall={one}", f"in {one}", hall == one, (in_("hall", one),)) for one in HALLS]
    sizes = [Slice(f"size={one}", f"of {one} size", size == one, (in_("size", one),)) for one in SIZES]
    both = [
        Slice(f"{a.name} and {b.name}", f"{a.words} and {b.words}", a.members & b.members, (*a.where, *b.where))
        for a in halls
        for b in sizes
    ]
    return (*halls, *sizes, *both, Slice("fault=till", "of which the till is broken", draw.random(UNITS) < 0.2))


def values(apart: Floats, terms: SliceTerms | None = TERMS, rule: str = RULE) -> FloorValues:
    """What the model earns more than the rule, unit by unit."""
    decider = Decider(rule, "the rule", np.full(len(apart), 500.0), 0.0)
    return FloorValues(GAIN, "kiosks", 500.0 + apart, (decider,), "the mean", 1.0, {}, None, slices(), terms)


def earned(gain: float, seed: int, **losses: float) -> Floats:
    """A gain alike everywhere, but for these slices, whose units lose on average."""
    apart = np.random.default_rng(seed).normal(gain, SPREAD, UNITS)
    for one in slices():
        if (loss := losses.get(one.name.replace("=", "_").replace(" and ", "_"))) is not None:
            apart[one.members] -= gain + loss
    return apart


def worse(found: tuple[SliceFound, ...]) -> list[str]:
    return [one.name for one in found if one.is_worse]


def test_a_model_that_earns_more_alike_everywhere_is_followed_in_every_slice_though_some_means_are_below_zero() -> None:
    found = [slices_of(values(earned(30.0, seed))) for seed in range(100)]
    assert sum(any(one.measured < 0.0 for one in each) for each in found) > 60  # what many looks find by chance
    assert sum(bool(worse(each)) for each in found) <= 4


def test_a_slice_that_loses_much_goes_to_the_rule_alone_and_what_holds_it_stays_the_models() -> None:
    found = [slices_of(values(earned(40.0, seed, hall_east_size_large=150.0))) for seed in range(20)]
    assert sum(worse(each) == ["hall=east and size=large"] for each in found) >= 16
    hall = next(one for one in found[0] if one.name == "hall=east")
    assert not hall.is_worse and hall.units < next(one for one in slices() if one.name == "hall=east").members.sum()


def test_where_a_wide_slice_loses_throughout_it_goes_to_the_rule_as_one() -> None:
    found = [slices_of(values(earned(40.0, seed, hall_east=90.0))) for seed in range(20)]
    assert sum(worse(each)[:1] == ["hall=east"] for each in found) >= 18
    assert sum(len(worse(each)) == 1 for each in found) >= 16


def test_the_expected_difference_lies_between_the_measured_one_and_that_of_all_units() -> None:
    apart = earned(40.0, 3)
    for one in slices_of(values(apart)):
        low, high = sorted((one.measured, float(apart.mean())))
        assert low <= one.expected <= high and one.low < one.expected


def test_a_slice_that_no_device_can_know_is_named_and_makes_no_condition() -> None:
    found = slices_of(values(earned(80.0, 5, fault_till=80.0)))
    assert "fault=till" in worse(found)
    assert "fault=till" not in [one.name for one in decided_by_rule(found)]


def test_a_slice_of_few_units_is_not_judged_and_without_rule_or_terms_none_is() -> None:
    few = {one.name for one in slices() if one.members.sum() < 30}
    assert few and few.isdisjoint(
        one.name for one in slices_of(values(earned(40.0, 1), replace(TERMS, least_units=30)))
    )
    assert slices_of(values(earned(40.0, 1), None)) == ()
    assert slices_of(values(earned(40.0, 1), rule="thresholds")) == ()


@pytest.mark.parametrize("earns", [0.0, -40.0])
def test_who_does_what_the_rule_does_is_followed_and_who_loses_alike_everywhere_is_nowhere(earns: float) -> None:
    found = slices_of(values(np.full(UNITS, earns)))
    left = np.ones(UNITS, bool)
    for one in decided_by_rule(found):
        left &= ~next(each.members for each in slices() if each.name == one.name)
    assert left.sum() == (UNITS if earns == 0.0 else 0)


def test_the_verdict_names_them_with_figures_and_a_device_reads_what_it_is_told() -> None:
    held_out = Scores(ERROR, np.zeros(2), {"error_chf": 0.5})
    apart = earned(100.0, 2, hall_east=60.0)
    verdict = judge(held_out, None, None, GATES, floor=lambda: values(apart))
    assert verdict.is_promoted
    (lost,) = verdict.worse_slices
    assert "in these slices it has not shown that it earns more than the rule: in east (-" in verdict.reason
    told = json.loads(json.dumps([one.as_record() for one in verdict.decided_by_rule]))
    assert told == [{"name": "hall=east", "words": "in east", "where": [{"context": "hall", "in": ["east"]}]}]
    assert parse_slices(told, "here") == verdict.decided_by_rule
    assert verdict.floor is not None
    first = verdict.floor.as_dict()["slices"][0]
    assert (first["name"], first["kiosks"], first["is_worse"]) == ("hall=east", lost.units, True)
    assert first["low_chf"] < first["expected_chf"] < 0.0
    fault = judge(held_out, None, None, GATES, floor=lambda: values(earned(80.0, 2, fault_till=80.0)))
    assert "kiosks, which no device can know)" in fault.reason
    plain = floor_of(values(np.full(UNITS, 50.0)), held_out, GATES)
    assert plain.reason.endswith("is it worse than the rule")


def test_a_model_that_loses_on_the_whole_is_kept_back_whatever_the_slices_say() -> None:
    held_out = Scores(ERROR, np.zeros(2), {"error_chf": 0.5})
    apart = earned(40.0, 4, hall_east=400.0)
    assert apart.mean() < 0.0 and apart[~slices()[1].members].mean() > 20.0
    assert judge(held_out, None, None, GATES, floor=lambda: values(apart)).gate == "kept back"


def test_what_no_model_has_practised_is_left_to_the_rule_before_what_was_judged() -> None:
    untried = DeviceSlice("size=huge", "of huge size", (in_("size", "huge"),))
    judged = replace(values(earned(40.0, 0, hall_east_size_large=150.0)), untried=(untried,))
    verdict = judge(Scores(ERROR, np.zeros(2), {"error_chf": 0.5}), None, None, GATES, floor=lambda: judged)
    assert [one.name for one in verdict.decided_by_rule] == ["size=huge", "hall=east and size=large"]
    assert [one.name for one in verdict.worse_slices] == ["hall=east and size=large"]
    assert verdict.floor is not None and verdict.floor.as_dict()["untried"] == ["size=huge"]
