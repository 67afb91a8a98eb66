"""What is no plain file where the device keeps one: said by name, worked around or refused, and never waited for."""

import ast
import json
import os
import shutil
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import fieldedge
import fieldedge.diagnostics.release
from fieldedge.cli import main
from fieldedge.device.config import DeviceDirectory
from fieldedge.diagnostics.doctor import examine
from fieldedge.storage.recovery.rebuild import open_store
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock
from fieldedge.system.keys import load_key, public_key_hex
from fieldedge.transfer.updates import update
from tests.edge.patience import PATIENCE_S
from tests.edge.sample import (
    AGRICULTURE,
    DEVICE_ID,
    GatewaySimulator,
    Repository,
    bundle_files,
    onnx_model,
    season_messages,
    serving,
    zipped,
)

Put = Callable[[Path], object]


def put_folder(path: Path) -> None:
    (path / "within").mkdir(parents=True)


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


def put_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def put_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        former = Path.cwd()
        os.chdir(path.parent)  # a socket's address is short
        try:
            bound.bind(path.name)
        finally:
            os.chdir(former)


PUTS = pytest.mark.parametrize("put", [put_folder, put_pipe, put_endless, put_socket])


@pytest.fixture(autouse=True)
def ended_where_it_waits() -> Iterator[None]:
    """What waits for a pipe would do so for ever: it is interrupted instead, and the test fails."""

    def interrupt(*_: object) -> None:
        raise AssertionError("it waits, or reads without end")

    former = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(int(PATIENCE_S))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


@pytest.fixture(autouse=True)
def without_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fieldedge.diagnostics.release, "run_selftest", lambda *_: (0, {"onnxruntime": "1.28.0"}))


@dataclass(frozen=True)
class Made:
    """A device that is made once, and its gateway with all that it releases."""

    device: DeviceDirectory
    repository: Repository
    gateway: GatewaySimulator


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A device with a model, a season in its store, a batch in its outbox, and all of its notes."""
    folder = tmp_path_factory.mktemp("made")
    device, repository = DeviceDirectory(folder / "device"), Repository(folder / "tuf")
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract), "1")))
    at = ("--dir", str(device.root))
    root = str(repository.trusted_root)
    assert main(["init", *at, "--device-id", DEVICE_ID, "--workload", "agriculture", "--root", root]) == 0
    messages, stick = folder / "messages", folder / "stick"
    messages.write_text("".join(json.dumps(message) + "\n" for message in season_messages(10)))
    stick.mkdir()
    with serving(GatewaySimulator(repository.metadata.parent)) as gateway:
        gateway.public_keys[DEVICE_ID] = public_key_hex(load_key(device.private_key))
        update(device, AGRICULTURE.contract, gateway.url)
        assert main(["import", *at, "--messages", str(messages)]) == 0
        assert main(["export", *at, "--to", str(stick)]) == 0
        yield Made(device, repository, gateway)


@pytest.fixture
def lived(made: Made, tmp_path: Path, capsys: Any) -> DeviceDirectory:
    shutil.copytree(made.device.root, tmp_path / "device", symlinks=True)
    capsys.readouterr()
    return DeviceDirectory(tmp_path / "device")


@pytest.fixture
def gateway(made: Made) -> GatewaySimulator:
    return made.gateway


FILES = {
    "settings": lambda device: device.settings,
    "key": lambda device: device.private_key,
    "trials": lambda device: device.trials,
    "bootstrap": lambda device: device.bootstrap_root,
    "time floor": lambda device: device.time_floor,
    "clock": lambda device: device.clock_floor,
    "pointer": lambda device: device.root / "active.json",
    "model": lambda device: device.root / "slots" / "a" / "model.onnx",
    "golden": lambda device: device.root / "slots" / "a" / "golden.npz",
    "manifest": lambda device: device.root / "slots" / "a" / "manifest.json",
    "reference": lambda device: device.root / "slots" / "a" / "reference.json",
    "root": lambda device: device.trust / "root.json",
    "later root": lambda device: device.trust / "root_history" / "2.root.json",
    "timestamp": lambda device: device.trust / "timestamp.json",
    "targets": lambda device: device.trust / "targets.json",
    "store": lambda device: device.store,
    "log": lambda device: device.store.with_name("store.db-wal"),
    "journal": lambda device: device.store.with_name("store.db-journal"),
    "store's lock": lambda device: device.store.with_name("store.db-lock"),
    "batch": lambda device: next(iter(device.outbox.glob("*.batch"))),
    "lock of sync": lambda device: device.lock("sync"),
    "lock of update": lambda device: device.lock("update"),
    "lock of run": lambda device: device.lock("run"),
}


@PUTS
@pytest.mark.parametrize("name", FILES)
def test_no_command_waits_for_it_and_the_doctor_names_it(
    lived: DeviceDirectory, gateway: GatewaySimulator, put: Put, name: str, capsys: Any
) -> None:
    path: Path = FILES[name](lived)
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    put(path)
    found = examine(lived, Clock(lived.clock_floor))
    (files,) = (finding for finding in found if finding.check == "files")
    assert (files.state, str(path) in files.found, "expected plain file" in files.found) == ("fail", True, True)
    assert not [finding for finding in found if "the check broke" in finding.found]
    link = ("--gateway", gateway.url)
    for command, options in {"status": (), "recommend": ("--date", "2006-05-11"), "sync": link, "update": link}.items():
        code = main([command, "--dir", str(lived.root), "--json", *options])
        error = capsys.readouterr().err
        is_said = path.name in error or (name == "store" and "no field is known yet" in error)  # it was mended
        assert code == 0 or is_said, (command, error)
        assert "disk or the system refuses" not in error


@PUTS
@pytest.mark.parametrize("suffix", ["", "-wal", "-journal"])
def test_a_store_in_whose_place_something_else_lies_is_set_aside_and_mended(
    lived: DeviceDirectory, put: Put, suffix: str
) -> None:
    path = lived.store.with_name(lived.store.name + suffix)
    path.unlink(missing_ok=True)
    put(path)
    store, report = open_store(lived.store)
    with store:
        store.check()
        assert report is not None
        assert bool(store.episodes()) is (suffix != "")


@PUTS
def test_what_lies_in_the_place_of_a_slot_gives_way_to_the_next_release(
    lived: DeviceDirectory, made: Made, gateway: GatewaySimulator, put: Put
) -> None:
    put(lived.staging)
    (lived.root / "active.json").unlink()  # so that the release is new
    (lived.root / "slots" / "a").rename(lived.root / "slots" / "former")
    put(lived.root / "slots" / "a")
    assert update(lived, AGRICULTURE.contract, gateway.url).version == "1"


@PUTS
def test_a_batch_in_whose_place_something_else_lies_is_made_anew(
    lived: DeviceDirectory, gateway: GatewaySimulator, put: Put, capsys: Any
) -> None:
    (batch,) = lived.outbox.glob("*.batch")
    batch.unlink()
    put(batch)
    main(["sync", "--dir", str(lived.root), "--gateway", gateway.url])
    with Store(lived.store) as store:
        held = store.states()
    capsys.readouterr()
    assert held.keys() <= ({"acknowledged", "stored"} if put is not put_folder else {"stored"})


@PUTS
def test_a_root_of_trust_that_is_no_file_is_refused(tmp_path: Path, put: Put, capsys: Any) -> None:
    put(tmp_path / "root")
    who = ("--device-id", DEVICE_ID, "--workload", "agriculture")
    code = main(["init", "--dir", str(tmp_path / "device"), *who, "--root", str(tmp_path / "root")])
    error = capsys.readouterr().err
    assert (code, "expected a plain file; take 1.root.json" in error, str(tmp_path / "root") in error) == (
        1,
        True,
        True,
    )


def test_a_link_of_the_technician_is_followed(lived: DeviceDirectory, capsys: Any) -> None:
    elsewhere = lived.root.with_name("etc")
    elsewhere.mkdir()
    for path in (lived.settings, lived.private_key):
        path.rename(elsewhere / path.name)
        path.symlink_to(elsewhere / path.name)
    assert main(["status", "--dir", str(lived.root)]) == 0
    assert not [finding for finding in examine(lived, Clock(lived.clock_floor)) if finding.state == "fail"]


READS = ("read_bytes", "read_text", "open", "fromfile", "memmap")
ELSEWHERE = {
    "system/plain_files.py": 1,  # the place
    "system/durable.py": 2,  # what is written, and folders
    "system/clock.py": 1,  # the kernel's name for this boot
    "system/confinement.py": 1,  # /proc
    "device/processor.py": 1,  # /proc
    "diagnostics/benchmark.py": 1,  # /proc
    "transfer/download.py": 1,  # written to, after what is no plain file was removed
    "page/render.py": 1,  # a file of the package
    "cli.py": 2,  # /dev/null
    "storage/files.py": 1,  # made, where nothing is
    "storage/recovery/rebuild.py": 1,  # written just before
    "acquisition/sources/folder.py": 1,  # a folder
}


def test_every_file_of_the_device_is_read_in_one_place() -> None:
    """What opens files in any other way is seen here, and has to say why it cannot wait."""
    root = Path(fieldedge.__file__).parent
    found = Counter(
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and _is_read(node.func)
    )
    assert found == ELSEWHERE


def _is_read(called: ast.expr) -> bool:
    if isinstance(called, ast.Name):
        return called.id == "open"
    is_door = isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "Pipeline"
    return isinstance(called, ast.Attribute) and called.attr in READS and not is_door
