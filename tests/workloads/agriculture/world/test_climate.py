import datetime

import pytest

from fieldedge.system.errors import DataError
from fieldloop.workloads.agriculture.world.climate import (
    REGIONS,
    Region,
    daily_weather,
    region_named,
    season_weather,
    seasons_on_record,
)


def test_records_cover_the_known_years() -> None:
    assert seasons_on_record(REGIONS["champion"]) == range(1982, 2019)
    assert seasons_on_record(REGIONS["cordoba"]) == range(1992, 2022)


@pytest.mark.parametrize("region", REGIONS.values(), ids=lambda region: region.name)
def test_maize_is_planted_as_the_days_get_warmer(region: Region) -> None:
    weather = daily_weather(region)
    monthly_c = weather.groupby(weather.Date.dt.month)[["MinTemp", "MaxTemp"]].mean().mean(axis=1)
    planted_c = monthly_c[region.first_planting[0]]
    two_months_on = (region.first_planting[0] + 1) % 12 + 1
    assert 5 < planted_c < 20
    assert monthly_c[two_months_on] > planted_c + 3


def test_a_southern_season_is_named_by_the_year_after_planting() -> None:
    first, last = REGIONS["cordoba"].planting_window(2006)
    assert (first.year, last.year) == (2005, 2005)


def test_season_weather_starts_on_the_planting_day() -> None:
    weather = season_weather(REGIONS["champion"], datetime.date(2006, 5, 1))
    assert weather.Date.iloc[0].date() == datetime.date(2006, 5, 1)


def test_a_season_beyond_the_record_is_refused_with_the_years_there_are() -> None:
    with pytest.raises(DataError, match="1982 to 2018"):
        season_weather(REGIONS["champion"], datetime.date(2018, 12, 1))


def test_an_unknown_region_is_refused_with_those_there_are() -> None:
    with pytest.raises(DataError, match="'sahara'; the sample world has champion, cordoba"):
        region_named("sahara")
