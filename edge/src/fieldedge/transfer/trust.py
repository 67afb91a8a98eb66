"""The device's trust in releases: TUF's client, one clock for all that expires, and where signed files come from.

Metadata expires by the device's own time, not by the system clock. How far time had run at the last good refresh is
kept as a floor: it moves by confirmed time only, never beyond what the metadata accepted then vouched for, and a
trusted time mends it. Whatever a mirror holds, signed or not, is refused by a named error. Where the files come from is
a `Mirror`: the gateway here, a stick in `usb.py`. What is done with a release is `updates.py`'s.
"""

import logging
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
)
from tuf.api.metadata import Metadata, TargetFile
from tuf.ngclient import FetcherInterface, Updater

from fieldedge.device.config import DeviceDirectory
from fieldedge.system.clock import MAX_NOTE_BYTES, Clock, Reading, format_utc, parse_utc
from fieldedge.system.durable import sweep_temporaries, write_durably
from fieldedge.system.errors import ConfigError, LinkError, ReleaseError
from fieldedge.system.http import Bounds, Patience, Response, exchange, redirected
from fieldedge.system.plain_files import NotPlainError, not_plain, read_own
from fieldedge.transfer.download import RANGE_BYTES, SUFFIX, Ranged, can_go_on, fetch, first_byte

UPDATE_WITHIN_S = 3600.0
CLOCK_TOLERANCE = timedelta(days=1)
MAX_TARGET_BYTES = 32_000_000
# Reading metadata takes some 65 times its size in memory where it was made to. The largest honest ones: a release for
# each of a thousand workloads in `targets`, 8,000 devices that a stick serves in what it delegates.
MAX_METADATA_BYTES = {"root": 500_000, "timestamp": 16_000, "snapshot": 100_000, "targets": 500_000}
MAX_DELEGATED_BYTES = 2_000_000
_GET_TRIES = 2

ReadClock = Callable[[], Reading | datetime]
_HASH = re.compile(r"[0-9a-f]{32,128}")
_MALFORMED = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mirror:
    """A place that holds a copy of the signed repository. It need not be trusted: everything it says is verified."""

    name: str
    metadata_url: str
    targets_url: str
    fetcher: FetcherInterface


@dataclass(frozen=True)
class GatewayFetcher(FetcherInterface):
    """Fetches over HTTP within bounds. No redirect is followed, to whatever origin: the address is the whole of it."""

    bounds: Bounds
    patience: Patience = field(default_factory=Patience)

    def _fetch(self, url: str) -> Iterator[bytes]:
        with self.fetch_from(url, 0) as (_, chunks):
            yield from chunks

    @contextmanager
    def fetch_from(self, url: str, offset: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The rest of a file from `offset` on; all of it where the server knows no ranges."""
        headers = {"User-Agent": "fieldedge", "Accept-Encoding": "identity"}
        headers |= {"Range": f"bytes={offset}-"} if offset else {}
        try:
            with exchange("GET", url, self.patience, self.bounds, headers=headers, tries=_GET_TRIES) as response:
                if response.status not in ((200, 206) if offset else (200,)):
                    raise DownloadHTTPError(_not_there(url, response), response.status)
                start = offset if response.status == 206 else 0
                if start and first_byte(response.content_range) != start:
                    raise DownloadError(f"{url} answers with another part than the one from byte {offset} on")
                yield start, response.chunks
        except LinkError as error:
            raise DownloadError(str(error)) from error


def gateway_mirror(gateway_url: str, bounds: Bounds | None = None, patience: Patience | None = None) -> Mirror:
    """The repository as the gateway serves it, read within `bounds`: from now on an hour, unless they say otherwise."""
    base = gateway_url.rstrip("/")
    fetcher = GatewayFetcher(bounds or Bounds.within(UPDATE_WITHIN_S), patience or Patience())
    return Mirror(gateway_url, f"{base}/tuf/metadata/", f"{base}/tuf/targets/", fetcher)


def device_clock(directory: DeviceDirectory) -> ReadClock:
    """The device's own clock, for a command that runs beside the service or without one."""
    return Clock(directory.clock_floor).reading


class Client(Updater):
    """TUF's client, judging expiry by a time that is given to it: it would ask the system clock. Errors are named."""

    def __init__(self, directory: DeviceDirectory, mirror: Mirror, staging: Path, clock: Reading) -> None:
        self._mirror_name, self._clock = mirror.name, clock
        self._staging, self._targets_url = staging, mirror.targets_url
        self._ranged: Ranged = mirror.fetcher if isinstance(mirror.fetcher, GatewayFetcher) else _Whole(mirror.fetcher)
        self.unfinished: Path | None = None  # what came of a target before its download broke off
        self.downloaded: set[Path] = set()
        self.is_up_to_date = False  # what is released is here: nothing that came before is still wanted
        with self._named_errors():
            super().__init__(
                str(directory.trust),
                mirror.metadata_url,
                str(staging),
                mirror.targets_url,
                fetcher=mirror.fetcher,
                bootstrap=_bootstrap(directory),
            )
        if not isinstance(self._trusted_set.reference_time, datetime):
            raise TypeError("this tuf keeps its reference time elsewhere; install what requirements.lock names")
        self.judged_at = self._trusted_set.reference_time = judged_at(directory, clock)

    @property
    def can_resume(self) -> bool:
        """Whether the mirror can be asked for the rest of a file."""
        return not isinstance(self._ranged, _Whole)

    @property
    def expires(self) -> datetime:
        """When the timestamp that was accepted expires."""
        return self._trusted_set.timestamp.expires

    def refresh(self) -> None:
        with self._named_errors():
            super().refresh()

    def get_targetinfo(self, target_path: str) -> TargetFile | None:
        """What the metadata says of a target, or None where it offers none.

        Raises:
            LinkError: a delegated role cannot be read from the mirror.
            ReleaseError: it cannot be trusted, or says of the target what no device can use.
        """
        with self._named_errors():
            found = super().get_targetinfo(target_path)
        if found is not None and found.length > MAX_TARGET_BYTES:
            raise ReleaseError(
                f"{target_path} has {found.length} bytes; at most {MAX_TARGET_BYTES} are taken: release a smaller one"
            )
        return found

    def download_target(
        self, targetinfo: TargetFile, filepath: str | None = None, target_base_url: str | None = None
    ) -> str:
        """Bring a target into the staging folder, going on where a download broke off; where it lies, verified.

        Raises:
            LinkError: it cannot be fetched now. What came is kept for the next time.
            ReleaseError: it is not what the metadata says.
        """
        part = Path(filepath or self._staging / f"{_file_name(targetinfo)}{SUFFIX}")
        url = f"{target_base_url or self._targets_url}{self._target_name(targetinfo)}"
        if targetinfo.length > RANGE_BYTES:  # what is smaller comes beside a bundle that is still to come
            for other in part.parent.glob(f"*{SUFFIX}"):
                if other != part:
                    other.unlink()
        with self._named_errors():
            self.unfinished = part
            if fetch(self._ranged, url, part, targetinfo.length):
                try:
                    _verify(targetinfo, part)
                except LengthOrHashMismatchError:
                    _log.warning("what was fetched of %s before is not of it: it is fetched anew", targetinfo.path)
                    part.unlink()
                    fetch(self._ranged, url, part, targetinfo.length)
            self.unfinished = None
            self.downloaded.add(part)
            _verify(targetinfo, part)
        return str(part)

    def _target_name(self, target: TargetFile) -> str:
        """The name under which a target is published."""
        folder, slash, name = target.path.rpartition("/")
        is_prefixed = self._trusted_set.root.consistent_snapshot and self.config.prefix_targets_with_hash
        return f"{folder}{slash}{next(iter(target.hashes.values()))}.{name}" if is_prefixed else target.path

    def _download_metadata(self, rolename: str, length: int, version: int | None = None) -> bytes:
        return super()._download_metadata(rolename, min(length, max_metadata_bytes(rolename)), version)

    def _load_local_metadata(self, rolename: str) -> bytes:
        """What was accepted before, unless it is larger than it may be: then it is fetched anew."""
        return read_own(Path(self._dir) / f"{quote(rolename, '')}.json", max_metadata_bytes(rolename))

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Whatever a mirror says, signed or not, ends here in an error of ours."""
        name = self._mirror_name
        try:
            yield
        except ExpiredMetadataError as error:
            by = format_utc(self.judged_at) + ("" if self._clock.is_trusted else ", which no time service confirms")
            raise ReleaseError(
                f"the release metadata has expired ({error}) by the device's time {by}; publish again, or set the clock"
            ) from error
        except (RepositoryError, DownloadLengthMismatchError) as error:
            raise ReleaseError(f"the release at {name} cannot be trusted: {error}; the old model stays") from error
        except DownloadError as error:
            raise LinkError(f"{_reached(name, error)}; the old model stays, try again later") from error
        except _MALFORMED as error:
            said = f"{type(error).__name__}: {str(error)[:200]}"
            raise ReleaseError(f"the release at {name} cannot be read ({said}); the old model stays") from error


def _file_name(target: TargetFile) -> str:
    """What a target's file is called while it comes: its sha256, or another hash where that is not told.

    Raises:
        ReleaseError: the hash is none.
    """
    found = target.hashes.get("sha256") or next(iter(target.hashes.values()))
    if _HASH.fullmatch(found) is None:
        raise ReleaseError(f"the release names {target.path} by what is no hash; publish it again")
    return found


def max_metadata_bytes(role: str) -> int:
    """How large the metadata of a role may be, whatever other metadata says of it."""
    return MAX_METADATA_BYTES.get(role, MAX_DELEGATED_BYTES)


@contextmanager
def refreshed(directory: DeviceDirectory, mirror: Mirror, now: ReadClock) -> Iterator[Client]:
    """TUF's client with the device's trust refreshed from a mirror; what it downloads is gone after the block.

    The caller holds the lock `update`: two clients may not share the trust.

    Args:
        now: the device's clock; a bare time is taken at its word, as one that is neither guessed nor trusted.

    Raises:
        LinkError: the mirror cannot be read; try again later.
        ReleaseError: what it holds cannot be trusted, or has expired.
    """
    _forget_interrupted(directory)
    _check_metadata(directory.trust)
    _mend_floor(directory)
    said = now()
    clock = said if isinstance(said, Reading) else Reading(said, said, is_confirmed=True, is_trusted=False)
    staging = directory.staging
    _clear(staging, but=sorted(staging.glob(f"*{SUFFIX}")) if staging.is_dir() else ())
    staging.mkdir(parents=True, exist_ok=True)
    client: Client | None = None
    try:
        client = Client(directory, mirror, staging, clock)
        client.refresh()
        _keep_floor(directory, clock, min(client.judged_at, client.expires))
        yield client
    finally:
        _clear(staging, but=_worth_keeping(staging, client))


def judged_at(directory: DeviceDirectory, clock: Reading) -> datetime:
    """The time by which metadata expires: a trusted one as it is, any other not before the floor."""
    floor = read_floor(directory)
    if clock.is_trusted or floor is None or floor <= clock.sure:
        return clock.now if clock.is_trusted else clock.sure
    if floor - clock.sure > CLOCK_TOLERANCE:
        _log.warning(
            "the clock says %s, but a release was seen at %s: it is judged by that; correct the clock",
            format_utc(clock.sure),
            format_utc(floor),
        )
    return floor


def read_floor(directory: DeviceDirectory) -> datetime | None:
    """When a release was last found good; None before the first, or where the note is damaged: it is written anew.

    Never later than what was accepted then can vouch for: a former version noted whatever the clock said.
    """
    floor, expires = _noted_floor(directory), _accepted_expiry(directory)
    if floor is None or expires is None:
        return floor
    return min(floor, expires - CLOCK_TOLERANCE)


def _noted_floor(directory: DeviceDirectory) -> datetime | None:
    try:
        return parse_utc(read_own(directory.time_floor, MAX_NOTE_BYTES).decode("ascii"))
    except (OSError, ValueError):
        return None


def _accepted_expiry(directory: DeviceDirectory) -> datetime | None:
    """When the first of the metadata that this device has accepted expires."""
    found: list[datetime] = []
    for role in ("root", "timestamp", "snapshot", "targets"):
        try:
            data = read_own(directory.trust / f"{role}.json", max_metadata_bytes(role))
            found.append(Metadata[Any].from_bytes(data).signed.expires)
        except (OSError, RepositoryError, *_MALFORMED):
            continue
    return min(found, default=None)


def _mend_floor(directory: DeviceDirectory) -> None:
    """Write down a floor that lies beyond what was accepted as it is read: else later metadata would carry it along."""
    noted, floor = _noted_floor(directory), read_floor(directory)
    if noted is not None and floor is not None and floor < noted:
        write_durably(directory.time_floor, floor.isoformat().encode())


def _keep_floor(directory: DeviceDirectory, clock: Reading, seen: datetime) -> None:
    floor = _noted_floor(directory)
    if clock.is_trusted or (clock.is_confirmed and (floor is None or seen > floor)):
        write_durably(directory.time_floor, seen.isoformat().encode())


def _bootstrap(directory: DeviceDirectory) -> bytes:
    try:
        return read_own(directory.bootstrap_root, max_metadata_bytes("root"))
    except NotPlainError as error:
        raise ConfigError(
            f"{directory.bootstrap_root} {error.strerror}: remove it, and provision the device again: "
            "fieldedge init --root root.json"
        ) from error
    except FileNotFoundError:
        raise ConfigError(
            f"{directory.bootstrap_root} is missing; provision the device again: fieldedge init --root root.json"
        ) from None


def _forget_interrupted(directory: DeviceDirectory) -> None:
    """Remove what an update that was killed had begun to write. TUF's client names its own files `tmp...`."""
    sweep_temporaries(directory.trust)
    sweep_temporaries(directory.root, directory.trials.name)
    for temporary in directory.trust.glob("tmp????????"):
        temporary.unlink(missing_ok=True)


def _check_metadata(trust: Path) -> None:
    """See that TUF's client, which opens its roots as they are, can neither wait nor read without end.

    Raises:
        ReleaseError: something else lies where a file of metadata belongs.
    """
    for path in sorted((*trust.glob("*.json"), *trust.glob("root_history/*.json"))):
        found, most = not_plain(path), max_metadata_bytes("root")
        if not found and "root" in path.name and path.exists() and path.stat().st_size > most:
            found = f"larger than {most} bytes"
        if found:
            raise ReleaseError(f"{path} is {found}; expected the release metadata that was verified last: remove it")


def _not_there(url: str, response: Response) -> str:
    is_redirect = 300 <= response.status < 400
    return f"{url} {redirected(response)}" if is_redirect else f"{url} answers {response.status}"


@dataclass(frozen=True)
class _Whole:
    """A fetcher that can only be asked for a whole file."""

    fetcher: FetcherInterface

    @contextmanager
    def fetch_from(self, url: str, _offset: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        yield 0, self.fetcher.fetch(url)


def _verify(target: TargetFile, path: Path) -> None:
    """See that a file is what the metadata says.

    Raises:
        LengthOrHashMismatchError: it is not.
    """
    target.verify_length_and_hashes(read_own(path, MAX_TARGET_BYTES))


def _worth_keeping(staging: Path, client: Client | None) -> Collection[Path]:
    """What came of targets whose download broke off, now or before, and may still be wanted."""
    parts = sorted(path for path in staging.glob(f"*{SUFFIX}") if can_go_on(path))
    if client is None:
        return parts
    if client.is_up_to_date:
        return ()
    gone = {*client.downloaded, *([] if client.can_resume or client.unfinished is None else [client.unfinished])}
    return [path for path in parts if path not in gone]


def _clear(staging: Path, but: Collection[Path]) -> None:
    """The staging folder with nothing but these plain files; none where there are none."""
    kept = [path for path in but if not path.is_symlink() and path.is_file()]
    if not kept or staging.is_symlink():
        if staging.is_symlink() or (staging.exists() and not staging.is_dir()):
            staging.unlink()
        shutil.rmtree(staging, ignore_errors=True)
        return
    for path in staging.iterdir():
        if path in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _reached(mirror_name: str, error: Exception) -> str:
    """What failed, with a cause in any case."""
    said = str(error) or (str(error.__cause__) if error.__cause__ else "") or type(error).__name__
    return said if "cannot be reached" in said else f"{mirror_name} cannot be reached: {said}"
