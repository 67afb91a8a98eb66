"""Every error of the cloud side, too, is of exactly one of the two families."""

import importlib
import pkgutil

import pytest

import fieldloop
import flows
import tasks
from fieldedge.system.errors import FieldloopError, PermanentError, TransientError
from fieldloop.compression.calibration import CalibrationError
from fieldloop.fleet import DeviceError
from fieldloop.fleet.fleet import FleetError
from fieldloop.ui.server_process import ServerStopped


def exceptions_of_the_cloud_side() -> set[type[BaseException]]:
    found: set[type[BaseException]] = set()
    for package in (fieldloop, flows, tasks):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            for kind in vars(importlib.import_module(module.name)).values():
                if isinstance(kind, type) and issubclass(kind, BaseException) and kind.__module__ == module.name:
                    found.add(kind)
    return found


def test_every_error_of_the_cloud_side_is_of_exactly_one_family() -> None:
    ours = exceptions_of_the_cloud_side()
    assert {FleetError, DeviceError, ServerStopped, CalibrationError} <= ours
    torn = {kind for kind in ours if issubclass(kind, PermanentError) == issubclass(kind, TransientError)}
    assert torn == set()


@pytest.mark.parametrize("kind", [DeviceError, FleetError, ServerStopped])
def test_a_process_that_ended_early_can_be_started_again(kind: type[FieldloopError]) -> None:
    assert issubclass(kind, TransientError)
