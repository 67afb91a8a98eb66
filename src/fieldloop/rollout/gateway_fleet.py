"""What the gateway knows of the devices: who is registered, when each was heard, what each reported."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from fieldedge.system.errors import DataError
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.inbox import INGESTED_NAME, read_envelope
from fieldloop.gateway.reports import Reports
from fieldloop.rollout.engine import Received

HEARD_WITHIN_D = 400.0  # older batches say nothing of how long a device may be silent today
_DAY_S = 86_400.0


class GatewayFleet:
    """`engine.Fleet` over the gateway's folders; nothing in them is changed."""

    def __init__(self, registry: DeviceRegistry, inbox: Path, reports: Reports, now: datetime) -> None:
        self._registry, self._inbox, self._reports = registry, inbox, reports
        self._since_s = now.timestamp() - HEARD_WITHIN_D * _DAY_S

    def devices(self) -> Collection[str]:
        """The registered ones."""
        return self._registry.public_keys().keys()

    def contacts(self) -> Mapping[str, Sequence[datetime]]:
        """When a batch or a report of each was received, in order of time."""
        heard: dict[str, set[datetime]] = {}
        for device_id in self.devices():
            for path in self._envelopes(device_id):
                with suppress(DataError, ValueError):  # a damaged envelope is the ingestion's to tell
                    heard.setdefault(device_id, set()).add(datetime.fromisoformat(read_envelope(path).received_utc))
        for one in self.reports():
            heard.setdefault(one.report.device_id, set()).add(one.received)
        return {device_id: sorted(moments) for device_id, moments in heard.items()}

    def reports(self) -> Iterator[Received]:
        """Every update report that is held."""
        for one in self._reports.all():
            yield Received(one.report, datetime.fromisoformat(one.received_utc), one.sha256)

    def _envelopes(self, device_id: str) -> Iterator[Path]:
        for folder in (self._inbox / device_id, self._inbox / device_id / INGESTED_NAME):
            with suppress(FileNotFoundError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".json") and entry.stat(follow_symlinks=False).st_mtime >= self._since_s:
                        yield Path(entry.path)
