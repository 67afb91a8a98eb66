"""`make ui`: starts Prefect's and MLflow's own servers and the pages, says where they are, and ends them together.

Everything listens on this machine alone. A Ctrl-C or SIGTERM ends every server with its children; so does the end of
any one of them, which is then reported by name.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType

from filelock import FileLock, Timeout

from fieldedge.system.errors import LinkError, StoreBusy
from fieldloop.core.http_server import HttpServer
from fieldloop.core.process_setup import QUIET_ENVIRONMENT
from fieldloop.core.settings import USUAL_PAGES_PORT, Settings
from fieldloop.core.stored_names import FIRST_RUN
from fieldloop.ui.mlflow_server import read_config, tracking_server_command
from fieldloop.ui.pages import create_pages
from fieldloop.ui.ports import LOOPBACK, PortWish, reserved_ports
from fieldloop.ui.server_process import ServerProcess, ServerSpec

START_TIMEOUT_S = 180.0
WATCH_INTERVAL_S = 0.5

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A server of one's own elsewhere must not leak into the one that is started here.
_NOT_INHERITED = ("PREFECT_API_URL", "PREFECT_API_KEY", "MLFLOW_TRACKING_URI")


def serve_ui(settings: Settings) -> None:
    """Serve all pages until this process is asked to end. Call it in the main thread: it listens for signals.

    Raises:
        ConfigError: a configured port is in use, or `mlflow/server.yaml` is broken.
        StoreBusy: the pages of this home are being served already.
        ServerStopped: a server ended by itself; the others have been ended too.
        LinkError: a server did not answer in time.
    """
    folder = settings.home_dir / "ui"
    folder.mkdir(parents=True, exist_ok=True)
    wishes = [
        PortWish("FIELDLOOP_PREFECT_PORT", settings.prefect_port, 4200),
        PortWish("FIELDLOOP_MLFLOW_PORT", settings.mlflow_port, 5000),
        PortWish("FIELDLOOP_PAGES_PORT", settings.pages_port, USUAL_PAGES_PORT),
    ]
    with _alone(folder / "lock"), _stop_asked_for() as stop, reserved_ports(wishes) as ports:
        prefect_port, mlflow_port, pages_port = ports
        specs = [prefect_server(settings, folder, prefect_port), mlflow_server(settings, folder, mlflow_port)]
        with HttpServer(create_pages(settings.home_dir), port=pages_port) as pages, _running(specs) as servers:
            _say("Starting Prefect and MLflow (10 to 30 seconds) ...")
            if _wait_until_up(servers, stop):
                _say(_links(settings, pages.url, servers))
            while not stop.wait(WATCH_INTERVAL_S):
                for server in servers:
                    server.check()
            _say("Ending the servers ...")


def prefect_server(settings: Settings, folder: Path, port: int) -> ServerSpec:
    """Prefect's server on the database of the runs below `.fieldloop/`."""
    url = f"http://{LOOPBACK}:{port}"
    return ServerSpec(
        name="Prefect",
        command=(sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(port)),
        port=port,
        health_path="/api/health",
        log=folder / "prefect.log",
        environment={**_environment(settings), "PREFECT_UI_API_URL": f"{url}/api"},
    )


def mlflow_server(settings: Settings, folder: Path, port: int) -> ServerSpec:
    """MLflow's tracking server on the store of the runs and models below `.fieldloop/`."""
    (settings.home_dir / "mlflow").mkdir(parents=True, exist_ok=True)
    config = read_config(settings.root / "mlflow" / "server.yaml")
    return ServerSpec(
        name="MLflow",
        command=tracking_server_command(settings, config, port),
        port=port,
        health_path="/health",
        log=folder / "mlflow.log",
        environment={**_environment(settings), **config.environment},
    )


def _environment(settings: Settings) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return {"PREFECT_HOME": str(settings.home_dir / "prefect"), **QUIET_ENVIRONMENT, **inherited}


@contextmanager
def _running(specs: Sequence[ServerSpec]) -> Iterator[list[ServerProcess]]:
    """The servers, started together; however the block ends, all of them and their children are gone after it."""
    servers: list[ServerProcess] = []
    try:
        for spec in specs:
            servers.append(ServerProcess(spec))
        yield servers
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait_ended()


def _wait_until_up(servers: Sequence[ServerProcess], stop: Event) -> bool:
    """Whether all servers answer; False where the end was asked for first."""
    deadline = time.monotonic() + START_TIMEOUT_S
    waiting = list(servers)
    while waiting and not stop.wait(WATCH_INTERVAL_S):
        waiting = [server for server in waiting if not server.is_up()]
        if waiting and time.monotonic() > deadline:
            late = waiting[0].spec
            raise LinkError(f"{late.name} did not answer on {late.url} within {START_TIMEOUT_S:.0f} s; see {late.log}")
    return not waiting


def _links(settings: Settings, pages_url: str, servers: Sequence[ServerProcess]) -> str:
    has_report = (settings.home_dir / "report.html").is_file()
    rows = [
        ("Report", f"{pages_url}/report.html" if has_report else f"none yet: run `{FIRST_RUN}`"),
        ("Data Docs", f"{pages_url}/"),
        *((server.spec.name, server.spec.url) for server in servers),
    ]
    listed = "\n".join(f"  {name:<10} {link}" for name, link in rows)
    logs, here = settings.home_dir / "ui", Path.cwd()
    shown = logs.relative_to(here) if logs.is_relative_to(here) else logs
    return f"\n{listed}\n\nCtrl-C ends them all. Logs: {shown}"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    try:
        held = FileLock(path).acquire(timeout=0)
    except Timeout:
        raise StoreBusy(
            f"the pages of {path.parents[1]} are being served already, in another terminal: use those links, "
            "or end that one with Ctrl-C"
        ) from None
    with held:
        yield


@contextmanager
def _stop_asked_for() -> Iterator[Event]:
    """An event that is set when this process is asked to end; the handlers before it come back afterwards."""
    stop = Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    former: list[tuple[signal.Signals, Callable[[int, FrameType | None], object] | int | None]] = [
        (number, signal.signal(number, ask)) for number in _STOP_SIGNALS
    ]
    try:
        yield stop
    finally:
        for number, handler in former:
            signal.signal(number, handler)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
