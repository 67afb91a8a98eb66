"""The fleet: two dozen field computers, each its own operating-system process, and the fields they stand in."""

from fieldloop.fleet.fleet import DeviceUpdate, Fleet, FleetError
from fieldloop.fleet.process import DeviceError, EdgeCommand
from fieldloop.fleet.season import DeviceSeason, FleetSeason, FleetSync

__all__ = [
    "DeviceError",
    "DeviceSeason",
    "DeviceUpdate",
    "EdgeCommand",
    "Fleet",
    "FleetError",
    "FleetSeason",
    "FleetSync",
]
