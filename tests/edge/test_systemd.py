"""The unit and the installer: what they promise, tried where it can be tried, and read where it cannot."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import fields
from pathlib import Path

import pytest

import fieldedge.cli
from fieldedge.acquisition.mapping import Mapper
from fieldedge.acquisition.sources.folder import FolderSettings, read_folder_settings
from fieldedge.acquisition.sources.mqtt import MqttSettings, read_mqtt_settings
from fieldedge.device.config import (
    DecideConfig,
    DeviceConfig,
    DeviceDirectory,
    LinkConfig,
    PageConfig,
    Site,
    StoreConfig,
    Table,
    read_config,
)
from fieldedge.transfer.updates import update
from tests.edge.sample import (
    AGRICULTURE,
    GatewaySimulator,
    Repository,
    bundle_files,
    onnx_model,
    season_messages,
    zipped,
)

EDGE = Path(__file__).parents[2] / "edge"
UNIT, INSTALL, EXAMPLE = EDGE / "systemd" / "fieldedge.service", EDGE / "install.sh", EDGE / "device.example.toml"
LATER_KEYS = {"RestartSteps", "RestartMaxDelaySec"}  # of systemd 254; an earlier one ignores them
MAX_EXPOSURE = 2.0  # of 10, in systemd's own reckoning

needs_systemd_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def unit() -> dict[str, list[str]]:
    """The unit's settings; a key may come several times."""
    settings: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            settings.setdefault(key, []).append(value)
    return settings


# The unit


def test_the_unit_starts_what_the_installer_installs() -> None:
    (start,) = unit()["ExecStart"]
    launcher, command, *options = start.split()
    assert f"launcher=$root{launcher}" in INSTALL.read_text()
    parsed = fieldedge.cli._parser().parse_args([command, *options])
    assert (command, parsed.dir) == ("serve", Path("/var/lib/fieldedge"))
    assert unit()["ReadWritePaths"] == [str(parsed.dir)] == unit()["WorkingDirectory"]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("Type", ["notify"]),
        ("Restart", ["always"]),
        ("StartLimitIntervalSec", ["0"]),
        ("WatchdogSec", ["300"]),
        ("User", ["fieldedge"]),
        ("UMask", ["0077"]),
        ("NoNewPrivileges", ["yes"]),
        ("ProtectSystem", ["strict"]),
        ("ProtectHome", ["yes"]),
        ("PrivateTmp", ["yes"]),
        ("PrivateDevices", ["yes"]),
        ("CapabilityBoundingSet", [""]),
        ("MemoryMax", ["200M"]),
        ("MemoryDenyWriteExecute", ["yes"]),
        ("RestrictAddressFamilies", ["AF_INET AF_INET6 AF_UNIX"]),
    ],
)
def test_the_unit_promises(key: str, values: list[str]) -> None:
    assert unit()[key] == values


def test_the_unit_lets_the_clock_be_asked_and_proc_be_read() -> None:
    """`ProtectClock=` forbids asking whether the clock is kept, `ProcSubset=pid` hides the boot's name."""
    assert "adjtimex clock_adjtime clock_adjtime64" in unit()["SystemCallFilter"]
    assert not {"ProtectClock", "ProcSubset"} & unit().keys()


@needs_systemd_analyze
def test_systemd_reads_the_unit_without_complaint(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE))
    command = ["systemd-analyze", "verify", "--man=no", str(copy)]
    verified = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    complaints = [line for line in verified.stderr.splitlines() if not any(key in line for key in LATER_KEYS)]
    complaints = [line for line in complaints if UNIT.name in line]
    assert (verified.returncode, complaints) == (0, [])


@needs_systemd_analyze
def test_systemd_reckons_the_service_little_exposed() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={MAX_EXPOSURE * 10:.0f}"]
    judged = subprocess.run([*command, str(UNIT)], capture_output=True, text=True)
    assert judged.returncode == 0, judged.stdout[-300:]


# What the unit forbids is not needed


CONFINED = """
import ctypes, sys
if ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0) != 0:  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
    sys.exit(77)
import mmap
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    sys.exit("a page that is writable and executable was given out")
except PermissionError:
    pass
from fieldedge.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def updated(device: DeviceDirectory, repository: Repository, gateway: GatewaySimulator) -> DeviceDirectory:
    repository.release(zipped(bundle_files(onnx_model(AGRICULTURE.contract), "1")))
    update(device, AGRICULTURE.contract, gateway.url)
    return device


def season_lines(days: int) -> str:
    return "".join(json.dumps(message) + "\n" for message in season_messages(days))


def model_decisions(out: str) -> int:
    answers = [json.loads(line) for line in out.splitlines()]
    return sum(answer["kind"] == "recommendation" and answer["source"] == "model" for answer in answers)


def test_the_agent_decides_without_a_page_that_is_writable_and_executable(updated: DeviceDirectory) -> None:
    command = [sys.executable, "-c", CONFINED, "run", "--dir", str(updated.root)]
    ran = subprocess.run(command, input=season_lines(5), capture_output=True, text=True)
    if ran.returncode == 77:
        pytest.skip("this kernel cannot forbid such pages (PR_SET_MDWE, Linux 6.3)")
    assert (ran.returncode, model_decisions(ran.stdout)) == (0, 5), ran.stderr[-500:]


def denied_system_calls() -> list[str]:
    """What the unit's filter answers with EPERM, of all that systemd knows."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True).stdout
    groups: dict[str, set[str]] = {}
    for line in listed.splitlines():
        name = line.strip()
        if line.startswith("@"):
            members = groups[name] = set()
        elif line.startswith("    ") and not name.startswith("#"):
            members.add(name)

    def calls(name: str) -> set[str]:
        return {name} if not name.startswith("@") else {call for part in groups[name] for call in calls(part)}

    allowed = calls("@default")
    for setting in unit()["SystemCallFilter"]:
        for name in setting.removeprefix("~").split():
            allowed = allowed - calls(name) if setting.startswith("~") else allowed | calls(name)
    return sorted(calls("@known") - allowed)


@needs_systemd_analyze
@pytest.mark.slow
def test_the_agent_decides_without_the_system_calls_that_the_unit_denies(
    updated: DeviceDirectory, tmp_path: Path
) -> None:
    denied = denied_system_calls()
    assert {"mount", "settimeofday", "ptrace", "fchown", "mbind", "init_module"} <= set(denied)
    assert not {"openat", "fsync", "socket", "clock_adjtime", "execve"} & set(denied)
    if shutil.which("strace") is None or subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"]).returncode != 0:
        pytest.skip("needs strace, and the right to trace")
    names = ",".join(f"?{name}" for name in denied)
    strace = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), f"--trace={names}", f"--inject={names}:error=EPERM"]
    command = [*strace, sys.executable, "-m", "fieldedge", "run", "--dir", str(updated.root)]
    ran = subprocess.run(command, input=season_lines(5), capture_output=True, text=True)
    assert (ran.returncode, model_decisions(ran.stdout)) == (0, 5), ran.stderr[-500:]


# The example of all settings


def example(tmp_path: Path, text: str) -> DeviceConfig:
    path = tmp_path / "device.toml"
    path.write_text(text)
    return read_config(path)


def test_the_example_is_a_settings_file_and_shows_the_defaults(tmp_path: Path) -> None:
    config = example(tmp_path, EXAMPLE.read_text())
    plain = DeviceConfig(config.device_id, config.workload)
    for name in ("upload_budget_bytes", "audit_fraction", "store", "page"):
        assert getattr(config, name) == getattr(plain, name), name
    assert config.decide == DecideConfig(AGRICULTURE.trigger.utc)
    assert config.link is not None and config.link == type(config.link)(config.link.gateway)


def test_the_example_names_every_setting() -> None:
    text = EXAMPLE.read_text()
    for section in (Site, StoreConfig, PageConfig, LinkConfig, DecideConfig, FolderSettings, MqttSettings):
        for setting in fields(section):
            assert re.search(rf"^(#: )?{setting.name} = .*", text, re.MULTILINE), f"{section.__name__}.{setting.name}"
    for channel in AGRICULTURE.channels:
        assert channel.name in text


def test_every_source_of_the_example_is_one_with_all_its_settings_on(tmp_path: Path) -> None:
    text = re.sub(r"^#: ", "", EXAMPLE.read_text(), flags=re.MULTILINE).replace("tls = false", "tls = true")
    config = example(tmp_path, text)
    (tmp_path / "keys").mkdir()
    for name in ("mqtt", "ca.pem", "mqtt.pem", "mqtt.key"):
        (tmp_path / "keys" / name).touch()
    assert {source.kind for source in config.sources} == {"folder", "mqtt", "stdin"}
    for source in config.sources:
        table = Table(source.name, source.settings)
        if source.kind == "folder":
            read_folder_settings(table, tmp_path)
        elif source.kind == "mqtt":
            read_mqtt_settings(table, tmp_path)
        table.end()
        Mapper.from_config(source.fields, AGRICULTURE.channels)


# The installer


def install(root: Path, *options: str, script: Path = INSTALL, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(script), "--root", str(root), "--python", sys.executable, *options]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def test_the_installer_is_plain_shell_and_says_how_it_is_used() -> None:
    for shell in ("sh", "dash", "bash"):
        if shutil.which(shell) is not None:
            assert subprocess.run([shell, "-n", str(INSTALL)]).returncode == 0
    told = subprocess.run(["sh", str(INSTALL), "--help"], capture_output=True, text=True)
    assert told.returncode == 0
    options = set(re.findall(r"^\s+(--[a-z-]+)[ |)]", INSTALL.read_text(), re.MULTILINE))
    assert {"--wheel", "--uninstall", "--root"} <= options
    assert all(option in told.stdout for option in options if option != "--help")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--colour"], "--colour is not an option"),
        (["--wheel", "/nowhere.whl"], "/nowhere.whl is not there"),
        (["--wheels", "/nowhere"], "/nowhere is not a folder"),
        (["--python", "/nowhere/python"], "/nowhere/python is not there"),
    ],
)
def test_the_installer_names_what_is_missing_and_changes_nothing(tmp_path: Path, options: list[str], said: str) -> None:
    ended = install(tmp_path / "root", *options)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert not (tmp_path / "root" / "opt").exists()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("3 10 x86_64 64", "is Python 3.10; 3.11 or later is needed"),
        ("2 7 x86_64 64", "is Python 2.7"),
        ("3 11 armv7l 32", "this processor is armv7l"),
        ("3 11 aarch64 32", "is a 32-bit program; install the 64-bit system"),
    ],
)
def test_the_installer_refuses_a_machine_that_the_runtime_does_not_know(tmp_path: Path, found: str, said: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho {found}\n")
    python.chmod(0o755)
    ended = install(tmp_path / "root", "--python", str(python))
    assert ended.returncode == 1
    assert said in ended.stderr


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a device without a network is given: every package as a wheel, fetched once."""
    folder = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    lock = str(EDGE / "requirements.lock")
    fetched = subprocess.run(
        [*pip, "download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), "--requirement", lock],
        capture_output=True,
        text=True,
    )
    if fetched.returncode != 0:
        pytest.skip(f"the packages cannot be fetched here: {fetched.stderr[-300:]}")
    built = subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(EDGE)],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr[-500:]
    return folder


def wheel_in(folder: Path) -> Path:
    (wheel,) = folder.glob("fieldedge-*.whl")
    return wheel


def with_selftest(wheel: Path, folder: Path, text: str) -> Path:
    """The same wheel, in which the selftest does something else."""
    folder.mkdir()
    changed = folder / wheel.name
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, text if name == "fieldedge/inference/selftest.py" else old.read(name))
    return changed


def installed_name(root: Path) -> str:
    return str((root / "opt" / "fieldedge" / "current").readlink())


@pytest.mark.slow
def test_an_installation_without_a_network_from_beginning_to_end(tmp_path: Path, wheelhouse: Path) -> None:
    root = tmp_path / "root"
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_EXTRA_INDEX_URL": "", "PIP_CONFIG_FILE": os.devnull}
    options = ("--wheel", str(wheel_in(wheelhouse)), "--wheels", str(wheelhouse))
    ended = install(root, *options, **offline)
    assert ended.returncode == 0, ended.stderr
    assert "next: fieldedge init" in ended.stdout
    launcher = root / "usr" / "local" / "bin" / "fieldedge"
    helped = subprocess.run([str(launcher), "--help"], capture_output=True, text=True)
    assert (helped.returncode, "decides offline" in helped.stdout) == (0, True)
    asked = subprocess.run([str(launcher), "status"], capture_output=True, text=True)
    assert f"fieldedge init --dir {root}/var/lib/fieldedge" in asked.stderr
    assert (root / "etc" / "systemd" / "system" / "fieldedge.service").read_bytes() == UNIT.read_bytes()
    assert (root / "opt" / "fieldedge" / "device.example.toml").read_bytes() == EXAMPLE.read_bytes()
    assert (root / "var" / "lib" / "fieldedge").stat().st_mode & 0o777 == 0o700

    first = installed_name(root)
    again = install(root, *options, **offline)
    assert (again.returncode, "is installed already" in again.stdout) == (0, True)
    assert installed_name(root) == first

    _upgrades_and_failures(tmp_path, root, wheel_in(wheelhouse), wheelhouse, first, offline)

    (root / "var" / "lib" / "fieldedge" / "store.db").write_bytes(b"a season")
    removed = install(root, "--uninstall")
    assert (removed.returncode, "stay in" in removed.stdout) == (0, True)
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["store.db"]


def _upgrades_and_failures(
    tmp_path: Path, root: Path, wheel: Path, wheelhouse: Path, first: str, offline: dict[str, str]
) -> None:
    """A version that does not run here changes nothing; one that does takes over, and the former one is kept."""
    illegal = with_selftest(wheel, tmp_path / "illegal", "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    ended = install(root, "--wheel", str(illegal), "--wheels", str(wheelhouse), **offline)
    assert ended.returncode == 1
    assert "illegal instruction" in ended.stderr and "nothing was changed" in ended.stderr
    assert installed_name(root) == first
    assert [path.name for path in (root / "opt" / "fieldedge" / "venvs").iterdir()] == [Path(first).name]

    names = [first]
    for number in (1, 2):
        good = with_selftest(wheel, tmp_path / f"good{number}", f"# {number}\n")
        ended = install(root, "--wheel", str(good), "--wheels", str(wheelhouse), **offline)
        assert ended.returncode == 0, ended.stderr
        names.append(installed_name(root))
    assert len(set(names)) == 3
    kept = {f"venvs/{path.name}" for path in (root / "opt" / "fieldedge" / "venvs").iterdir()}
    assert kept == set(names[1:])
    assert str((root / "opt" / "fieldedge" / "previous").readlink()) == names[1]


@pytest.mark.slow
def test_an_installation_from_the_source_folder(tmp_path: Path, wheelhouse: Path) -> None:
    """As a person does it with a clone; the wheels are only a nearer place than the registry."""
    source = tmp_path / "edge"
    ignored = shutil.ignore_patterns("__pycache__", "dist", "build")
    shutil.copytree(EDGE, source, ignore=ignored)
    ended = install(tmp_path / "root", script=source / "install.sh", PIP_FIND_LINKS=str(wheelhouse))
    if "hatchling" in ended.stderr:
        pytest.skip("the build's own tools cannot be fetched here")
    assert ended.returncode == 0, ended.stderr
    launcher = tmp_path / "root" / "usr" / "local" / "bin" / "fieldedge"
    assert subprocess.run([str(launcher), "--help"], capture_output=True).returncode == 0


def test_the_lock_names_what_the_package_asks_for() -> None:
    wanted = tomllib.loads((EDGE / "pyproject.toml").read_text())["project"]["dependencies"]
    locked = {line.partition("==")[0] for line in (EDGE / "requirements.lock").read_text().splitlines() if "==" in line}
    assert {re.split(r"[<>=!~ ]", requirement)[0] for requirement in wanted} <= locked


def test_a_proxy_that_the_service_is_given_the_command_has_too(tmp_path: Path) -> None:
    assert "\nEnvironmentFile=-/etc/default/fieldedge\n" in UNIT.read_text()
    launcher = tmp_path / "usr" / "local" / "bin" / "fieldedge"
    python = tmp_path / "opt" / "fieldedge" / "current" / "bin" / "python"
    for path, text in (
        (launcher, INSTALL.read_text().split("<<'LAUNCHER'\n")[1].split("\nLAUNCHER\n")[0]),
        (python, '#!/bin/sh\necho "$HTTPS_PROXY $*"\n'),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(0o755)
    environment = {"PATH": os.environ["PATH"]}
    without = subprocess.run([launcher, "sync"], capture_output=True, text=True, env=environment, check=True)
    assert without.stdout.startswith(" -I -m fieldedge sync --dir ")
    (tmp_path / "etc" / "default").mkdir(parents=True)
    (tmp_path / "etc" / "default" / "fieldedge").write_text("HTTPS_PROXY=http://proxy.example.org:3128\n")
    proxied = subprocess.run([launcher, "sync"], capture_output=True, text=True, env=environment, check=True)
    assert proxied.stdout.startswith("http://proxy.example.org:3128 -I -m fieldedge sync --dir ")
