"""The season loop as it is when nobody disturbs it, run once for all tests that compare with it."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.flows.small_loop import ALONE_IN_THE_NETWORK, Ended, SmallLoop, may_leave_the_network


@dataclass(frozen=True)
class Undisturbed:
    """A loop that ran from start to end, and what it came to. Tests that change the clone must put it back."""

    loop: SmallLoop
    ended: Ended
    is_offline: bool
    accepted: dict[str, str]
    figures: dict[str, Any]
    validation_losses: list[float]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Run where no network is, if this machine lets us: it needs none."""
    loop = SmallLoop.make(tmp_path_factory.mktemp("undisturbed") / "clone")
    is_offline = may_leave_the_network()
    ended = loop.run(*(ALONE_IN_THE_NETWORK if is_offline else ()))
    assert ended.code == 0, ended.stdout + ended.stderr
    return Undisturbed(loop, ended, is_offline, loop.accepted(), loop.figures(), loop.validation_losses())
