"""The table of architecture.md that says where things live names what is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DEVICE, CLOUD = ROOT / "edge/src/fieldedge", ROOT / "src/fieldloop"


def _named() -> list[tuple[str, str]]:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    section = page.split("\n## Where is it\n")[1].split("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| ") and "---" not in line]
    places = [(folder, cell) for row in rows for folder, cell in ((DEVICE, row[2]), (CLOUD, row[3]))]
    return [(folder.name, place) for folder, cell in places for place in re.findall(r"`([^`]+)`", cell)]


def _path(package: str, place: str) -> Path:
    path = place.partition(":")[0]
    if path.startswith(("flows/", "tasks/")):
        return ROOT / path
    return (DEVICE if package == DEVICE.name else CLOUD) / path


def test_the_table_names_both_packages() -> None:
    assert {package for package, _ in _named()} == {DEVICE.name, CLOUD.name}
    assert len(_named()) > 50


@pytest.mark.parametrize(("package", "place"), _named())
def test_what_it_names_is_there(package: str, place: str) -> None:
    path, name = _path(package, place), place.partition(":")[2]
    assert path.is_dir() if place.endswith("/") else path.is_file()
    if name:
        nodes = ast.parse(path.read_text(encoding="utf-8")).body
        assert name in {getattr(node, "name", None) for node in nodes}
