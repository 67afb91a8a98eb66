"""`fieldloop keys` and `fieldloop release`, typed as a person does: each once well, and refused by name where it must.

What is refused ends with code 1 and one line, and leaves repository and media as they were, byte for byte.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tuf.api.metadata import Metadata

from fieldedge.system.errors import ConfigError
from fieldedge.workloads import known_workload
from fieldloop import cli
from fieldloop.core import process_setup
from fieldloop.core.settings import KeySettings, load_settings
from fieldloop.release import ReleaseRepository
from fieldloop.release.key_changes import KeyChanges
from fieldloop.release.keys import Secrets
from fieldloop.release.metadata_store import MetadataStore
from fieldloop.stages.context import Loop
from fieldloop.stages.kept import require_kept, require_keys
from fieldloop.stages.release import release_bundle
from fieldloop.workloads import load_params

ROOT = Path(__file__).parents[2]
CONTRACT = known_workload("agriculture").contract
BundleMaker = Callable[..., Path]


class Clone:
    """A clone with three media and passphrases in files; what is typed in it."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, printed: Any) -> None:
        self.root, self.home, self.tuf = root, root / "home", root / "home" / "tuf"
        self._patch, self._printed = patch, printed
        self.media = [root / f"medium-{number}" for number in (1, 2, 3)]
        for medium in self.media:
            medium.mkdir()
        (root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
        patch.setenv("FIELDLOOP_ROOT", str(root))
        patch.setenv("FIELDLOOP_HOME", str(self.home))
        patch.setattr(process_setup, "settle", lambda _home: None)
        self.know("key", "online")
        self.know("offline", "offline")

    def know(self, which: str, words: str, mode: int = 0o600) -> None:
        """Write a passphrase into the file that the settings name."""
        path = self.root / f"{which}.passphrase"
        path.write_text(words + "\n")
        path.chmod(mode)
        self._patch.setenv(f"FIELDLOOP_{which.upper()}_PASSPHRASE_FILE", str(path))

    def forget(self, which: str) -> None:
        self._patch.delenv(f"FIELDLOOP_{which.upper()}_PASSPHRASE_FILE")

    def said(self, *arguments: str) -> str:
        """What a command that goes well says."""
        code, out, err = self._typed(*arguments)
        assert (code, err) == (0, ""), err
        return out

    def refused(self, *arguments: str) -> str:
        """What a command that is refused says, in one line; nothing was changed."""
        before = self.digest()
        code, _, err = self._typed(*arguments)
        assert code == 1
        assert (err.startswith("fieldloop: "), err.count("\n")) == (True, 1), err
        assert self.digest() == before, "nothing half done is left behind"
        return err

    def _typed(self, *arguments: str) -> tuple[int, str, str]:
        self._printed.readouterr()
        with self._patch.context() as patch, pytest.raises(SystemExit) as ended:
            patch.setattr(sys, "argv", ["fieldloop", *arguments])
            cli.main()
        found = self._printed.readouterr()
        return int(ended.value.code or 0), found.out, found.err

    def init(self) -> str:
        return self.said("keys", "init", *self.offline())

    def offline(self) -> list[str]:
        return [part for medium in self.media for part in ("--offline", str(medium))]

    def publish(self, bundle: Path, version: str = "1", age: timedelta = timedelta(0)) -> None:
        """Release a version, as retraining did it so long ago."""
        self.repository(age).publish(bundle, "agriculture", version, CONTRACT.hash)

    def repository(self, age: timedelta = timedelta(0)) -> ReleaseRepository:
        return ReleaseRepository(self.tuf, lambda: datetime.now(UTC) - age)

    def keys_of(self, role: str) -> dict[str, Path]:
        """Where the keys of a role are, by their ids."""
        status = KeyChanges(MetadataStore(self.tuf, lambda: datetime.now(UTC), Secrets(KeySettings()))).status()
        kept = next(one for one in status.roles if one.role == role).keys
        return {keyid: Path(one.place) for keyid, one in kept.items()}

    def digest(self) -> str:
        """Everything on the disk but locks and what was typed."""
        files = [path for path in self.root.rglob("*") if path.is_file() and path.name not in (".lock",)]
        said = [str(path.relative_to(self.root)).encode() + path.read_bytes() for path in sorted(files)]
        return hashlib.sha256(b"".join(said)).hexdigest()


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Clone:
    return Clone(tmp_path, monkeypatch, capsys)


@pytest.fixture
def deployment(clone: Clone, make_bundle: BundleMaker, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """A deployment whose root is 2 of 3 on three media, with version 1 released."""
    monkeypatch.setenv("FIELDLOOP_IS_DEPLOYMENT", "true")
    clone.init()
    clone.publish(make_bundle("1"))
    return clone


# Keys are made


def test_the_sample_world_is_one_of_one_and_says_so(clone: Clone) -> None:
    told = clone.said("keys", "init")
    assert "root               1 of 1" in told
    for said in (told, clone.said("keys", "status")):
        assert "root is 1 of 1: whoever has that key can sign anything. That is enough for the sample world" in said


def test_a_deployment_is_two_of_three_offline_and_what_was_made_stands(clone: Clone, deployment: Clone) -> None:
    told = clone.said("keys", "status")
    assert "root               2 of 3" in told and "! " not in told and "not encrypted" not in told
    assert {path.parent for path in clone.keys_of("root").values()} == set(clone.media)
    assert "nothing was to do" in deployment.init()


def test_a_deployment_without_media_is_told_the_command_and_nothing_is_begun(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIELDLOOP_IS_DEPLOYMENT", "true")
    said = clone.refused("keys", "init")
    assert "`fieldloop keys init --offline MEDIUM --offline MEDIUM --offline MEDIUM`; 2 of 3 must sign then" in said
    assert not clone.tuf.exists()


@pytest.mark.parametrize("is_begun", [False, True], ids=["nothing there", "begun as the sample world does"])
def test_a_deployment_publishes_nothing_before_a_person_made_its_keys(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, make_bundle: BundleMaker, is_begun: bool
) -> None:
    if is_begun:
        clone.repository()
    monkeypatch.setenv("FIELDLOOP_IS_DEPLOYMENT", "true")
    settings = load_settings()
    loop = Loop(settings, "agriculture", load_params(settings.root, "agriculture"))
    nothing: Any = None  # it is refused before anything is asked of these
    for publish in (lambda: require_kept(loop), lambda: release_bundle(loop, nothing, nothing)):
        with pytest.raises(ConfigError, match=r"`fieldloop keys init --offline MEDIUM .* signed by 2 of 3 keys"):
            publish()
    assert clone.tuf.exists() is is_begun
    clone.init()
    require_kept(loop)
    clone.publish(make_bundle("1"))
    require_keys(loop)


def test_a_deployment_that_released_before_keys_were_asked_for_goes_on(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, make_bundle: BundleMaker
) -> None:
    clone.publish(make_bundle("1"))
    monkeypatch.setenv("FIELDLOOP_IS_DEPLOYMENT", "true")
    settings = load_settings()
    require_keys(Loop(settings, "agriculture", load_params(settings.root, "agriculture")))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--offline", "nowhere"), "nowhere is no folder: plug the medium in"),
        (("--offline", ".", "--threshold", "4"), "4 of 3 root keys cannot be asked for: expected 1 to 3"),
        (("--offline", ".", "--keys", "1"), "2 of 1 root keys cannot be asked for: expected 1 to 1"),
    ],
)
def test_keys_that_cannot_be_made_as_asked_begin_nothing(clone: Clone, arguments: tuple[str, ...], told: str) -> None:
    assert told in clone.refused("keys", "init", *arguments)
    assert not clone.tuf.exists()


@pytest.mark.parametrize("which", ["key", "offline"])
@pytest.mark.parametrize(
    ("words", "mode", "told"),
    [("", 0o600, "is empty; expected the passphrase"), ("secret", 0o644, "can be read by others; run chmod 600 on it")],
)
def test_a_passphrase_that_cannot_be_used_begins_nothing(
    clone: Clone, which: str, words: str, mode: int, told: str
) -> None:
    clone.know(which, words, mode)
    said = clone.refused("keys", "init", *clone.offline())
    assert f"FIELDLOOP_{which.upper()}_PASSPHRASE_FILE: " in said and told in said
    assert not clone.tuf.exists()


def test_offline_keys_are_never_made_without_a_passphrase(clone: Clone) -> None:
    clone.forget("offline")
    said = clone.refused("keys", "init", *clone.offline())
    assert "the passphrase for the new offline keys is not known" in said
    assert not clone.tuf.exists()


def test_a_person_types_a_new_passphrase_twice_and_once_for_all_keys(clone: Clone, tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(answers: list[str]) -> Callable[[str], str]:
        def answer(what: str) -> str:
            asked.append(what)
            return answers.pop(0)

        return answer

    def init(*answers: str) -> None:
        secrets = Secrets(KeySettings(offline_passphrase_file=None), ask(list(answers)))
        store = MetadataStore(tmp_path / "typed", lambda: datetime.now(UTC), secrets)
        KeyChanges(store).init(clone.media)

    with pytest.raises(ConfigError, match="typed in two ways"):
        init("one", "another")
    assert not any(path for medium in clone.media for path in medium.iterdir())
    with pytest.raises(ConfigError, match="is empty"):
        init("", "")
    asked.clear()
    init("one", "one")
    assert asked == ["passphrase for the new offline keys", "passphrase for the new offline keys, again"]


# Keys are shown, and sign anew


@pytest.mark.parametrize(
    "arguments",
    [("status",), ("refresh",), ("rotate", "root"), ("revoke", "a1b2c3"), ("export-root",)],
    ids=lambda arguments: arguments[0],
)
def test_where_nothing_is_begun_each_command_says_what_begins_it(clone: Clone, arguments: tuple[str, ...]) -> None:
    assert "has no keys yet: `fieldloop keys init` makes them" in clone.refused("keys", *arguments)
    assert not clone.tuf.exists()


def test_what_is_due_is_signed_anew_and_a_wrong_passphrase_signs_nothing(
    deployment: Clone, make_bundle: BundleMaker
) -> None:
    deployment.publish(make_bundle("2", yield_t_ha=11.0), "2", age=timedelta(hours=20))
    assert ", due" in deployment.said("keys", "status")
    deployment.know("key", "a guess")
    assert "the passphrase does not open" in deployment.refused("keys", "refresh")
    deployment.forget("key")
    assert "set FIELDLOOP_KEY_PASSPHRASE_FILE to it" in deployment.refused("keys", "refresh")
    deployment.know("key", "online")
    assert ", due" not in deployment.said("keys", "refresh")


def test_a_key_that_is_another_is_named_and_signs_nothing(deployment: Clone) -> None:
    (path,) = deployment.keys_of("timestamp").values()
    other = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(other)
    said = deployment.refused("keys", "refresh")
    assert path.name in said and "is another key than the one that devices trust" in said


# Keys change


def test_every_role_is_given_another_key(deployment: Clone) -> None:
    for role in ("root", "targets", "snapshot", "timestamp", "acknowledgements", "agriculture"):
        before = set(deployment.keys_of(role))
        told = deployment.said("keys", "rotate", role)
        after = set(deployment.keys_of(role))
        assert len(after) == len(before) and not after & before
        assert told.splitlines() == [f"{role} is signed by {keyid}" for keyid in deployment.keys_of(role)]
    assert "everything that devices are offered is there" in deployment.said("release", "verify")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("maize",), "there is no role 'maize'; expected one of root, targets"),
        (("timestamp", "--uri", "awskms:1"), "of awskms:1 the public key is needed too"),
        (("timestamp", "--uri", "awskms:1", "--public-key", "params.yaml"), "params.yaml is no public key in PEM"),
        (("root", "--folder", "nowhere"), "a key of root cannot be made in nowhere"),
    ],
)
def test_a_rotation_that_cannot_be_is_refused(
    deployment: Clone, arguments: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(deployment.root)
    assert told in deployment.refused("keys", "rotate", *arguments)


def test_a_root_is_changed_by_two_of_three_media_and_by_no_fewer(deployment: Clone) -> None:
    away = deployment.root / "away"
    away.mkdir()
    for medium in deployment.media[1:]:
        shutil.move(medium, away / medium.name)
        medium.mkdir()
    said = deployment.refused("keys", "rotate", "root", "--folder", str(deployment.media[0]))
    assert "root needs 2 signatures of its 3 keys, and 1 could be made" in said
    assert "is not here: plug its medium in, or say where it is: --keys FOLDER" in said
    told = deployment.said(
        *("keys", "rotate", "root", "--folder", str(deployment.media[0]), "--keys", str(away / "medium-2"))
    )
    assert told.count("root is signed by") == 3


def test_a_wrong_offline_passphrase_changes_no_key(deployment: Clone) -> None:
    deployment.know("offline", "a guess")
    for arguments in (("rotate", "root"), ("rotate", "targets"), ("revoke", next(iter(deployment.keys_of("root"))))):
        assert "the passphrase does not open" in deployment.refused("keys", *arguments)


def test_a_stolen_key_is_revoked_with_those_of_snapshot_and_timestamp(deployment: Clone) -> None:
    (stolen,) = deployment.keys_of("agriculture")
    others = {role: set(deployment.keys_of(role)) for role in ("snapshot", "timestamp")}
    told = deployment.said("keys", "revoke", stolen[:12])
    assert f"{stolen[:12]} is trusted no more; new keys: agriculture, snapshot, timestamp" in told
    assert stolen not in deployment.keys_of("agriculture")
    assert all(not set(deployment.keys_of(role)) & keys for role, keys in others.items())
    assert "names none of the trusted keys" in deployment.refused("keys", "revoke", stolen[:12])
    assert "names none of the trusted keys" in deployment.refused("keys", "revoke", "a")


def test_the_newest_root_is_exported(deployment: Clone) -> None:
    deployment.said("keys", "rotate", "root")
    to = deployment.root / "root.json"
    told = deployment.said("keys", "export-root", str(to))
    assert f"root version 3 is in {to}: fieldedge init --root {to}" in told
    assert Metadata.from_file(str(to)).signed.version == 3
    assert "root.json" in deployment.refused("keys", "export-root", str(to / "root.json")), "a file is no folder"


# Releases


def test_releases_are_listed_shown_verified_and_exported(
    deployment: Clone, make_bundle: BundleMaker, tmp_path: Path
) -> None:
    deployment.publish(make_bundle("2", yield_t_ha=11.0), "2")
    assert deployment.said("release", "list").splitlines() == [
        "agriculture 2: everyone's",
        "agriculture 1: was offered before",
    ]
    assert deployment.said("release", "show").startswith("agriculture 2: ")
    assert "as it was signed, and in date" in deployment.said("release", "verify")
    stick = tmp_path / "stick"
    stick.mkdir()
    told = deployment.said("release", "export-usb", str(stick))
    folder = Path(told.removeprefix("the release is in ").strip())
    assert (folder / "metadata" / "timestamp.json").is_file() and folder.is_relative_to(stick)


@pytest.mark.parametrize("arguments", [("list",), ("show",), ("verify",), ("export-usb", ".")], ids=lambda one: one[0])
def test_where_nothing_is_released_each_command_says_so_and_begins_nothing(
    clone: Clone, arguments: tuple[str, ...]
) -> None:
    assert "has no release yet: the flow `retrain` makes one" in clone.refused("release", *arguments)
    assert not clone.tuf.exists()


@pytest.mark.parametrize("command", ["list", "show"])
def test_a_workload_that_there_is_not_is_refused_by_name(deployment: Clone, command: str) -> None:
    assert "'maize'" in deployment.refused("release", command, "--workload", "maize")


def test_a_release_that_devices_would_refuse_is_named(deployment: Clone) -> None:
    (target,) = (deployment.tuf / "targets").rglob("*.zip")
    content = target.read_bytes()
    target.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    said = deployment.refused("release", "verify")
    assert "agriculture/bundle.zip: " in said and target.name in said and "is not what was signed" in said
    assert target.name in deployment.refused("release", "export-usb", str(deployment.media[0]))
    assert not any(path.is_dir() for path in deployment.media[0].iterdir())


def test_metadata_that_has_expired_is_named(deployment: Clone, make_bundle: BundleMaker) -> None:
    deployment.publish(make_bundle("2", yield_t_ha=11.0), "2", age=timedelta(days=2))
    assert "timestamp has expired" in deployment.refused("release", "verify")


def test_a_stick_that_is_none_is_refused(deployment: Clone) -> None:
    said = deployment.refused("release", "export-usb", str(deployment.root / "params.yaml"))
    assert "params.yaml" in said
    assert "nowhere" in deployment.refused("release", "export-usb", str(deployment.root / "nowhere"))


def test_as_a_process_too(clone: Clone) -> None:
    """What a shell sees: the code, one line, and nothing on standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "fieldloop.cli", "keys", "status"],
        env={**os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr == f"fieldloop: {clone.tuf} has no keys yet: `fieldloop keys init` makes them\n"
