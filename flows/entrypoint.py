"""How a flow begins: settings, parameters, what a former run left; and how one is run by hand."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from fieldedge.system.errors import FieldloopError
from fieldloop.core import process_setup
from fieldloop.core.clone_lock import held
from fieldloop.core.console import say
from fieldloop.core.params import only_workload
from fieldloop.core.settings import load_settings
from fieldloop.core.stored_names import PERIODS
from fieldloop.stages.context import Loop, words_of
from fieldloop.stages.former_layout import note_former_turns
from fieldloop.stages.refs import PeriodRefs
from fieldloop.stages.turns import finished_turn, still_home
from fieldloop.workloads import load_params
from flows.local_server import start_local_server

_HELD: dict[Path, AbstractContextManager[None]] = {}  # until the process ends
_terminal_started_s: float | None = None


def started_s() -> float:
    """When this run began on the monotonic clock: the command by hand, or else now."""
    return time.monotonic() if _terminal_started_s is None else _terminal_started_s


def begin(workload: str, devices: int | None = None, periods: Sequence[int] | None = None) -> Loop:
    """The loop of this clone, over all that former runs kept, whatever their code and parameters were.

    Raises:
        ConfigError: a setting or a parameter is missing or broken.
        DataError: a part of the accepted data is gone.
        ReleaseError: the release repository is gone or damaged, or the registry of what devices are offered is.
        StoreBusy: another process turns this clone's loop.
    """
    process_setup.settle()  # for what is imported from here on, where a worker runs the flow
    from fieldloop.stages.kept import require_kept
    from fieldloop.stages.opening import new_loop

    settings = load_settings()
    workload = workload or only_workload(settings.root)
    params = load_params(settings.root, workload)
    hold(settings.home_dir, _name_of_flow())
    changes = {"devices": devices, PERIODS: tuple(periods) if periods else None}
    given = {name: value for name, value in changes.items() if value is not None}
    if given:
        params = params.with_loop(**given)
    loop = new_loop(settings, workload, params)
    require_kept(loop)
    note_former_turns(loop)
    return loop


def recall_turn(loop: Loop, period: int) -> PeriodRefs | None:
    """What a period that was lived to the end referred to, and a line that says so; None where it is to be lived."""
    turn = finished_turn(loop, period)
    if turn is not None:
        turn = still_home(loop, turn)
        lived, synced = turn.lived, turn.synced
        say(
            f"  {words_of(loop).period:<10} {period} was lived by {lived.devices} devices with model "
            f"{turn.released.version}, {synced.accepted} records accepted, {synced.lost} lost (unchanged)"
        )
    return turn


def run_from_terminal(name: str, workload: str = "") -> None:
    """Run the flow of that name in this process, with its steps on the terminal; errors in one line."""
    global _terminal_started_s
    _terminal_started_s = time.monotonic()
    # Prefect sets its logging up when it is imported, so what its console shows is said before.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    try:
        settings = load_settings()
        process_setup.settle(settings.home_dir)
        load_params(
            settings.root, workload or only_workload(settings.root)
        )  # a broken parameter is told before anything starts
        hold(settings.home_dir, name)
        say("Fieldloop: starting Prefect ...")
        server = start_local_server(settings.home_dir / "prefect" / "server.log")
        flow = getattr(import_module(f"flows.{name}"), name)
        import_module("fieldloop.stages.kept")  # what the first look needs, while the server is on its way
        if server is not None:
            server.wait_until_up()
        result = without_heartbeat(partial(flow, workload) if workload else flow)
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


def _name_of_flow() -> str:
    from prefect.runtime import flow_run  # after `run_from_terminal` has set Prefect up

    return str(flow_run.flow_name or "a flow")


def hold(home: Path, doing: str) -> None:
    """Keep other processes from turning this clone's loop until this one ends."""
    if home not in _HELD:
        _HELD[home] = held(home, doing, on_wait=lambda who: say(f"Fieldloop: waiting for {who}, to end ..."))
        _HELD[home].__enter__()


def without_heartbeat(flow: Callable[[], Any]) -> Any:
    """Call a flow without the heartbeat that only a remote server needs; it would cost a second at the end."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        return flow()
