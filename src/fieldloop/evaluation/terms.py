"""On what terms models are compared."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """What two models must have in common to be compared.

    Both are of this contract, learned from periods before `period`, and from none of `judging_periods`.
    """

    contract_hash: str
    period: int
    judging_periods: tuple[int, ...]
