"""`fieldloop release`: what devices are offered, in plain words; carried on a stick; checked as a device does."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldedge.system.errors import ConfigError, LinkError, ReleaseError
from fieldloop.core.params import only_workload, workloads_of
from fieldloop.core.paths import paths_of
from fieldloop.core.settings import load_settings

if TYPE_CHECKING:  # TUF, which no other command waits for
    from fieldloop.release import ReleaseRepository

app = typer.Typer(no_args_is_help=True, help="What devices are offered: list, show, export-usb, verify.")
Workload = Annotated[str, typer.Option(help="the block of params.yaml; where there is one, that one")]


@app.command("list")
def list_releases(workload: Workload = "") -> None:
    """Every version that was ever offered, and what became of it."""
    name = workload or only_workload(load_settings().root)
    repository = _repository()
    found, versions = repository.offers(name), repository.versions(name)
    for version in versions:
        states = [
            words
            for words, holds in (
                ("everyone's", found.released is not None and found.released.version == version),
                ("in rollout", found.candidate is not None and found.candidate.version == version),
                ("withdrawn", version in found.withdrawn),
            )
            if holds
        ]
        typer.echo(f"{name} {version}: {', '.join(states) or 'was offered before'}")
    if not versions:
        typer.echo(_nothing_yet(name))


@app.command()
def show(workload: Workload = "") -> None:
    """What is offered now: to everyone, by device class, and in rollout."""
    name = workload or only_workload(load_settings().root)
    found = _repository().offers(name)
    if found.released is None:
        typer.echo(_nothing_yet(name))
    else:
        typer.echo(f"{name} {found.released.version}: {found.released.bytes} bytes, sha256 {found.released.sha256}")
    for device_class, sha256 in found.classes.items():
        typer.echo(f"  {device_class:<14} sha256 {sha256}")
    if found.candidate is not None:
        rollout = found.candidate.rollout
        typer.echo(
            f"in rollout: version {found.candidate.version} to {rollout.percentage:g} % from "
            f"{rollout.not_before:%Y-%m-%d %H:%M} on"
        )
        for device_class, sha256 in found.candidate.sha256.items():
            typer.echo(f"  {device_class:<14} sha256 {sha256}")
    if found.withdrawn:
        typer.echo(f"withdrawn: {', '.join(found.withdrawn)}")


@app.command("export-usb")
def export_usb(stick: Annotated[Path, typer.Argument(help="where the stick is mounted")]) -> None:
    """Write the release onto a USB stick for devices without a link; it stands a month."""
    from fieldedge.transfer.usb import UsbStick, check_folder

    target = UsbStick(stick)
    target.check()
    try:
        check_folder(target.release)
        _repository().copy_to(target.release)
    except OSError as error:
        raise LinkError(f"the release cannot be written onto the stick at {stick}: {error}") from error
    typer.echo(f"the release is in {target.release}")


@app.command()
def verify() -> None:
    """Check every file that devices read: metadata, signatures, dates, and each bundle as a device would try it."""
    problems = _repository().problems(datetime.now(UTC))
    if problems:
        raise ReleaseError("; ".join(problems))
    typer.echo("everything that devices are offered is there, as it was signed, and in date")


def _nothing_yet(workload: str) -> str:
    """That a workload has no release.

    Raises:
        ConfigError: there is no such workload.
    """
    root = load_settings().root
    known = workloads_of(root)
    if workload not in known:
        raise ConfigError(f"{root / 'params.yaml'} has no block {workload!r}; it has {', '.join(known)}")
    return f"nothing is released for {workload} yet"


def _repository() -> "ReleaseRepository":
    from fieldloop.release import ReleaseRepository, is_begun

    tuf = paths_of(load_settings()).tuf
    if not is_begun(tuf):
        raise ReleaseError(f"{tuf} has no release yet: the flow `retrain` makes one, `fieldloop keys init` its keys")
    return ReleaseRepository(tuf)
