"""A clone as earlier code left it, unpacked, with today's code in it."""

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import yaml

from tests.flows.small_loop import SmallLoop

PACKED = Path(__file__).parent / "former" / "clone.tar.xz"
STOOD_IN = "/tmp/former"  # noqa: S108  # a name in the fixture, not a place
_TEXT = (".json", ".toml", ".yaml", ".dvc")
_CODE = ("dvc.yaml", ".gitignore", ".dvcignore")  # packed beside what was kept; an upgrade brings today's


def unpack(folder: Path) -> SmallLoop:
    """The former clone under `folder`, its devices beside it, and today's code over it."""
    clone = SmallLoop.make(folder / "clone")
    with tarfile.open(PACKED) as packed:
        packed.extractall(folder, filter=_all_but_code)  # noqa: S202  # our own fixture, filtered
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in _TEXT and clone.root / "src" not in path.parents:
            content = path.read_bytes()
            if STOOD_IN.encode() in content:
                path.write_bytes(content.replace(STOOD_IN.encode(), str(folder).encode()))
    _move_database(clone.home / "mlflow" / "mlflow.db", str(folder))
    _ask_little(clone.root / "params.yaml")
    return clone


def _ask_little(path: Path) -> None:
    """A model of six field-seasons is about as good as the rule: what is tried here is that nothing is lost."""
    params = yaml.safe_load(path.read_text())
    floor = {"max_loss_to_rule_usd_ha": 100.0, "max_loss_to_thresholds_usd_ha": 100.0}
    params["agriculture"]["gates"].setdefault("floor", {}).update(floor)
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def _all_but_code(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    is_code = member.name in {f"./clone/{name}" for name in _CODE}
    return None if is_code else tarfile.data_filter(member, folder)


def _move_database(path: Path, folder: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for column in [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]:
                database.execute(
                    f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) WHERE instr("{column}", ?)',  # noqa: S608
                    (STOOD_IN, folder, STOOD_IN),
                )
