"""What every stage is given."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from fieldloop.stages.context import today_utc


@pytest.fixture(params=["Etc/GMT+12", "Etc/GMT-14"])  # at any hour it is another day in one of them
def _at_the_edge_of_the_world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_at_the_edge_of_the_world")
def test_the_day_is_that_of_moments_wherever_the_machine_stands() -> None:
    before, found = datetime.now(UTC).date(), today_utc()
    assert before <= found <= datetime.now(UTC).date()
