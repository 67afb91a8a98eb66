"""The code that a step runs: changed where that code changes, and only there."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from fieldedge.system.errors import ConfigError
from fieldloop.core import code_version
from fieldloop.core.code_version import code_hash, reached

FILES = {
    "fieldloop/__init__.py": '"""The cloud side."""\n',
    "fieldloop/stages/__init__.py": "",
    "fieldloop/stages/train.py": (
        "from fieldloop import paths\n"
        "from fieldloop.training import fit\n"
        "LIMIT = 3\n"
        "def train(loop):\n"
        '    """Fit."""\n'
        "    return fit(paths.rows(loop), LIMIT)\n"
    ),
    "fieldloop/stages/report.py": "from fieldloop.report import page\ndef report(loop):\n    return page(loop)\n",
    "fieldloop/paths.py": "def rows(loop):\n    return []\n",
    "fieldloop/training.py": "import numpy\nfrom fieldloop.nets import net\ndef fit(rows, limit):\n    return net()\n",
    "fieldloop/nets/__init__.py": "from fieldloop.nets.small import net\n",
    "fieldloop/nets/small.py": (
        "import pathlib\nTEXT = pathlib.Path(__file__).with_name('kernel.py')\ndef net():\n    return 1\n"
    ),
    "fieldloop/nets/kernel.py": "FAST = True\n",
    "fieldloop/report.py": "def page(loop):\n    return ''\n",
    "fieldloop/core/__init__.py": "",
    "fieldloop/core/console.py": "def say(text):\n    print(text)\n",
    "fieldloop/stages/learn.py": (
        "from fieldloop.workloads import known_workload\ndef learn(loop):\n    return known_workload(loop)\n"
    ),
    "fieldloop/workloads/__init__.py": "def known_workload(name):\n    return name\n",
    "fieldloop/workloads/maize/__init__.py": "from fieldloop.workloads.maize.rows import rows\nMAIZE = rows\n",
    "fieldloop/workloads/maize/rows.py": (
        "def rows():\n    return 1\n"
        "def report():\n    from fieldloop.workloads.maize.report import page\n    return page\n"
    ),
    "fieldloop/workloads/maize/report/__init__.py": "",
    "fieldloop/workloads/maize/report/page.py": "PAGE = ''\n",
    "fieldedge/__init__.py": "",
    "tasks/__init__.py": "",
    "tasks/learning.py": (
        "from fieldloop.core.console import say\n"
        "def train(loop):\n"
        "    from fieldloop.stages import train\n"
        "    say('trained')\n"
        "    return train.train(loop)\n"
        "def learn(loop):\n"
        "    from fieldloop.stages import learn\n"
        "    return learn.learn(loop)\n"
        "def report(loop):\n"
        "    from fieldloop.stages import report\n"
        "    return report.report(loop)\n"
    ),
}

Hash = Callable[[], str]


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, ...]:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return (tmp_path,)


def changed(roots: tuple[Path, ...], name: str, old: str, new: str) -> bool:
    """Whether the training's hash is another one once the text of a file is."""
    before = code_hash("tasks.learning:train", roots)
    path = roots[0] / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    for kept in (code_version._parsed, code_version._read, code_version._hash):
        kept.cache_clear()
    return code_hash("tasks.learning:train", roots) != before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("tasks/learning.py", "train.train(loop)", "train.train(loop, 1)"),
        ("fieldloop/stages/train.py", "LIMIT = 3", "LIMIT = 4"),
        ("fieldloop/stages/train.py", "paths.rows(loop)", "paths.rows(None)"),
        ("fieldloop/paths.py", "[]", "[1]"),
        ("fieldloop/training.py", "net()", "net() + 1"),
        ("fieldloop/nets/__init__.py", "import net", "import net, TEXT"),
        ("fieldloop/nets/small.py", "return 1", "return 2"),
        ("fieldloop/nets/kernel.py", "True", "False"),  # read as text, never imported
    ],
)
def test_code_that_a_step_reaches_counts(roots: tuple[Path, ...], name: str, old: str, new: str) -> None:
    assert changed(roots, name, old, new)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("fieldloop/report.py", "''", "'another page'"),
        ("fieldloop/stages/report.py", "return page(loop)", "return page(loop) + 'x'"),
        ("fieldloop/core/console.py", "print(text)", "print(text.upper())"),
        ("fieldloop/training.py", "import numpy\n", "# a comment\nimport numpy\n"),
        ("fieldloop/stages/train.py", '"""Fit."""', '"""Fit the model to what is accepted."""'),
        ("fieldloop/__init__.py", '"""The cloud side."""\n', '"""The side in the cloud."""\n'),
        ("fieldloop/nets/small.py", "def net():\n    return 1\n", "def net():\n\n    return 1  # one\n"),
    ],
)
def test_other_code_comments_and_docstrings_do_not(roots: tuple[Path, ...], name: str, old: str, new: str) -> None:
    assert not changed(roots, name, old, new)


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The modules of entry points, by group."""
    found = {"fieldloop.workloads": ["fieldloop.workloads.maize"]}
    monkeypatch.setattr(code_version, "_entry_points", lambda group: found.get(group, []))
    return found


def test_a_workload_that_is_found_by_its_entry_point_counts_where_workloads_are_looked_up(
    roots: tuple[Path, ...], entries: dict[str, list[str]]
) -> None:
    maize = {"fieldloop.workloads.maize", "fieldloop.workloads.maize.rows"}
    assert maize <= set(reached("tasks.learning:learn", roots))
    assert not [name for name in reached("tasks.learning:learn", roots) if ".report" in name]  # it only shows
    assert not maize & set(reached("tasks.learning:train", roots))
    entries.clear()
    assert not maize & set(reached("tasks.learning:learn", roots))


def test_a_workload_of_another_package_counts_with_its_code(
    roots: tuple[Path, ...], entries: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "a_kiosk").mkdir(parents=True)
    (elsewhere / "a_kiosk" / "__init__.py").write_text("from a_kiosk import shifts\n")
    (elsewhere / "a_kiosk" / "shifts.py").write_text("HOURS = 8\n")
    monkeypatch.syspath_prepend(str(elsewhere))
    entries["fieldloop.workloads"].append("a_kiosk")
    assert {"a_kiosk", "a_kiosk.shifts", "fieldloop.workloads.maize"} <= set(reached("tasks.learning:learn", roots))
    assert reached("a_kiosk", roots) == ["a_kiosk", "a_kiosk.shifts"]
    assert "a_kiosk" not in reached("fieldloop.workloads.maize", roots)  # a workload is not the code of another


def test_a_module_that_is_not_there_is_an_error(roots: tuple[Path, ...]) -> None:
    with pytest.raises(ConfigError, match=r"no module a_vineyard"):
        code_hash("a_vineyard", roots)


def test_the_version_of_a_library_counts(roots: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_hash("tasks.learning:train", roots)
    report = code_hash("tasks.learning:report", roots)
    monkeypatch.setattr(code_version, "_version", lambda library: f"{library} as of tomorrow")
    code_version._hash.cache_clear()
    assert code_hash("tasks.learning:train", roots) != before
    assert code_hash("tasks.learning:report", roots) == report  # it imports none


def test_a_function_that_is_not_there_is_an_error(roots: tuple[Path, ...]) -> None:
    with pytest.raises(ConfigError, match=r"no function forget in tasks\.learning"):
        code_hash("tasks.learning:forget", roots)


def test_our_own_steps_reach_what_they_run_and_not_what_shows_it() -> None:
    train = reached("tasks.learning:train_model")
    agriculture = "fieldloop.workloads.agriculture"
    assert {"fieldloop.training.trainer", "fieldedge.workloads.agriculture.features"} <= set(train)
    assert "fieldloop.stages.access" in train
    assert {f"{agriculture}.world.compiled.day", f"{agriculture}.pretraining.compiled_season"} <= set(train)
    whose = {"fieldloop.gateway", "fieldloop.gateway.owners"}  # a field is: it decides which of them judge
    shown = ("fieldloop.report", "fieldloop.ui", "fieldloop.gateway", "fieldloop.fleet", "fieldloop.stages.report")
    assert not [name for name in train if name.startswith(shown) and name not in whose]
    assert not [name for name in train if name.startswith(f"{agriculture}.report")]
    assert f"{agriculture}.network.model" in train  # which nobody imports by name
    validate = reached("tasks.data:validate_history")
    assert "fieldloop.validation.checks" in validate
    assert not [name for name in validate if name.startswith(agriculture)]
    assert "fieldloop.training.trainer" not in validate


def test_a_file_is_parsed_once_whatever_else_is_reached(
    roots: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    parse, parsed = ast.parse, list[str]()

    def counted(text: bytes, path: str) -> ast.AST:
        parsed.append(path)
        return parse(text, path)

    monkeypatch.setattr(code_version.ast, "parse", counted)
    hashes = {code_hash("fieldloop.stages.train", (*roots, *more)) for more in ((), (roots[0] / "more",))}
    assert len(hashes) == 1
    assert len(parsed) == len(set(parsed)) > 5
