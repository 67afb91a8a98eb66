"""The rule that a region's past teaches: it earns more there than the fixed one, and knows no later season."""

import numpy as np

from fieldloop.workloads.agriculture.world import tuned_threshold as tuning
from fieldloop.workloads.agriculture.world.practices import Threshold
from fieldloop.workloads.agriculture.world.seasons import run_practices

PAST, FIELDS, SEED = (1984, 1985, 1986), 4, 7
POOR = Threshold(depletion_fractions=(0.2, 0.2, 0.2, 0.2))


def test_what_is_tuned_earns_more_on_the_past_than_what_it_started_from() -> None:
    tuned = tuning.tuned_threshold("champion", PAST, FIELDS, SEED, POOR)
    specs = tuning._past_fields("champion", PAST, FIELDS, SEED)
    assert {spec.season for spec in specs} == set(PAST)
    assert len({spec.field_id for spec in specs}) == FIELDS
    before, after = (
        np.mean([outcome.profit_usd_ha for outcome in run_practices([(spec, rule) for spec in specs], workers=1)])
        for rule in (POOR, tuned)
    )
    assert after > before
    assert tuned.name == "tuned_threshold"
    assert tuned.nitrogen == POOR.nitrogen


def test_without_a_past_the_rule_stays_the_fixed_one() -> None:
    tuned = tuning.tuned_threshold("tunis", (), FIELDS, SEED, Threshold())
    assert tuned.depletion_fractions == Threshold().depletion_fractions
