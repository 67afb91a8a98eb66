"""Clocks that lie, servers that drip or point elsewhere, and releases that were signed with a stolen key."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import urllib3

from benchmarks.attacks import Outcome, attack
from fieldedge.cli import main
from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.loading import load_model
from fieldedge.system.clock import Clock, format_utc
from fieldedge.system.durable import write_durably
from fieldedge.system.errors import FieldloopError, LinkError, ReleaseError
from fieldedge.system.http import Bounds, Patience, ask, json_value
from fieldedge.transfer.trust import gateway_mirror
from fieldedge.transfer.updates import update, update_from
from fieldedge.transfer.usb import UsbStick, update_from_usb
from tests.edge.hostile import HOSTILE
from tests.edge.raw_server import RawServer
from tests.edge.sample import AGRICULTURE, GatewaySimulator, Repository, bundle_files, onnx_model, serving, zipped

CONTRACT = AGRICULTURE.contract
HASTE = Patience(grace_s=1.0, min_bytes_per_s=1_000.0)  # the rules are the same; only their minute is shorter
YEARS = (-10, -1, 1, 10)


@attack(line=15, words="the system clock is set back, and expired releases are offered")
def clock_set_back(scratch: Path) -> Outcome:
    """By a process that starts anew, in the same boot and in a later one, and over the air as from a stick."""
    with device_at(scratch) as (directory, repository, gateway):
        known = datetime.now(UTC)
        accepted = tried = 0
        for days in (1, 60, 3_650):
            for boot in ("same", "later"):
                keep_floor(directory, known, boot_id="same")
                repository.release(bundle(f"expired {days} {boot}"), expires_days=-1)
                clock = clock_at(directory, known - timedelta(days=days), boot)
                tried += 2
                accepted += is_installed(by("air", scratch, directory, repository, gateway, clock))
                accepted += is_installed(
                    lambda clock=clock: update_from_usb(stick(scratch, repository), directory, CONTRACT, clock.reading)
                )
    return Outcome(accepted, 0, f"{tried} expired releases")


@attack(line=15, words="the system clock jumps years to either side while the device knows the time")
def clock_far_off(scratch: Path) -> Outcome:
    """Good releases must be installed all the same."""
    with device_at(scratch) as (directory, repository, gateway):
        known, refused = datetime.now(UTC), 0
        for years in YEARS:
            keep_floor(directory, known, boot_id="same")
            repository.release(bundle(f"good {years}"))
            clock = clock_at(directory, known + timedelta(days=365 * years), "same")
            refused += not is_installed(by("air", scratch, directory, repository, gateway, clock))
    return Outcome(refused, 0, f"{len(YEARS)} jumps")


@attack(line=16, words="a logger 300 days ahead, and a floor that a former version wrote from it")
def logger_ahead(scratch: Path) -> Outcome:
    """Updates and sticks at once, after restarts, and beside a wrong floor."""
    with device_at(scratch) as (directory, repository, gateway):
        real = datetime.now(UTC)
        clock = clock_at(directory, real, "first")
        refused = tried = 0
        for boot in ("first", "second", "third"):
            for _ in range(8):
                clock.witness(real + timedelta(days=300), "station")
                clock.keep()
            for way in ("air", "stick"):
                repository.release(bundle(f"{boot} {way}"))
                tried += 1
                refused += not is_installed(by(way, scratch, directory, repository, gateway, clock))
            clock = clock_at(directory, real, f"after {boot}")
        directory.time_floor.write_text((real + timedelta(days=300)).isoformat())
        repository.release(bundle("beside a wrong floor"))
        refused += not is_installed(by("air", scratch, directory, repository, gateway, clock))
        lasting = abs(datetime.fromisoformat(directory.time_floor.read_text()) - real) > timedelta(days=40)
    return Outcome(refused + lasting, 0, f"{tried + 1} good releases, 300 days ahead")


@attack(line=17, words="a server drips each file of a release a byte at a time, headers too", at_most_s=120.0)
def dripping_server(scratch: Path) -> Outcome:
    """No step may wait longer than is stated, and the lock must be free afterwards."""
    with device_at(scratch) as (directory, repository, gateway):
        repository.release(bundle("dripped"))
        accepted = 0
        places = ("timestamp.json", ".snapshot.json", ".targets.json", "bundle.zip")
        for place in places:
            gateway.drips = lambda path, place=place: path.endswith(place)
            accepted += is_installed(lambda: update(directory, CONTRACT, gateway.url, within_s=3.0))
            accepted += is_installed(lambda: update(directory, CONTRACT, gateway.url, patience=HASTE))
        gateway.drips = None
        headers = RawServer()
        headers.slowly = b"HTTP/1.1 200 Any\r\nX-Header: " + b"x" * 60_000
        mirror = gateway_mirror(headers.url, Bounds.within(3.0))
        accepted += is_installed(lambda: update_from(directory, CONTRACT, mirror))
        with suppress(LinkError):
            ask("POST", headers.url, urllib3.Timeout(total=2.0, read=30.0), body=b"a batch")
            accepted += 1
        lost = not is_installed(lambda: update(directory, CONTRACT, gateway.url))
    return Outcome(accepted, int(lost), f"{2 * len(places) + 2} waits")


@attack(line=17, words="an update hangs while a stick is plugged in and batches wait", at_most_s=120.0)
def hanging_update(scratch: Path) -> Outcome:
    """Both must get through meanwhile."""
    with device_at(scratch) as (directory, repository, gateway):
        repository.release(bundle("hanging"))
        hangs = threading.Event()
        gateway.drips = lambda path: path.endswith("bundle.zip") and (hangs.set() or True)
        thread = threading.Thread(target=lambda: is_installed(lambda: update(directory, CONTRACT, gateway.url)))
        thread.start()
        hangs.wait(60.0)
        refused = int(main(["sync", "--dir", str(directory.root), "--gateway", gateway.url]) != 0)
        clock = clock_at(directory, datetime.now(UTC), "same")
        refused += not is_installed(by("stick", scratch, directory, repository, gateway, clock))
        thread.join(60.0)
    return Outcome(refused, int(thread.is_alive()), "a sync and a stick beside it")


@attack(line=18, words="signed bundles: keys as constants, loops, gigabytes, depth", at_most_s=600.0, at_most_mb=700.0)
def hostile_bundles(scratch: Path) -> Outcome:
    """Each is offered twice: nothing of it may run, and it may be fetched once."""
    accepted, fetched_again, unnamed = [], 0, 0
    with device_at(scratch) as (directory, repository, gateway):
        for what, (make, _) in HOSTILE.items():
            made = make()
            target = repository.release(made if isinstance(made, bytes) else zipped(made))
            for _ in range(2):
                try:
                    update(directory, CONTRACT, gateway.url)
                    accepted.append(what)
                except ReleaseError:
                    continue
                except Exception:  # noqa: BLE001  (what has no name is what is counted)
                    unnamed += 1
            fetched_again += gateway.asked.count(f"/tuf/targets/agriculture/{target.name}") != 1
        runs = load_model(directory, AGRICULTURE)
        lost = runs is None or runs.installed.version != "first"
    detail = f"{len(HOSTILE)} bundles, {fetched_again} fetched again, {unnamed} without a name {' '.join(accepted)}"
    return Outcome(len(accepted) + fetched_again + unnamed, int(lost), detail.strip())


@attack(line=20, words="redirects of every kind, to another origin and on the same one")
def redirected(scratch: Path) -> Outcome:
    """Nobody but the gateway itself may be asked for anything."""
    with (
        device_at(scratch) as (directory, repository, gateway),
        serving(GatewaySimulator(scratch / "tuf")) as elsewhere,
    ):
        accepted = tried = 0
        for status in (300, 301, 302, 303, 307, 308):
            for place in ("timestamp.json", ".root.json", ".snapshot.json", "bundle.zip"):
                for to in (elsewhere.url, "", "//" + elsewhere.url.partition("//")[2]):
                    gateway.redirect = lambda path, status=status, place=place, to=to: (
                        (status, to + path + "?again") if path.endswith(place) and "?" not in path else None
                    )
                    tried += 1
                    repository.release(bundle(f"redirected {tried}"))
                    accepted += is_installed(lambda: update(directory, CONTRACT, gateway.url))
        asked_again = sum("?" in path for path in gateway.asked)
    return Outcome(accepted + len(elsewhere.asked) + asked_again, 0, f"{tried} redirects")


@attack(line=22, words="answers that are no answers: nested, huge, encoded, none at all")
def broken_answers(scratch: Path) -> Outcome:
    """Each must end in one named error that says a cause, for an update and a sync."""
    answers = RawServer()
    bodies = (b"[" * 60_000, b'{"acknowledged": ' + b"[" * 60_000, b"9" * 60_000, b"\xff", b"", b'{"error": [[]]}')
    wire = [
        b"HTTP/1.1 %d Any\r\nConnection: close\r\n\r\n%s" % (code, body) for code in (200, 201, 400) for body in bodies
    ]
    wire += [b"", b"SSH-2.0\r\n", b"HTTP/1.1 200 Any\r\nContent-Encoding: gzip\r\n\r\n", b"HTTP/1.1 99999 x\r\n\r\n"]
    unnamed = 0
    with device_at(scratch) as (directory, _, _gateway):
        for answer in wire:
            answers.next = answer
            for url in (answers.url, "http://127.0.0.1:9"):
                try:
                    update(directory, CONTRACT, url)
                except FieldloopError as error:
                    unnamed += ": ;" in str(error) or not str(error).strip()
                except Exception:  # noqa: BLE001  (what has no name is what is counted)
                    unnamed += 1
            unnamed += main(["sync", "--dir", str(directory.root), "--gateway", answers.url]) not in (0, 1)
            json_value(answer)
    return Outcome(unnamed, 0, f"{len(wire)} answers")


# The parts


@contextmanager
def device_at(scratch: Path) -> Iterator[tuple[DeviceDirectory, Repository, GatewaySimulator]]:
    """A provisioned device that runs the release `first`, its repository, and a gateway on the loopback."""
    repository = Repository(scratch / "tuf")
    with serving(GatewaySimulator(scratch / "tuf")) as gateway:
        directory = DeviceDirectory(scratch / "device")
        made = ["--device-id", "dev-00", "--workload", "agriculture", "--root", str(repository.trusted_root)]
        if main(["init", "--dir", str(directory.root), *made]) != 0:
            raise RuntimeError("the device could not be made")
        repository.release(bundle("first"))
        update(directory, CONTRACT, gateway.url)
        yield directory, repository, gateway


def bundle(version: str) -> bytes:
    """A good release."""
    return zipped(bundle_files(onnx_model(CONTRACT), version))


def stick(scratch: Path, repository: Repository) -> UsbStick:
    """A stick with the repository as it is now."""
    made = UsbStick(scratch / "stick")
    shutil.rmtree(made.release, ignore_errors=True)
    shutil.copytree(repository.metadata.parent, made.release)
    return made


def by(
    way: str, scratch: Path, directory: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, clock: Clock
) -> Callable[[], object]:
    """Install what is released, over the air or from a stick."""
    if way == "air":
        return lambda: update(directory, CONTRACT, gateway.url, clock.reading)
    return lambda: update_from_usb(stick(scratch, repository), directory, CONTRACT, clock.reading)


def clock_at(directory: DeviceDirectory, wall: datetime, boot_id: str) -> Clock:
    """The device's clock in a process that starts with the system clock at `wall`."""
    return Clock(
        directory.clock_floor,
        wall=lambda: wall,
        monotonic=lambda: 1_000.0,
        boot_id=boot_id,
        is_synchronised=lambda: False,
    )


def keep_floor(directory: DeviceDirectory, at: datetime, boot_id: str) -> None:
    """What a service that knew the time has kept, in the same second."""
    note = f'{{"floor_utc": "{format_utc(at)}", "is_grounded": true, "boot_id": "{boot_id}", "at_s": 1000.0}}'
    write_durably(directory.clock_floor, note.encode())


def is_installed(install: Callable[[], object]) -> bool:
    """Whether it was installed; refusals and failed links have a name."""
    try:
        install()
    except FieldloopError:
        return False
    return True
