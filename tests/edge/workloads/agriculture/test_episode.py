"""A field's season is the year of its harvest, and one that cannot be is refused."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.workloads.agriculture.episode import season_fault
from tests.edge.sample import field_record


def fault(planting_date: str, season: int, latitude_deg: float | None) -> str | None:
    return season_fault({**field_record(), "season": season, "planting_date": planting_date}, latitude_deg)


@pytest.mark.parametrize(
    ("planting_date", "season", "latitude_deg"),
    [
        ("2026-05-01", 2026, 41.4),
        ("2026-05-01", 2026, None),
        ("2026-10-11", 2027, -33.9),
        ("2026-10-11", 2027, None),
        ("2027-01-20", 2027, -33.9),
        ("2026-11-10", 2027, 17.5),  # Hyderabad's winter maize
        ("2026-06-20", 2026, 17.5),
    ],
)
def test_the_year_of_the_harvest_is_a_season(planting_date: str, season: int, latitude_deg: float | None) -> None:
    assert fault(planting_date, season, latitude_deg) is None


@pytest.mark.parametrize(
    ("planting_date", "season", "latitude_deg", "expected"),
    [
        ("2026-10-11", 2072, -33.9, "2027"),
        ("2026-10-11", 2072, None, "2026 or 2027|2027"),
        ("2026-10-11", 2026, -33.9, "2027"),
        ("2026-05-01", 2027, 41.4, "2026"),
        ("2026-05-01", 2025, None, "2026 or 2027"),
        ("2027-01-20", 2028, -33.9, "2027"),
    ],
)
def test_a_season_that_cannot_follow_from_the_planting_is_refused_with_the_one_that_can(
    planting_date: str, season: int, latitude_deg: float | None, expected: str
) -> None:
    found = fault(planting_date, season, latitude_deg)
    assert found is not None
    assert any(f"is harvested in {years}:" in found for years in expected.split("|"))


@given(st.dates(date(1960, 1, 1), date(2090, 12, 31)), st.none() | st.floats(-60.0, 60.0))
def test_every_planting_has_a_season_that_is_its_year_or_the_next(planting: date, latitude_deg: float | None) -> None:
    right = [
        season
        for season in range(planting.year - 2, planting.year + 4)
        if fault(planting.isoformat(), season, latitude_deg) is None
    ]
    assert right and set(right) <= {planting.year, planting.year + 1}
