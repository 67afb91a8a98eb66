"""The doctor finds what is really wrong, says what to do, and is ended by nothing that it finds."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fieldedge.diagnostics.doctor
import fieldedge.diagnostics.release
from fieldedge.cli import main
from fieldedge.contract.samples import FlaggedSample, Sample
from fieldedge.device.config import DeviceDirectory
from fieldedge.diagnostics.doctor import examine
from fieldedge.diagnostics.finding import Finding
from fieldedge.inference.onnxruntime_check import SMALLEST_MODEL
from fieldedge.inference.selftest import run_selftest
from fieldedge.storage.schema import NUMBERED_FORM
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock, Stamp, format_utc
from fieldedge.system.durable import write_durably
from fieldedge.system.locks import exclusive, is_held
from fieldedge.transfer.updates import update
from tests.edge.patience import PATIENCE_S
from tests.edge.raw_server import RawServer
from tests.edge.sample import AGRICULTURE, GatewaySimulator, Repository, bundle_files, onnx_model, zipped
from tests.edge.storage.test_schema import form_on_disk, write_form_3

IS_ROOT = os.geteuid() == 0


@pytest.fixture(autouse=True)
def quick_selftest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that imports the runtime takes half a second: most tests do without."""
    if "slow" not in request.keywords and "real_selftest" not in request.fixturenames:
        monkeypatch.setattr(fieldedge.diagnostics.release, "run_selftest", lambda *_: (0, {"onnxruntime": "1.28.0"}))


@pytest.fixture
def real_selftest() -> None:
    """Asked for by a test that tries the runtime itself."""


def found_in(device: DeviceDirectory, **clock: Any) -> dict[str, Finding]:
    return {finding.check: finding for finding in examine(device, Clock(device.clock_floor, **clock))}


def with_settings(device: DeviceDirectory, text: str) -> None:
    device.settings.write_text(device.settings.read_text() + text)


def good_release(repository: Repository, version: str = "1") -> None:
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract), version)))


def test_a_new_device_lacks_a_model_and_a_service_and_fails_in_nothing(device: DeviceDirectory) -> None:
    found = found_in(device, is_synchronised=lambda: True)
    assert {check for check, finding in found.items() if finding.state == "fail"} == set()
    assert {check for check, finding in found.items() if finding.state == "warn"} == {"model", "service"}
    assert found["model"].found == "none is installed: the FAO-56 balance decides"
    assert all(finding.todo for finding in found.values() if finding.state != "ok")


def test_examining_changes_nothing(device: DeviceDirectory) -> None:
    with Store(device.store):
        before = {path: path.lstat().st_mtime_ns for path in sorted(device.root.rglob("*")) if path.is_file()}
        names = sorted(device.root.rglob("*"))
        found_in(device)
        after = {path: path.lstat().st_mtime_ns for path in sorted(device.root.rglob("*")) if path.is_file()}
    assert sorted(set(before) ^ set(after)) == []
    assert names == [path for path in names if path.exists() or path.name.startswith("store.db-")]
    assert {path for path in before if before[path] != after[path]} <= {device.store.with_name("store.db-shm")}


# Settings, key, files


@pytest.mark.parametrize(
    ("damage", "check", "said"),
    [
        (lambda device: device.settings.unlink(), "settings", "is missing"),
        (lambda device: device.settings.write_text("device_id = 7"), "settings", "device_id is 7"),
        (lambda device: with_settings(device, "[stoer]\nmax_bytes = 1"), "settings", "stoer is not a setting"),
        (lambda device: device.private_key.unlink(), "key", "is missing"),
        (lambda device: device.private_key.write_text("no key"), "key", "damaged"),
        (lambda device: device.private_key.chmod(0o644), "key", "chmod 600"),
        (lambda device: device.bootstrap_root.unlink(), "trust", "No such file"),
        (lambda device: device.bootstrap_root.write_text("{}"), "trust", "bootstrap.root.json"),
        (lambda device: device.store.write_bytes(b"no database" * 1000), "store", "is damaged"),
    ],
)
def test_what_is_broken_fails_by_name_and_the_other_checks_go_on(
    device: DeviceDirectory, damage: Callable[[DeviceDirectory], object], check: str, said: str
) -> None:
    for left_over in device.root.glob("store.db-*"):
        left_over.unlink()
    damage(device)
    found = found_in(device)
    assert found[check].state == "fail"
    assert said in found[check].found
    assert {"key", "disk", "clock", "store", "service"} <= set(found)
    assert [name for name, finding in found.items() if finding.state == "fail"] == [check]


@pytest.mark.parametrize(("name", "mode"), [("root", 0o755), ("root", 0o710), ("store", 0o644)])
def test_what_others_may_look_into_is_told(device: DeviceDirectory, name: str, mode: int) -> None:
    path: Path = getattr(device, name)
    path.chmod(mode)
    found = found_in(device)["files"]
    assert (found.state, f"{path} is open to other users (mode {mode:o})" in found.found) == ("warn", True)
    assert f"chmod go= {path}" in str(found.todo)


@pytest.mark.skipif(not IS_ROOT, reason="only root can give files away")
def test_files_that_root_left_behind_are_found(device: DeviceDirectory) -> None:
    for path in (device.root, *device.root.rglob("*")):
        os.chown(path, 1234, 1234)
    os.chown(device.private_key, 0, 0)
    found = found_in(device)["files"]
    assert (found.state, str(device.private_key) in found.found) == ("fail", True)
    assert f"chown -R 1234 {device.root}" in found.todo


def test_a_check_that_breaks_is_a_finding_and_not_an_end(
    device: DeviceDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> Any:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setitem(fieldedge.diagnostics.doctor.CHECKS, "disk", broken)
    found = found_in(device)
    assert (found["disk"].state, "nobody thought of this" in found["disk"].found) == ("fail", True)
    assert "clock" in found


# Disk and clock


@pytest.mark.parametrize(("free_bytes", "state"), [(1_000_000, "fail"), (30_000_000, "warn"), (10**12, "ok")])
def test_a_disk_that_fills_is_told_before_it_is_full(
    device: DeviceDirectory, monkeypatch: pytest.MonkeyPatch, free_bytes: int, state: str
) -> None:
    usage = shutil.disk_usage(device.root)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free_bytes))
    assert found_in(device)["disk"].state == state


def test_the_time_is_ok_only_where_something_keeps_it(device: DeviceDirectory) -> None:
    assert found_in(device, is_synchronised=lambda: True)["clock"].state == "ok"
    unkept = found_in(device, is_synchronised=lambda: False)["clock"]
    assert (unkept.state, "timedatectl" in unkept.todo) == ("warn", True)


def test_a_clock_that_was_set_back_is_told_with_what_it_costs(device: DeviceDirectory) -> None:
    seen = datetime.now(UTC) + timedelta(days=30)
    device.time_floor.write_text(seen.isoformat())
    found = found_in(device, is_synchronised=lambda: False)["clock"]
    assert (found.state, "releases are judged by that" in found.found) == ("warn", True)
    assert found_in(device, is_synchronised=lambda: True)["clock"].state == "ok", "the next refresh mends it"
    device.time_floor.write_text("yesterday")
    assert "is judged by" not in found_in(device, is_synchronised=lambda: False)["clock"].found


def test_a_system_clock_that_is_not_believed_is_told(device: DeviceDirectory) -> None:
    floor = datetime.now(UTC) + timedelta(days=3)
    write_durably(device.clock_floor, json.dumps({"floor_utc": format_utc(floor), "boot_id": "x"}).encode())
    found = found_in(device, is_synchronised=lambda: False)["clock"]
    assert (found.state, "not believed" in found.found) == ("warn", True)


def test_a_root_of_trust_that_ends_soon_is_told(device: DeviceDirectory) -> None:
    later = datetime.now(UTC) + timedelta(days=350)
    found = found_in(device, wall=lambda: later, is_synchronised=lambda: True)["trust"]
    assert (found.state, "sign a newer root" in found.todo) == ("warn", True)


# Model and runtime


def test_a_sound_model_repeats_its_golden_vectors_in_a_process_of_its_own(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, real_selftest: None
) -> None:
    good_release(repository, "7")
    update(device, AGRICULTURE.contract, gateway.url)
    found = found_in(device)
    assert (found["model"].state, "7 (float32) in slot a" in found["model"].found) == ("ok", True)
    assert found["runtime"].state == "ok"
    assert "7 repeats its golden vectors" in found["runtime"].found


def test_a_damaged_model_fails_and_what_stands_in_is_named(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator
) -> None:
    for version in ("7", "8"):
        repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract, bias=float(version)), version)))
        update(device, AGRICULTURE.contract, gateway.url)
    (device.root / "slots" / "b" / "model.onnx").write_bytes(b"rotten")
    found = found_in(device)["model"]
    assert (found.state, "7 stands in for it" in found.found) == ("fail", True)
    (device.root / "slots" / "a" / "model.onnx").unlink()
    assert "nothing stands in" in found_in(device)["model"].found


def test_a_model_that_forgot_its_golden_vectors_fails(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, real_selftest: None
) -> None:
    good_release(repository)
    update(device, AGRICULTURE.contract, gateway.url)
    other = bundle_files(onnx_model(AGRICULTURE.contract, seed=5, bias=3.0))["golden.npz"]
    (device.root / "slots" / "a" / "golden.npz").write_bytes(other)
    found = found_in(device)["runtime"]
    assert (found.state, "misses its golden vectors" in found.found) == ("fail", True)


def test_the_selftest_model_is_what_it_says() -> None:
    model = onnx.load_from_string(SMALLEST_MODEL)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["MatMul", "Tanh"]
    assert base64.b64encode(SMALLEST_MODEL).decode().startswith("CAg6")


def test_an_illegal_instruction_ends_the_child_alone(
    device: DeviceDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_selftest: None
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -ILL $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    found = found_in(device)["runtime"]
    assert found.state == "fail"
    assert "SIGILL, this processor lacks an instruction" in found.found
    assert "requirements.lock" in found.todo


def test_a_runtime_that_cannot_be_imported_is_told_with_its_own_words(
    device: DeviceDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_selftest: None
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'ImportError: no such thing' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert "ImportError: no such thing" in found_in(device)["runtime"].found


def test_the_selftest_of_an_installation_needs_no_device(real_selftest: None) -> None:
    rc, said = run_selftest(sys.executable, None)
    assert (rc, list(said)) == (0, ["onnxruntime"])


# Store, sources, sensors


def test_a_library_that_is_missing_is_the_finding_of_the_checks_that_need_it(device: DeviceDirectory) -> None:
    """In a process of its own: here everything is imported by now."""
    program = (
        "import sys; sys.modules['tuf.api.metadata'] = sys.modules['urllib3'] = None\n"
        "from pathlib import Path; from fieldedge.device.config import DeviceDirectory\n"
        "from fieldedge.diagnostics.doctor import examine; from fieldedge.system.clock import Clock\n"
        f"device = DeviceDirectory(Path({str(device.root)!r}))\n"
        "for found in examine(device, Clock(device.clock_floor)): print(found.check, found.state)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = dict(line.split(" ") for line in done.stdout.splitlines())
    assert (found["settings"], found["key"], found["files"]) == ("ok", "ok", "ok")
    assert found["trust"] == "fail"


def test_an_older_store_is_left_as_it_is_where_the_workload_is_not_known(device: DeviceDirectory) -> None:
    for path in device.store.parent.glob(f"{device.store.name}*"):
        path.unlink()
    write_form_3(device.store)
    with_settings(device, "[stoer]\nmax_bytes = 1")
    found = {finding.check: finding for finding in examine(device, Clock(device.clock_floor))}
    assert (found["store"].state, found["store"].todo) == ("warn", "mend the settings first")
    assert form_on_disk(device.store) == NUMBERED_FORM


def test_a_store_that_is_nearly_full_is_told(device: DeviceDirectory) -> None:
    with_settings(device, "[store]\nmax_bytes = 1000000\n")
    with Store(device.store) as store:
        store.reject_all((f"line {n}", "no", f"{n}" * 10_000) for n in range(100))
    found = found_in(device)["store"]
    assert (found.state, "100 messages rejected" in found.found) == ("warn", True)


def test_a_folder_is_looked_into(device: DeviceDirectory) -> None:
    with_settings(
        device,
        '[site]\nlatitude_deg = 41\nelevation_m = 100\n[[source]]\nname = "station"\nkind = "folder"\npath = "inbox"\n'
        'pattern = "*.jsonl"\n',
    )
    missing = found_in(device)["source station"]
    assert (missing.state, "is not a folder" in missing.found) == ("fail", True)
    inbox = device.root / "inbox"
    inbox.mkdir()
    assert found_in(device)["source station"].state == "warn"
    (inbox / "a.jsonl").write_text("{}\n")
    found = found_in(device)
    assert (found["source station"].state, "1 file in" in found["source station"].found) == ("ok", True)
    assert found["sensors"].state == "warn"


def nobody_may_read(path: Path) -> None:
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")


def test_a_file_that_this_user_may_not_read_is_told(device: DeviceDirectory) -> None:
    with_settings(
        device,
        '[site]\nlatitude_deg = 41\nelevation_m = 100\n[[source]]\nname = "station"\nkind = "folder"\npath = "inbox"\n',
    )
    (device.root / "inbox").mkdir()
    file = device.root / "inbox" / "a.jsonl"
    file.write_text("{}\n")
    nobody_may_read(file)
    found = found_in(device)["source station"]
    assert (found.state, "a.jsonl" in found.found, "access" in found.todo) == ("warn", True, True)


def test_a_directory_of_another_user_says_who_is_to_look(
    device: DeviceDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody_may_read(device.settings)
    found = found_in(device)["settings"]
    assert (found.state, "sudo -u" in found.todo) == ("fail", True)
    assert main(["status", "--dir", str(device.root)]) != 0
    assert "sudo -u" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('name = "a"\nkind = "folder"\npath = "inbox"\npaht = 1', "paht is not a setting"),
        ('name = "a"\nkind = "folder"', "has no path"),
        ('name = "a"\nkind = "mqtt"\nhost = "h"\ntopic = "a/#/b"', "topic is 'a/#/b'"),
        ('name = "a"\nkind = "folder"\npath = "inbox"\n[source.fields]\nair_temperature_f = "T"', "air_temperature_f"),
    ],
)
def test_a_source_whose_settings_are_broken_fails(device: DeviceDirectory, settings: str, said: str) -> None:
    (device.root / "inbox").mkdir()
    with_settings(device, f"[site]\nlatitude_deg = 41\nelevation_m = 100\n[[source]]\n{settings}\n")
    found = found_in(device)["source a"]
    assert (found.state, said in found.found) == ("fail", True)


def test_sources_without_a_site_fail(device: DeviceDirectory) -> None:
    with_settings(device, '[[source]]\nname = "a"\nkind = "stdin"\n')
    found = found_in(device)
    assert (found["site"].state, found["source a"].state) == ("fail", "ok")


class Broker:
    """One connection's worth of an MQTT 5 broker: it reads CONNECT and answers with a reason code."""

    def __init__(self, reason: int | None) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.connect = b""
        self._reason = reason
        self._thread = threading.Thread(target=self._answer, daemon=True)

    def _answer(self) -> None:
        connection, _ = self._server.accept()
        with connection:
            self.connect = connection.recv(4096)
            if self._reason is not None:
                connection.sendall(bytes([0x20, 3, 0, self._reason, 0]))
                connection.recv(4096)

    def __enter__(self) -> "Broker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(PATIENCE_S)
        self._server.close()


def with_broker(device: DeviceDirectory, port: int) -> None:
    (device.root / "password").write_text("secret word\n")
    with_settings(
        device,
        "[site]\nlatitude_deg = 41\nelevation_m = 100\n"
        f'[[source]]\nname = "probes"\nkind = "mqtt"\nhost = "127.0.0.1"\ntopic = "farm/+"\nport = {port}\n'
        'username = "farm"\npassword_file = "password"\n',
    )


@pytest.mark.parametrize(
    ("reason", "state", "said"),
    [(0, "ok", "lets the device in"), (0x87, "fail", "Not authorized"), (None, "warn", "does not answer")],
)
def test_a_broker_is_greeted_as_the_source_would_but_under_another_name(
    device: DeviceDirectory, reason: int | None, state: str, said: str
) -> None:
    with Broker(reason) as broker:
        with_broker(device, broker.port)
        found = found_in(device)["source probes"]
    assert (found.state, said in found.found) == (state, True), found
    assert b"probes-doctor" in broker.connect
    assert b"farm" in broker.connect and b"secret word" in broker.connect


def test_a_broker_that_is_away_is_a_warning(device: DeviceDirectory) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with_broker(device, free.getsockname()[1])
        found = found_in(device)["source probes"]
    assert (found.state, "it keeps what comes" in found.todo) == ("warn", True)


NOW = datetime.now(UTC)  # the signed metadata is valid around it


def samples(hours_ago: float, *, bad: int = 0, count: int = 20) -> list[FlaggedSample]:
    last = NOW - timedelta(hours=hours_ago)
    times = [format_utc(last - timedelta(minutes=15 * n)) for n in range(count)]
    return [
        FlaggedSample(
            Sample("station", time, {"air_temperature_c": 20.0, "rain_mm": 0.0}),
            {"air_temperature_c": "spike" if n < bad else "good"},
        )
        for n, time in enumerate(times)
    ]


@pytest.mark.parametrize(
    ("values", "state", "said"),
    [
        (samples(0.1), "ok", "2 channels, the last sample 6 min ago"),
        (samples(0.1, bad=4), "ok", "2 channels"),
        (samples(0.1, bad=5), "warn", "air_temperature_c 5 of 20 bad (spike)"),
        (samples(24 * 21), "warn", "silent for 21 days"),
    ],
)
def test_sensors_that_are_silent_or_bad_are_named(
    device: DeviceDirectory, values: list[FlaggedSample], state: str, said: str
) -> None:
    with Store(device.store) as store:
        store.add_samples(values)
    found = found_in(device, wall=lambda: NOW)["sensors station"]
    assert (found.state, said in found.found) == (state, True)


# Service, page, link


def test_a_running_service_is_seen_and_not_disturbed(device: DeviceDirectory) -> None:
    lock = device.lock("run")
    assert not is_held(lock)
    assert not lock.exists()
    with exclusive(lock):
        assert is_held(lock)
        assert found_in(device)["service"].state == "ok"
    assert found_in(device)["service"].state == "warn"


def test_a_port_that_another_program_has_fails(device: DeviceDirectory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        with_settings(device, f"[page]\nport = {other.getsockname()[1]}\n")
        found = found_in(device)["page"]
        assert (found.state, "[page] port" in found.todo) == ("fail", True)
    assert found_in(device)["page"].state == "ok"


def test_a_page_that_should_answer_and_does_not_fails(device: DeviceDirectory) -> None:
    with socket.socket() as free, exclusive(device.lock("run")):
        free.bind(("127.0.0.1", 0))
        with_settings(device, f"[page]\nport = {free.getsockname()[1]}\n")
        found = found_in(device)["page"]
        assert (found.state, "does not answer" in found.found) == ("fail", True)


@pytest.mark.parametrize("body", [b"<h1>It works!</h1>", b'{"status": "ok"}', b'{"is_ok": true}'])
def test_another_program_that_answers_on_the_page_s_port_is_not_taken_for_the_page(
    device: DeviceDirectory, body: bytes
) -> None:
    other = RawServer()
    other.next = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with exclusive(device.lock("run")):
        with_settings(device, f"[page]\nport = {other.url.rpartition(':')[2]}\n")
        found = found_in(device)["page"]
    assert (found.state, "another program answers" in found.found, "[page]" in found.todo) == ("fail", True, True)


def test_a_page_that_is_off_is_not_asked_for(device: DeviceDirectory) -> None:
    with_settings(device, "[page]\nis_on = false\n")
    assert "page" not in found_in(device)


def test_no_link_is_a_warning_and_another_server_at_the_gateways_address_a_failure(
    device: DeviceDirectory, gateway: GatewaySimulator
) -> None:
    settings = device.settings.read_text()
    device.settings.write_text(settings + f'[link]\ngateway = "{gateway.url}"\n')
    found = found_in(device)["link"]
    assert (found.state, "not as a gateway does" in found.found) == ("fail", True)
    (gateway.files / "v1").mkdir()
    (gateway.files / "v1" / "health").write_text('{"ok": true}')
    health = gateway.files.parent / "tuf" / "v1" / "health"
    assert health.is_file()
    device.settings.write_text(settings + '[link]\ngateway = "http://gateway:99999"\n')
    found = found_in(device)["settings"]
    assert (found.state, "gateway is 'http://gateway:99999'" in found.found) == ("fail", True)
    device.settings.write_text(settings + '[link]\ngateway = "http://127.0.0.1:9"\n')
    found = found_in(device)["link"]
    assert (found.state, "everything is kept" in found.todo) == ("warn", True)


def test_a_redirect_at_the_gateway_s_address_is_told_with_where_it_points(device: DeviceDirectory) -> None:
    moved = RawServer()
    moved.next = b"HTTP/1.1 301 Any\r\nLocation: https://gateway.example.org/\r\nContent-Length: 0\r\n\r\n"
    with_settings(device, f'[link]\ngateway = "{moved.url}"\n')
    found = found_in(device)["link"]
    assert (found.state, "points to 'https://gateway.example.org/'" in found.found) == ("fail", True)


def test_messages_that_are_rejected_are_a_warning_with_the_last_reason_until_they_are_old(
    device: DeviceDirectory,
) -> None:
    now = datetime.now(UTC)
    times = [format_utc(now - timedelta(days=age)) for age in (9, 9, 0)]
    for number, at in enumerate(times):
        with Store(device.store, lambda at=at: Stamp("boot", at, True)) as store:  # type: ignore[misc]
            store.add_samples([], [], [(f"station/a.csv, line {number}", f"no field {number}", "{}")])
    found = found_in(device)["rejected"]
    assert found.state == "warn"
    assert found.found == "1 message in the last 3 days, the last: station/a.csv, line 2: no field 2"
    assert "fieldedge check" in found.todo


def test_messages_that_were_rejected_long_ago_are_no_warning(device: DeviceDirectory) -> None:
    at = format_utc(datetime.now(UTC) - timedelta(days=9))
    with Store(device.store, lambda: Stamp("boot", at, True)) as store:
        store.add_samples([], [], [("station/a.csv, line 1", "no field", "{}")])
    assert "rejected" not in found_in(device)
    assert "1 message rejected" in found_in(device)["store"].found


# The command


def test_a_script_learns_from_the_exit_code_and_the_json(device: DeviceDirectory, capsys: Any) -> None:
    assert main(["doctor", "--dir", str(device.root)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["is_ok"] is True
    assert {"check", "state", "found", "todo"} == set(report["findings"][0])
    device.private_key.unlink()
    assert main(["doctor", "--dir", str(device.root)]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["is_ok"] is False
    assert captured.err.startswith("fieldedge: 1 of ") and "failed: key" in captured.err


def test_a_person_reads_what_to_do_below_what_was_found(
    device: DeviceDirectory, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.private_key.chmod(0o644)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["doctor", "--dir", str(device.root)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok    settings")
    assert lines[1].startswith("fail  key") and "chmod 600" in lines[1]
    assert any(line.strip().startswith("→ fieldedge update") for line in lines)
    assert lines[-1].endswith("to look at, 1 to mend")


def test_a_directory_that_is_not_there_is_named(tmp_path: Path, capsys: Any) -> None:
    assert main(["doctor", "--dir", str(tmp_path / "nothing")]) == 1
    assert "set the device up first" in capsys.readouterr().err


@given(settings=st.text(max_size=200))
def test_no_settings_file_ends_the_examination(settings: str) -> None:
    root = Path("/nonexistent-device")
    assert examine(DeviceDirectory(root), Clock(root / "clock.json"))[0].state == "fail"


def test_what_loggers_cannot_have_dropped_is_a_finding_of_their_source(device: DeviceDirectory) -> None:
    with_settings(
        device,
        '[site]\nlatitude_deg = 41.0\nelevation_m = 300.0\n[[source]]\nname = "in"\nkind = "folder"\npath = "in"\n',
    )
    inbox = device.root / "in"
    inbox.mkdir()
    (inbox / "a.jsonl").write_text("1\n")
    assert found_in(device)["source in"].state == "ok"
    os.mkfifo(inbox / "b\n.jsonl")
    (inbox / "c.json").mkdir()
    found = found_in(device)
    assert (found["source in"].state, found["files"].state) == ("warn", "ok")
    assert r"1 entry in" in found["source in"].found
    assert r"b\n.jsonl is a pipe" in found["source in"].found
