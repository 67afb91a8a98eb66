"""Forecasts are as good as real ones: useful on the first days, less so on the fifth, never clairvoyant."""

from datetime import date

import numpy as np
from numpy.typing import NDArray

from fieldloop.workloads.agriculture.world.climate import region_named, season_weather
from fieldloop.workloads.agriculture.world.forecasts import LEAD_DAYS, daily_forecasts, forecasts


def seasons() -> list[NDArray[np.float64]]:
    frames = [season_weather(region_named("champion"), date(year, 5, 1)) for year in range(1984, 2004)]
    return [f[["MinTemp", "MaxTemp", "Precipitation", "ReferenceET"]].to_numpy(np.float64) for f in frames]


def test_daily_rain_is_foreseen_well_at_first_and_half_as_well_on_the_fifth_day() -> None:
    told, came = [[] for _ in range(LEAD_DAYS)], [[] for _ in range(LEAD_DAYS)]
    for number, weather in enumerate(seasons()):
        rain, _ = daily_forecasts(weather, np.random.default_rng(number))
        for lead in range(LEAD_DAYS):
            told[lead] += rain[:150, lead].tolist()
            came[lead] += weather[lead : 150 + lead, 2].tolist()
    skill = [float(np.corrcoef(t, c)[0, 1]) for t, c in zip(told, came, strict=True)]
    assert 0.7 < skill[0] < 0.9
    assert 0.4 < skill[-1] < 0.65
    assert abs(np.mean(told) / np.mean(came) - 1.0) < 0.05


def test_a_forecast_sums_its_days_and_its_evapotranspiration_is_close() -> None:
    weather = seasons()[0]
    rain, et0 = daily_forecasts(weather, np.random.default_rng(3))
    summed = forecasts(weather, np.random.default_rng(3))
    assert np.allclose(summed, np.stack([rain[:, :2].sum(1), rain.sum(1), et0.mean(1)], axis=1))
    ahead = np.array([weather[day : day + 5, 3].mean() for day in range(150)])
    assert np.corrcoef(summed[:150, 2], ahead)[0, 1] > 0.8
