"""What an examination of the device is handed, and what it finds."""

from dataclasses import dataclass
from typing import Literal

from fieldedge.device.config import DeviceConfig, DeviceDirectory
from fieldedge.presentation.plain import Plain
from fieldedge.system.clock import Clock
from fieldedge.workload import Workload

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """What one check found, and what to do where it is not ok.

    A failure keeps the device from its work or its data; a warning is something that it works around.
    """

    check: str
    state: State
    found: str
    todo: str = ""


@dataclass(frozen=True)
class Subject:
    """The device under examination. Settings and workload are None where they cannot be read."""

    directory: DeviceDirectory
    clock: Clock
    config: DeviceConfig | None = None
    workload: Workload | None = None

    @property
    def rule(self) -> str:
        """What decides where no model does."""
        return Plain.rule if self.workload is None else self.workload.presenter.rule
