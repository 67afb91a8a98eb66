"""`fieldedge init`: the device's key, trust and settings, once."""

import argparse
from pathlib import Path
from typing import Any

from fieldedge.device.config import (
    DEFAULT_UPLOAD_BUDGET_BYTES,
    DeviceConfig,
    DeviceDirectory,
    read_config,
    write_config,
)
from fieldedge.presentation.answer import answer
from fieldedge.storage.store import Store
from fieldedge.system.addresses import checked_address
from fieldedge.system.durable import sweep_temporaries, write_durably
from fieldedge.system.errors import ConfigError
from fieldedge.system.plain_files import NotPlainError, read_own
from fieldedge.workload import merit
from fieldedge.workloads import known_workload

MAX_ROOT_BYTES = 1_000_000


def add(commands: Any, shared: argparse.ArgumentParser) -> None:
    command = commands.add_parser("init", parents=[shared], help="make the device's key and settings")
    command.add_argument("--device-id", required=True)
    command.add_argument("--workload", required=True)
    command.add_argument("--root", type=Path, required=True, help="the trusted TUF root, 1.root.json")
    command.add_argument(
        "--upload-budget-bytes", type=int, default=DEFAULT_UPLOAD_BUDGET_BYTES, help="compressed, per episode"
    )
    command.add_argument("--gateway", help="have this gateway know the device: https://gateway.example.org")
    command.add_argument("--token", help="the operator's one-time token for that: fieldloop device token")
    command.set_defaults(command=init)


def init(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Make the device's directory, key and settings, once. Again with the same settings it only makes it private.

    With a gateway and a token the device enrols itself when all else is done, and again where that failed.
    """
    from fieldedge.system.keys import load_or_create_key, public_key_hex

    if (options.gateway is None) != (options.token is None):
        raise ConfigError("--gateway and --token go together: the operator's `fieldloop device token` makes tokens")
    if options.gateway is not None:
        checked_address("--gateway", options.gateway)
    workload = known_workload(options.workload)
    root = _root_of_trust(options.root)
    wanted = DeviceConfig(options.device_id, options.workload, options.upload_budget_bytes)
    directory.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.settings.exists():
        _check_same_device(read_config(directory.settings), wanted, directory)
    directory.make_private()
    directory.trust.mkdir(exist_ok=True)
    for file in (directory.settings, directory.bootstrap_root, directory.private_key):
        sweep_temporaries(file.parent, file.name)
    if not directory.bootstrap_root.exists():
        write_durably(directory.bootstrap_root, root)
    elif read_own(directory.bootstrap_root, MAX_ROOT_BYTES) != root:
        raise ConfigError(f"{directory.root} trusts another root already; provision a fresh directory to change it")
    key = load_or_create_key(directory.private_key)
    with Store(directory.store, merit=merit(workload)):
        pass
    if not directory.settings.exists():
        write_config(directory.settings, wanted)
    said = {"device_id": wanted.device_id, "public_key": public_key_hex(key)}
    if options.gateway is not None:
        from fieldedge.transfer.enrolment import enrol

        enrol(options.gateway, options.token, wanted.device_id, key)
        said["enrolled_at"] = options.gateway
    answer(options, said)


def _root_of_trust(path: Path) -> bytes:
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, Root

    try:
        data = read_own(path, MAX_ROOT_BYTES)
        metadata = Metadata[Root].from_bytes(data)
        metadata.verify_delegate(Root.type, metadata)
    except FileNotFoundError:
        raise ConfigError(f"--root {path} does not exist; take 1.root.json of the release repository") from None
    except NotPlainError as error:
        raise ConfigError(f"--root {path} {error.strerror}; take 1.root.json of the release repository") from error
    except (RepositoryError, ValueError) as error:
        raise ConfigError(f"--root {path} is not a signed TUF root: {error}") from error
    return data


def _check_same_device(found: DeviceConfig, wanted: DeviceConfig, directory: DeviceDirectory) -> None:
    if (found.device_id, found.workload) != (wanted.device_id, wanted.workload):
        raise ConfigError(
            f"{directory.root} is {found.device_id} for {found.workload} already; "
            f"choose another --dir for {wanted.device_id}"
        )
