"""The core of either package speaks of no workload: what fields, seasons and crops are is agriculture's own."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOREIGN = re.compile(
    r"agricult|irrigat|nitrogen|yield_|maize|crop|soil|harvest|planting|season|FAO-56|agronom|rainfed|grower|morning",
    re.IGNORECASE,
)
CORES = {"fieldedge": ROOT / "edge/src/fieldedge", "fieldloop": ROOT / "src/fieldloop", "tasks": ROOT / "tasks"}
EXCEPTIONS = {
    "soil": "a logger's own column, in the formats' descriptions",
    "CenterCropPad": "an operator of ONNX",
    "planting_date": "what a context's day is called in stores of every form",
    '"season"': "the period's stored name: notes, reports, headers of batches, git tags",
    '"seasons"': "a folder's name, and the periods that devices go through in params.yaml",
    '"holdout_seasons"': "in params.yaml",
    '"held_out_seasons"': "a tag of model versions",
    '"for_season"': "a tag of model versions and of runs",
    '"field_seasons"': "a figure of runs",
    "make season": "the command that begins the loop",
}
STORED = {word for word in EXCEPTIONS if "season" in word}


def lines_of(core: str) -> list[tuple[str, str]]:
    files = [path for path in CORES[core].rglob("*.py") if "workloads" not in path.relative_to(CORES[core]).parts[:1]]
    assert len(files) > 5
    return [(path.name, line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("core", CORES)
def test_no_word_of_agriculture_stands_in_the_core(core: str) -> None:
    plain = re.compile("|".join(EXCEPTIONS), re.IGNORECASE)
    found = [(name, line.strip()) for name, line in lines_of(core) if FOREIGN.search(plain.sub("", line))]
    assert found == []


def test_every_exception_is_one() -> None:
    assert len(EXCEPTIONS) <= 10
    said = Counter(word for core in CORES for _, line in lines_of(core) for word in EXCEPTIONS if word in line)
    assert set(said) == set(EXCEPTIONS)


def test_a_stored_name_of_the_cloud_stands_once() -> None:
    said = Counter((name, word) for name, line in lines_of("fieldloop") for word in STORED if word in line)
    assert said == {("stored_names.py", word): 1 for word in STORED - {'"season"'}}


def test_what_a_period_is_stored_as_stands_once_for_device_and_cloud() -> None:
    said = [(core, name) for core in CORES for name, line in lines_of(core) if '"season"' in line]
    assert said == [("fieldedge", "stored_names.py")]
