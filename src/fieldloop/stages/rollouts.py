"""The rollouts of a clone, put together: its signed repository, its gateway, its bundles."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from fieldedge.system.errors import ConfigError
from fieldloop.core.paths import paths_of
from fieldloop.core.settings import Settings
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.reports import Reports
from fieldloop.release import ReleaseRepository, is_begun
from fieldloop.rollout.engine import Rollouts
from fieldloop.rollout.gateway_fleet import GatewayFleet
from fieldloop.rollout.signed import SignedReleases, bundles_of, run_of
from fieldloop.rollout.store import RolloutStore
from fieldloop.stages.context import Loop
from fieldloop.stages.refs import ReleasedRef
from fieldloop.workloads import load_params

REPORTS = "reports"  # beside the inbox


def goes_out_in_stages(settings: Settings, workload: str) -> bool:
    """Whether a new version is left to a rollout: in a deployment, and wherever one is on."""
    current = RolloutStore(paths_of(settings).rollouts).current(workload)
    return settings.is_deployment or (current is not None and current.is_open)


def begin_rollout(loop: Loop, released: ReleasedRef) -> ReleasedRef:
    """The rollout of a version that lies ready for one; the same reference, with what came of it.

    Done again while the rollout is on, or after it was halted, nothing is begun.
    """
    if not released.is_staged:
        return released
    version, rollouts = released.version, open_rollouts(loop.settings, loop.workload)
    offers = ReleaseRepository(loop.paths.tuf).offers(loop.workload)
    current = RolloutStore(loop.paths.rollouts).current(loop.workload)
    everyones = "nothing" if offers.released is None else f"version {offers.released.version}"
    if offers.released is not None and offers.released.version == version:
        told = ""
    elif version in offers.withdrawn:
        told = (
            f"it was withdrawn, and nothing is released: every device is offered {everyones} until a better model "
            "comes, or a person promotes another"
        )
    elif current is not None and current.is_open and current.version == version:
        told = f"its rollout is on: {current.stage_words}, {current.phase}"
    else:
        state = rollouts.start(loop.workload, version, loop.params.rollout, "retrain", "the newest champion")
        told = f"its rollout begins: {state.stage_words}; the others are offered {everyones}"
    return replace(released, told=told)


def open_rollouts(settings: Settings, workload: str) -> Rollouts:
    """The rollouts of this clone, as a person or a schedule asks for them.

    Raises:
        ConfigError, ReleaseError: as `rollouts_at`.
    """
    return rollouts_at(settings, workload, lambda: datetime.now(UTC))


def rollouts_at(settings: Settings, workload: str, now: Callable[[], datetime]) -> Rollouts:
    """The same by another clock: the sample world's.

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
        SignedReleases(ReleaseRepository(paths.tuf), lambda name, version: run_of(paths.bundles, name, version)),
        GatewayFleet(registry, paths.inbox, reports, now()),
        lambda name, version: bundles_of(paths.bundles, name, version, classes),
        now,
    )
