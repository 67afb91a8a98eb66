"""The rollouts of a clone, put together: its signed repository, its gateway, its bundles."""

from datetime import UTC, datetime

from fieldedge.system.errors import ConfigError
from fieldloop.core.paths import paths_of
from fieldloop.core.settings import Settings
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.reports import Reports
from fieldloop.release import ReleaseRepository, is_begun
from fieldloop.rollout.engine import Rollouts
from fieldloop.rollout.gateway_fleet import GatewayFleet
from fieldloop.rollout.signed import SignedReleases, bundles_of
from fieldloop.rollout.store import RolloutStore
from fieldloop.workloads import load_params

REPORTS = "reports"  # beside the inbox


def open_rollouts(settings: Settings, workload: str) -> Rollouts:
    """The rollouts of this clone, as a person or a schedule asks for them.

    Raises:
        ConfigError: nothing was released yet.
        ReleaseError: the signed repository is gone or damaged.
    """
    paths = paths_of(settings)
    if not is_begun(paths.tuf):
        raise ConfigError(f"{paths.tuf} has no releases yet: run `retrain`, which makes one")
    classes = tuple(load_params(settings.root, workload).compression.device_classes)
    registry, reports = DeviceRegistry(paths.device_registry), Reports(paths.inbox.with_name(REPORTS))
    return Rollouts(
        RolloutStore(paths.rollouts),
        SignedReleases(ReleaseRepository(paths.tuf)),
        GatewayFleet(registry, paths.inbox, reports, datetime.now(UTC)),
        lambda name, version: bundles_of(paths.bundles, name, version, classes),
    )
