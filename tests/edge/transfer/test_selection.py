"""What holds for every selection, whatever the season was like."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldedge.transfer.selection import DayCandidate, episode_seed, rank, select

POSITIONS = st.none() | st.lists(st.floats(-5, 5), min_size=3, max_size=3).map(np.array)
CANDIDATES = st.lists(
    st.builds(DayCandidate, st.dates().map(str), st.none() | st.floats(0, 10), POSITIONS),
    max_size=40,
    unique_by=lambda day: day.date,
)
FRACTIONS = st.floats(0, 1)
SEEDS = st.integers(0, 2**64 - 1)


def size_of(dates: Sequence[str]) -> int:
    """A header, and so much for each day as its date says: not all days are the same size."""
    return 300 + sum(60 + int(date[-2:]) for date in dates)


def day(number: int, uncertainty: float | None = 1.0, position: Sequence[float] | None = (0.0, 0.0)) -> DayCandidate:
    at = None if position is None else np.array(position, float)
    return DayCandidate(f"2006-06-{number:02d}", uncertainty, at)


@settings(max_examples=60, deadline=None)
@given(CANDIDATES, FRACTIONS, SEEDS)
def test_a_ranking_holds_every_day_once_and_its_share_of_audits(
    days: list[DayCandidate], fraction: float, seed: int
) -> None:
    ranked = list(rank(days, fraction, seed))
    assert sorted(chosen.date for chosen in ranked) == sorted(candidate.date for candidate in days)
    for length in range(len(ranked) + 1):
        audits = sum(chosen.why == "audit" for chosen in ranked[:length])
        assert abs(audits - length * fraction) <= 1.0 + 1e-6


@settings(max_examples=60, deadline=None)
@given(CANDIDATES, FRACTIONS, SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(days: list[DayCandidate], fraction: float, seed: int, random) -> None:
    shuffled = list(days)
    random.shuffle(shuffled)
    assert list(rank(shuffled, fraction, seed)) == list(rank(days, fraction, seed))


@settings(max_examples=60, deadline=None)
@given(CANDIDATES, st.integers(0, 5000), FRACTIONS, SEEDS)
def test_a_selection_is_the_longest_prefix_of_the_ranking_within_the_budget(
    days: list[DayCandidate], budget_bytes: int, fraction: float, seed: int
) -> None:
    ranked = list(rank(days, fraction, seed))
    chosen = select(days, budget_bytes, fraction, seed, size_of)
    assert chosen == ranked[: len(chosen)]
    assert not chosen or size_of([c.date for c in chosen]) <= budget_bytes
    if len(chosen) < len(ranked):
        assert size_of([c.date for c in ranked[: len(chosen) + 1]]) > budget_bytes


@settings(max_examples=30, deadline=None)
@given(CANDIDATES, st.integers(0, 5000), st.integers(0, 5000), SEEDS)
def test_a_larger_budget_never_drops_a_day(days: list[DayCandidate], one: int, other: int, seed: int) -> None:
    small, large = sorted((one, other))
    fewer, more = (select(days, budget, 0.1, seed, size_of) for budget in (small, large))
    assert more[: len(fewer)] == fewer


def test_the_least_certain_day_goes_first() -> None:
    ranked = list(rank([day(1, 1.0), day(2, 4.0), day(3, 2.0)], 0.0, 0))
    assert [chosen.date[-2:] for chosen in ranked] == ["02", "03", "01"]


def test_a_day_on_which_the_model_abstained_counts_as_the_least_certain() -> None:
    assert next(rank([day(1, 1.0), day(2, 4.0), day(3, None, (0.1, 0.0))], 0.0, 0)).date == "2006-06-03"


def test_a_day_like_one_already_chosen_waits_behind_a_new_one() -> None:
    twins = [day(1, 1.0, (3.0, 0.01)), day(2, 1.0, (3.0, 0.0)), day(3, 1.0, (0.0, 2.0))]
    assert [chosen.date[-2:] for chosen in rank(twins, 0.0, 0)] == ["01", "03", "02"]


def test_a_day_like_the_training_data_is_not_novel() -> None:
    assert next(rank([day(1, 1.0, (0.0, 0.0)), day(2, 1.0, (1.0, 1.0))], 0.0, 0)).date == "2006-06-02"


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_the_audit_fraction_reaches_from_none_to_all(fraction: float) -> None:
    ranked = list(rank([day(n) for n in range(1, 11)], fraction, 5))
    assert {chosen.why for chosen in ranked} == ({"audit"} if fraction else {"uncertain_or_novel"})


def test_the_audit_draws_differently_on_each_device_and_season_but_the_same_again() -> None:
    days = [day(n) for n in range(1, 29)]
    orders = {
        (device, season): tuple(chosen.date for chosen in rank(days, 1.0, episode_seed(device, str(season))))
        for device in ("dev-00", "dev-01")
        for season in (2006, 2007)
    }
    assert len(set(orders.values())) == 4
    assert orders["dev-00", 2006] == tuple(c.date for c in rank(days, 1.0, episode_seed("dev-00", "2006")))
