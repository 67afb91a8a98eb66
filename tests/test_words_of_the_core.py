"""The core of either package speaks of no workload: what fields and crops are is agriculture's own."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOREIGN = re.compile(r"agricult|irrigat|nitrogen|yield_|maize|crop|soil|harvest|planting", re.IGNORECASE)
CORES = {"fieldedge": ROOT / "edge/src/fieldedge", "fieldloop": ROOT / "src/fieldloop"}
EXCEPTIONS = {
    "soil": "a logger's own column, in the formats' descriptions",
    "CenterCropPad": "an operator of ONNX",
    "planting_date": "what a context's day is called in stores of every form",
}
# The loop still counts in seasons. No line more may: whoever takes some away writes the smaller number here.
SEASON_LINES = {"fieldedge": 107, "fieldloop": 787}


def lines_of(core: str) -> list[tuple[str, str]]:
    files = [path for path in CORES[core].rglob("*.py") if "workloads" not in path.relative_to(CORES[core]).parts[:1]]
    assert len(files) > 50
    return [(path.name, line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("core", CORES)
def test_no_word_of_agriculture_stands_in_the_core(core: str) -> None:
    plain = re.compile("|".join(EXCEPTIONS), re.IGNORECASE)
    found = [(name, line.strip()) for name, line in lines_of(core) if FOREIGN.search(plain.sub("", line))]
    assert found == []


def test_every_exception_is_one() -> None:
    said = Counter(word for core in CORES for _, line in lines_of(core) for word in EXCEPTIONS if word in line)
    assert set(said) == set(EXCEPTIONS)


@pytest.mark.parametrize("core", CORES)
def test_the_core_speaks_of_seasons_no_more_than_it_did(core: str) -> None:
    count = sum("season" in line.lower() for _, line in lines_of(core))
    assert count <= SEASON_LINES[core]
