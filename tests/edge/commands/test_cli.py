"""The device's commands, as a technician or the fleet calls them."""

import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fieldedge.runtime.service
from fieldedge.cli import main
from fieldedge.device.config import DeviceDirectory, read_config
from fieldedge.runtime.agent import Agent
from fieldedge.storage.store import Store
from tests.edge.sample import (
    AGRICULTURE,
    DEVICE_ID,
    SEASON,
    GatewaySimulator,
    Repository,
    bundle_files,
    dated,
    field_record,
    onnx_model,
    season_messages,
    zipped,
)


def call(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def init_arguments(directory: DeviceDirectory, repository: Repository, **changes: str) -> list[str]:
    options = {
        "dir": str(directory.root),
        "device-id": DEVICE_ID,
        "workload": "agriculture",
        "root": str(repository.trusted_root),
        **changes,
    }
    return ["init", *(part for name, value in options.items() for part in (f"--{name}", value))]


def test_a_device_lives_from_init_to_sync(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, capsys: Any
) -> None:
    at = ("--dir", str(device.root))
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract), "7")))
    code, out, _ = call(capsys, "update", *at, "--gateway", gateway.url)
    assert (code, json.loads(out)) == (0, {"version": "7", "changed": True, "slot": "a", "precision": "float32"})

    lines = "".join(json.dumps(message) + "\n" for message in season_messages(8)) + "\xff not JSON\n"
    command = [sys.executable, "-m", "fieldedge", "run", *at]
    ran = subprocess.run(command, input=lines.encode("latin-1"), capture_output=True)
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.returncode == 0
    assert [answer["kind"] for answer in answers] == [
        "stored",
        *["recommendation"] * 8,
        "stored",
        "rejected",
        "summary",
    ]

    code, out, _ = call(capsys, "sync", *at, "--gateway", gateway.url)
    report = json.loads(out)
    assert (code, report["season"]) == (0, SEASON)
    assert report["records_collected"] == report["records_acknowledged"] == answers[-1]["records_collected"]

    code, out, _ = call(capsys, "status", *at, "--json")
    status = json.loads(out)
    assert (status["device_id"], status["model"]["version"], status["rejected"]) == (DEVICE_ID, "7", 1)
    assert status["records"] == {"acknowledged": report["records_acknowledged"]}
    assert status["public_key"] == gateway.public_keys[DEVICE_ID]


def test_init_again_changes_nothing(device: DeviceDirectory, repository: Repository, capsys: Any) -> None:
    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in sorted(device.root.rglob("*")) if path.is_file()}

    before = contents()
    code, out, _ = call(capsys, *init_arguments(device, repository))
    assert (code, contents()) == (0, before)
    assert len(bytes.fromhex(json.loads(out)["public_key"])) == 32


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_what_a_device_makes_is_its_users_alone_whatever_the_umask(
    tmp_path: Path, repository: Repository, gateway: GatewaySimulator, capsys: Any, umask: int
) -> None:
    directory = DeviceDirectory(tmp_path / "device")
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract), "7")))
    previous = os.umask(umask)
    try:
        code, out, _ = call(capsys, *init_arguments(directory, repository))
        gateway.public_keys[DEVICE_ID] = json.loads(out)["public_key"]
        assert code == 0
        assert call(capsys, "update", "--dir", str(directory.root), "--gateway", gateway.url)[0] == 0
        with Store(directory.store) as store:  # as the service has it: with its log and its index beside it
            agent = Agent(read_config(directory.settings), AGRICULTURE, store, None)
            list(agent.answers(json.dumps(message) for message in season_messages(5)))
            assert call(capsys, "sync", "--dir", str(directory.root), "--gateway", gateway.url)[0] == 0
            modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [directory.root, *directory.root.rglob("*")]}
        assert os.umask(umask) == umask, "a command leaves the umask of its caller as it is"
    finally:
        os.umask(previous)
    assert {f"store.db{suffix}" for suffix in ("", "-wal", "-shm", "-lock")} <= {path.name for path in modes}
    assert {path.name: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}


def test_a_store_that_others_could_read_is_its_users_alone_when_it_is_opened_again(device: DeviceDirectory) -> None:
    device.store.chmod(0o644)
    with Store(device.store):
        assert stat.S_IMODE(device.store.stat().st_mode) == 0o600


@pytest.mark.parametrize("command", ["init", "run", "serve"])
def test_a_directory_that_a_former_version_left_open_is_its_users_alone_at_the_next_start(
    device: DeviceDirectory, repository: Repository, capsys: Any, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    for path, mode in ((device.root, 0o755), (device.store, 0o644)):
        path.chmod(mode)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(fieldedge.runtime.service, "serve", lambda *_: None)
    arguments = init_arguments(device, repository) if command == "init" else [command, "--dir", str(device.root)]
    assert call(capsys, *arguments)[0] == 0
    assert [stat.S_IMODE(path.stat().st_mode) for path in (device.root, device.store)] == [0o700, 0o600]


def test_init_takes_the_budget(tmp_path: Path, repository: Repository, capsys: Any) -> None:
    directory = DeviceDirectory(tmp_path / "other")
    arguments = init_arguments(directory, repository, **{"upload-budget-bytes": "4321"})
    assert call(capsys, *arguments)[0] == 0
    assert read_config(directory.settings).upload_budget_bytes == 4321


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device-id": "dev-01"}, "is dev-00 for agriculture already"),
        ({"device-id": "../dev"}, "device_id is '../dev'"),
        ({"workload": "kiosk"}, "there is no workload 'kiosk' in this environment; there is agriculture"),
        ({"root": "/nowhere/root.json"}, "does not exist"),
        ({"root": __file__}, "is not a signed TUF root"),
    ],
)
def test_init_names_what_is_wrong_in_one_line(
    device: DeviceDirectory, repository: Repository, capsys: Any, changes: dict[str, str], said: str
) -> None:
    code, out, err = call(capsys, *init_arguments(device, repository, **changes))
    assert (code, out) == (1, "")
    assert said in err
    assert err.startswith("fieldedge: ") and err.count("\n") == 1


def test_init_does_not_change_whom_a_device_trusts(device: DeviceDirectory, tmp_path: Path, capsys: Any) -> None:
    stranger = Repository(tmp_path / "stranger")
    code, _, err = call(capsys, *init_arguments(device, stranger))
    assert code == 1
    assert "trusts another root already" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "is missing; set the device up first"),
        (["status"], "is missing; set the device up first"),
        (["sync", "--gateway", "http://127.0.0.1:9"], "is missing; set the device up first"),
    ],
)
def test_a_device_that_was_never_set_up_says_so(tmp_path: Path, capsys: Any, arguments: list[str], said: str) -> None:
    code, _, err = call(capsys, *arguments, "--dir", str(tmp_path))
    assert code == 1
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_the_link_that_is_set_is_asked_where_no_gateway_is_named(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, capsys: Any
) -> None:
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract), "7")))
    settings = device.settings.read_text()
    device.settings.write_text(f"{settings}\n[link]\ngateway = {json.dumps(gateway.url)}\n")
    code, out, _ = call(capsys, "update", "--dir", str(device.root))
    assert (code, json.loads(out)["version"]) == (0, "7")
    assert call(capsys, "sync", "--dir", str(device.root))[0] == 0


@pytest.mark.parametrize("command", ["update", "sync"])
def test_without_a_link_and_without_a_gateway_the_command_says_what_to_name(
    device: DeviceDirectory, capsys: Any, command: str
) -> None:
    code, _, err = call(capsys, command, "--dir", str(device.root))
    assert code == 1
    assert "name one with --gateway, or set gateway under [link] in device.toml" in err


@pytest.mark.parametrize("command", ["update", "sync"])
@pytest.mark.parametrize("address", ["gateway.example.org", "http://gateway.example.org:99999"])
def test_a_gateway_that_is_no_address_is_named(
    device: DeviceDirectory, capsys: Any, command: str, address: str
) -> None:
    code, _, err = call(capsys, command, "--dir", str(device.root), "--gateway", address)
    assert code == 1
    assert f"--gateway is {address!r}; expected an address like https://" in err


@pytest.mark.parametrize("command", ["update", "sync"])
def test_a_proxy_that_can_never_work_is_a_setting_to_mend_and_no_failed_link(
    device: DeviceDirectory, capsys: Any, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(device.store) as store:
        store.add("fields", field_record())
        store.add("harvests", dated("harvests", 1, yield_t_ha=11.0))
    monkeypatch.setenv("http_proxy", "socks5://proxy.example.org:1080")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    code, _, err = call(capsys, command, "--dir", str(device.root), "--gateway", "http://gateway.example.org")
    assert code == 1
    said = "http_proxy is 'socks5://proxy.example.org:1080'; expected an address like http://proxy.example.org:3128"
    assert said in err and "try again" not in err


def test_a_day_that_is_none_is_named(device: DeviceDirectory, capsys: Any) -> None:
    with Store(device.store) as store:
        store.add("fields", field_record())
    code, _, err = call(capsys, "recommend", "--dir", str(device.root), "--date", "soon")
    assert (code, "--date: date is 'soon'; expected a date like 2006-05-01" in err) == (1, True)


def test_no_link_is_one_line_and_exit_code_1(device: DeviceDirectory, capsys: Any) -> None:
    code, out, err = call(capsys, "update", "--dir", str(device.root), "--gateway", "http://127.0.0.1:9")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "try again later" in err


def test_a_damaged_model_is_told_by_status(
    device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator, capsys: Any
) -> None:
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract))))
    call(capsys, "update", "--dir", str(device.root), "--gateway", gateway.url)
    (device.root / "slots" / "a" / "model.onnx").write_bytes(b"")
    _, out, _ = call(capsys, "status", "--dir", str(device.root))
    assert "run fieldedge update" in json.loads(out)["model"]["error"]
