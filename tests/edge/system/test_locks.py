"""One process at a time, and what its holder says of itself, whatever the system clock does meanwhile."""

import os
from pathlib import Path
from threading import Event, Thread

import pytest

from fieldedge.system.clock import seconds_since_boot
from fieldedge.system.locks import exclusive, holder, is_held, tell

_NOTED_TO_S = 0.001  # since when a lock is held stands in its file to a millisecond


@pytest.mark.parametrize("noted_s", [0.0, 4e9], ids=["set ahead", "set back"])
def test_how_long_a_lock_is_held_does_not_follow_the_system_clock(tmp_path: Path, noted_s: float) -> None:
    path, before_s = tmp_path / "sync.lock", seconds_since_boot()
    with exclusive(path, doing="sending"):
        os.utime(path, (noted_s, noted_s))  # as it looks from a system clock that was set since
        doing, age_s = holder(path) or ("", None)
        assert doing == "sending" and age_s is not None
        assert 0.0 <= age_s <= seconds_since_boot() - before_s + _NOTED_TO_S
        tell(path, "waiting\nfor an answer")
        assert (holder(path) or ("",))[0] == "waiting\nfor an answer"
    assert holder(path) is None


@pytest.mark.parametrize("noted", [b"", b"sending", b"another-boot 1.5\nsending", b"another-boot nan\n", b"\xff 1\n"])
def test_of_a_holder_that_does_not_say_since_when_no_age_is_told(tmp_path: Path, noted: bytes) -> None:
    path = tmp_path / "sync.lock"
    with exclusive(path):
        path.write_bytes(noted)  # a former version's process, or one that is just writing
        found = holder(path)
        assert found is not None and found[1] is None


def test_who_only_asks_whether_it_is_held_keeps_nobody_out(tmp_path: Path) -> None:
    path, stop = tmp_path / "update.lock", Event()
    with exclusive(path):
        pass

    def ask() -> None:
        while not stop.wait(0.001):
            is_held(path)

    asking = Thread(target=ask)
    asking.start()
    try:
        for _ in range(500):
            with exclusive(path):
                pass
    finally:
        stop.set()
        asking.join()
