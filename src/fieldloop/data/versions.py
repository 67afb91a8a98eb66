"""Versions of the accepted data: DVC keeps the content, git keeps the pointer.

The data hash is the content's: the same rows have the same hash on every machine. By hand the pointer is left
uncommitted, as a person decides what goes into a commit; in a deployment's clone it is committed and tagged.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from fieldedge.system.errors import ConfigError, DataError
from fieldloop.core.paths import pointer_of
from fieldloop.core.stored_names import PERIOD
from fieldloop.data.growth import lost_from
from fieldloop.data.withdrawn import excused_records
from fieldloop.validation import Ownership
from fieldloop.versioning.locks import dvc_repository


@dataclass(frozen=True)
class Snapshot:
    """One version of the data. `note` says, for people, what was done with the pointer."""

    data_hash: str
    path: Path
    committed: bool
    tag: str | None
    note: str


def snapshot(repo_root: Path, path: Path, message: str, is_deployment: bool, period: int) -> Snapshot:
    """Make the content of `path` a version; the same content again gives the same one.

    Args:
        repo_root: the project's clone.
        path: the folder of accepted data, inside the clone.
        message: the commit's message, where one is made.
        is_deployment: commit the pointer and tag it with the period; else leave it to a person.
        period: the one that the version completes.

    Raises:
        DataError: there is no data, something of the last version is gone or changed, or DVC or git failed.
        ConfigError: the clone is not one, or git does not know who commits.
        StoreBusy: another process works on the versions.
    """
    target = (repo_root / path).resolve().relative_to(repo_root.resolve())
    if not any((repo_root / target).rglob("*.parquet")):
        raise DataError(f"{repo_root / target} holds no accepted data yet; validate some first, then version it")
    pointer = pointer_of(target)
    _check_pointer(repo_root, pointer)
    if is_deployment:
        _check_tags(repo_root, pointer, period)
    with dvc_repository(repo_root) as repository:
        _check_growth(repository, repo_root, target)
        (stage,) = repository.add(str(repo_root.resolve() / target))
        data_hash = str(stage.outs[0].hash_info.value)
    if not is_deployment:
        note = f"{pointer} is left uncommitted; to keep this version: git add {pointer} && git commit"
        return Snapshot(data_hash, target, False, None, note)
    tag = _commit_and_tag(repo_root, pointer, message, period)
    return Snapshot(data_hash, target, True, tag, f"{pointer} is committed and tagged {tag}")


def restore(repo_root: Path, path: Path) -> bool:
    """Bring back the content of `path` from the version that its pointer names; False where there is no pointer.

    Raises:
        DataError: DVC does not have the content any more.
        StoreBusy: another process works on the versions.
    """
    target = path.resolve().relative_to(repo_root.resolve())
    pointer = repo_root / pointer_of(target)
    _check_pointer(repo_root, pointer_of(target))
    if not pointer.is_file():
        return False
    with dvc_repository(repo_root) as repository:
        data_hash = _pointed(repo_root, target)
        if not _is_cached(repository, data_hash):
            raise DataError(
                f"{path} is gone, and DVC's cache has not all of its last version, {data_hash}, which {pointer} names. "
                f"Bring it back: dvc pull {pointer_of(target)} from a remote, or .dvc/cache or {target} from a backup. "
                "To begin anew on purpose: fieldloop reset"
            )
        repository.checkout(targets=[str(pointer.resolve())])
    return True


def check_last_version(repo_root: Path, path: Path) -> None:
    """See that `path` still has all that its last version has, and that the version's content is kept.

    Content that DVC's cache lost is put into it again where it is still there unchanged.

    Raises:
        DataError: something of the last version is gone or changed, or nobody can tell; the message names the file, and
            how to bring it back.
        StoreBusy: another process works on the versions.
    """
    target = path.resolve().relative_to(repo_root.resolve())
    _check_pointer(repo_root, pointer_of(target))
    if not (repo_root / pointer_of(target)).is_file():
        return
    with dvc_repository(repo_root) as repository:
        _check_growth(repository, repo_root, target)


def is_kept(repo_root: Path, path: Path, data_hash: str, is_committed: bool = False) -> bool:
    """Whether the pointer names this version, DVC's cache has all of it and, where that is asked, git the pointer under
    a tag.

    Raises:
        DataError: the pointer is none.
        StoreBusy: another process works on the versions.
    """
    target = path.resolve().relative_to(repo_root.resolve())
    if not (repo_root / pointer_of(target)).is_file():
        return False
    with dvc_repository(repo_root) as repository:
        if _pointed(repo_root, target) != data_hash or not _is_cached(repository, data_hash):
            return False
    return not is_committed or _is_tagged(repo_root, pointer_of(target))


def _check_growth(repository: Any, repo_root: Path, target: Path) -> None:
    """The former rows are all there. Where the cache has not what they were, only the same content passes."""
    pointer = repo_root / pointer_of(target)
    if not pointer.is_file():
        return
    data_hash = _pointed(repo_root, target)
    (out,) = repository.stage.load_one(str(pointer.resolve())).outs
    if (repo_root / target).exists() and not out.changed_checksum():
        if not _is_cached(repository, data_hash):
            repository.add(str(repo_root.resolve() / target))
        return
    listing = _listing(repository, data_hash)
    if listing is None:
        raise DataError(
            f"{repo_root / target} cannot be compared with its last version, {data_hash}, which {pointer_of(target)} "
            "names: it is not the same, and DVC's cache has lost the version, so that nobody can tell whether accepted "
            f"rows are gone. Bring the cache back: dvc pull {pointer_of(target)} from a remote, or .dvc/cache from a "
            f"backup. If you know that {target} is whole, say so: dvc add {target}"
        )
    folder = repo_root / target
    missing = sorted(name for name in listing if not (folder / name).exists())
    if missing:
        raise DataError(
            f"{folder} lacks {len(missing)} files that its last version has, {missing[0]} among them; nothing is "
            f"learned, and no version is made, without them. Bring them back: dvc checkout {pointer_of(target)}"
        )
    excused = excused_records(folder.with_name("quarantine"), _holders(repository, listing))
    for name, md5 in listing.items():
        path, former = folder / name, Path(repository.cache.local.oid_to_path(md5))
        if hashlib.md5(path.read_bytes()).hexdigest() == md5:  # noqa: S324 - as DVC names content
            continue
        if not former.is_file():
            raise DataError(
                f"{path} has changed and cannot be compared with what the last version has of it: DVC's cache has lost "
                f"{md5}. Bring that back: dvc pull {pointer_of(target)} from a remote, or .dvc/cache from a backup. If "
                f"you know that the file is whole, say so: dvc add {target}"
            )
        if lost := lost_from(path, former, excused):
            raise DataError(
                f"{path} {lost} its last version: accepted data only grows, so nothing is learned from it and no "
                f"version is made. Bring the last version back: dvc checkout --force {pointer_of(target)}; what "
                "devices have sent since is then ingested again from the inbox"
            )


def _holders(repository: Any, listing: Mapping[str, str]) -> dict[tuple[int, str], str]:
    """Whose each episode was in a version, as far as DVC's cache has it."""
    files = [md5 for name, md5 in listing.items() if name.endswith(".parquet")]
    cached = (Path(repository.cache.local.oid_to_path(md5)) for md5 in files)
    held: dict[tuple[int, str], str] = {}
    for path in cached:
        with suppress(pa.ArrowInvalid):  # one that is damaged says nothing, and is told where it is needed
            if path.is_file() and "device_id" in pq.read_schema(path).names:  # what opens episodes says it
                held |= Ownership.of({}, pd.read_parquet(path), ()).holders
    return held


def _pointed(repo_root: Path, target: Path) -> str:
    """The hash of the version that the pointer names."""
    try:
        pointer = yaml.safe_load((repo_root / pointer_of(target)).read_text(encoding="utf-8"))
        return str(pointer["outs"][0]["md5"])
    except (OSError, ValueError, KeyError, TypeError, IndexError, yaml.YAMLError) as error:
        raise DataError(
            f"{repo_root / pointer_of(target)} is not a pointer of DVC ({error!r}); restore it: git checkout "
            f"{pointer_of(target)}, or take the last one that `dvc add` wrote"
        ) from error


def _listing(repository: Any, data_hash: str) -> dict[str, str] | None:
    """The files of a version and the names of their content; None where DVC's cache does not have it."""
    try:
        listing = Path(repository.cache.local.oid_to_path(data_hash))
        return {str(entry["relpath"]): str(entry["md5"]) for entry in json.loads(listing.read_bytes())}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _is_cached(repository: Any, data_hash: str) -> bool:
    listing = _listing(repository, data_hash)
    if listing is None:
        return False
    return all(Path(repository.cache.local.oid_to_path(md5)).is_file() for md5 in listing.values())


def _check_pointer(root: Path, pointer: Path) -> None:
    if (root / pointer).exists() and not (root / pointer).is_file():
        raise DataError(
            f"{root / pointer} is no file; expected DVC's pointer to the accepted data. Move it away, then bring the "
            f"pointer back: git checkout {pointer}, where there was one"
        )


def _tags(root: Path, period: int) -> Iterator[str]:
    """A period's tags in their order; the last is not there yet."""
    names = set(_git(root, "tag", "--list", f"{PERIOD}-{period}*").split())
    number = 1
    while (tag := f"{PERIOD}-{period}" if number == 1 else f"{PERIOD}-{period}.{number}") in names:
        yield tag
        number += 1
    yield tag


def _check_tags(root: Path, pointer: Path, period: int) -> None:
    """See that a period's tags hold the pointer, before a version is committed that could not be tagged.

    Raises:
        DataError: one does not; it is a person's, of something else.
    """
    *tags, _ = _tags(root, period)
    for tag in tags:
        try:
            _git(root, "rev-parse", "--verify", f"{tag}:./{pointer}")
        except DataError as error:
            raise DataError(
                f"the git tag {tag} in {root} is of something without {pointer}, and a version of the data would be "
                f"tagged so. Nothing was committed. Give it another name: git tag my-{tag} {tag} && git tag -d {tag}"
            ) from error


def _commit_and_tag(root: Path, pointer: Path, message: str, period: int) -> str:
    files = [str(pointer)]
    ignore = pointer.with_name(".gitignore")
    if (root / ignore).exists():
        files.append(str(ignore))
    _git(root, "add", "--", *files)
    if _git(root, "status", "--porcelain", "--", *files):
        _git(root, "commit", "--quiet", "--message", message, "--only", "--", *files)
    return _tag(root, pointer, period)


def _tag(root: Path, pointer: Path, period: int) -> str:
    """The tag that holds this pointer. A tag never moves: late data of a period gets one with `.2` behind it."""
    content = _git(root, "rev-parse", f"HEAD:./{pointer}")
    *tags, tag = _tags(root, period)
    for known in tags:
        if _git(root, "rev-parse", f"{known}:./{pointer}") == content:
            return known
    _git(root, "tag", tag)
    return tag


def _is_tagged(root: Path, pointer: Path) -> bool:
    """Whether the pointer is committed as it lies there, and a period's tag holds it."""
    if _git(root, "status", "--porcelain", "--", str(pointer)):
        return False
    content = _git(root, "rev-parse", f"HEAD:./{pointer}")
    for tag in _git(root, "tag", "--list", f"{PERIOD}-*").split():
        with suppress(DataError):  # a person's, of something else
            if _git(root, "rev-parse", "--verify", f"{tag}:./{pointer}") == content:
                return True
    return False


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(  # noqa: S603
        command,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        check=False,
        env={**os.environ, "LC_ALL": "C"},  # what it says is looked at below, in English
    )
    if done.returncode == 0:
        return done.stdout.strip()
    said = (done.stderr or done.stdout).strip()
    if "Please tell me who you are" in said or "user.email" in said:
        raise ConfigError(
            f"git in {root} does not know who commits data versions; set it: "
            f"git -C {root} config user.name … && git -C {root} config user.email …"
        )
    raise DataError(f"git {arguments[0]} failed in {root}: {said}")
