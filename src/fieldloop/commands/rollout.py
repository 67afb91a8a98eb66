"""`fieldloop rollout`: a version goes out in stages; what stands, who lets it go on, and what each device had."""

import getpass
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from fieldedge.system.errors import ConfigError
from fieldloop.core.params import only_workload
from fieldloop.core.paths import paths_of
from fieldloop.core.settings import load_settings

if TYPE_CHECKING:  # numpy and scipy, which no other command waits for
    from fieldloop.rollout.engine import Rollouts
    from fieldloop.rollout.machine import RolloutState
    from fieldloop.rollout.store import RolloutStore

app = typer.Typer(no_args_is_help=True, help="Staged rollouts: start, watch, hold or take back a version.")
Workload = Annotated[str, typer.Option(help="the block of params.yaml; where there is one, that one")]
Why = Annotated[str, typer.Option(prompt="Why", help="for whoever reads the ledger")]
By = Annotated[str, typer.Option(help="who decides; the user of this machine where left out")]


@app.command()
def start(
    version: Annotated[str, typer.Argument(help="of the model, as `fieldloop release list` names it")],
    workload: Workload = "",
    why: Annotated[str, typer.Option(help="for whoever reads the ledger")] = "",
    by: By = "",
) -> None:
    """Begin the rollout of a released version, by the stages of params.yaml. One that is open is superseded by it."""
    from fieldloop.workloads import load_params

    settings = load_settings()
    workload = workload or only_workload(settings.root)
    plan = load_params(settings.root, workload).rollout
    state = _rollouts(workload).start(workload, version, plan, _who(by), why)
    typer.echo(
        f"version {version} of {workload} goes out: {state.stage_words}, since {state.entered[0]:%Y-%m-%d %H:%M} UTC"
    )


@app.command()
def status(workload: Workload = "") -> None:
    """Where the rollout stands, with its numbers, and what a look would decide now. Nothing is changed."""
    workload = workload or only_workload(load_settings().root)
    typer.echo("\n".join(_rollouts(workload).peek(workload).lines()))


@app.command()
def watch(workload: Workload = "") -> None:
    """Take in what devices reported, decide, and carry it out; the flow `rollout-watch` does this on a schedule."""
    workload = workload or only_workload(load_settings().root)
    typer.echo("\n".join(_rollouts(workload).look(workload).lines()))


@app.command()
def pause(why: Why, workload: Workload = "", by: By = "") -> None:
    """Let no further stage begin. Harm that devices report halts it all the same."""
    _tell(workload, lambda rollouts, name: rollouts.pause(name, _who(by), _reason(why)))


@app.command()
def resume(workload: Workload = "", why: str = "", by: By = "") -> None:
    """Go on where it was paused."""
    _tell(workload, lambda rollouts, name: rollouts.resume(name, _who(by), why))


@app.command()
def approve(why: Why, workload: Workload = "", by: By = "") -> None:
    """Let the next stage begin, or the rollout end: where params.yaml asks for it, or the evidence is too thin."""
    _tell(workload, lambda rollouts, name: rollouts.approve(name, _who(by), _reason(why)))


@app.command()
def revert(why: Why, workload: Workload = "", by: By = "") -> None:
    """Take the version back from every device that has it, for good; after it has finished too."""
    _tell(workload, lambda rollouts, name: rollouts.revert(name, _who(by), _reason(why)))


@app.command()
def history(
    device: Annotated[str, typer.Option(help="what this device had")] = "",
    on: Annotated[str, typer.Option(help="on this day, UTC: 2027-07-03; left out: on all")] = "",
    version: Annotated[str, typer.Option(help="which devices had this version")] = "",
    workload: Workload = "",
) -> None:
    """What was deciding on a device on a day, or who had a version: from the ledger, after all of it was verified."""
    from fieldloop.rollout.history import of_version, on_day, spans

    if bool(device) == bool(version):
        raise ConfigError("say one of them: --device dev-07, or --version 12")
    lines = [entry.values for entry in _store().ledger.entries()]
    if version:
        found = of_version(lines, workload or only_workload(load_settings().root), version)
        typer.echo("\n".join(held.words() for held in found) or f"no device reported that it had version {version}")
        return
    own = [line for line in lines if line.get("device_id") == device]
    found = on_day(own, device, _day(on)) if on else spans(own)
    typer.echo("\n".join(held.words() for held in found) or f"{device} has reported no version")


@app.command()
def verify() -> None:
    """Verify the ledger from its first line; a line that was changed, or is missing, is named."""
    count, sha256 = _store().ledger.verify()
    typer.echo(f"{count} lines, each as it was written; the last has the hash {sha256}")


def _tell(workload: str, act: "Callable[[Rollouts, str], RolloutState]") -> None:
    workload = workload or only_workload(load_settings().root)
    state = act(_rollouts(workload), workload)
    typer.echo(
        f"version {state.version} of {workload} is {state.phase}, {state.stage_words}; by {state.by}: {state.why}"
    )


def _rollouts(workload: str) -> "Rollouts":
    from fieldloop.stages.rollouts import open_rollouts

    return open_rollouts(load_settings(), workload)


def _store() -> "RolloutStore":
    from fieldloop.rollout.store import RolloutStore

    return RolloutStore(paths_of(load_settings()).rollouts)


def _who(by: str) -> str:
    return by.strip() or getpass.getuser()


def _reason(why: str) -> str:
    if not why.strip():
        raise ConfigError("a reason is needed, for whoever reads the ledger: --why 'what was seen'")
    return why.strip()


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--on {text!r:.40} is no day; expected one like 2027-07-03") from None
