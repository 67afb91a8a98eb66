"""What a person answers to what the season taught holds from planting on, goes home, and is folded after a restart."""

import pytest

from fieldedge.contract import Record
from fieldedge.storage.store import Store
from fieldedge.system.errors import DataError
from fieldedge.workloads.agriculture import AGRICULTURE
from fieldedge.workloads.agriculture import layout as at
from fieldedge.workloads.agriculture.answers import AgricultureAnswers
from fieldedge.workloads.agriculture.confirmations import answer_finding, open_findings
from fieldedge.workloads.agriculture.episode import FieldSeason
from fieldedge.workloads.agriculture.features import INDEX
from tests.edge.sample import EPISODE, dated, day_of, field_record

CONTRACT = AGRICULTURE.contract
SOIL = {"name": "field_capacity", "times": 0.88, "low": 0.83, "high": 0.93, "is_clear": True}
GAUGE = {"name": "gauge", "times": 1.02, "low": 0.9, "high": 1.2, "is_clear": False}


@pytest.fixture
def store(tmp_path) -> Store:  # type: ignore[no-untyped-def]
    store = Store(tmp_path / "store.db")
    store.add("fields", field_record())
    store.add(
        "recommendations", dated("recommendations", 10, field_id=field_record()["field_id"], learned=[SOIL, GAUGE])
    )
    return store


def rows(store: Store) -> list[Record]:
    return store.records(EPISODE, "confirmations")


@pytest.mark.parametrize(("is_taken", "times"), [(True, 0.88), (False, 1.0)])
def test_what_was_answered_is_a_record_of_the_contract_and_holds_from_planting_on(
    store: Store, is_taken: bool, times: float
) -> None:
    record, outcome = answer_finding(store, field_record(), "field_capacity", is_taken, CONTRACT)
    assert outcome == "recorded"
    assert rows(store) == [record]
    assert CONTRACT.table("confirmations").check(record, "kept") == record
    season = FieldSeason(field_record())
    before = season.question(day_of(3), lambda _kind: ()).features[INDEX["field_capacity_m3_m3"]]
    season.fold("confirmations", record)
    after = season.question(day_of(3), lambda _kind: ()).features[INDEX["field_capacity_m3_m3"]]
    assert after / before == pytest.approx(times)
    assert season.question(day_of(3), lambda _kind: ()).detail.bounds.learned[at.SOIL].is_clear is False


def test_the_last_answer_to_a_factor_counts(store: Store) -> None:
    taken, _ = answer_finding(store, field_record(), "field_capacity", True, CONTRACT)
    later = {**taken, "date": day_of(12), "record_id": taken["record_id"].replace(day_of(10), day_of(12))}
    for order in ((taken, later), (later, taken)):
        season = FieldSeason(field_record())
        for record in order:
            season.fold("confirmations", {**record, "answer": "refused" if record is later else "taken"})
        found = season.question(day_of(3), lambda _kind: ()).features[INDEX["field_capacity_m3_m3"]]
        assert found == pytest.approx(field_record()["field_capacity_m3_m3"])


def test_what_is_not_clear_or_was_answered_is_not_asked(store: Store) -> None:
    for factor in ("gauge", "delivered_share", "nonsense"):
        with pytest.raises(DataError, match=r"does not ask about .*; it asks about field_capacity"):
            answer_finding(store, field_record(), factor, True, CONTRACT)
    answer_finding(store, field_record(), "field_capacity", True, CONTRACT)
    assert open_findings(store.records(EPISODE, "recommendations"), rows(store)) == []


def test_an_answer_again_changes_nothing_and_another_one_takes_its_place(store: Store) -> None:
    for is_taken, outcome in ((True, "recorded"), (True, "unchanged"), (False, "corrected"), (True, "corrected")):
        record, became = answer_finding(store, field_record(), "field_capacity", is_taken, CONTRACT)
        assert (became, record["times"], record["answer"]) == (outcome, 0.88, "taken" if is_taken else "refused")
        assert rows(store) == [record]


def test_after_the_harvest_nothing_is_asked_and_no_answer_is_taken(store: Store) -> None:
    answer_finding(store, field_record(), "field_capacity", True, CONTRACT)
    store.add("harvests", dated("harvests", 120, yield_t_ha=11.0))
    with pytest.raises(DataError, match="it asks about nothing now"):
        answer_finding(store, field_record(), "field_capacity", False, CONTRACT)


def test_the_question_is_of_the_last_day_in_whatever_order_days_were_decided(store: Store) -> None:
    store.add("recommendations", dated("recommendations", 4, learned=[{**SOIL, "times": 0.8}]))
    (found,) = open_findings(store.records(EPISODE, "recommendations"), [])
    assert (found["date"], found["times"]) == (day_of(10), 0.88)


@pytest.mark.parametrize("learned", [3, [4], [{"is_clear": True}], [{"name": ["x"], "is_clear": True, "times": 2.0}]])
def test_what_is_nothing_learned_is_not_asked(learned: object) -> None:
    assert open_findings([dated("recommendations", 10, learned=learned)], [{"factor": "gauge"}]) == []


def test_an_answer_on_the_page_is_kept_and_one_that_is_none_is_refused(store: Store) -> None:
    from datetime import date

    form = {"episode": CONTRACT.episode.of(field_record()), "about": "field_capacity", "date": day_of(10)}
    with pytest.raises(DataError, match="expected taken or refused"):
        AgricultureAnswers().store(store, {**form, "answer": "done"}, date.fromisoformat(day_of(11)))
    assert AgricultureAnswers().store(store, {**form, "answer": "taken"}, date.fromisoformat(day_of(11))) == "recorded"
    assert [(row["factor"], row["answer"], row["times"]) for row in rows(store)] == [("field_capacity", "taken", 0.88)]
