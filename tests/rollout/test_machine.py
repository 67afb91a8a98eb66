"""What follows from what is known: properties that hold whatever devices say, and the cases that people ask about."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.system.errors import ConfigError, DataError
from fieldloop.core.params import RolloutParams, StageParams
from fieldloop.rollout.evidence import Evidence
from fieldloop.rollout.machine import (
    RolloutState,
    approved,
    begin,
    changed,
    decide,
    paused,
    read_state,
    resumed,
    reverted,
    superseded,
)

BEGAN = datetime(2027, 4, 1, tzinfo=UTC)
PLAN = RolloutParams()
SOAKED = timedelta(days=21)
COUNTS = st.integers(0, 5_000)


def begun(plan: RolloutParams = PLAN) -> RolloutState:
    return begin("agriculture", "12", 1, "a1b2", plan, BEGAN, "someone", "")


OWN = ("cohort", "ripe", "ripe_failed")


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    counts = {name: draw(st.one_of(st.just(0), COUNTS)) for name in Evidence.__dataclass_fields__ if name not in OWN}
    found = Evidence(cohort=sum(counts.values()), **counts)
    ripe_failed = draw(st.integers(0, found.failed))
    return replace(found, ripe_failed=ripe_failed, ripe=ripe_failed + draw(st.integers(0, found.confirmed)))


def sound(devices: int, **others: int) -> Evidence:
    failed = sum(others.values()) - others.get("unreached", 0) - others.get("pending", 0)
    found = Evidence(cohort=devices + sum(others.values()), confirmed=devices, **others)
    return replace(found, ripe=devices + failed, ripe_failed=failed)


VERBS = st.sampled_from(["pause", "resume", "approve", "revert", "supersede", *["look"] * 10])
LIVES = st.lists(st.tuples(VERBS, evidences(), st.floats(0, 40)), max_size=25)


def lived(state: RolloutState, verb: str, evidence: Evidence, now: datetime) -> RolloutState:
    """The state after what somebody does; what is refused changes nothing."""
    try:
        match verb:
            case "pause":
                return paused(state, now, "someone", "why")
            case "resume":
                return resumed(state, now, "someone", "why")
            case "approve":
                return approved(state, evidence, now, "someone", "why")
            case "revert":
                return reverted(state, now, "someone", "why")
            case "supersede" if state.is_open:
                return superseded(state, now, "someone", "13")
            case _:
                return changed(state, decide(state, evidence, now), now)
    except ConfigError:
        return state


@given(LIVES, st.sampled_from(["none", "required"]))
def test_a_percentage_never_shrinks_an_end_is_an_end_and_each_state_is_read_as_it_was_written(
    life: list[tuple[str, Evidence, float]], approval: str
) -> None:
    state, now = replace(begun(PLAN.model_copy(update={"approval": approval})), is_applied=True), BEGAN
    for verb, evidence, days in life:
        now += timedelta(days=days)
        after = lived(state, verb, evidence, now)
        assert after.percentage >= state.percentage
        assert after.transition == state.transition + (after is not state)
        assert state.is_open or after is state or (state.phase, after.phase) == ("finished", "reverted")
        assert read_state(after.as_json()) == after
        assert after.is_applied or after.percentage > state.percentage or not after.is_open or after is state
        if approval == "required" and after.stage > state.stage:
            assert verb == "approve"
        state = replace(after, is_applied=True)


@given(evidences(), st.floats(0, 400), COUNTS)
def test_a_device_that_was_never_online_changes_nothing_once_there_is_a_cohort(
    evidence: Evidence, days: float, offline: int
) -> None:
    now = BEGAN + timedelta(days=days)
    seen = replace(evidence, cohort=evidence.cohort + 1, unreached=evidence.unreached + 1)
    more = replace(seen, cohort=seen.cohort + offline, unreached=seen.unreached + offline)
    assert decide(begun(), seen, now).step == decide(begun(), more, now).step


@given(evidences(), st.floats(0, 400), st.integers(1, 100))
def test_more_failures_never_turn_a_halt_into_anything_else(evidence: Evidence, days: float, more: int) -> None:
    now = BEGAN + timedelta(days=days)
    worse = replace(evidence, cohort=evidence.cohort + more, reverted=evidence.reverted + more)
    if decide(begun(), evidence, now).step == "halt":
        assert decide(begun(), worse, now).step == "halt"


@given(evidences(), st.floats(0, 20.9))
def test_nothing_goes_on_before_it_has_soaked_but_where_there_is_nobody_to_soak(
    evidence: Evidence, days: float
) -> None:
    step = decide(begun(), evidence, BEGAN + timedelta(days=days)).step
    assert step in ("hold", "halt") or evidence.cohort == 0


@given(evidences(), st.floats(0, 400))
def test_a_decision_says_its_numbers(evidence: Evidence, days: float) -> None:
    decision = decide(begun(), evidence, BEGAN + timedelta(days=days))
    assert f"{evidence.confirmed} confirmed" in decision.why
    assert "1 %" in decision.why
    assert decision.numbers["failed_low_pct"] <= decision.numbers["failed_high_pct"]
    assert {**decision.numbers, **evidence.as_dict()} == decision.numbers


def test_a_good_version_goes_from_stage_to_stage_to_the_end() -> None:
    state, now, seen = begun(), BEGAN, []
    while state.is_open:
        now += timedelta(days=1)
        after = changed(state, decide(state, sound(800, reverted=2, unreached=200), now), now)
        if after is not state:
            seen.append((after.phase, after.percentage, (now - BEGAN).days))
        state = after
    assert seen == [("running", 10, 21), ("running", 50, 31), ("running", 100, 38), ("finished", 100, 45)]


def test_a_version_that_misbehaves_on_three_devices_in_a_hundred_is_halted_while_most_are_still_watching() -> None:
    decision = decide(begun(), Evidence(cohort=1_000, pending=780, reverted=20, unreached=200), BEGAN)
    assert decision.step == "halt"
    assert "20 went back" in decision.why


@pytest.mark.parametrize("way", ["reverted", "refused", "abstains", "bounded", "slow", "diverges", "silent"])
def test_every_way_to_fail_halts(way: str) -> None:
    assert decide(begun(), Evidence(cohort=3, **{way: 3}), BEGAN).step == "halt"


def test_a_paused_rollout_goes_on_for_nobody_and_is_halted_all_the_same() -> None:
    state = paused(begun(), BEGAN, "someone", "harvest")
    late = BEGAN + timedelta(days=99)
    assert decide(state, sound(900), late).step == "hold"
    assert decide(state, Evidence(cohort=30, reverted=30), late).step == "halt"
    assert decide(resumed(state, late, "someone", ""), sound(900), late).step == "advance"


def test_a_small_fleet_goes_on_when_all_that_were_online_have_answered() -> None:
    now = BEGAN + SOAKED
    assert decide(begun(), Evidence(cohort=0), BEGAN).step == "advance"
    assert decide(begun(), sound(2, unreached=1), now).step == "advance"
    assert decide(begun(), sound(2, pending=1), now).step == "hold"
    assert decide(begun(), Evidence(cohort=3, unreached=3), now).step == "advance"


def test_the_last_stage_ends_only_with_an_answer() -> None:
    state, now = begun(RolloutParams(stages=(StageParams(percentage=100, soak_d=16),))), BEGAN + SOAKED
    assert decide(state, Evidence(cohort=3, unreached=3), now).step == "hold"
    assert decide(state, sound(1, unreached=2), now).step == "finish"


def test_where_too_many_failed_to_go_on_and_too_few_to_halt_a_person_decides() -> None:
    now, evidence = BEGAN + SOAKED, Evidence(cohort=10, confirmed=9, reverted=1)
    decision = decide(begun(), evidence, now)
    assert decision.step == "hold"
    assert "a person's word" in decision.why
    assert approved(begun(), evidence, now, "someone", "a wet field").percentage == 10


def test_a_person_lets_each_stage_begin_where_that_is_required() -> None:
    state, now = begun(PLAN.model_copy(update={"approval": "required"})), BEGAN + SOAKED
    state = changed(state, decide(state, sound(900), now), now)
    assert (state.phase, state.percentage) == ("awaiting", 1)
    assert decide(state, sound(900), now + SOAKED).step == "hold"
    state = approved(state, sound(900), now, "someone", "looks well")
    assert (state.phase, state.percentage, state.by) == ("running", 10, "someone")


def test_what_cannot_be_done_is_refused_by_name() -> None:
    state = begun()
    over = reverted(state, BEGAN, "someone", "a wet field")
    for act in (paused, resumed, reverted):
        with pytest.raises(ConfigError, match=r"version 12 of agriculture is reverted since .*: a wet field"):
            act(over, BEGAN, "someone", "")
    with pytest.raises(ConfigError, match="is not paused: it is running"):
        resumed(state, BEGAN, "someone", "")
    with pytest.raises(ConfigError, match=r"waits for no approval: .*it has lasted 0 of 21 days"):
        approved(state, sound(900), BEGAN, "someone", "")
    with pytest.raises(ConfigError, match="paused already, by someone: harvest"):
        paused(paused(state, BEGAN, "someone", "harvest"), BEGAN, "other", "")


@pytest.mark.parametrize("change", [b"", b"[]", b"{}", b"\xff"])
def test_what_is_no_state_is_damage(change: bytes) -> None:
    with pytest.raises(DataError, match="no state of a rollout"):
        read_state(change)


def test_a_state_of_a_stage_that_its_plan_has_not_is_damage() -> None:
    with pytest.raises(DataError, match="stage 9"):
        read_state(replace(begun(), stage=9).as_json())
