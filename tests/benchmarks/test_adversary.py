"""The adversary's list is carried out, and what it counts can be counted."""

import json
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks import adversary
from benchmarks.attacks import attacks_of, modules


def staged(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str) -> dict[str, object]:
    """An attack of its own world: a `benchmarks.attacks` that knows this one function alone."""
    package = folder / "benchmarks" / "attacks"
    package.mkdir(parents=True)
    real = adversary.ROOT / "benchmarks" / "attacks"
    for name in ("__init__.py", "__main__.py"):
        (package / name).write_text((real / name).read_text())
    (package / "room.py").write_text(
        "import os, subprocess, sys, time\nfrom pathlib import Path\nfrom benchmarks.attacks import Outcome, attack\n\n"
        "@attack(line=99, words='tries', at_most_s=10, at_most_mb=300)\n"
        f"def tries(scratch: Path) -> Outcome:\n    {body}\n"
    )
    monkeypatch.setattr(adversary, "ROOT", folder)
    (attack,) = adversary.listed("room")
    return attack


@pytest.mark.parametrize("module", modules())
def test_each_room_has_attacks_that_can_be_listed(module: str) -> None:
    assert attacks_of(module)


@pytest.mark.slow
@pytest.mark.parametrize("module", modules())
def test_nothing_is_accepted_nothing_lost_and_nothing_hangs(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert adversary.main(["--only", module, "--quick"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("return Outcome(0, 0, 'refused')", "withstood"),
        ("return Outcome(1, 0, 'believed')", "accepted"),
        ("return Outcome(0, 2, 'gone')", "lost"),
        ("raise ValueError('no compiler')", "failed"),
        ("os._exit(0)", "failed"),
        ("held = bytearray(os.urandom(1)) * 400_000_000; time.sleep(60)", "hung"),
        ("subprocess.run([sys.executable, '-c', 'import time; x = b\"1\" * 400_000_000; time.sleep(60)'])", "hung"),
    ],
)
def test_what_came_of_an_attack_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, word: str
) -> None:
    attack = staged(monkeypatch, tmp_path, body)
    came = {**attack, **adversary.carried_out(attack)}
    assert adversary.outcome(came) == word, came
    assert any(not bar["is_met"] for bar in adversary.summary([came])["bars"]) == (word != "withstood")


def test_what_does_not_end_is_hung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attack = staged(monkeypatch, tmp_path, "time.sleep(600)")
    came = adversary.carried_out({**attack, "at_most_s": 0.5})
    assert (came["hung"], came["detail"]) == (1, "did not end within 0.5 s")


def test_what_an_attack_started_is_ended_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "child"
    body = (
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True); "
        f"Path({str(told)!r}).write_text(str(child.pid)); held = bytearray(b'1') * 400_000_000; time.sleep(600)"
    )
    assert adversary.carried_out(staged(monkeypatch, tmp_path, body))["hung"] == 1
    assert not is_running(int(told.read_text()))


def is_running(pid: int) -> bool:
    """Whether a process lives; one that ended and waits for its parent to look does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_part_of_the_list_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(adversary, "RESULT", tmp_path / "adversary.json")
    assert adversary.main(["--only", "gateway", "--line", "12345"]) == 1, "no attack at all is no success"
    assert not (tmp_path / "adversary.json").exists()
    assert "0 attacks" in capsys.readouterr().out


def test_the_summary_is_json_with_the_zeros_and_the_largest(tmp_path: Path) -> None:
    came = {"line": 19, "words": "w", "accepted": 0, "lost": 0, "hung": 0, "failed": 0, "seconds": 1.5, "peak_mb": 80.0}
    figures = json.loads(json.dumps(adversary.summary([came, {**came, "seconds": 0.5, "peak_mb": 90.0}])))
    assert {name: figures[name] for name in ("accepted", "lost", "hung", "largest_mb", "longest_s")} == {
        "accepted": 0,
        "lost": 0,
        "hung": 0,
        "largest_mb": 90.0,
        "longest_s": 1.5,
    }
    assert figures["machine"]["python"] == sys.version.split()[0]


def test_a_renewed_room_stands_beside_those_that_are_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was measured of a room that is gone, or has another name, goes with it."""
    staged(monkeypatch, tmp_path, "return Outcome(0, 0, 'refused')")
    monkeypatch.setattr(adversary, "modules", lambda: ["other", "room"])
    monkeypatch.setattr(adversary, "RESULT", tmp_path / "adversary.json")
    zeros = {"line": 19, "accepted": 0, "lost": 0, "hung": 0, "failed": 0, "seconds": 1.5, "peak_mb": 80.0}
    former = [{**zeros, "module": name} for name in ("gone", "other", "room")]
    adversary.RESULT.write_text(json.dumps({"by_attack": former}))
    assert adversary.main(["--only", "room", "--renew"]) == 0, capsys.readouterr().out
    renewed = json.loads(adversary.RESULT.read_text())["by_attack"]
    assert [(came["module"], came["line"]) for came in renewed] == [("other", 19), ("room", 99)]
