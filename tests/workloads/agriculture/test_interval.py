"""An interval covers as often as it says on every kind of morning, and not only over all of them."""

import torch

from fieldloop.workloads.agriculture.network.interval import (
    ADVISED,
    CIRCUMSTANCES,
    KINDS,
    OWN_PRACTICE,
    RAMPS,
    fitted,
    kinds_of,
    one_for_all,
    ramps_of,
    stretches_of,
)

COUNT = 6000


def mornings(count: int = COUNT, is_advised: float = 1.0) -> torch.Tensor:
    """Mornings over all circumstances, (count, len(CIRCUMSTANCES))."""
    draw = torch.Generator().manual_seed(2)
    share = torch.rand(count, len(CIRCUMSTANCES), generator=draw)
    found = share * torch.tensor([1.0, 300.0, 140.0, 400.0, 500.0]) - torch.tensor([0.0, 0.0, 0.0, 150.0, 150.0])
    found[:, 0] = is_advised
    return found


def beyond(circumstances: torch.Tensor, needed: torch.Tensor) -> list[float]:
    """The share below and above the stretched interval."""
    is_out = needed > stretches_of(circumstances, fitted(circumstances, needed))
    return [round(float(share), 2) for share in is_out.float().mean(0)]


def normal(count: int = COUNT) -> torch.Tensor:
    sides = torch.randn(count, generator=torch.Generator().manual_seed(5))
    return torch.stack([sides, -sides], dim=1)


def test_a_morning_is_of_one_kind_in_each_respect_or_between_two() -> None:
    kinds = kinds_of(mornings())
    assert kinds.shape == (COUNT, KINDS)
    assert len(RAMPS) + len(CIRCUMSTANCES) == KINDS
    torch.testing.assert_close(kinds.sum(1), torch.full((COUNT,), float(len(CIRCUMSTANCES))))
    assert float(kinds.min()) > -1e-5
    assert (kinds[:, OWN_PRACTICE] == 0.0).all()
    assert (kinds[:, ADVISED] == 1.0).all()


def test_no_interval_jumps_from_one_morning_to_the_next() -> None:
    table = fitted(mornings(), normal() * (1.0 + mornings()[:, 3:4].clamp(min=0.0) / 50.0))
    day = mornings(2)[:1].repeat(1000, 1)
    day[:, CIRCUMSTANCES.index("lacking_mm")] = torch.linspace(-100.0, 200.0, 1000)
    steps = stretches_of(day, table).diff(dim=0).abs()
    assert 0.0 < float(steps.max()) < 0.02


def test_where_all_mornings_are_alike_the_kinds_add_next_to_nothing() -> None:
    table = fitted(mornings(), normal())
    assert float((table[0] - 1.28).abs().max()) < 0.08
    assert float(table[1:].abs().max()) < 0.15


def test_mornings_on_which_water_is_short_get_the_interval_that_they_need() -> None:
    circumstances, needed = mornings(), normal()
    lacking_mm = circumstances[:, CIRCUMSTANCES.index("lacking_mm")]
    is_short = lacking_mm > 150.0
    needed = needed * (1.0 + ((lacking_mm - 50.0) / 100.0).clamp(0.0, 1.0))[:, None]
    stretch = stretches_of(circumstances, fitted(circumstances, needed))
    out = (needed > stretch).float()
    assert float((out[is_short].mean(0) - 0.1).abs().max()) < 0.025
    assert float((out[lacking_mm < -50.0].mean(0) - 0.1).abs().max()) < 0.025
    one = torch.quantile(needed, 0.9, dim=0)
    assert float((needed[is_short] > one).float().mean()) > 0.15  # with one stretch for all they would not


def test_growers_own_practice_is_a_kind_beside_the_advised_mornings_and_moves_none_of_them() -> None:
    own = mornings(is_advised=0.0)
    together = torch.cat([mornings(), own]), torch.cat([normal(), 3.0 * normal()])
    table = fitted(*together)
    torch.testing.assert_close(stretches_of(mornings(), table), stretches_of(mornings(), fitted(mornings(), normal())))
    assert beyond(own, 3.0 * normal()) == [0.1, 0.1]
    assert float(((3.0 * normal() > stretches_of(own, table)).float().mean(0) - 0.1).abs().max()) < 0.01


def test_growers_own_practice_alone_is_enough_to_calibrate_on() -> None:
    assert beyond(mornings(is_advised=0.0), normal()) == [0.1, 0.1]


def test_a_kind_of_few_mornings_is_drawn_towards_all() -> None:
    circumstances = mornings()
    circumstances[:, CIRCUMSTANCES.index("nitrogen_applied_kg_ha")] = 0.0
    needed = normal()
    few = 12
    circumstances[:few, CIRCUMSTANCES.index("nitrogen_applied_kg_ha")] = 300.0
    needed[:few] = 3.0
    added = fitted(circumstances, needed)[1 + ADVISED + 2]  # where nitrogen is plenty
    assert (added > 0.1).all()
    assert (added < 0.5).all()  # by themselves they would ask for 1.7


def test_one_stretch_for_all_is_that_of_every_morning() -> None:
    stretch = torch.tensor([0.6, 1.7])
    assert torch.equal(stretches_of(mornings(), one_for_all(stretch)), stretch.repeat(COUNT, 1))


def test_a_ramp_runs_from_nothing_to_all() -> None:
    ramps = ramps_of(mornings())
    assert ((ramps >= 0.0) & (ramps <= 1.0)).all()
    at = RAMPS.index(next(ramp for ramp in RAMPS if ramp.of == "dap"))
    day = mornings()[:, CIRCUMSTANCES.index("dap")]
    torch.testing.assert_close(ramps[:, at], ((day - RAMPS[at].first) / (RAMPS[at].last - RAMPS[at].first)).clamp(0, 1))
