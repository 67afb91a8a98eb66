"""How a flow begins: settings, parameters, the loop's id; and how one is run by hand."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from filelock import FileLock, Timeout

from fieldedge.errors import FieldloopError, StoreBusy
from fieldloop.progress import say
from fieldloop.settings import load_params, load_settings
from fieldloop.steps import Loop, new_loop
from flows.local_server import start_local_server

WORKLOAD = "agriculture"
_HELD: list[FileLock] = []  # until the process ends
_terminal_started_s: float | None = None


def started_s() -> float:
    """When this run began on the monotonic clock: the command by hand, or else now."""
    return time.monotonic() if _terminal_started_s is None else _terminal_started_s


def begin(workload: str, devices: int | None = None, seasons: Sequence[int] | None = None) -> Loop:
    """The loop of this clone; a former loop's devices are moved to the archive, and that is said.

    Raises:
        ConfigError: a setting or a parameter is missing or broken.
        StoreBusy: another process turns this clone's loop.
    """
    settings = load_settings()
    params = load_params(settings.root, workload)
    _hold(settings.home_dir)
    changes = {"devices": devices, "seasons": tuple(seasons) if seasons else None}
    given = {name: value for name, value in changes.items() if value is not None}
    if given:
        params = params.model_copy(update={"loop": params.loop.model_copy(update=given)})
    loop, archived = new_loop(settings, workload, params)
    if archived:
        say(f"  parameters or code changed: the former devices and their data are in {archived}")
    return loop


def run_from_terminal(name: str) -> None:
    """Run the flow of that name in this process, with its steps on the terminal; errors in one line."""
    global _terminal_started_s
    _terminal_started_s = time.monotonic()
    # Prefect sets its logging up when it is imported, so what its console shows is said before.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    try:
        settings = load_settings()
        load_params(settings.root, WORKLOAD)  # a broken parameter is told before anything starts
        _hold(settings.home_dir)
        say("Fieldloop: starting Prefect ...")
        server = start_local_server(settings.home_dir / "prefect" / "server.log")
        flow = getattr(import_module(f"flows.{name}"), name)
        if server is not None:
            server.wait_until_up()
        result = without_heartbeat(flow)
        say(f"\n{result.summary}")
    except KeyboardInterrupt:
        _end_as_stopped()
    except Exception as error:
        # A library that is stopped in the middle of its work may fail while it puts that away.
        if _follows_ctrl_c(error):
            _end_as_stopped()
        if not isinstance(error, FieldloopError):
            raise
        sys.stderr.write(f"\nfieldloop: {error}\n")
        sys.exit(1)


def _end_as_stopped() -> NoReturn:
    sys.stderr.write("\nStopped. The same command continues from here.\n")
    sys.exit(130)


def _follows_ctrl_c(error: BaseException | None) -> bool:
    """Whether the error was raised while a KeyboardInterrupt was being handled."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _hold(home: Path) -> None:
    """No second process turns this clone's loop meanwhile. The system frees the lock however this process ends."""
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / "loop.lock", timeout=0, is_singleton=True)
    if lock.is_locked:
        return
    try:
        lock.acquire()
    except Timeout:
        raise StoreBusy(
            f"a loop is running in {home} already: let it finish, or end it with Ctrl-C, then try again"
        ) from None
    _HELD.append(lock)


def without_heartbeat(flow: Callable[[], Any]) -> Any:
    """Call a flow without the heartbeat that only a remote server needs; it would cost a second at the end."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        return flow()
