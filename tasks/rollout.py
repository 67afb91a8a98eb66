"""Tasks on a rollout: a look, and what a person answered. They are never cached: time alone changes what they find."""

from typing import Literal

from prefect import task
from prefect.artifacts import create_markdown_artifact

from fieldedge.system.errors import ConfigError
from fieldloop.core.params import only_workload
from fieldloop.core.settings import load_settings

Answer = Literal["approve", "hold", "revert"]


@task(name="look-at-rollout", retries=2, retry_delay_seconds=30)
def look_at_rollout(workload: str) -> tuple[str, str]:
    """Take in reports, decide, carry it out; its phase, empty where there never was one, and the words."""
    from fieldloop.core.paths import paths_of
    from fieldloop.rollout.store import RolloutStore
    from fieldloop.stages.rollouts import open_rollouts

    settings = load_settings()
    workload = workload or only_workload(settings.root)
    if RolloutStore(paths_of(settings).rollouts).current(workload) is None:
        return "", f"no version of {workload} was ever rolled out"
    look = open_rollouts(settings, workload).look(workload)
    words = "\n".join(look.lines())
    create_markdown_artifact(f"```\n{words}\n```", key="rollout", description=f"The rollout of {workload}")
    return look.state.phase, words


@task(name="answer-rollout", retries=2, retry_delay_seconds=30)
def answer_rollout(workload: str, answer: Answer, by: str, why: str) -> str:
    """Carry out what a person answered; the phase afterwards."""
    from fieldloop.stages.rollouts import open_rollouts

    settings = load_settings()
    workload = workload or only_workload(settings.root)
    if not (by.strip() and why.strip()):
        raise ConfigError("who decides and why are kept in the ledger: say both")
    rollouts = open_rollouts(settings, workload)
    if answer == "approve":
        return rollouts.approve(workload, by.strip(), why.strip()).phase
    if answer == "revert":
        return rollouts.revert(workload, by.strip(), why.strip()).phase
    return "awaiting"
