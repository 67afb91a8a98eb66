"""A new model over the air: refresh the trust, download, verify, try it out, switch.

Nothing that TUF has not verified is opened, and nothing that has not passed the self-test becomes active. Whatever
fails on the way, the old slot stays active: the switch is the last step. The link's failures are `LinkError`, all
others `ReleaseError`. A clock that was set back would pass every expiry check, so the time of the last good refresh is
kept as a floor. Where the signed files come from is a `Mirror`: the gateway here, a stick in `stick.py`.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tuf.api.exceptions import DownloadError, DownloadLengthMismatchError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import TargetFile
from tuf.ngclient import FetcherInterface, Updater
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher

from fieldedge.bundles import GOLDEN, Bundle, check_contract_hash, open_bundle, parse_golden
from fieldedge.config import DeviceDirectory
from fieldedge.contract import Contract
from fieldedge.durable import sweep_temporaries, write_durably
from fieldedge.errors import ConfigError, LinkError, ReleaseError
from fieldedge.http_client import UNREADABLE, words
from fieldedge.inference import Model
from fieldedge.locks import exclusive
from fieldedge.slots import Installed, Slots

LINK_TIMEOUT_S = 20
CLOCK_TOLERANCE = timedelta(days=1)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UpdateResult:
    """What is active after an update, and whether that is new."""

    version: str
    changed: bool
    slot: str
    precision: str


@dataclass(frozen=True)
class Mirror:
    """A place that holds a copy of the signed repository. It need not be trusted: everything it says is verified."""

    name: str
    metadata_url: str
    targets_url: str
    fetcher: FetcherInterface


class _GatewayFetcher(Urllib3Fetcher):
    """TUF's own, with one error for whatever an answer's framing makes urllib3 raise."""

    def fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield from super().fetch(url)
        except UNREADABLE as error:
            raise DownloadError(f"{url}: {words(error)}") from error


def gateway_mirror(gateway_url: str) -> Mirror:
    """The repository as the gateway serves it."""
    base = gateway_url.rstrip("/")
    fetcher = _GatewayFetcher(socket_timeout=LINK_TIMEOUT_S, app_user_agent="fieldedge")
    return Mirror(gateway_url, f"{base}/tuf/metadata/", f"{base}/tuf/targets/", fetcher)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def update(
    directory: DeviceDirectory,
    contract: Contract,
    gateway_url: str,
    now: Callable[[], datetime] = _utc_now,
) -> UpdateResult:
    """Install the released bundle of the contract's workload, unless it is active already.

    Raises:
        LinkError: the gateway cannot be reached; try again later.
        ReleaseError: the release cannot be trusted or does not fit this device; the old model stays.
        StoreBusy: another update is under way.
    """
    return update_from(directory, contract, gateway_mirror(gateway_url), now)


def update_from(
    directory: DeviceDirectory, contract: Contract, mirror: Mirror, now: Callable[[], datetime] = _utc_now
) -> UpdateResult:
    """As `update`, from any mirror of the repository."""
    slots = Slots(directory.root)
    with exclusive(directory.lock("update")):
        with refreshed(directory, mirror, now) as updater:
            target = _released_target(updater, contract)
            current = _sound_active(slots)
            if current is not None and current.bundle_sha256 == target.hashes.get("sha256"):
                return UpdateResult(current.version, False, current.slot, current.precision)
            data = Path(updater.download_target(target)).read_bytes()
        installed = install(slots, open_bundle(data, contract), contract)
    _log.info("installed version=%s slot=%s precision=%s", installed.version, installed.slot, installed.precision)
    return UpdateResult(installed.version, True, installed.slot, installed.precision)


@contextmanager
def refreshed(directory: DeviceDirectory, mirror: Mirror, now: Callable[[], datetime]) -> Iterator[Updater]:
    """TUF's client with its trust refreshed from a mirror; what it downloads is gone after the block.

    The caller holds the lock `update`: two clients may not share the trust.

    Raises:
        LinkError: the mirror cannot be read; try again later.
        ReleaseError: what it holds cannot be trusted, or the clock was set back.
    """
    _forget_interrupted(directory)
    _check_clock(directory.time_floor, now())
    with _staging(directory.staging) as staging, _named_errors(mirror.name):
        updater = _updater(directory, mirror, staging)
        updater.refresh()
        write_durably(directory.time_floor, now().isoformat().encode())
        yield updater


def install(slots: Slots, bundle: Bundle, contract: Contract) -> Installed:
    """Write a verified bundle to the free slot, try it from there, and switch to it.

    Raises:
        ReleaseError: the model as written does not load, does not fit or fails its self-test. Nothing is switched.
    """
    manifest = bundle.manifest
    slot = slots.free_slot()
    slots.write(slot, bundle.files)
    installed = Installed(slot, manifest.version, manifest.precision, bundle.sha256, manifest.model_sha256)
    model = Model(slots.verified_model(installed), contract)
    model.self_test(parse_golden(bundle.files[GOLDEN], contract), manifest.golden_tolerance)
    slots.activate(installed)
    return installed


def _updater(directory: DeviceDirectory, mirror: Mirror, staging: Path) -> Updater:
    try:
        bootstrap = directory.bootstrap_root.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"{directory.bootstrap_root} is missing; provision the device again: fieldedge init --root root.json"
        ) from None
    return Updater(
        str(directory.trust),
        mirror.metadata_url,
        str(staging),
        mirror.targets_url,
        fetcher=mirror.fetcher,
        bootstrap=bootstrap,
    )


def _forget_interrupted(directory: DeviceDirectory) -> None:
    """Remove what an update that was killed had begun to write. TUF's client names its own files `tmp...`."""
    sweep_temporaries(directory.trust)
    for temporary in directory.trust.glob("tmp????????"):
        temporary.unlink(missing_ok=True)


def _released_target(updater: Updater, contract: Contract) -> TargetFile:
    target = updater.get_targetinfo(f"{contract.workload}/bundle.zip")
    if target is None:
        raise ReleaseError(f"nothing is released for {contract.workload} yet; release a model first")
    check_contract_hash(target.custom.get("contract_hash") if target.custom else None, contract, "the release")
    return target


def _check_clock(floor: Path, now: datetime) -> None:
    try:
        last = datetime.fromisoformat(floor.read_text(encoding="ascii"))
        is_set_back = now < last - CLOCK_TOLERANCE
    except (FileNotFoundError, ValueError, TypeError):
        return  # the first update, or a damaged note: the next refresh writes it anew
    if is_set_back:
        raise ReleaseError(
            f"the clock says {now:%Y-%m-%d}, but the release was last refreshed on {last:%Y-%m-%d}: correct the clock"
        )


def _sound_active(slots: Slots) -> Installed | None:
    """The active bundle if its model is whole; a damaged one is installed again."""
    try:
        active = slots.active()
        if active is not None:
            slots.verified_model(active)
    except ReleaseError as error:
        _log.warning("the active slot is installed again: %s", error)
        return None
    return active


@contextmanager
def _staging(path: Path) -> Iterator[Path]:
    """An empty directory for the download: python-tuf writes targets in place, so never near a slot."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _named_errors(mirror_name: str) -> Iterator[None]:
    try:
        yield
    except ExpiredMetadataError as error:
        raise ReleaseError(f"the release metadata has expired ({error}); publish again, or set the clock") from error
    except (RepositoryError, DownloadLengthMismatchError) as error:
        raise ReleaseError(f"the release at {mirror_name} cannot be trusted: {error}; the old model stays") from error
    except DownloadError as error:
        raise LinkError(f"{mirror_name} cannot be reached: {error}; the old model stays, try again later") from error
