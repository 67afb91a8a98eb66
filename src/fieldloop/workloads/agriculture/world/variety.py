"""Maize that differs from AquaCrop's own: how deep it roots, when it feels drought, how fast it grows, what it yields.

A field's maize is given to the aquacrop package as its own parameters, and to the compiled season as the arrays that
the package makes of them (compiled/extraction.py). Other physics is wofost.py's.
"""

import math
from dataclasses import dataclass

from fieldedge.system.errors import DataError

EMERGENCE_D, SEED_SIZE_CM2 = 6, 6.5
_STAGES_D = {"EmergenceCD": EMERGENCE_D, "MaxRootingCD": 108, "SenescenceCD": 107, "MaturityCD": 132, "HIstartCD": 66}
_EARLIEST_D, _LATEST_D = -30, 30
_POLLINATION_ABOVE_STOMATA = 0.11
_TEN_CM, _THIRTY_CM = (0.1,), (0.3,)
_PROFILE_M = _TEN_CM * 6 + _THIRTY_CM * 6
_DEEP_PROFILE_M = _TEN_CM * 5 + _THIRTY_CM * 7
ROOTS_OF_PROFILE_M, ROOTS_OF_DEEP_PROFILE_M = 2.3, 2.5


@dataclass(frozen=True)
class Variety:
    """A variety of maize; what stands here is AquaCrop's (Hsiao et al. 2009, Agron. J. 101:448)."""

    root_depth_max_m: float = 2.3
    expansion_threshold: float = 0.14  # depletion, as a share of total available water, from which leaves grow less
    stomata_threshold: float = 0.69  # the same from which stomata close; leaves age early from there as well
    canopy_growth_per_d: float = 0.16312
    water_productivity_g_m2: float = 33.7

    @property
    def is_deep(self) -> bool:
        """Whether its roots need the deeper of the two soil profiles."""
        return self.root_depth_max_m > ROOTS_OF_PROFILE_M

    @property
    def profile_m(self) -> tuple[float, ...]:
        """Thickness of the soil's compartments, downwards: as deep for shallow roots as for AquaCrop's own."""
        return _DEEP_PROFILE_M if self.is_deep else _PROFILE_M

    def check(self, where: str, sown_late_d: int) -> None:
        """Raises DataError for what no season can be simulated with."""
        bounds = {
            "root_depth_max_m": (0.3, ROOTS_OF_DEEP_PROFILE_M),
            "expansion_threshold": (0.0, 0.5),
            "stomata_threshold": (0.1, 0.85),
            "canopy_growth_per_d": (0.05, 0.4),
            "water_productivity_g_m2": (20.0, 40.0),  # beyond them AquaCrop takes another account of carbon dioxide
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise DataError(f"{where}: {name} is {getattr(self, name)!r}; expected {low} to {high}")
        if not _EARLIEST_D <= sown_late_d <= _LATEST_D:
            raise DataError(f"{where}: sown_late_d is {sown_late_d!r}; expected {_EARLIEST_D} to {_LATEST_D}")

    def parameters(self, sown_late_d: int = 0) -> dict[str, float]:
        """The aquacrop package's names and values of it, where it was sown so many days after the planting date.

        Late sowing delays every stage, so that the soil lies bare till then. A crop that was sown early is by its
        planting date as far as it would have come: without stress leaves grow exponentially at first.
        """
        if self == MAIZE and sown_late_d == 0:
            return {}
        stages = {name: float(day + sown_late_d) for name, day in _STAGES_D.items()}
        ahead_d = max(0.0, 1.0 - stages["EmergenceCD"])
        stages["EmergenceCD"] += ahead_d
        return {
            "Zmax": self.root_depth_max_m,
            "p_up1": self.expansion_threshold,
            "p_up2": self.stomata_threshold,
            "p_up3": self.stomata_threshold,
            "p_up4": self.stomata_threshold + _POLLINATION_ABOVE_STOMATA,
            "CGC_CD": self.canopy_growth_per_d,
            "WP": self.water_productivity_g_m2,
            "SeedSize": SEED_SIZE_CM2 * math.exp(self.canopy_growth_per_d * ahead_d),
            **stages,
        }


MAIZE = Variety()
