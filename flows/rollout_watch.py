"""Watch the rollout that is on: take in reports, go on, hold or halt, and ask a person where that is required."""

from prefect import flow
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field

from fieldloop.core import process_setup
from tasks.rollout import Answer, answer_rollout, look_at_rollout

ASK_WITHIN_S = 600  # a worker that takes one run at a time is not kept from others for longer


class Approval(RunInput):
    """May the next stage begin?"""

    answer: Answer = Field(default="hold", description="approve: it begins; revert: the version is taken back for good")
    by: str = Field(default="", description="who decides; kept in the ledger")
    why: str = Field(default="", description="what was seen; kept in the ledger")


@flow(name="rollout-watch", validate_parameters=True)
def rollout_watch(workload: str = "", ask_within_s: int = ASK_WITHIN_S) -> str:
    """Look at the rollout once. Where `approval: required` and a stage has shown itself, a person is asked by a form.

    Args:
        workload: Which block of params.yaml the rollout is of; where left empty, the only one.
        ask_within_s: How long the form waits, in seconds. Unanswered, all stays as it is; the next run asks again.
    """
    process_setup.settle()
    phase, words = look_at_rollout(workload)
    if phase != "awaiting":
        return words
    form = Approval.with_initial_data(description=f"## May the next stage begin?\n\n```\n{words}\n```")
    try:
        answered = pause_flow_run(wait_for_input=form, timeout=ask_within_s, poll_interval=2)
    except FlowPauseTimeout:
        return f"nobody answered within {ask_within_s} s; the rollout waits, and the next run asks again\n{words}"
    phase = answer_rollout(workload, answered.answer, answered.by, answered.why)
    return f"{answered.answer} by {answered.by}: {answered.why}; the rollout is {phase}"
