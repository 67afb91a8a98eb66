"""The loop cut off again and again: the same command goes on, and ends as if nothing had happened."""

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock

from tests.flows.conftest import Undisturbed
from tests.flows.small_loop import SmallLoop

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("undisturbed")]  # one loop for all of them


def in_history(loop: SmallLoop) -> bool:
    return any(loop.history.rglob("_complete"))


def in_training(loop: SmallLoop) -> bool:
    return any(loop.home.glob("runs/*/last.ckpt"))


def in_the_season(loop: SmallLoop) -> bool:
    return any("fieldedge run" in command for command in loop.processes().values())


def in_the_sync(loop: SmallLoop) -> bool:
    return any(loop.inbox.glob("*/*.batch"))


# When, by what, and whether Prefect's server is the loop's own, which must end with it.
CUTS: tuple[tuple[Callable[[SmallLoop], bool], signal.Signals, bool], ...] = (
    (in_history, signal.SIGKILL, True),
    (in_training, signal.SIGINT, True),
    (in_the_season, signal.SIGINT, False),
    (in_the_sync, signal.SIGKILL, False),
)


def test_a_loop_cut_off_at_every_stage_ends_like_one_that_nobody_disturbed(
    undisturbed: Undisturbed, tmp_path: Path, prefect_api_url: str
) -> None:
    loop = SmallLoop.make(tmp_path / "clone", undisturbed.loop.root)
    for when, number, has_own_server in CUTS:
        loop.prefect_api_url = None if has_own_server else prefect_api_url
        ended = loop.cut_off(when, number)
        where = f"{number.name} {when.__name__}"
        assert loop.left_over() == {}, where
        if number is signal.SIGINT:
            told = "Stopped. The same command continues from here."
            assert (ended.code, ended.stderr.strip()) == (130, told), where
        else:
            assert (ended.code, ended.stderr) == (-number, ""), where
    put_rubbish_into(loop.inbox)

    finished = loop.run()

    assert (finished.code, finished.stderr) == (0, "")
    assert loop.left_over() == {}
    assert but_for_refused(loop.figures()) == but_for_refused(undisturbed.figures)
    assert loop.accepted() == undisturbed.accepted
    # Two batches that nobody can open are not home, whatever season they are of, until a person decides.
    assert all(season["records_lost"] == 2 for season in loop.figures().values())
    assert loop.validation_losses() == pytest.approx(undisturbed.validation_losses)
    assert twice_accepted(loop) == []
    assert reasons_of_refused_batches(loop) == 2


def test_a_second_loop_in_the_same_clone_is_refused_at_once(undisturbed: Undisturbed) -> None:
    with FileLock(undisturbed.loop.home / "loop.lock"):
        ended = undisturbed.loop.run()
    assert ended.code == 1
    assert ended.stdout == ""
    assert ended.stderr.strip().startswith(f"fieldloop: {undisturbed.loop.home} is in use by another process")


def put_rubbish_into(inbox: Path) -> None:
    """Two batches that no device sent: one whose name is not its hash, one with a broken envelope."""
    for digit, envelope in (("0", '{"device_id": "dev-00", "signature": "", "received_utc": "now"}'), ("f", "{")):
        (inbox / f"{digit * 64}.batch").write_bytes(b"not a batch")
        (inbox / f"{digit * 64}.json").write_text(envelope)


def reasons_of_refused_batches(loop: SmallLoop) -> int:
    return sum('"reason"' in path.read_text() for path in (loop.quarantine / "batches").glob("*/*.json"))


def but_for_refused(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures without what two refused batches add: records that are not home."""
    return {season: {**of_season, "records_lost": 0} for season, of_season in figures.items()}


def twice_accepted(loop: SmallLoop) -> list[str]:
    ids: Counter[str] = Counter()
    for path in loop.seasons.rglob("*.parquet"):
        ids.update(pd.read_parquet(path, columns=["record_id"])["record_id"])
    return [record_id for record_id, count in ids.items() if count > 1]
