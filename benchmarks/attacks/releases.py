"""What is lost or changed of the releases."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.attacks import Outcome, attack
from fieldedge.system.errors import ReleaseError
from fieldloop.release import ReleaseRepository


@attack(line=19, words="each file of the releases is lost, cut off or changed, keys too")
def files_harmed(scratch: Path) -> Outcome:
    """Opened and used after each harm: it must be named, and not a byte written."""
    lived(scratch / "tuf")
    names = in_use(scratch / "tuf", scratch / "stick")
    harms: tuple[tuple[str, Callable[[Path], object]], ...] = (
        ("lost", lambda path: path.unlink()),
        ("cut off", lambda path: path.write_bytes(path.read_bytes()[:-20])),
        ("changed", lambda path: path.write_bytes(with_a_bit_turned(path.read_bytes()))),
    )
    accepted, lost = [], 0
    for name in names:
        for harm, do in harms:
            root = scratch / "harmed"
            shutil.copytree(scratch / "tuf", root)
            do(root / name)
            before = files(root)
            if not is_refused(root, name):
                accepted.append(f"{name} {harm}")
            lost += files(root) != before
            shutil.rmtree(root)
    return Outcome(len(accepted), lost, f"{len(names)} files, {len(harms)} harms each {' '.join(accepted)}".strip())


@attack(line=19, words="a folder of the releases is lost")
def folders_lost(scratch: Path) -> Outcome:
    """Keys, metadata or targets, and both that a device trusts."""
    lived(scratch / "tuf")
    gone = (["keys"], ["metadata"], ["targets"], ["metadata", "targets"], ["keys", "metadata"])
    accepted = lost = 0
    for folders in gone:
        root = scratch / "harmed"
        shutil.copytree(scratch / "tuf", root)
        for folder in folders:
            shutil.rmtree(root / folder)
        before = files(root)
        accepted += not is_refused(root, Path(folders[0]))
        lost += files(root) != before
        shutil.rmtree(root)
    return Outcome(accepted, lost, f"{len(gone)} losses")


def lived(root: Path) -> None:
    """A repository with two roots and an acknowledgement, and a stick with what devices need of it."""
    ReleaseRepository(root, now=lambda: datetime.now(UTC) - timedelta(days=240))
    releases = ReleaseRepository(root)
    releases.acknowledge({"dev-00": {"0" * 64}})
    releases.refresh()
    releases.copy_to(root.parent / "stick")


def in_use(root: Path, stick: Path) -> list[Path]:
    """The repository's files that something reads: what a stick carries, with the repository's own newest snapshot in
    place of the one that is signed for the stick alone; and the keys."""
    snapshots = (root / "metadata").glob("*.snapshot.json")
    newest = max(snapshots, key=lambda path: int(path.name.partition(".")[0])).relative_to(root)
    carried = {name for name in files(stick) if not name.name.endswith(".snapshot.json")}
    return sorted({*carried, newest, *(Path("keys") / key.name for key in (root / "keys").iterdir())})


def with_a_bit_turned(content: bytes) -> bytes:
    """The content, wrong in its middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def is_refused(root: Path, name: Path) -> bool:
    """Whether whoever uses the repository is told what is wrong with it, and with which file."""
    try:
        releases = ReleaseRepository(root)
        releases.refresh()
        releases.copy_to(root.parent / "another-stick")
    except ReleaseError as error:
        return str(name) in str(error)
    return False


def files(root: Path) -> dict[Path, bytes]:
    """What lies in a folder, but for its lock."""
    return {
        path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != ".lock"
    }
