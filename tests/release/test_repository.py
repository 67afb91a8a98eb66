"""The repository as a real TUF client sees it: whole releases, in order, or none."""

import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlparse

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import ExpiredMetadataError, RepositoryError
from tuf.api.metadata import Metadata
from tuf.ngclient import FetcherInterface, Updater

from fieldedge.system.durable import write_durably
from fieldedge.system.errors import ReleaseError, StoreBusy
from fieldedge.transfer.trust import MAX_METADATA_BYTES
from fieldedge.workloads import known_workload
from fieldloop.core.begun import Mark
from fieldloop.release import Released, ReleaseRepository, keys, metadata_store

CONTRACT = known_workload("agriculture").contract
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


def test_the_run_that_made_a_bundle_stands_beside_it_and_another_run_is_signed_anew(
    tmp_path: Path, make_bundle: MakeBundle
) -> None:
    release, bundle = ReleaseRepository(tmp_path / "tuf"), make_bundle("1")
    first = release.publish(bundle, "agriculture", "1", CONTRACT.hash, "run-1")
    second = release.publish(bundle, "agriculture", "1", CONTRACT.hash, "run-2")
    assert second.sha256 == first.sha256
    newest = max(
        (tmp_path / "tuf" / "metadata").glob("*.agriculture.json"), key=lambda path: int(path.name.split(".")[0])
    )
    (target,) = [
        target
        for name, target in json.loads(newest.read_bytes())["signed"]["targets"].items()
        if name.startswith("agriculture/")
    ]
    assert target["custom"]["mlflow_run_id"] == "run-2"


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
        cut_power_after(patched, writes_before_the_cut)
        with pytest.raises(PowerCut):
            publish(releases, new, "2")
    assert client.bundle() == old.read_bytes()
    publish(ReleaseRepository(tmp_path / "tuf"), new, "2")
    assert client.bundle() == new.read_bytes()


@pytest.mark.parametrize("writes_before_the_cut", range(9))
def test_a_crash_anywhere_in_creating_is_made_good_by_opening_again(
    tmp_path: Path, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, writes_before_the_cut: int
) -> None:
    with monkeypatch.context() as patched:
        cut_power_after(patched, writes_before_the_cut)
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
    assert publish(ReleaseRepository(tmp_path / "tuf"), bundle).targets_version == 2
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


def lived(root: Path, make_bundle: MakeBundle) -> ReleaseRepository:
    """A repository with a second root, a release, and a device's acknowledgement."""
    long_ago = datetime.now(UTC) - timedelta(days=240)
    publish(ReleaseRepository(root, now=lambda: long_ago), make_bundle("1"))
    releases = ReleaseRepository(root)
    publish(releases, make_bundle("2"), "2")
    releases.acknowledge({"dev-00": {"0" * 64}})
    return releases


def contents(root: Path) -> dict[Path, bytes]:
    return {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def use(root: Path, make_bundle: MakeBundle) -> None:
    """All that a cloud does with its repository."""
    releases = ReleaseRepository(root)
    releases.current("agriculture")
    releases.refresh()
    releases.copy_to(root.parent / f"{root.name}-stick")


def needed(root: Path, make_bundle: MakeBundle) -> list[Path]:
    """What a repository cannot be without: what devices read, and the keys."""
    lived(root, make_bundle).copy_to(root.parent / "stick")
    store = metadata_store.MetadataStore(root, lambda: datetime.now(UTC))
    return [*map(Path, store.names(store.load())), *(path.relative_to(root) for path in (root / "keys").iterdir())]


@pytest.mark.parametrize("harm", ["lost", "cut off", "changed", "a folder"])
def test_a_file_that_is_lost_or_damaged_is_named_and_the_repository_stays_as_it_is(
    tmp_path: Path, make_bundle: MakeBundle, harm: str
) -> None:
    names = needed(tmp_path / "tuf", make_bundle)
    kinds = {name.name.split(".", 1)[1] if name.parts[0] == "metadata" else name.parts[0] for name in names}
    assert {"root.json", "targets.json", "snapshot.json", "json", "acknowledgements.json", "keys", "targets"} <= kinds
    assert {"1.root.json", "2.root.json"} <= {name.name for name in names}
    for number, name in enumerate(names):
        root = tmp_path / f"harmed-{number}"
        shutil.copytree(tmp_path / "tuf", root)
        content = (root / name).read_bytes()
        (root / name).unlink()
        if harm == "cut off":
            (root / name).write_bytes(content[:-20])
        elif harm == "changed":
            middle = len(content) // 2
            (root / name).write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        elif harm == "a folder":
            (root / name).mkdir()
        if harm != "lost":
            (root / name).chmod(0o700)
        before = contents(root)
        with pytest.raises(ReleaseError, match=rf"{re.escape(str(root / name))}.*Restore.*backup"):
            use(root, make_bundle)
        assert contents(root) == before


def test_an_older_file_that_was_brought_back_is_damage(tmp_path: Path, make_bundle: MakeBundle) -> None:
    """Devices go back to nothing before what they have seen: what was published from there, all would refuse."""
    root = tmp_path / "tuf"
    lived(root, make_bundle)
    timestamp = root / "metadata" / "timestamp.json"
    backup = timestamp.read_bytes()
    bundle = make_bundle("3", yield_t_ha=12.0)
    publish(ReleaseRepository(root), bundle, "3")
    newest = timestamp.read_bytes()
    timestamp.write_bytes(backup)
    before = contents(root)
    with pytest.raises(ReleaseError, match=r"timestamp\.json is version \d+, and version \d+ was published.*Restore"):
        use(root, make_bundle)
    assert contents(root) == before
    timestamp.write_bytes(newest)
    use(root, make_bundle)
    for role in ("snapshot", "targets"):
        *_, former, latest = sorted(
            (root / "metadata").glob(f"*.{role}.json"), key=lambda path: int(path.name.split(".")[0])
        )
        content = latest.read_bytes()
        latest.write_bytes(former.read_bytes())
        with pytest.raises(ReleaseError, match=rf"{latest.name} is version"):
            use(root, make_bundle)
        latest.write_bytes(content)
    assert Client(root, tmp_path / "client").bundle() == bundle.read_bytes()


def test_a_repository_of_before_whose_mark_names_no_version_goes_on(tmp_path: Path, make_bundle: MakeBundle) -> None:
    lived(tmp_path / "tuf", make_bundle)
    mark = Mark.beside(tmp_path / "tuf")
    said = mark.words
    mark.keep("The release repository tuf/ was begun.\n")
    ReleaseRepository(tmp_path / "tuf")
    assert mark.words == said
    use(tmp_path / "tuf", make_bundle)


def test_a_folder_in_the_marks_place_is_named_with_what_to_do(tmp_path: Path, make_bundle: MakeBundle) -> None:
    lived(tmp_path / "tuf", make_bundle)
    mark = Mark.beside(tmp_path / "tuf")
    said = mark.words
    mark.path.unlink()
    mark.path.mkdir()
    with pytest.raises(ReleaseError, match=r"tuf\.begun cannot be read \(Is a directory\).* remove what lies there"):
        use(tmp_path / "tuf", make_bundle)
    mark.path.rmdir()
    ReleaseRepository(tmp_path / "tuf")
    assert mark.words == said
    use(tmp_path / "tuf", make_bundle)


def test_metadata_that_no_device_would_take_is_not_published(
    tmp_path: Path, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases = ReleaseRepository(tmp_path / "tuf")
    publish(releases, make_bundle("1"))
    monkeypatch.setitem(MAX_METADATA_BYTES, "agriculture", 100)
    with pytest.raises(ReleaseError, match=r"agriculture would have \d+ bytes, and devices take 100"):
        publish(releases, make_bundle("2"), "2")
    current = releases.current("agriculture")
    assert current is not None and current.version == "1"


@pytest.mark.parametrize("folder", ["keys", "metadata", "targets"])
def test_a_whole_folder_that_is_lost_is_damage_and_never_begun_anew(
    tmp_path: Path, make_bundle: MakeBundle, folder: str
) -> None:
    lived(tmp_path / "tuf", make_bundle)
    shutil.rmtree(tmp_path / "tuf" / folder)
    before = contents(tmp_path / "tuf")
    with pytest.raises(ReleaseError, match=rf"{folder}.*missing"):
        use(tmp_path / "tuf", make_bundle)
    assert contents(tmp_path / "tuf") == before


def test_a_repository_that_never_released_is_not_begun_anew_either(tmp_path: Path, make_bundle: MakeBundle) -> None:
    ReleaseRepository(tmp_path / "tuf")
    (tmp_path / "tuf" / "metadata" / "timestamp.json").unlink()
    with pytest.raises(ReleaseError, match=r"timestamp\.json is missing"):
        ReleaseRepository(tmp_path / "tuf")
    shutil.rmtree(tmp_path / "tuf")
    with pytest.raises(ReleaseError, match=r"tuf is gone, keys and all.*on purpose: remove .*tuf\.begun"):
        ReleaseRepository(tmp_path / "tuf")
    Mark.beside(tmp_path / "tuf").path.unlink()
    publish(ReleaseRepository(tmp_path / "tuf"), make_bundle())


def test_a_beginning_that_was_cut_off_at_its_very_end_is_whole(tmp_path: Path, make_bundle: MakeBundle) -> None:
    publish(ReleaseRepository(tmp_path / "tuf"), make_bundle())
    (tmp_path / "tuf" / metadata_store.BEGINNING_NAME).write_bytes(b"")
    assert ReleaseRepository(tmp_path / "tuf").current("agriculture") is not None
    assert not (tmp_path / "tuf" / metadata_store.BEGINNING_NAME).exists()


def test_a_mark_of_a_beginning_does_not_begin_a_repository_that_lived(tmp_path: Path, make_bundle: MakeBundle) -> None:
    lived(tmp_path / "tuf", make_bundle)
    (tmp_path / "tuf" / metadata_store.BEGINNING_NAME).write_bytes(b"")
    (tmp_path / "tuf" / "metadata" / "timestamp.json").unlink()
    with pytest.raises(ReleaseError, match=r"timestamp\.json is missing, and .* is there"):
        ReleaseRepository(tmp_path / "tuf")


def test_what_was_lost_and_is_restored_goes_on_as_before(tmp_path: Path, make_bundle: MakeBundle) -> None:
    lived(tmp_path / "tuf", make_bundle)
    client = Client(tmp_path / "tuf", tmp_path / "client")
    assert client.bundle() is not None
    shutil.copytree(tmp_path / "tuf", tmp_path / "backup")
    for name in contents(tmp_path / "backup"):
        (tmp_path / "tuf" / name).unlink()
        shutil.copy2(tmp_path / "backup" / name, tmp_path / "tuf" / name)
        use(tmp_path / "tuf", make_bundle)
    bundle = make_bundle("3", yield_t_ha=12.0)
    publish(ReleaseRepository(tmp_path / "tuf"), bundle, "3")
    assert client.bundle() == bundle.read_bytes()


def test_a_lost_bundle_is_stored_again_by_publishing_it(tmp_path: Path, make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    publish(ReleaseRepository(tmp_path / "tuf"), bundle)
    (stored,) = (tmp_path / "tuf" / "targets").rglob("*.zip")
    stored.unlink()
    publish(ReleaseRepository(tmp_path / "tuf"), bundle)
    assert Client(tmp_path / "tuf", tmp_path / "client").bundle() == bundle.read_bytes()


def test_a_key_of_another_repository_signs_nothing(tmp_path: Path, make_bundle: MakeBundle) -> None:
    lived(tmp_path / "tuf", make_bundle)
    lived(tmp_path / "other", make_bundle)
    for key in sorted((tmp_path / "other" / "keys").iterdir()):
        root = tmp_path / key.stem
        shutil.copytree(tmp_path / "tuf", root)
        shutil.copy2(key, root / "keys" / key.name)
        with pytest.raises(ReleaseError, match=rf"{key.name} is another key than the one that devices trust"):
            ReleaseRepository(root)


def test_a_key_that_others_can_read_signs_nothing(tmp_path: Path) -> None:
    ReleaseRepository(tmp_path / "tuf")
    (tmp_path / "tuf" / "keys" / "root.pem").chmod(0o644)
    with pytest.raises(ReleaseError, match=r"root\.pem can be read by others; run chmod 600"):
        ReleaseRepository(tmp_path / "tuf")


def test_a_repository_of_before_that_does_not_say_its_newest_root_is_read(
    tmp_path: Path, make_bundle: MakeBundle
) -> None:
    lived(tmp_path / "tuf", make_bundle)
    path = tmp_path / "tuf" / "metadata" / "timestamp.json"
    timestamp = Metadata.from_bytes(path.read_bytes())
    del timestamp.signed.unrecognized_fields[metadata_store.ROOT_VERSION]
    key = load_pem_private_key((tmp_path / "tuf" / "keys" / "timestamp.pem").read_bytes(), password=None)
    timestamp.sign(CryptoSigner(key))
    path.write_bytes(timestamp.to_bytes())
    bundle = make_bundle("3")
    publish(ReleaseRepository(tmp_path / "tuf"), bundle, "3")
    assert Client(tmp_path / "tuf", tmp_path / "client").bundle() == bundle.read_bytes()


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
    monkeypatch.setattr(metadata_store, "LOCK_TIMEOUT_S", 0)
    with FileLock(tmp_path / "tuf" / ".lock"), pytest.raises(StoreBusy, match="in use by another process"):
        ReleaseRepository(tmp_path / "tuf")


class PowerCut(BaseException):
    """The machine is gone: no handler of ours may run on."""


def cut_power_after(patched: pytest.MonkeyPatch, writes: int) -> None:
    """Let so many files be written, of metadata, targets and keys alike, and none after."""
    done: list[Path] = []

    def write(path: Path, data: bytes, mode: int = 0o644) -> None:
        if len(done) == writes:
            raise PowerCut
        done.append(path)
        write_durably(path, data, mode)

    for room in (metadata_store, keys):
        patched.setattr(room, "write_durably", write)
