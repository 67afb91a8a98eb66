"""Versions of the accepted data: DVC keeps the content, git keeps the pointer.

The data hash is the content's: the same rows have the same hash on every machine. By hand the pointer is left
uncommitted, as a person decides what goes into a commit; in a deployment's clone it is committed and tagged.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fieldedge.system.errors import ConfigError, DataError
from fieldloop.data.locks import dvc_repository


@dataclass(frozen=True)
class Snapshot:
    """One version of the data. `note` says, for people, what was done with the pointer."""

    data_hash: str
    path: Path
    committed: bool
    tag: str | None
    note: str


def snapshot(repo_root: Path, path: Path, message: str, is_deployment: bool, season: int) -> Snapshot:
    """Make the content of `path` a version; the same content again gives the same one.

    Args:
        repo_root: the project's clone.
        path: the folder of accepted data, inside the clone.
        message: the commit's message, where one is made.
        is_deployment: commit the pointer and tag it `season-<year>`; else leave it to a person.
        season: the harvest year that the version completes.

    Raises:
        DataError: there is no data, less of it than in the last version, or DVC or git failed.
        ConfigError: the clone is not one, or git does not know who commits.
        StoreBusy: another process works on the versions.
    """
    target = (repo_root / path).resolve().relative_to(repo_root.resolve())
    if not any((repo_root / target).rglob("*.parquet")):
        raise DataError(f"{repo_root / target} holds no accepted data yet; validate some first, then version it")
    with dvc_repository(repo_root) as repository:
        if missing := _missing(repository, repo_root, target):
            raise DataError(
                f"{repo_root / target} lacks {len(missing)} files that its last version has, {missing[0]} among them; "
                f"a version without them is not made. Bring them back: dvc checkout {_pointer(target)}"
            )
        (stage,) = repository.add(str(repo_root.resolve() / target))
        data_hash = str(stage.outs[0].hash_info.value)
    pointer = _pointer(target)
    if not is_deployment:
        note = f"{pointer} is left uncommitted; to keep this version: git add {pointer} && git commit"
        return Snapshot(data_hash, target, False, None, note)
    tag = _commit_and_tag(repo_root, pointer, message, season)
    return Snapshot(data_hash, target, True, tag, f"{pointer} is committed and tagged {tag}")


def restore(repo_root: Path, path: Path) -> bool:
    """Bring back the content of `path` from the version that its pointer names; False where there is no pointer.

    Raises:
        DataError: DVC does not have the content any more.
        StoreBusy: another process works on the versions.
    """
    target = path.resolve().relative_to(repo_root.resolve())
    pointer = repo_root / _pointer(target)
    if not pointer.is_file():
        return False
    with dvc_repository(repo_root) as repository:
        repository.checkout(targets=[str(pointer.resolve())])
    return True


def missing_from_last_version(repo_root: Path, path: Path) -> list[str]:
    """The files of the last version of `path` that are not there any more, relative to it. Accepted data only grows.

    Raises:
        StoreBusy: another process works on the versions.
    """
    target = path.resolve().relative_to(repo_root.resolve())
    if not (repo_root / _pointer(target)).is_file():
        return []
    with dvc_repository(repo_root) as repository:
        return _missing(repository, repo_root, target)


def _missing(repository: Any, repo_root: Path, target: Path) -> list[str]:
    """As DVC's cache has the last version; where the cache does not, nothing can be said."""
    try:
        pointer = yaml.safe_load((repo_root / _pointer(target)).read_text(encoding="utf-8"))
        listing = Path(repository.cache.local.oid_to_path(str(pointer["outs"][0]["md5"])))
        names = [str(entry["relpath"]) for entry in json.loads(listing.read_bytes())]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, IndexError, yaml.YAMLError) as error:
        raise DataError(
            f"{repo_root / _pointer(target)} is not a pointer of DVC ({error!r}); restore it: git checkout "
            f"{_pointer(target)}, or take the last one that `dvc add` wrote"
        ) from error
    return sorted(name for name in names if not (repo_root / target / name).exists())


def _pointer(target: Path) -> Path:
    return target.with_name(f"{target.name}.dvc")


def _commit_and_tag(root: Path, pointer: Path, message: str, season: int) -> str:
    files = [str(pointer)]
    ignore = pointer.with_name(".gitignore")
    if (root / ignore).exists():
        files.append(str(ignore))
    _git(root, "add", "--", *files)
    if _git(root, "status", "--porcelain", "--", *files):
        _git(root, "commit", "--quiet", "--message", message, "--only", "--", *files)
    return _tag(root, pointer, season)


def _tag(root: Path, pointer: Path, season: int) -> str:
    """The tag that holds this pointer. A tag never moves: late data of a season gets `season-<year>.2`, and so on."""
    content = _git(root, "rev-parse", f"HEAD:./{pointer}")
    names = set(_git(root, "tag", "--list", f"season-{season}*").split())
    number = 1
    while (tag := f"season-{season}" if number == 1 else f"season-{season}.{number}") in names:
        if _git(root, "rev-parse", f"{tag}:./{pointer}") == content:
            return tag
        number += 1
    _git(root, "tag", tag)
    return tag


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode == 0:
        return done.stdout.strip()
    said = (done.stderr or done.stdout).strip()
    if "Please tell me who you are" in said or "user.email" in said:
        raise ConfigError(
            f"git in {root} does not know who commits data versions; set it: "
            f"git -C {root} config user.name … && git -C {root} config user.email …"
        )
    raise DataError(f"git {arguments[0]} failed in {root}: {said}")
