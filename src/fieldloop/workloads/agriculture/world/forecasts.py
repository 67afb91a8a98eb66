"""Weather forecasts as good as real ones: rain and reference evapotranspiration of the next five days.

Each lead day either foresees its day, with an error in the amount, or foresees nothing better than a day of the same
season. The share of days foreseen falls with the lead, so that the correlation of daily rain falls from about 0.8 on
the first day to 0.5 on the fifth: our assumption, in the range that verifications of medium-range forecasts report.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEAD_DAYS = 5
FORESEEN_SHARE = (0.88, 0.84, 0.79, 0.73, 0.66)
RAIN_ERROR = (0.30, 0.36, 0.42, 0.48, 0.54)  # standard deviation of the logarithm of the amount
ET0_ERROR_MM = (0.5, 0.6, 0.7, 0.8, 0.9)
_SAME_SEASON_DAYS = 20
_RAIN, _ET0 = 2, 3


def forecasts(weather: Floats, rng: np.random.Generator) -> Floats:
    """For every morning of a season (days, 3): rain of two days, rain of five days, mean ET0 of five days, mm."""
    rain, et0 = daily_forecasts(weather, rng)
    return np.stack([rain[:, :2].sum(1), rain.sum(1), et0.mean(1)], axis=1)


def daily_forecasts(weather: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Rain and ET0 of the coming days as foretold on every morning, each (days, LEAD_DAYS), mm.

    `weather` (days, 4) is what will really come: tmin_c, tmax_c, rain_mm, et0_mm.
    """
    days = len(weather)
    rain, et0 = np.empty((days, LEAD_DAYS)), np.empty((days, LEAD_DAYS))
    for lead in range(LEAD_DAYS):
        target = np.minimum(np.arange(days) + lead, days - 1)
        other = np.clip(target + rng.integers(-_SAME_SEASON_DAYS, _SAME_SEASON_DAYS + 1, days), 0, days - 1)
        seen = np.where(rng.random(days) < FORESEEN_SHARE[lead], target, other)
        error = RAIN_ERROR[lead]
        rain[:, lead] = weather[seen, _RAIN] * np.exp(rng.normal(-(error**2) / 2, error, days))
        et0[:, lead] = np.maximum(0.3, weather[target, _ET0] + rng.normal(0.0, ET0_ERROR_MM[lead], days))
    return rain, et0
