"""What ails the device, as a list of findings: each is ok, a warning or a failure, with what to do about it.

A failure keeps the device from its work or its data; a warning is something that it works around. Examining changes
nothing, holds no lock and never takes long, so that it can be done beside a running service; a check that itself
breaks is a finding, not an end. What an illegal instruction would end is tried in `selftest.py`'s child process;
showing the findings is `commands/doctor.py`'s.
"""

import os
import shutil
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fieldedge.device.config import DeviceConfig, DeviceDirectory, SourceConfig, read_config
from fieldedge.inference.selftest import run_selftest
from fieldedge.inference.slots import Slots
from fieldedge.presentation.text import age, printable, size, span
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock, format_utc
from fieldedge.system.errors import ConfigError, FieldloopError, LinkError, ReleaseError, TransientError
from fieldedge.system.locks import is_held
from fieldedge.system.plain_files import not_plain, read_own
from fieldedge.workload import Workload
from fieldedge.workloads import known_workload

if TYPE_CHECKING:
    from fieldedge.acquisition.sources.mqtt import MqttSettings
    from fieldedge.system.http import Answer

State = Literal["ok", "warn", "fail"]

LINK_TIMEOUT_S = 4.0
BROKER_TIMEOUT_S = 5.0
NEARLY_FULL = 0.9
FEW_BYTES_LEFT = 4  # times what must stay free
BAD_SHARE = 0.2  # of a channel's latest values
EXPIRY_WARNING = timedelta(days=30)
MAX_FILES_LOOKED_AT = 5_000
FILE_SUFFIXES = (".toml", ".pem", ".json", ".db", ".batch", ".onnx", ".npz", ".md", "-wal", "-shm", "-journal", "-lock")


@dataclass(frozen=True)
class Finding:
    """What one check found, and what to do where it is not ok."""

    check: str
    state: State
    found: str
    todo: str = ""


@dataclass(frozen=True)
class Patient:
    """The device under examination. Settings and workload are None where they cannot be read."""

    directory: DeviceDirectory
    clock: Clock
    config: DeviceConfig | None = None
    workload: Workload | None = None


Check = Callable[[Patient], Iterator[Finding]]


def examine(directory: DeviceDirectory, clock: Clock) -> list[Finding]:
    """Everything that can be found out about the device, in the order in which to mend it."""
    patient = Patient(directory, clock)
    findings: list[Finding] = []
    try:
        config = read_config(directory.settings)
        patient = replace(patient, config=config, workload=known_workload(config.workload))
        sources = _counted(len(config.sources), "source")
        findings.append(Finding("settings", "ok", f"{config.device_id}, {config.workload}, {sources}"))
    except (ConfigError, OSError) as error:
        findings.append(Finding("settings", "fail", str(error), f"mend {directory.settings}"))
    for name, check in CHECKS.items():
        try:
            findings.extend(check(patient))
        except (FieldloopError, OSError) as error:
            findings.append(Finding(name, "fail", str(error)))
        except Exception as error:  # noqa: BLE001  (an examination ends for no single check)
            findings.append(Finding(name, "fail", f"the check broke ({error!r})", "report it with this line"))
    return findings


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count or 'no'} {one if count == 1 else many or one + 's'}"


# The device itself


def _key(patient: Patient) -> Iterator[Finding]:
    from fieldedge.system.keys import load_key, public_key_hex

    try:
        key = load_key(patient.directory.private_key)
    except ConfigError as error:
        yield Finding("key", "fail", str(error))
        return
    yield Finding("key", "ok", f"{public_key_hex(key)[:16]}…, readable by its owner alone")


def _first(paths: Sequence[Path | str]) -> str:
    """The first of some files, and how many more there are."""
    return f"{paths[0]} and {len(paths) - 1} more" if len(paths) > 1 else str(paths[0])


def _files(patient: Patient) -> Iterator[Finding]:
    """A command run as root leaves files that the service, under its own user, cannot open; and what is no file."""
    root = patient.directory.root
    owner = root.stat().st_uid
    strange = [path for path in _some_files(root) if _owner(path) not in (owner, None)]
    if strange:
        yield Finding(
            "files",
            "fail",
            f"{_first(strange)} belong to another user than {root}",
            f"chown -R {_user(owner)} {root}, and run fieldedge as that user",
        )
        return
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("files", "fail", f"{root} cannot be written by this user", f"run fieldedge as {_user(owner)}")
        return
    misplaced = _misplaced(patient)
    if misplaced:
        yield Finding(
            "files",
            "fail",
            f"{_first(misplaced)}; expected plain files",
            "move it away, and run fieldedge doctor again: it says what is missing then",
        )
        return
    for path in (root, patient.directory.store):
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0
        if mode & 0o077:
            found = f"{path} is open to other users (mode {mode:o})"
            yield Finding("files", "warn", found, f"chmod go= {path}, or start the service anew: it does so")
            return
    yield Finding("files", "ok", f"all of {_user(owner)}")


def _misplaced(patient: Patient) -> list[str]:
    """What lies where a file of the device belongs, and is none. What loggers drop is their source's finding."""
    directory = patient.directory
    sources = () if patient.config is None else patient.config.sources
    theirs = [directory.root / str(source.settings["path"]) for source in sources if "path" in source.settings]
    files = {directory.time_floor, *(directory.lock(job) for job in ("run", "update", "sync"))}
    misplaced = []
    for path in _some_files(directory.root):
        found = not_plain(path)
        is_place_of_file = path in files or path.name.endswith(FILE_SUFFIXES)
        if found and (found != "a folder" or is_place_of_file) and not any(path.is_relative_to(one) for one in theirs):
            misplaced.append(f"{printable(str(path))} is {found}")
    return misplaced


def _some_files(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, names, files in os.walk(root):
        found += [Path(folder, name) for name in (*names, *files)]
        if len(found) >= MAX_FILES_LOOKED_AT:
            break
    return found


def _owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except FileNotFoundError:
        return None  # a running service moves its files


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _disk(patient: Patient) -> Iterator[Finding]:
    root = patient.directory.root
    if os.statvfs(root).f_flag & os.ST_RDONLY:
        yield Finding("disk", "fail", f"{root} is on a read-only disk", "check the disk, then mount it writable")
        return
    free = shutil.disk_usage(root).free
    least = 0 if patient.config is None else patient.config.store.min_free_bytes
    found = f"{size(free)} free; at least {size(least)} are kept"
    if free < least:
        kept = f"{found}; no day that is not acknowledged goes for it, and what comes is kept while it finds room"
        yield Finding("disk", "fail", kept, "make room: logs, packages, other programs' data")
    elif free < FEW_BYTES_LEFT * least:
        yield Finding("disk", "warn", found, "make room before the store has to")
    else:
        yield Finding("disk", "ok", found)


def _clock(patient: Patient) -> Iterator[Finding]:
    from fieldedge.transfer.trust import CLOCK_TOLERANCE, read_floor

    now = patient.clock.now()
    shown = f"{format_utc(now)}"
    last = None if patient.clock.is_trusted else read_floor(patient.directory)
    if last is not None and now < last - CLOCK_TOLERANCE:
        yield Finding(
            "clock",
            "warn",
            f"{shown}, but a release was seen at {format_utc(last)}: releases are judged by that",
            "set the time, and switch on NTP: timedatectl set-ntp true",
        )
    elif patient.clock.note is not None:
        yield Finding("clock", "warn", f"{shown}; {patient.clock.note}", "check the time: timedatectl")
    elif patient.clock.is_trusted:
        yield Finding("clock", "ok", f"{shown}, kept by a time service")
    else:
        yield Finding(
            "clock",
            "warn",
            f"{shown}, confirmed by nobody; it does not run backwards",
            "switch on NTP where there is a network (timedatectl set-ntp true), or fit a real-time clock",
        )


# Trust and model


def _trust(patient: Patient) -> Iterator[Finding]:
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata

    from fieldedge.transfer.trust import max_metadata_bytes

    directory, now = patient.directory, patient.clock.now()
    latest = directory.trust / "root.json"
    root_path = latest if latest.exists() else directory.bootstrap_root
    try:
        root = Metadata.from_bytes(read_own(root_path, max_metadata_bytes("root"))).signed
    except (OSError, RepositoryError) as error:
        yield Finding("trust", "fail", f"{root_path}: {error}", "provision the device again: fieldedge init --root")
        return
    found = f"root {root.version}, good until {root.expires:%Y-%m-%d}"
    if root.expires - now < EXPIRY_WARNING:
        yield Finding("trust", "warn", found, "have the office sign a newer root before then; updates follow it")
    else:
        yield Finding("trust", "ok", found)


def _model(patient: Patient) -> Iterator[Finding]:
    slots = Slots(patient.directory.root)
    try:
        active = slots.active()
        if active is None:
            yield Finding(
                "model",
                "warn",
                "none is installed: the FAO-56 balance decides",
                "fieldedge update --gateway URL, or fieldedge import --from STICK",
            )
            return
        slots.verified_model(active)
    except (ReleaseError, OSError) as error:
        stand_in = slots.bootable()
        said = "nothing stands in for it" if stand_in is None else f"{stand_in[0].version} stands in for it"
        yield Finding("model", "fail", f"{error}; {said}", "fieldedge update --gateway URL, or import a release")
        return
    yield Finding("model", "ok", f"{active.version} ({active.precision}) in slot {active.slot}, whole")


def _runtime(patient: Patient) -> Iterator[Finding]:
    """onnxruntime 1.21 ended on a Raspberry Pi 4 with an illegal instruction (microsoft/onnxruntime#23957)."""
    rc, said = run_selftest(sys.executable, patient.directory.root if patient.config is not None else None)
    if rc != 0:
        yield Finding(
            "runtime",
            "fail",
            f"onnxruntime does not run here: {_ending(rc)}{said.get('error', '')}",
            "install what requirements.lock names: sh install.sh; the FAO-56 balance decides meanwhile",
        )
        return
    if (error := said.get("model_error")) is not None:
        yield Finding("runtime", "fail", str(error), "fieldedge update, or release the model as float32")
        return
    tried = f"; {said['model']} repeats its golden vectors" if "model" in said else ""
    yield Finding("runtime", "ok", f"onnxruntime {said['onnxruntime']}{tried}")


def _ending(rc: int) -> str:
    if rc >= 0:
        return ""
    name = signal.Signals(-rc).name
    return f"{name}, this processor lacks an instruction that it uses" if -rc == signal.SIGILL else f"{name} "


# Data


def _store(patient: Patient) -> Iterator[Finding]:
    from fieldedge.transfer.uploads import NOT_ACKNOWLEDGED

    path, config = patient.directory.store, patient.config
    if not path.exists():
        yield Finding("store", "warn", f"{path} is not there yet", "it is made at the next start")
        return
    with Store(path, patient.clock.stamp) as store:
        store.check()
        records, used, waiting = sum(store.states().values()), store.used_bytes(), store.prepared_batches()
        rejected = len(store.rejects())
        refused = store.events(1, NOT_ACKNOWLEDGED)
    found = (
        f"sound; {_counted(records, 'record')}, {size(used)}; {_counted(len(waiting), 'batch', 'batches')} waiting, "
        f"{_counted(rejected, 'message')} rejected"
    )
    if config is not None and used > NEARLY_FULL * config.store.max_bytes:
        todo = "sync or export what waits, or raise [store] max_bytes; what is least valuable goes meanwhile"
        yield Finding("store", "warn", f"{found}; at most {size(config.store.max_bytes)}", todo)
    else:
        yield Finding("store", "ok", found)
    if refused and refused[0]["batch"] in {batch.batch_id for batch in waiting}:
        todo = "update the gateway and publish its release, or mend the gateway's address; a stick frees batches too"
        yield Finding("acknowledgements", "warn", refused[0]["text"], todo)


def _sources(patient: Patient) -> Iterator[Finding]:
    from fieldedge.acquisition.mapping import Mapper

    config, workload = patient.config, patient.workload
    if config is None or workload is None or not config.sources:
        return
    if config.site is None:
        yield Finding("site", "fail", "there are sources but no [site]", "say latitude_deg and elevation_m in [site]")
    offset_h = 0.0 if config.site is None else config.site.utc_offset_h
    for source in config.sources:
        name = f"source {source.name}"
        try:
            Mapper.from_config(source.fields, workload.channels, offset_h, "[source.fields]")
            yield _SOURCE_CHECKS[source.kind](name, source, patient)
        except (ConfigError, OSError) as error:
            yield Finding(name, "fail", str(error), f"mend [[source]] {source.name} in {patient.directory.settings}")


def _folder(name: str, source: SourceConfig, patient: Patient) -> Finding:
    from fieldedge.acquisition.sources.folder import is_meant, read_folder_settings
    from fieldedge.device.config import Table

    settings = read_folder_settings(Table(str(patient.directory.settings), source.settings), patient.directory.root)
    if not settings.path.is_dir():
        return Finding(name, "fail", f"{settings.path} is not a folder", "make it, or mend path in device.toml")
    wanted = os.R_OK | os.X_OK | (os.W_OK if settings.move_done else 0)
    if not os.access(settings.path, wanted):
        return Finding(name, "fail", f"{settings.path} cannot be read by this user", "give the service's user access")
    written_s: list[float] = []
    strange: list[str] = []
    for path in settings.path.iterdir():
        found = not_plain(path, follows=False)
        if not is_meant(path.name, settings.pattern) or found == "a folder":
            continue
        if found:
            strange.append(f"{printable(path.name)} is {found}")
        with suppress(FileNotFoundError):  # it went while we looked
            written_s.append(path.lstat().st_mtime)
    if strange:
        found = f"{_counted(len(strange), 'entry', 'entries')} in {settings.path} cannot be read: {strange[0]}"
        return Finding(name, "warn", f"{found}; expected plain files", "remove them, and see what puts them there")
    if not written_s:
        return Finding(name, "warn", f"{settings.path} holds no {settings.pattern}", "see that the logger writes there")
    when = age(patient.clock.now().timestamp() - max(written_s))
    return Finding(name, "ok", f"{_counted(len(written_s), 'file')} in {settings.path}, the newest written {when}")


def _stdin(name: str, _source: SourceConfig, _patient: Patient) -> Finding:
    return Finding(name, "ok", "standard input of `fieldedge serve`")


def _mqtt(name: str, source: SourceConfig, patient: Patient) -> Finding:
    import importlib.util

    from fieldedge.acquisition.sources.mqtt import read_mqtt_settings
    from fieldedge.device.config import Table

    settings = read_mqtt_settings(Table(str(patient.directory.settings), source.settings), patient.directory.root)
    if importlib.util.find_spec("paho") is None:
        return Finding(name, "fail", "paho-mqtt is not installed", "install it: sh install.sh --with-mqtt")
    try:
        refusal = _greet(settings, f"{source.name}-doctor")
    except (OSError, ValueError) as error:
        found = f"{settings.broker} does not answer: {error}"
        return Finding(
            name, "warn", found, "start the broker, or mend host, port and tls; it keeps what comes meanwhile"
        )
    if refusal is not None:
        found = f"{settings.broker} refuses: {refusal}"
        return Finding(name, "fail", found, "mend username and password_file, or the rights at the broker")
    return Finding(name, "ok", f"{settings.broker} lets the device in; topic {settings.topic}")


def _greet(settings: "MqttSettings", client_id: str) -> str | None:
    """Connect under a name of its own, so that the service's session is left alone; why it was refused, if it was."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    from fieldedge.acquisition.sources.mqtt import read_password

    answers: list[Any] = []
    client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5)
    client.connect_timeout = BROKER_TIMEOUT_S
    client.on_connect = lambda _client, _user, _flags, reason, _properties: answers.append(reason)
    if settings.username is not None:
        client.username_pw_set(settings.username, read_password(settings.password_file))
    if settings.tls:
        ca, certificate, key = (
            None if path is None else str(path) for path in (settings.ca_file, settings.cert_file, settings.key_file)
        )
        client.tls_set(ca, certificate, key)
    client.connect(settings.host, settings.port, clean_start=True)
    until_s = time.monotonic() + BROKER_TIMEOUT_S
    while not answers and time.monotonic() < until_s and client.loop(timeout=0.2) == 0:
        pass
    client.disconnect()
    if not answers:
        raise TimeoutError(f"no MQTT 5 answer in {BROKER_TIMEOUT_S:.0f} s")
    return str(answers[0]) if answers[0].is_failure else None


_SOURCE_CHECKS: dict[str, Callable[[str, SourceConfig, Patient], Finding]] = {
    "folder": _folder,
    "stdin": _stdin,
    "mqtt": _mqtt,
}


def _sensors(patient: Patient) -> Iterator[Finding]:
    from fieldedge.page.loggers import read_loggers

    if patient.workload is None or not patient.directory.store.exists():
        return
    presenter = patient.workload.presenter
    try:
        with Store(patient.directory.store, patient.clock.stamp) as store:
            loggers = read_loggers(store, None, patient.workload, presenter, patient.clock.now()).shown
    except TransientError:
        return  # the store's own finding says it
    if not loggers and patient.config is not None and patient.config.sources:
        yield Finding("sensors", "warn", "no sample has come yet", "see what the sources find, and check the loggers")
    for logger in loggers:
        name = f"sensors {logger.name}"
        bad = [
            f"{channel.name} {channel.samples - channel.good} of {channel.samples} bad ({channel.last_flag})"
            for channel in logger.channels
            if channel.samples and channel.samples - channel.good > BAD_SHARE * channel.samples
        ]
        if logger.is_silent:
            found = f"silent for {span(logger.age_s)}"
            yield Finding(name, "warn", found, "check the logger, its battery and its cable")
        elif bad:
            yield Finding(name, "warn", "; ".join(bad), "check these sensors; what is bad does not count meanwhile")
        else:
            channels = _counted(len(logger.channels), "channel")
            yield Finding(name, "ok", f"{channels}, the last sample {age(logger.age_s)}")


# Service, page and link


def _service(patient: Patient) -> Iterator[Finding]:
    if is_held(patient.directory.lock("run")):
        yield Finding("service", "ok", "running")
    else:
        yield Finding("service", "warn", "not running: nothing is taken in or decided", "systemctl start fieldedge")


def _page(patient: Patient) -> Iterator[Finding]:
    page = None if patient.config is None else patient.config.page
    if page is None or not page.is_on or page.port == 0:
        return
    host = f"[{page.host}]" if ":" in page.host else page.host
    url = f"http://{host}:{page.port}/"
    if not is_held(patient.directory.lock("run")):
        try:
            family = socket.AF_INET6 if ":" in page.host else socket.AF_INET
            with socket.socket(family, socket.SOCK_STREAM) as taken:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken.bind((page.host, page.port))
        except OSError as error:
            yield Finding("page", "fail", f"{url} cannot be served: {error}", "choose another [page] port")
        else:
            yield Finding("page", "ok", f"{url} is free for it")
        return
    answered_by = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(page.host, host)  # noqa: S104 - asked, not bound
    try:
        status = _get(f"http://{answered_by}:{page.port}/health").status
    except LinkError as error:
        todo = "see the log, journalctl -u fieldedge; another program may have the port"
        yield Finding("page", "fail", f"{url} does not answer: {error}", todo)
        return
    if status == 200:
        yield Finding("page", "ok", f"{url} answers")
    else:
        yield Finding("page", "warn", f"{url} answers with {status}", "open it: it says what is wrong")


def _link(patient: Patient) -> Iterator[Finding]:
    if patient.config is None:
        return
    if patient.config.link is None:
        yield Finding("link", "ok", "none is set: a stick is the way (fieldedge export, fieldedge import)")
        return
    from fieldedge.system.http import json_value

    gateway = patient.config.link.gateway
    try:
        answer = _get(f"{gateway.rstrip('/')}/v1/health")
    except ConfigError as error:
        yield Finding("link", "fail", str(error), "mend the proxy's address in the service's environment")
        return
    except LinkError as error:
        yield Finding("link", "warn", str(error), "check the modem and the address; everything is kept meanwhile")
        return
    said = json_value(answer.body)
    if answer.status == 200 and isinstance(said, dict) and said.get("ok") is True:
        yield Finding("link", "ok", f"{gateway} answers")
    else:
        found = f"{gateway} answers {answer.status}, and not as a gateway does"
        yield Finding("link", "fail", found, "mend [link] gateway in device.toml")


def _get(url: str) -> "Answer":
    import urllib3

    from fieldedge.system.http import ask

    return ask("GET", url, urllib3.Timeout(total=LINK_TIMEOUT_S))


CHECKS: dict[str, Check] = {
    "key": _key,
    "files": _files,
    "disk": _disk,
    "clock": _clock,
    "trust": _trust,
    "model": _model,
    "runtime": _runtime,
    "store": _store,
    "sources": _sources,
    "sensors": _sensors,
    "service": _service,
    "page": _page,
    "link": _link,
}
