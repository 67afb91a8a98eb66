"""A model is tried where it can do no harm, once; what was found is remembered."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fieldedge.inference.trial
from fieldedge.contract import MAX_CANDIDATES, SCALED_LIMIT
from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.bundles import GOLDEN, MODEL
from fieldedge.inference.loading import load, load_model, usable
from fieldedge.inference.model import Model
from fieldedge.inference.model_file import check_model_file
from fieldedge.inference.trial import Trials, _judge, try_model
from fieldedge.system.errors import ReleaseError, TrialUnfinished
from fieldedge.transfer.updates import update
from fieldedge.workloads.agriculture import decision
from tests.edge.hostile import HOSTILE, Files, minutes_of_work, with_model
from tests.edge.sample import (
    AGRICULTURE,
    GatewaySimulator,
    Repository,
    bundle_files,
    onnx_model,
    zipped,
)

CONTRACT = AGRICULTURE.contract


@pytest.fixture
def updated(device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator) -> DeviceDirectory:
    """A device that runs version 1."""
    repository.release(zipped(bundle_files(onnx_model(CONTRACT), "1")))
    update(device, CONTRACT, gateway.url)
    return device


def released(repository: Repository, files: Files | bytes) -> str:
    """The path of the target at the gateway."""
    target = repository.release(files if isinstance(files, bytes) else zipped(files))
    return f"/tuf/targets/agriculture/{target.name}"


def version_that_runs(device: DeviceDirectory) -> str | None:
    loaded = load_model(device, AGRICULTURE)
    return None if loaded is None else loaded.installed.version


def test_a_model_is_tried_with_as_many_rows_and_as_far_out_as_a_decision_can_ask_for() -> None:
    doses = [dose for dose in decision.NITROGEN_DOSES_KG_HA if dose < decision.NITROGEN_MAX_KG_HA]
    assert 2 * (len(doses) + 2) == MAX_CANDIDATES  # no irrigation or the largest; no dose, those between, the largest
    far = np.array([[-1e9], [1e9]], np.float32) * np.ones(len(AGRICULTURE.contract.features), np.float32)
    scaled = AGRICULTURE.contract.scale(far)
    assert (scaled.min(), scaled.max()) == (-SCALED_LIMIT, SCALED_LIMIT)


@pytest.mark.parametrize("what", HOSTILE)
def test_what_a_stolen_key_signed_is_refused_by_name_and_not_fetched_again(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, what: str
) -> None:
    make, said = HOSTILE[what]
    path = released(repository, make())
    with pytest.raises(ReleaseError, match=said):
        update(updated, CONTRACT, gateway.url)
    assert version_that_runs(updated) == "1"
    with pytest.raises(ReleaseError, match=f"refused: .*{said}"):
        update(updated, CONTRACT, gateway.url)
    assert gateway.asked.count(path) == 1


@pytest.mark.slow
def test_a_model_that_works_for_minutes_is_ended_by_its_processor_time(tmp_path: Path) -> None:
    for name, data in minutes_of_work().items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ReleaseError, match="too much time"):
        try_model(tmp_path, "agriculture", wall_s=3600.0)


def test_a_trial_that_does_not_end_is_left_and_not_held_against_the_model(tmp_path: Path) -> None:
    for name, data in bundle_files(onnx_model(CONTRACT)).items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(TrialUnfinished, match="too busy"):
        try_model(tmp_path, "agriculture", wall_s=0.001)


def test_a_trial_that_cannot_begin_keeps_the_old_model_and_remembers_nothing(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    released(repository, bundle_files(onnx_model(CONTRACT), "2"))
    with monkeypatch.context() as patch, pytest.raises(TrialUnfinished, match="cannot be tried now"):
        patch.setattr(sys, "executable", "/nowhere/python")
        update(updated, CONTRACT, gateway.url)
    assert version_that_runs(updated) == "1"
    assert update(updated, CONTRACT, gateway.url).version == "2"


@pytest.mark.parametrize(
    ("code", "lines", "error", "said"),
    [
        (0, ['{"refused": "it does not fit"}'], ReleaseError, "it does not fit"),
        (0, [], ReleaseError, "without an answer"),
        (0, ["[" * 100_000], ReleaseError, "without an answer"),
        (0, ["{}"], ReleaseError, "without an answer"),
        (1, ["Traceback", "KeyError: 1"], ReleaseError, "KeyError"),
        (-signal.SIGSEGV, [], ReleaseError, "SIGSEGV"),
        (-signal.SIGABRT, [], ReleaseError, "SIGABRT"),
        (-signal.SIGILL, [], ReleaseError, "SIGILL"),
        (-signal.SIGXCPU, [], ReleaseError, "too much time"),
        (-signal.SIGKILL, [], TrialUnfinished, "ended from outside"),
        (-signal.SIGTERM, [], TrialUnfinished, "ended from outside"),
    ],
)
def test_however_the_trial_ends_it_has_a_name(code: int, lines: list[str], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        _judge(code, lines)
    _judge(0, ["a warning of a library", '{"refused": null}'])


CONFINED = """
import os, socket, subprocess, sys, threading
from fieldedge.system.confinement import confine
confine(cpu_s=5, extra_bytes=32_000_000) or sys.exit(77)
for name, reach in {
    "a socket": lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1]))),
    "a pair of sockets": socket.socketpair,
    "another program": lambda: os.execv("/bin/true", ["true"]),
    "a child": os.fork,
    "a child program": lambda: subprocess.run(["/bin/true"]),
    "a file that goes": lambda: os.unlink(sys.argv[2]),
    "a file that is renamed": lambda: os.rename(sys.argv[2], sys.argv[2] + "2"),
    "a large file": lambda: open(sys.argv[2], "ab").write(bytes(2_000_000)),
    "memory": lambda: bytearray(100_000_000),
}.items():
    try:
        reach()
    except (OSError, MemoryError):
        continue
    sys.exit(f"it got {name}")
seen = []
thread = threading.Thread(target=lambda: seen.append(len(bytes(4_000_000))))
thread.start()
thread.join()
assert seen == [4_000_000], "what a model needs is still there"
"""


def test_a_confined_process_reaches_nothing_and_still_computes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"kept")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.0)
        command = [sys.executable, "-c", CONFINED, str(server.getsockname()[1]), str(file)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 77:
            pytest.skip("this kernel or processor has no filter of system calls that we know")
        assert (done.returncode, done.stderr) == (0, "")
        with pytest.raises(BlockingIOError):
            server.accept()
    assert file.read_bytes().startswith(b"kept")


def test_the_trial_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """A killed service leaves no trial behind: the pipe that the grandchild holds open ends as well."""
    starter = (
        "import os, subprocess, sys\n"
        "code = 'from fieldedge.system.confinement import end_with_parent; end_with_parent(); print(1, flush=True); "
        "import time; time.sleep(600)'\n"
        "child = subprocess.Popen([sys.executable, '-c', code])\n"
        "child.wait()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    process.kill()
    assert process.stdout.read() == "", "the end of the pipe comes with the end of the last who holds it"
    process.wait()
    process.stdout.close()


def test_a_refused_bundle_is_tried_again_by_other_software_and_another_release_at_once(
    updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, said = HOSTILE["an endless Loop"]
    path = released(repository, make())
    for _ in range(2):
        with pytest.raises(ReleaseError, match=said):
            update(updated, CONTRACT, gateway.url)
    monkeypatch.setattr(fieldedge.inference.trial, "RULES", "others")
    fieldedge.inference.trial._software.cache_clear()
    try:
        with pytest.raises(ReleaseError, match=said):
            update(updated, CONTRACT, gateway.url)
    finally:
        monkeypatch.undo()
        fieldedge.inference.trial._software.cache_clear()
    assert gateway.asked.count(path) == 2
    released(repository, bundle_files(onnx_model(CONTRACT), "3"))
    assert update(updated, CONTRACT, gateway.url).version == "3"


# At the start


def trials_at_start(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The slots that are tried from now on."""
    tried: list[str] = []
    real = try_model

    def seen(folder: Path, workload: str) -> None:
        tried.append(folder.name)
        real(folder, workload)

    monkeypatch.setattr("fieldedge.inference.loading.try_model", seen)
    return tried


def test_a_model_that_passed_is_not_tried_at_each_start_and_by_new_software_once(
    updated: DeviceDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = trials_at_start(monkeypatch)
    assert version_that_runs(updated) == "1"
    assert tried == []
    (updated.root / "trials.json").unlink()  # as a former version left the device
    assert version_that_runs(updated) == "1"
    assert version_that_runs(updated) == "1"
    assert tried == ["a"]


@pytest.fixture
def hostile_slot(updated: DeviceDirectory, repository: Repository, gateway: GatewaySimulator) -> DeviceDirectory:
    """A former version, which asked less, has installed an endless loop as version 2."""
    released(repository, bundle_files(onnx_model(CONTRACT, bias=1.0), "2"))
    update(updated, CONTRACT, gateway.url)
    files = with_model(HOSTILE["an endless Loop"][0]()[MODEL])  # type: ignore[index]  # a bundle's files
    pointer = json.loads((updated.root / "active.json").read_text())
    for name, data in files.items():
        (updated.root / "slots" / pointer["active"]["slot"] / name).write_bytes(data)
    manifest = json.loads(files["manifest.json"])
    pointer["active"]["model_sha256"] = manifest["model_sha256"]
    (updated.root / "active.json").write_text(json.dumps(pointer))
    return updated


def test_a_hostile_model_that_a_former_version_installed_is_not_loaded_and_the_former_one_runs(
    hostile_slot: DeviceDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = trials_at_start(monkeypatch)
    for _ in range(2):
        loaded, problem = load(hostile_slot, AGRICULTURE)
        assert loaded is not None and loaded.installed.version == "1"
        assert problem is not None and "model 2 in slot b is not used" in problem and "Loop" in problem
    assert tried == ["b"], "what failed is not tried at every start"
    installed, problem = usable(hostile_slot, AGRICULTURE)
    assert installed is not None and installed.version == "1"
    assert problem is not None and "model 2 in slot b is not used" in problem


def test_a_loaded_model_repeats_its_golden_vectors_at_each_start(updated: DeviceDirectory) -> None:
    others = bundle_files(onnx_model(CONTRACT, bias=5.0), "1")[GOLDEN]
    (updated.root / "slots" / "a" / GOLDEN).write_bytes(others)
    assert load(updated, AGRICULTURE)[0] is None
    (updated.root / "slots" / "a" / GOLDEN).write_bytes(b"rotten")
    assert version_that_runs(updated) == "1", "that the vectors are damaged says nothing of the model"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"[" * 100_000, b'{"software": 1, "passed": 2}', b"\xff"])
def test_a_damaged_note_is_as_none(updated: DeviceDirectory, damage: bytes) -> None:
    (updated.root / "trials.json").write_bytes(damage)
    trials = Trials(updated.root, CONTRACT)
    assert not trials.has_passed("0") and trials.refusal("0") is None
    assert version_that_runs(updated) == "1"
    for number in range(100):
        trials.keep_refused(str(number), "x" * 10_000)
        trials.keep_passed(str(number))
    assert trials.refusal("99") is not None and trials.has_passed("99")
    assert len((updated.root / "trials.json").read_bytes()) < 20_000


# The file alone


def test_every_model_that_is_cut_off_is_refused_by_name() -> None:
    model = onnx_model(CONTRACT)
    check_model_file(model)
    for end in range(0, len(model), 7):
        with pytest.raises(ReleaseError):
            Model(model[:end], CONTRACT)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: b"\xba\x80\x80\x80\x10\x00" + model,  # the graph's number, and bits beyond 32
        lambda model: model + b"\x3a\x00",  # a second graph, which a parser would merge into the first
        lambda model: model + b"\x3b",  # a group
        lambda model: b"\x80" * 11 + model,
    ],
)
def test_what_two_parsers_may_read_in_two_ways_is_not_read_at_all(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ReleaseError, match="not readable as ONNX"):
        check_model_file(change(onnx_model(CONTRACT)))
