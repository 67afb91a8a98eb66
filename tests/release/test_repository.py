"""The repository as a real TUF client sees it: whole releases, in order, or none."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlparse

import pytest
from tuf.api.exceptions import ExpiredMetadataError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater

from fieldedge.errors import ReleaseError, StoreBusy
from fieldedge.workloads import WORKLOADS
from fieldloop.release import Released, ReleaseRepository, repository

CONTRACT = WORKLOADS["agriculture"].contract
MakeBundle = Callable[..., Path]


class FilesOfTheRepository(FetcherInterface):
    """Serves a repository's files to a client without a network."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _fetch(self, url: str) -> Iterator[bytes]:
        from tuf.api.exceptions import DownloadHTTPError

        path = self._root / urlparse(url).path.lstrip("/")
        if not path.is_file():
            raise DownloadHTTPError("not found", 404)
        yield path.read_bytes()


class Client:
    """A device's view: it trusts the first root and keeps what it has seen."""

    def __init__(self, root: Path, directory: Path) -> None:
        self._root, self._directory = root, directory
        directory.mkdir()
        self._bootstrap = (root / "metadata" / "1.root.json").read_bytes()

    def bundle(self) -> bytes | None:
        updater = Updater(
            str(self._directory),
            "http://repository/metadata/",
            str(self._directory),
            "http://repository/targets/",
            fetcher=FilesOfTheRepository(self._root),
            bootstrap=self._bootstrap,
        )
        updater.refresh()
        target = updater.get_targetinfo("agriculture/bundle.zip")
        return None if target is None else Path(updater.download_target(target)).read_bytes()


def publish(releases: ReleaseRepository, bundle: Path, version: str = "1") -> Released:
    return releases.publish(bundle, "agriculture", version, CONTRACT.hash)


def test_a_client_gets_the_published_bundle_and_then_the_next(tmp_path: Path, make_bundle: MakeBundle) -> None:
    releases = ReleaseRepository(tmp_path / "tuf")
    client = Client(tmp_path / "tuf", tmp_path / "client")
    assert client.bundle() is None
    assert releases.current("agriculture") is None
    first, second = make_bundle("1"), make_bundle("2", yield_t_ha=11.0)
    released = publish(releases, first)
    assert client.bundle() == first.read_bytes()
    assert releases.current("agriculture") == released
    assert publish(releases, second, "2").targets_version == released.targets_version + 1
    assert client.bundle() == second.read_bytes()


def test_publishing_the_same_bundle_again_changes_nothing(tmp_path: Path, make_bundle: MakeBundle) -> None:
    releases, bundle = ReleaseRepository(tmp_path / "tuf"), make_bundle()
    released = publish(releases, bundle)
    before = {path: path.read_bytes() for path in (tmp_path / "tuf").rglob("*") if path.is_file()}
    assert publish(ReleaseRepository(tmp_path / "tuf"), bundle) == released
    assert {path: path.read_bytes() for path in (tmp_path / "tuf").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("writes_before_the_cut", range(4))
def test_a_crash_anywhere_in_publishing_leaves_clients_on_the_old_release_and_can_be_repeated(
    tmp_path: Path, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, writes_before_the_cut: int
) -> None:
    releases = ReleaseRepository(tmp_path / "tuf")
    client = Client(tmp_path / "tuf", tmp_path / "client")
    old, new = make_bundle("1"), make_bundle("2", yield_t_ha=11.0)
    publish(releases, old)
    with monkeypatch.context() as patched:
        patched.setattr(repository, "write_durably", power_cut_after(writes_before_the_cut))
        with pytest.raises(PowerCut):
            publish(releases, new, "2")
    assert client.bundle() == old.read_bytes()
    publish(ReleaseRepository(tmp_path / "tuf"), new, "2")
    assert client.bundle() == new.read_bytes()


@pytest.mark.parametrize("writes_before_the_cut", range(8))
def test_a_crash_anywhere_in_creating_is_made_good_by_opening_again(
    tmp_path: Path, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, writes_before_the_cut: int
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(repository, "write_durably", power_cut_after(writes_before_the_cut))
        with pytest.raises(PowerCut):
            ReleaseRepository(tmp_path / "tuf")
    releases, bundle = ReleaseRepository(tmp_path / "tuf"), make_bundle()
    publish(releases, bundle)
    assert Client(tmp_path / "tuf", tmp_path / "client").bundle() == bundle.read_bytes()


def test_a_tampered_bundle_is_refused_by_the_client(tmp_path: Path, make_bundle: MakeBundle) -> None:
    publish(ReleaseRepository(tmp_path / "tuf"), make_bundle())
    (target,) = (tmp_path / "tuf" / "targets").rglob("*.zip")
    content = bytearray(target.read_bytes())
    content[100] ^= 1
    target.write_bytes(content)
    with pytest.raises(RepositoryError):
        Client(tmp_path / "tuf", tmp_path / "client").bundle()


def test_keys_are_separate_and_readable_by_their_owner_alone(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        ReleaseRepository(tmp_path / "tuf")
    finally:
        os.umask(previous)
    keys = tmp_path / "tuf" / "keys"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}
    root = json.loads((tmp_path / "tuf" / "metadata" / "1.root.json").read_text())["signed"]
    assert len({role["keyids"][0] for role in root["roles"].values()}) == 4
    assert root["consistent_snapshot"] is True


def test_publishing_after_months_signs_anew_what_is_due_and_old_clients_follow(
    tmp_path: Path, make_bundle: MakeBundle
) -> None:
    made = datetime.now(UTC) - timedelta(days=240)
    bundle = make_bundle()
    publish(ReleaseRepository(tmp_path / "tuf", now=lambda: made), bundle)
    client = Client(tmp_path / "tuf", tmp_path / "client")
    with pytest.raises(ExpiredMetadataError):
        client.bundle()
    assert publish(ReleaseRepository(tmp_path / "tuf"), bundle).targets_version == 3
    assert client.bundle() == bundle.read_bytes()
    names = {path.name for path in (tmp_path / "tuf" / "metadata").iterdir()}
    assert {"1.root.json", "2.root.json"} <= names


def test_a_bundle_that_is_not_what_is_said_is_not_published(tmp_path: Path, make_bundle: MakeBundle) -> None:
    releases, bundle = ReleaseRepository(tmp_path / "tuf"), make_bundle("1")
    with pytest.raises(ReleaseError, match="version is '1' in the manifest; expected '2'"):
        publish(releases, bundle, "2")
    with pytest.raises(ReleaseError, match="no workload 'vineyard'"):
        releases.publish(bundle, "vineyard", "1", CONTRACT.hash)
    bundle.write_bytes(bundle.read_bytes()[:-200])
    with pytest.raises(ReleaseError):
        publish(releases, bundle)
    assert releases.current("agriculture") is None


def test_a_lost_signing_key_is_an_error_and_never_replaced(tmp_path: Path, make_bundle: MakeBundle) -> None:
    ReleaseRepository(tmp_path / "tuf")
    key = tmp_path / "tuf" / "keys" / "targets.pem"
    key.unlink()
    with pytest.raises(ReleaseError, match=r"targets\.pem cannot be used.*backup"):
        publish(ReleaseRepository(tmp_path / "tuf"), make_bundle())
    assert not key.exists()


def test_damaged_metadata_is_named(tmp_path: Path, make_bundle: MakeBundle) -> None:
    releases = ReleaseRepository(tmp_path / "tuf")
    (tmp_path / "tuf" / "metadata" / "1.snapshot.json").write_text("{")
    with pytest.raises(ReleaseError, match=r"1\.snapshot\.json cannot be read"):
        publish(releases, make_bundle())


def test_a_second_publisher_is_told_that_the_repository_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filelock import FileLock

    ReleaseRepository(tmp_path / "tuf")
    monkeypatch.setattr(repository, "LOCK_TIMEOUT_S", 0)
    with FileLock(tmp_path / "tuf" / ".lock"), pytest.raises(StoreBusy, match="in use by another process"):
        ReleaseRepository(tmp_path / "tuf")


class PowerCut(BaseException):
    """The machine is gone: no handler of ours may run on."""


def power_cut_after(writes: int) -> Callable[..., None]:
    really_write, done = repository.write_durably, []

    def write(path: Path, data: bytes, mode: int = 0o644) -> None:
        if len(done) == writes:
            raise PowerCut
        done.append(path)
        really_write(path, data, mode)

    return write
