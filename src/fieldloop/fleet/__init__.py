"""The fleet: two dozen field computers, each its own operating-system process, and the units they stand at."""

from fieldloop.fleet.fleet import DeviceUpdate, Fleet, FleetError
from fieldloop.fleet.process import DeviceError, EdgeCommand
from fieldloop.fleet.run import DeviceRun, FleetRun, FleetSync

__all__ = [
    "DeviceError",
    "DeviceRun",
    "DeviceUpdate",
    "EdgeCommand",
    "Fleet",
    "FleetError",
    "FleetRun",
    "FleetSync",
]
