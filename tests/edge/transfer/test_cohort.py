"""Who is in a rollout: by id alone, evenly, and never out again while the percentage grows."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.system.errors import ReleaseError
from fieldedge.transfer.cohort import Rollout, cohort_share, is_in

BEGIN = datetime(2027, 4, 1, tzinfo=UTC)
IDS = st.text(min_size=1, max_size=63)
SALTS = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)
PERCENTAGES = st.floats(min_value=0.0, max_value=100.0, exclude_min=True)


@given(device_id=IDS, salt=SALTS)
def test_a_share_lies_from_zero_to_below_a_hundred_so_that_all_are_in_at_a_hundred(device_id: str, salt: str) -> None:
    assert 0.0 <= cohort_share(device_id, salt) < 100.0
    assert is_in(device_id, Rollout(100.0, salt, BEGIN), BEGIN)


@given(device_id=IDS, salt=SALTS, one=PERCENTAGES, other=PERCENTAGES)
def test_whoever_is_in_stays_in_while_the_percentage_grows(device_id: str, salt: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    if is_in(device_id, Rollout(low, salt, BEGIN), BEGIN):
        assert is_in(device_id, Rollout(high, salt, BEGIN), BEGIN)


def test_the_share_of_a_device_is_the_same_on_every_machine_and_in_every_version() -> None:
    assert cohort_share("dev-07", "a1b2") == 88.20992035919953  # fleets out there have computed it


def test_the_canary_is_a_hundredth_of_the_fleet_and_another_salt_draws_another_one() -> None:
    fleet = [f"dev-{number:05}" for number in range(100_000)]
    canaries = [{name for name in fleet if cohort_share(name, salt) < 1.0} for salt in ("one", "two")]
    assert all(abs(len(canary) - 1_000) < 5 * 1_000**0.5 for canary in canaries)
    assert len(canaries[0] & canaries[1]) < 40  # ten by chance


def test_shares_are_even() -> None:
    counts = [0] * 20
    for number in range(100_000):
        counts[int(cohort_share(f"dev-{number}", "salt") // 5)] += 1
    chi2 = sum((count - 5_000) ** 2 / 5_000 for count in counts)
    assert chi2 < 43.8  # 19 degrees of freedom, one in a thousand


def test_nobody_is_in_before_it_begins_in_whatever_zone_the_clock_says_it() -> None:
    rollout = Rollout(100.0, "salt", BEGIN)
    assert not is_in("dev-07", rollout, BEGIN - timedelta(seconds=1))
    assert is_in("dev-07", rollout, BEGIN.astimezone(timezone(timedelta(hours=-5))))


@given(salt=SALTS, percentage=PERCENTAGES, minutes=st.integers(-(10**6), 10**6), zone=st.integers(-23, 23))
def test_what_is_written_is_read(salt: str, percentage: float, minutes: int, zone: int) -> None:
    moment = (BEGIN + timedelta(minutes=minutes)).astimezone(timezone(timedelta(hours=zone)))
    rollout = Rollout(percentage, salt, moment)
    assert Rollout.from_custom(rollout.as_custom()) == rollout


GOOD: dict[str, Any] = {"percentage": 1.0, "salt": "a1b2", "not_before": "2027-04-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    "found",
    [
        *(None, [], "1 %", {}, {**GOOD, "more": 1}, {name: GOOD[name] for name in ("percentage", "salt")}),
        *(
            {**GOOD, "percentage": value}
            for value in (0, -1, 100.1, float("nan"), float("inf"), True, "1 %", "1.", "nan", None, 10**400)
        ),
        *({**GOOD, "salt": value} for value in ("", "a/b", "ü", "x" * 65, "a\n", 7, None)),
        *({**GOOD, "not_before": value} for value in ("", "tomorrow", "2027-04-01", "2027-04-01T00:00:00", 7, None)),
    ],
)
def test_what_is_no_rollout_is_refused(found: Any) -> None:
    with pytest.raises(ReleaseError, match=r"rollout|salt"):
        Rollout.from_custom(found)
