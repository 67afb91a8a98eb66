"""`fieldloop device`: who may send to the gateway; tokens made, devices shown and revoked."""

import getpass
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from fieldedge.system.errors import ConfigError
from fieldloop.core.paths import paths_of
from fieldloop.core.settings import load_settings

if TYPE_CHECKING:  # SQLAlchemy and Alembic, which no other command waits for
    from fieldloop.gateway.enrolment import EnrolledDevices

app = typer.Typer(no_args_is_help=True, help="The devices that may send: token, list, revoke.")
By = Annotated[str, typer.Option(help="who does it, for the audit log; empty: this user")]
_LIFETIME = re.compile(r"([1-9][0-9]{0,3})([dh])")


@app.command()
def token(
    count: Annotated[int, typer.Option(min=1, help="one for each device")] = 1,
    expires: Annotated[str, typer.Option(help="how long they are good: 30d, or 12h")] = "30d",
    by: By = "",
) -> None:
    """Make one-time tokens with which devices enrol themselves: fieldedge init --gateway URL --token TOKEN.

    Each is shown once, on a line of its own, and kept nowhere.
    """
    for made in enrolled_devices().make_tokens(count, _lifetime(expires), by or getpass.getuser()):
        typer.echo(made)
    typer.echo(f"{count} tokens, each for one device, good for {expires}; they are not shown again", err=True)


@app.command("list")
def list_devices() -> None:
    """Every device: since when and by what it is enrolled, what came of it, and whether it was revoked."""
    found = enrolled_devices().all()
    for one in found:
        state = "may send" if one.revoked_utc is None else f"revoked {one.revoked_utc}"
        came = f"{one.batches} batches, last {one.last_batch_utc}" if one.last_batch_utc else f"{one.batches} batches"
        typer.echo(f"{one.device_id:<20} {state}; enrolled {one.enrolled_utc} by {one.enrolled_by}; {came}")
    typer.echo(f"{len(found)} devices, {sum(one.revoked_utc is not None for one in found)} of them revoked")


@app.command()
def revoke(device_id: Annotated[str, typer.Argument(help="as `device list` shows it")], by: By = "") -> None:
    """Take nothing more of a device, from now on. What it sent before stays, and is ingested."""
    if enrolled_devices().revoke(device_id, by or getpass.getuser()):
        typer.echo(f"{device_id} is revoked: the gateway takes nothing more of it")
    else:
        typer.echo(f"{device_id} was revoked before")


def enrolled_devices() -> "EnrolledDevices":
    """The devices by the gateway's database, which is made where there is none.

    Raises:
        ConfigError: its address is none, or its tables are newer than this version.
        StoreBusy: it does not answer.
    """
    from fieldloop.gateway.enrolment import EnrolledDevices, database_of

    settings = load_settings()
    paths = paths_of(settings)
    return EnrolledDevices(paths.device_registry, database_of(settings, paths))


def _lifetime(text: str) -> timedelta:
    found = _LIFETIME.fullmatch(text)
    if found is None:
        raise ConfigError(f"--expires is {text!r}; expected days or hours, like 30d or 12h")
    number = int(found.group(1))
    return timedelta(days=number) if found.group(2) == "d" else timedelta(hours=number)
