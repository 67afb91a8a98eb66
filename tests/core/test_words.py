"""A workload's words are the names of its contract's columns."""

from fieldedge.contract import EpisodeKey
from fieldedge.workloads.agriculture.tables import EPISODE
from fieldloop.core.words import Words, decimals


def test_growers_and_factories_read_their_own_words() -> None:
    told = "{unit}s of this {period} in {place}: {periods} of {units}, {more}"
    assert Words.of(EPISODE).say(told, more="x") == "fields of this season in region: seasons of fields, x"
    bearings = Words.of(EpisodeKey(("month", "bearing_id"), ("month", "hall")))
    assert bearings.say(told, more="y") == "bearings of this month in hall: months of bearings, y"
    assert (Words.of(EPISODE).episodes, bearings.episodes) == ("field-seasons", "bearing-months")


def test_as_many_places_are_shown_as_the_largest_number_needs() -> None:
    assert [decimals(value) for value in (1234.0, 120.0, -10.0, 1.3, 0.42, 0.0042, 0.0)] == [0, 0, 0, 1, 2, 4, 0]
    assert decimals(0.2, -12.0) == 0 and decimals(0.2, float("nan")) == 2
    assert [decimals(value, digits=3) for value in (120.0, 10.0, 4.2)] == [0, 1, 2]
