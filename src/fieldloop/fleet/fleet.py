"""The fleet: what a person with a laptop would do at every device, done at all of them, a few at a time.

Each device keeps everything of its own in its directory and runs as its own process. A device that fails does not
stop the others: they finish, then one error names those that did not. Every step can be repeated; what was done stays
done. What a device decides, keeps and sends is its own business (`fieldedge`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

from fieldedge.contract import Record
from fieldedge.device.config import read_config
from fieldedge.system.durable import write_durably
from fieldedge.system.errors import DataError, FieldloopError, TransientError
from fieldedge.workloads import known_workload
from fieldloop.core.console import OnProgress
from fieldloop.core.words import Words
from fieldloop.fleet.process import EdgeCommand
from fieldloop.fleet.run import DevicePeriod, DeviceRun, FleetRun, FleetSync
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.owners import UnitOwners
from fieldloop.source import Place

DEFAULT_UPLOAD_BUDGET_BYTES = 10_000
MAX_FAILURES_TOLD = 5
_Result = TypeVar("_Result")
_BUDGET = re.compile(r"^(upload_budget_bytes *= *)\d+", re.MULTILINE)


class FleetError(TransientError):
    """Some devices failed; the others finished, and nothing that a device stored is lost. Do it again to go on.

    `failures` maps each failed device to what happened there.
    """

    def __init__(self, task: str, failures: dict[str, FieldloopError], devices: int) -> None:
        self.failures = failures
        told = [f"  {failures[device_id]}" for device_id in sorted(failures)[:MAX_FAILURES_TOLD]]
        untold = len(failures) - len(told)
        super().__init__(
            f"{task}: {len(failures)} of {devices} devices failed; the others finished, and all that was stored is "
            "kept. Mend what is told here and run the same again to continue:\n"
            + "\n".join(told)
            + (f"\n  and {untold} more" if untold else "")
        )


@dataclass(frozen=True)
class DeviceUpdate:
    """What is installed on a device after an update."""

    device_id: str
    version: str
    changed: bool
    slot: str
    precision: str


class Fleet:
    """Devices side by side in one directory, run with one installation of `fieldedge`.

    Args:
        devices_dir: each device has its directory in it, named by its id.
        edge_python: the Python of the environment where `fieldedge` is installed.
        trusted_root: the root metadata that a new device is given.
        registry: where the gateway finds the devices' public keys.
        device_ids: the devices that are at work; all that are set up, unless said.

    Raises:
        ConfigError: there is no such Python.
    """

    def __init__(
        self,
        devices_dir: Path,
        edge_python: Path,
        trusted_root: Path,
        registry: DeviceRegistry,
        workload: str,
        upload_budget_bytes: int = DEFAULT_UPLOAD_BUDGET_BYTES,
        device_ids: Sequence[str] | None = None,
    ) -> None:
        self._at_work = device_ids
        self._devices_dir = devices_dir.absolute()
        self._edge = EdgeCommand(edge_python)
        self._trusted_root = trusted_root.absolute()
        self._registry = registry
        self._workload = workload
        self._words = Words.of(known_workload(workload).contract.episode)
        self._upload_budget_bytes = upload_budget_bytes

    def provision(self, device_ids: Sequence[str], workers: int = 2) -> dict[str, str]:
        """Set devices up and register their public keys (returned, hex). What is set up keeps all but its budget.

        Raises:
            FleetError: a device could not be set up. None of this call's is registered then.
            ConfigError: a device is registered with another key.
        """
        self._devices_dir.mkdir(parents=True, exist_ok=True)
        answers = self._at_each("setting up", device_ids, self._init, workers)
        for device_id in device_ids:
            _set_budget(self._settings(device_id), self._upload_budget_bytes)
        keys = {device_id: str(answer["public_key"]) for device_id, answer in answers.items()}
        self._registry.register(keys)
        return keys

    def device_ids(self) -> list[str]:
        """The devices that are at work, by name."""
        return sorted(self._set_up() if self._at_work is None else self._at_work)

    def is_provisioned(self) -> bool:
        """Whether every device that is at work is set up for the workload, and may upload as much as it should."""
        paths = [self._settings(device_id) for device_id in self.device_ids()]
        if not all(path.exists() for path in paths):
            return False
        wanted = (self._workload, self._upload_budget_bytes)
        configs = map(read_config, paths)
        return all((config.workload, config.upload_budget_bytes) == wanted for config in configs)

    def _settings(self, device_id: str) -> Path:
        return self._devices_dir / device_id / "device.toml"

    def _set_up(self) -> list[str]:
        return [path.parent.name for path in self._devices_dir.glob("*/device.toml")]

    def update_all(
        self,
        url: str,
        workers: int = 2,
        on_progress: OnProgress | None = None,
        device_ids: Sequence[str] | None = None,
    ) -> list[DeviceUpdate]:
        """Bring the released model to every device, or to some.

        Raises:
            FleetError: a device could not be updated; it keeps the model that it had.
        """
        answers = self._at_each(
            "updating",
            self.device_ids() if device_ids is None else device_ids,
            lambda device_id: self._command(device_id, "update", "--gateway", url),
            workers,
            on_progress,
        )
        return [
            DeviceUpdate(
                device_id,
                version=str(answer["version"]),
                changed=bool(answer["changed"]),
                slot=str(answer["slot"]),
                precision=str(answer["precision"]),
            )
            for device_id, answer in answers.items()
        ]

    def run_period(self, places: Sequence[Place], workers: int = 2, on_progress: OnProgress | None = None) -> FleetRun:
        """Let every device live through a period offline in its own place; `on_progress(done, total)` in devices.

        Each is registered as its place's owner for the period, as a person would do who sets it up there.

        Raises:
            FleetError: a device failed. Called again, it continues from what it stored.
            DataError: a place has no device, two have the same, or they are of different periods.
            ConfigError: a place is registered for another device in this period.
        """
        own = self._owned(places)
        periods = self._at_each(
            f"{self._words.period} {places[0].period}",
            list(own),
            lambda device_id: self._live(device_id, self._begun(device_id, own[device_id]), None),
            workers,
            on_progress,
        )
        return FleetRun.of([lived for lived in periods.values() if lived is not None])

    def begin_period(self, places: Sequence[Place]) -> dict[str, DevicePeriod]:
        """The period of every device, on its first day; `live` goes on with them, until a day or to the end.

        Raises:
            DataError, ConfigError: as `run_period`.
        """
        return {device_id: self._begun(device_id, place) for device_id, place in self._owned(places).items()}

    def live(
        self,
        periods: Mapping[str, DevicePeriod],
        until: date | None = None,
        workers: int = 2,
        on_progress: OnProgress | None = None,
    ) -> FleetRun | None:
        """Let these devices live on until a day, each in a process that ends then; the figures where it is to the end.

        Raises:
            FleetError: a device failed.
        """
        lived = self._at_each(
            "living on",
            list(periods),
            lambda device_id: self._live(device_id, periods[device_id], until),
            workers,
            on_progress,
        )
        return FleetRun.of([one for one in lived.values() if one is not None]) if until is None else None

    def warmed(self) -> AbstractContextManager[None]:
        """Within it all that devices do is forked from one warmed process."""
        return self._edge.warmed()

    def _owned(self, places: Sequence[Place]) -> dict[str, Place]:
        own = _place_of_each_device(places, self._words.period)
        owners = {f"{place.period}/{place.name}": device_id for device_id, place in own.items()}
        UnitOwners.beside(self._registry.path).register(owners)
        for place in places:
            place.load()
        return own

    def _begun(self, device_id: str, place: Place) -> DevicePeriod:
        return DevicePeriod(place, device_id, known_workload(self._workload).contract.decided_at.name)

    def sync_all(
        self,
        url: str,
        workers: int = 2,
        on_progress: OnProgress | None = None,
        device_ids: Sequence[str] | None = None,
    ) -> FleetSync:
        """Let every device, or some, send home what it selects, and what it reports of its model.

        Raises:
            FleetError: a device could not send. It keeps what was not acknowledged.
        """
        answers = self._at_each(
            "sending home",
            self.device_ids() if device_ids is None else device_ids,
            lambda device_id: self._command(device_id, "sync", "--gateway", url),
            workers,
            on_progress,
        )
        return FleetSync.of(list(answers.values()))

    def _init(self, device_id: str) -> Record:
        return self._command(
            device_id,
            "init",
            *("--device-id", device_id),
            *("--workload", self._workload),
            *("--root", str(self._trusted_root)),
            *("--upload-budget-bytes", str(self._upload_budget_bytes)),
        )

    def _command(self, device_id: str, command: str, *arguments: str) -> Record:
        return self._edge.run(device_id, command, "--dir", str(self._devices_dir / device_id), *arguments)

    def _live(self, device_id: str, period: DevicePeriod, until: date | None) -> DeviceRun | None:
        with self._edge.agent(device_id, "run", "--dir", str(self._devices_dir / device_id)) as agent:
            return period.live(agent, until)

    def _at_each(
        self,
        task: str,
        device_ids: Sequence[str],
        work: Callable[[str], _Result],
        workers: int,
        on_progress: OnProgress | None = None,
    ) -> dict[str, _Result]:
        """`work` for every device, `workers` at a time; results in the order of the devices.

        Threads are enough: the work is done in the devices' processes. Interrupted, it ends those.
        """
        with self._edge.warmed():
            return self._done_at_each(task, device_ids, work, workers, on_progress)

    def _done_at_each(
        self,
        task: str,
        device_ids: Sequence[str],
        work: Callable[[str], _Result],
        workers: int,
        on_progress: OnProgress | None,
    ) -> dict[str, _Result]:
        results: dict[str, _Result] = {}
        failures: dict[str, FieldloopError] = {}
        pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="device")
        futures = {pool.submit(work, device_id): device_id for device_id in device_ids}
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                try:
                    results[futures[future]] = future.result()
                except FieldloopError as error:
                    failures[futures[future]] = error
                if on_progress is not None:
                    on_progress(done, len(futures))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            self._edge.kill_all()
            pool.shutdown(wait=True)
        if failures:
            raise FleetError(task, failures, len(device_ids))
        return {device_id: results[device_id] for device_id in device_ids}


def _set_budget(settings: Path, budget_bytes: int) -> None:
    """Write another upload budget into a device's settings, and leave all else in them as it is."""
    if read_config(settings).upload_budget_bytes != budget_bytes:
        text = _BUDGET.sub(rf"\g<1>{budget_bytes}", settings.read_text(encoding="utf-8"), count=1)
        write_durably(settings, text.encode())


def _place_of_each_device(places: Sequence[Place], called: str) -> dict[str, Place]:
    if not places or len({place.period for place in places}) != 1:
        raise DataError(f"a fleet's {called} needs places, and all of the same {called}")
    own: dict[str, Place] = {}
    for place in places:
        if place.device_id is None:
            raise DataError(f"{place.name} has no device; expected one for each place of the fleet")
        if place.device_id in own:
            other = own[place.device_id].name
            raise DataError(f"{place.device_id} stands in {other} and in {place.name}; expected one place each")
        own[place.device_id] = place
    return own
