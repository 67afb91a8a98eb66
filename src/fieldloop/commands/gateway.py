"""`fieldloop gateway`: the service that devices reach."""

import logging
import signal
import sys
from threading import Event
from typing import Annotated

import typer

from fieldloop.core.paths import paths_of
from fieldloop.core.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="The gateway that devices reach, as a service: serve, audit.")
PORT = 8443


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="the address to listen on; 0.0.0.0: all of this machine")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = PORT,
) -> None:
    """Serve devices until Ctrl-C or SIGTERM: signed releases down, signed batches up, new devices enrolled.

    The database is FIELDLOOP_GATEWAY_DATABASE, or SQLite beside the inbox. TLS is the business of a proxy before it.
    """
    from fieldloop.core.http_server import HttpServer
    from fieldloop.gateway.enrolment import database_of
    from fieldloop.gateway.service import create_service

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    settings, stop = load_settings(), Event()
    paths = paths_of(settings)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    database = database_of(settings, paths)
    try:
        service = create_service(paths, database)
        with HttpServer(service.app, host, port) as server:
            typer.echo(f"the gateway serves {server.url} on {database.name}")
            if service.new_devices or service.new_batches:
                typer.echo(f"taken in: {service.new_devices} devices and {service.new_batches} batches of the folder")
            sys.stdout.flush()
            stop.wait()
    finally:
        database.close()


@app.command()
def audit(newest: Annotated[int, typer.Option(min=1, help="how many lines")] = 100) -> None:
    """Who enrolled, was refused or was revoked, when and by whom."""
    from fieldloop.commands.device import enrolled_devices

    for line in enrolled_devices().audit(newest):
        typer.echo(f"{line.at_utc}  {line.who}  {line.what}  {line.subject}  {line.detail}".rstrip())
