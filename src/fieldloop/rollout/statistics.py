"""What counts of failed devices prove, however often one looks.

The device is the unit: its decisions resemble one another, its neighbours' need not. Three figures:

- `wilson_bounds`: where the share of failing devices lies (Wilson 1927, J. Am. Stat. Assoc. 22:209). For people; it
  is valid for one look, and no decision to halt rests on it.
- `log_evidence_of_harm`: a likelihood ratio against "no more than `acceptable` fail", averaged over worse shares: half
  the weight on those up to ten times as bad, half on all (Robbins 1970, Ann. Math. Stat. 41:1397). By Ville's
  inequality it exceeds 1/risk, in all the looks of a rollout together, with a chance of at most `risk` where no more
  than `acceptable` fail.
- `log_evidence_of_soundness`: the lower boundary of Wald's sequential test (Wald 1945, Ann. Math. Stat. 16:117) of
  `acceptable` against `unacceptable`; it exceeds 1/risk with a chance of at most `risk` where `unacceptable` fail.

A device that has not yet said how it went counts as not failed for harm: whatever it says later can only raise that
ratio, so that stopping early on it is no more often wrong. For soundness it does not count at all.
"""

import math
from statistics import NormalDist

from scipy.special import betaincc, betaln

_SMALLEST = 1e-290  # that a float holds with all its digits
_NEAR = 10.0


def wilson_bounds(failed: int, devices: int, confidence: float) -> tuple[float, float]:
    """The two-sided interval of a share, as shares; all of [0, 1] where nothing was counted."""
    if devices <= 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    share, weight = failed / devices, z * z / devices
    centre = (share + weight / 2.0) / (1.0 + weight)
    half = z / (1.0 + weight) * math.sqrt(share * (1.0 - share) / devices + weight / (4.0 * devices))
    low = 0.0 if failed == 0 else max(0.0, centre - half)
    return low, 1.0 if failed == devices else min(1.0, centre + half)


def log_evidence_of_harm(failed: int, devices: int, acceptable: float) -> float:
    """ln of how much likelier the counts are where more than `acceptable` fail than where exactly that share does.

    The mean of p^failed (1-p)^(devices-failed) over p, half the weight even on (acceptable, 10 acceptable) and half on
    (acceptable, 1), against the same at `acceptable`.
    """
    if devices == 0:
        return 0.0
    held, worst = devices - failed, min(1.0, _NEAR * acceptable)
    near, all_of_it = 0.5 / (worst - acceptable), 0.5 / (1.0 - acceptable)
    upper = float(betaincc(failed + 1, held + 1, acceptable))
    if upper < _SMALLEST:  # far fewer fail; what is left of the mean lies at its edge, and falls with this slope
        return math.log(near + all_of_it) - math.log(held / (1.0 - acceptable) - failed / acceptable)
    upper_of_near = upper - float(betaincc(failed + 1, held + 1, worst))
    log_mean = float(betaln(failed + 1, held + 1)) + math.log(near * upper_of_near + all_of_it * upper)
    return log_mean - failed * math.log(acceptable) - held * math.log1p(-acceptable)


def log_evidence_of_soundness(failed: int, devices: int, acceptable: float, unacceptable: float) -> float:
    """ln of how much likelier the counts are where `acceptable` fail than where `unacceptable` do."""
    held = devices - failed
    return failed * math.log(acceptable / unacceptable) + held * (math.log1p(-acceptable) - math.log1p(-unacceptable))
