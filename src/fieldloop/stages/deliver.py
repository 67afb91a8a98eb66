"""Deliver: the release over the air to every device."""

from fieldedge.system.errors import DataError
from fieldloop.core.console import OnProgress
from fieldloop.stages.context import Loop
from fieldloop.stages.devices import fleet_of, gateway_of
from fieldloop.stages.refs import ReleasedRef


def deliver(loop: Loop, released: ReleasedRef, on_progress: OnProgress) -> int:
    """Every device fetches, verifies and installs the release over the air; how many changed their model."""
    with gateway_of(loop) as url:
        updates = fleet_of(loop).update_all(url, loop.settings.worker_count, on_progress)
    wrong = sorted(update.device_id for update in updates if update.version != released.version)
    if wrong:
        raise DataError(
            f"after the update {', '.join(wrong)} run another version than {released.version}; "
            "`fieldedge status` on the device says why"
        )
    return sum(update.changed for update in updates)
