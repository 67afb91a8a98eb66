"""On what terms models are compared."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """What two models must have in common to be compared.

    Both are of this contract, learned from seasons before `season`, and from none of `judging_seasons`.
    """

    contract_hash: str
    season: int
    judging_seasons: tuple[int, ...]
