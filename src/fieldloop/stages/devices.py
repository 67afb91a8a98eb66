"""The sample world's devices, their places, and the gateway that is up as long as they have a link."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from fieldloop.core.http_server import HttpServer
from fieldloop.fleet import Fleet
from fieldloop.fleet.process import EdgeCommand
from fieldloop.gateway.app import create_app
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.release import ReleaseRepository
from fieldloop.source import Source
from fieldloop.stages.context import Loop, device_ids
from fieldloop.stages.workload import workload_of


def require_devices(loop: Loop) -> None:
    """Make sure that devices can run here, before anything is spent on a model for them.

    Raises:
        ConfigError: the device environment is missing.
    """

    EdgeCommand(loop.settings.edge_python_path)


def fleet_of(loop: Loop) -> Fleet:
    ids = device_ids(loop)
    fleet = Fleet(
        loop.paths.sample.devices,
        loop.settings.edge_python_path,
        ReleaseRepository(loop.paths.tuf).trusted_root(),
        DeviceRegistry(loop.paths.device_registry),
        loop.workload,
        loop.params.loop.upload_budget_bytes,
        ids,
    )
    if not fleet.is_provisioned():
        fleet.provision(ids, loop.settings.worker_count)
    return fleet


@contextmanager
def gateway_of(loop: Loop, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Iterator[str]:
    """The gateway, up only as long as the devices have a link; what it receives, it receives at `now`."""
    paths = loop.paths
    app = create_app(paths.tuf, paths.inbox, paths.device_registry, now=now, reports_dir=paths.reports)
    with HttpServer(app) as server:
        yield server.url


def source_of(loop: Loop) -> Source:
    """The sample world, with a place for each of its devices."""
    return workload_of(loop).source(loop.params, device_ids(loop), loop.paths.sample.prefix)
