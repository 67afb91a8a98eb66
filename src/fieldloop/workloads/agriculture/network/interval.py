"""How far the yield's interval is stretched on a morning, by what kind of morning it is.

One stretch for all mornings is right on average and wrong nearly everywhere: too wide where water and nitrogen are
plenty, too narrow where the allowance is short in a drought. So mornings have kinds, by practice, nitrogen, stage, what
the allowance lacks and what the season lacks, and every kind adds to the stretch of all. A morning is of one kind in
each respect, or between two of them, so that no interval jumps from one day to the next.

The stretches are conformalised quantiles (Romano, Patterson & Candes 2019, doi:10.48550/arXiv.1905.03222, in their
multiplicative form) that hold in every kind and not only over all (Vovk et al. 2003, "Mondrian confidence machine";
kinds that overlap, by quantile regression on what belongs to them: Jung et al. 2022, doi:10.48550/arXiv.2209.15145;
Gibbs, Cherian & Candes 2023, doi:10.48550/arXiv.2305.12616). A kind with few mornings is drawn towards all.
"""

from typing import NamedTuple

import torch
from torch import Tensor

BEYOND = 0.1  # of the yields, on either side
STRETCH_LIMITS = (0.05, 4.0)  # quantiles never cross, however far the median lies to one side
_DRAWN_BY_MORNINGS = 50.0  # a kind of so many is half its own and half that of all
_ROUNDS = 5


class Ramp(NamedTuple):
    """From one kind of morning to the next: 0 up to `first`, 1 from `last` on."""

    of: str
    first: float
    last: float


# By what a morning's kind goes: features, and what water that is left or stored lacks of the crop's need (model.py).
CIRCUMSTANCES = ("is_advised", "nitrogen_applied_kg_ha", "dap", "lacking_mm", "shortage_mm")
RAMPS = (
    Ramp("is_advised", 0.0, 1.0),
    Ramp("nitrogen_applied_kg_ha", 220.0, 245.0),  # as much as is given where it shall limit nothing
    Ramp("dap", 20.0, 60.0),
    Ramp("dap", 60.0, 100.0),
    Ramp("lacking_mm", -50.0, 50.0),
    Ramp("lacking_mm", 50.0, 150.0),
    Ramp("shortage_mm", 50.0, 150.0),
    Ramp("shortage_mm", 150.0, 250.0),
)
OWN_PRACTICE, ADVISED = 0, 1  # among the kinds
KINDS = len(RAMPS) + len(CIRCUMSTANCES)
ROWS = 1 + KINDS  # of a table of stretches: that of all mornings, then what each kind adds


def ramps_of(circumstances: Tensor) -> Tensor:
    """How far mornings are on each ramp: (B, len(CIRCUMSTANCES)) to (B, len(RAMPS))."""
    at = torch.tensor([CIRCUMSTANCES.index(ramp.of) for ramp in RAMPS])
    first, last = (circumstances.new_tensor([getattr(ramp, end) for ramp in RAMPS]) for end in ("first", "last"))
    return ((circumstances[:, at] - first) * (1.0 / (last - first))).clamp(0.0, 1.0)


def kind_weights() -> tuple[Tensor, Tensor]:
    """Weights (len(RAMPS), KINDS) and constants (KINDS,) that make kinds of ramps.

    A circumstance with r ramps has r + 1 kinds, which add up to 1: what lies before the first, between two, and beyond.
    """
    weights, constants, kind = torch.zeros(len(RAMPS), KINDS), torch.zeros(KINDS), 0
    for circumstance in CIRCUMSTANCES:
        constants[kind] = 1.0
        for i in [i for i, ramp in enumerate(RAMPS) if ramp.of == circumstance]:
            weights[i, kind], weights[i, kind + 1] = -1.0, 1.0
            kind += 1
        kind += 1
    return weights, constants


def kinds_of(circumstances: Tensor) -> Tensor:
    """How much mornings are of each kind, (B, KINDS)."""
    weights, constants = kind_weights()
    return ramps_of(circumstances) @ weights.to(circumstances) + constants.to(circumstances)


def stretches_of(circumstances: Tensor, table: Tensor) -> Tensor:
    """The stretch below and above the median (B, 2), by a table (ROWS, 2)."""
    return (kinds_of(circumstances) @ table[1:] + table[0]).clamp(*STRETCH_LIMITS)


def one_for_all(stretch: Tensor) -> Tensor:
    """A table (ROWS, 2) of one stretch below and above, (2,), whatever the kind."""
    table = torch.zeros(ROWS, 2)
    table[0] = stretch
    return table


def fitted(circumstances: Tensor, needed: Tensor) -> Tensor:
    """The table (ROWS, 2) with which a tenth lies beyond each end, in every kind.

    `needed` (B, 2) is the stretch below and above that would just have reached what came. What the kinds add is found
    on mornings that follow the advice, where there are any; growers' own practice is one more kind beside them.
    """
    kinds = kinds_of(circumstances).double()
    is_own = kinds[:, OWN_PRACTICE] > 0.5
    follows = torch.ones_like(is_own) if is_own.all() else ~is_own
    table = torch.zeros(ROWS, 2, dtype=torch.float64)
    for side in range(2):
        column = table[:, side]
        column[0] = _quantile(needed[follows, side].double(), torch.ones(int(follows.sum())).double())
        _add_kinds(column, kinds[follows], needed[follows, side].double(), range(ADVISED + 1, KINDS))
        if is_own.any() and not is_own.all():
            _add_kinds(column, kinds[is_own], needed[is_own, side].double(), [OWN_PRACTICE])
    return table.float()


def _add_kinds(column: Tensor, kinds: Tensor, needed: Tensor, chosen: "range | list[int]") -> None:
    """Set what the chosen kinds add, in turns, each given all others."""
    for _ in range(_ROUNDS):
        for kind in chosen:
            is_in = kinds[:, kind] > 0.0
            share = kinds[is_in, kind]
            if not len(share):
                continue
            others = column[0] + kinds[is_in] @ column[1:] - share * column[1 + kind]
            mornings = share.sum() ** 2 / share.square().sum()
            own = _quantile((needed[is_in] - others) / share, share)
            column[1 + kind] = own * mornings / (mornings + _DRAWN_BY_MORNINGS)


def _quantile(values: Tensor, weights: Tensor) -> Tensor:
    """The least of the values (N,) that all but `BEYOND` of the weight, and of one more of them, do not exceed."""
    order = values.argsort()
    reached = weights[order].cumsum(0)
    wanted = (1.0 - BEYOND) * (reached[-1] + weights.mean())
    return values[order[min(int(torch.searchsorted(reached, wanted)), len(values) - 1)]]
