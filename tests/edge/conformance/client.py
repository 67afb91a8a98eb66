"""The device's own client of releases behind the command line that the TUF conformance suite drives.

    client.py --metadata-dir DIR init ROOT
    client.py --metadata-dir DIR --metadata-url URL refresh
    client.py --metadata-dir DIR --metadata-url URL --target-name PATH --target-base-url URL --target-dir DIR download

What is run is `fieldedge.transfer.trust`, with its clock, its bounds and its floor, on a device's directory beside DIR;
DIR holds copies of what the device trusts, under the names that the suite looks for. Exit 0: done, 1: refused.
"""

import argparse
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

from fieldedge.device.config import DeviceDirectory
from fieldedge.system.durable import write_durably
from fieldedge.system.errors import FieldloopError, ReleaseError
from fieldedge.system.http import Bounds
from fieldedge.transfer.trust import UPDATE_WITHIN_S, Client, GatewayFetcher, Mirror, device_clock, refreshed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The device's client of releases, for the TUF conformance suite.")
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url", default="")
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("--target-base-url", default="")
    parser.add_argument("--target-dir", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("trusted_root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    options = parser.parse_args(arguments)
    directory = DeviceDirectory(options.metadata_dir.with_name(f"{options.metadata_dir.name}.device"))
    try:
        if options.command == "init":
            _provision(directory, options.trusted_root, options.metadata_dir)
        else:
            _follow(directory, options)
    except FieldloopError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def _provision(directory: DeviceDirectory, trusted_root: Path, metadata_dir: Path) -> None:
    directory.trust.mkdir(parents=True)
    shutil.copyfile(trusted_root, directory.bootstrap_root)
    shutil.copyfile(trusted_root, metadata_dir / "root.json")


def _follow(directory: DeviceDirectory, options: argparse.Namespace) -> None:
    fetcher = GatewayFetcher(Bounds.within(UPDATE_WITHIN_S))
    urls = (f"{url.rstrip('/')}/" for url in (options.metadata_url, options.target_base_url))
    mirror = Mirror("the suite", *urls, fetcher)
    try:
        with refreshed(directory, mirror, device_clock(directory)) as client:
            for name in options.target_name if options.command == "download" else ():
                _download(client, name, options.target_dir)
    finally:
        _show_trust(directory, options.metadata_dir)


def _download(client: Client, name: str, folder: Path) -> None:
    target = client.get_targetinfo(name)
    if target is None:
        raise ReleaseError(f"the suite offers no {name}")
    place = folder / quote(name, "")
    if client.find_cached_target(target, str(place)) is None:
        # A device never downloads onto the place where it keeps a thing: what is refused leaves the former one.
        staged = Path(client.download_target(target))
        write_durably(place, staged.read_bytes())


def _show_trust(directory: DeviceDirectory, metadata_dir: Path) -> None:
    """Copies of what the device trusts now; a role that it gave up is gone there too."""
    for path in metadata_dir.glob("*.json"):
        path.unlink()
    for path in directory.trust.glob("*.json"):
        if path != directory.bootstrap_root:
            shutil.copyfile(path, metadata_dir / path.name)
    if not (metadata_dir / "root.json").exists():
        shutil.copyfile(directory.bootstrap_root, metadata_dir / "root.json")


if __name__ == "__main__":
    sys.exit(main())
