"""The device's command line: init, update, run, sync, status.

Answers are JSON on stdout (on a terminal, and without --json, a few lines for a person). An error is one line on
stderr that says what to do, and exit code 1. Each command imports only what it needs: `run` starts quickly.
"""

import argparse
import io
import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from fieldedge.boot import boot_model, known_workload, read_device, read_reference
from fieldedge.config import (
    DEFAULT_UPLOAD_BUDGET_BYTES,
    DeviceConfig,
    DeviceDirectory,
    read_config,
    write_config,
)
from fieldedge.contract import Record
from fieldedge.durable import write_durably
from fieldedge.errors import ConfigError, FieldloopError, ReleaseError
from fieldedge.locks import exclusive
from fieldedge.store import Store

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="fieldedge: %(message)s")
    logging.getLogger("tuf").setLevel(logging.ERROR)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    try:
        options.command(options, DeviceDirectory(options.dir))
    except FieldloopError as error:
        return _fail(str(error))
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  (the interpreter flushes it at exit)
        return _fail("the reader of the answers has gone; everything answered so far is stored")
    except OSError as error:
        return _fail(f"the disk or the system refuses: {error}")
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def init(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Make the device's directory, key and settings, once. Again with the same settings it changes nothing."""
    from fieldedge.keys import load_or_create_key, public_key_hex

    known_workload(options.workload)
    root = _root_of_trust(options.root)
    wanted = DeviceConfig(options.device_id, options.workload, options.upload_budget_bytes)
    directory.root.mkdir(parents=True, exist_ok=True)
    if directory.settings.exists():
        _check_same_device(read_config(directory.settings), wanted, directory)
    directory.trust.mkdir(exist_ok=True)
    if not directory.bootstrap_root.exists():
        write_durably(directory.bootstrap_root, root)
    elif directory.bootstrap_root.read_bytes() != root:
        raise ConfigError(f"{directory.root} trusts another root already; provision a fresh directory to change it")
    key = load_or_create_key(directory.private_key)
    with Store(directory.store):
        pass
    if not directory.settings.exists():
        write_config(directory.settings, wanted)
    _answer(options, {"device_id": wanted.device_id, "public_key": public_key_hex(key)})


def update(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Install the released model, if it is new."""
    from fieldedge.updates import update as update_model

    _, workload = read_device(directory)
    _answer(options, asdict(update_model(directory, workload.contract, _url(options.gateway))))


def run(_options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Live through a season: JSON lines in, JSON lines out, until the input ends."""
    from fieldedge.agent import Agent

    config, workload = read_device(directory)
    with exclusive(directory.lock("run")), Store(directory.store) as store:
        agent = Agent(config, workload, store, boot_model(directory, workload))
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8", errors="backslashreplace")
        for answer in agent.answers(sys.stdin):
            _say(json.dumps(answer))


def sync(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Send what is worth sending; keep everything that is not acknowledged."""
    from fieldedge.keys import load_key
    from fieldedge.outbox import Outbox, Packer
    from fieldedge.uploads import Gateway
    from fieldedge.uploads import sync as send

    config, workload = read_device(directory)
    gateway = Gateway(_url(options.gateway), config.device_id, load_key(directory.private_key))
    with exclusive(directory.lock("sync")), Store(directory.store) as store:
        packer = Packer(config, workload, store, *read_reference(directory, workload))
        _answer(options, send(store, Outbox(directory.outbox, store), packer, gateway))


def status(options: argparse.Namespace, directory: DeviceDirectory) -> None:
    """Say what the device is, runs and holds. Changes nothing."""
    from fieldedge.keys import load_key, public_key_hex

    config, workload = read_device(directory)
    with Store(directory.store) as store:
        seasons = [{"season": season, **asdict(store.totals(season))} for season in store.seasons()]
        held = {"records": store.states(), "rejected": len(store.rejects()), "waiting": len(store.prepared_batches())}
    _answer(
        options,
        {
            "device_id": config.device_id,
            "public_key": public_key_hex(load_key(directory.private_key)),
            "workload": config.workload,
            "contract_hash": workload.contract.hash,
            "upload_budget_bytes": config.upload_budget_bytes,
            "model": _model_status(directory),
            **held,
            "seasons": seasons,
        },
    )


def _model_status(directory: DeviceDirectory) -> Record | None:
    from fieldedge.slots import Slots

    slots = Slots(directory.root)
    try:
        active = slots.active()
        if active is None:
            return None
        slots.verified_model(active)
    except ReleaseError as error:
        return {"error": str(error)}
    return asdict(active)


def _root_of_trust(path: Path) -> bytes:
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, Root

    try:
        data = path.read_bytes()
        metadata = Metadata[Root].from_bytes(data)
        metadata.verify_delegate(Root.type, metadata)
    except FileNotFoundError:
        raise ConfigError(f"--root {path} does not exist; take 1.root.json of the release repository") from None
    except (RepositoryError, ValueError) as error:
        raise ConfigError(f"--root {path} is not a signed TUF root: {error}") from error
    return data


def _check_same_device(found: DeviceConfig, wanted: DeviceConfig, directory: DeviceDirectory) -> None:
    if (found.device_id, found.workload) != (wanted.device_id, wanted.workload):
        raise ConfigError(
            f"{directory.root} is {found.device_id} for {found.workload} already; "
            f"choose another --dir for {wanted.device_id}"
        )


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ConfigError(f"--gateway is {text!r}; expected an address like https://gateway.example.org")
    return text


def _answer(options: argparse.Namespace, answer: Record) -> None:
    if options.json or not sys.stdout.isatty():
        _say(json.dumps(answer))
        return
    width = max(len(name) for name in answer)
    for name, value in answer.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        _say(f"{name.replace('_', ' '):<{width}}  {shown}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _fail(message: str) -> int:
    sys.stderr.write("fieldedge: " + " ".join(message.split()) + "\n")
    return EXIT_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fieldedge", description="The field computer: decides offline, keeps every record."
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--dir", type=Path, required=True, help="the device's directory")
    shared.add_argument("--json", action="store_true", help="JSON even on a terminal")
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("init", parents=[shared], help="make the device's key and settings")
    command.add_argument("--device-id", required=True)
    command.add_argument("--workload", required=True)
    command.add_argument("--root", type=Path, required=True, help="the trusted TUF root, 1.root.json")
    command.add_argument(
        "--upload-budget-bytes", type=int, default=DEFAULT_UPLOAD_BUDGET_BYTES, help="compressed, per season"
    )
    command.set_defaults(command=init)

    for name, function, about in (
        ("update", update, "install the released model, if it is new"),
        ("sync", sync, "send what is worth sending"),
    ):
        command = commands.add_parser(name, parents=[shared], help=about)
        command.add_argument("--gateway", required=True, help="the gateway's address")
        command.set_defaults(command=function)

    command = commands.add_parser("run", parents=[shared], help="live through a season: JSON lines in and out")
    command.set_defaults(command=run)
    command = commands.add_parser("status", parents=[shared], help="what the device is, runs and holds")
    command.set_defaults(command=status)
    return parser
