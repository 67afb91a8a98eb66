"""A model that its trial lets pass and that ends each process which asks it: the device leaves it by itself."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fieldedge.cli
from fieldedge.contract.update_report import UpdateReport, read
from fieldedge.device.config import DeviceDirectory
from fieldedge.inference import attempts
from fieldedge.inference.loading import load_model
from fieldedge.inference.model import Model
from fieldedge.inference.pointer import Pointer, parse_pointer
from fieldedge.inference.slots import Slots
from fieldedge.storage.store import Store
from tests.edge.patience import PATIENCE_S
from tests.edge.runtime.test_watch import files_of, put
from tests.edge.sample import AGRICULTURE, EPISODE, season_messages

ROOT = Path(__file__).resolve().parents[3]
DEADLY_BIAS = 0.25
_RUN = "import sys; from tests.edge.faults.test_deadly_models import main; sys.exit(main(sys.argv[1:]))"


def main(arguments: list[str]) -> int:
    """`fieldedge run` on a machine that kills whoever asks version 12 of a morning, as for memory: with SIGKILL."""
    where, *rest = arguments
    predict = Model.predict
    loaded: set[int] = set()

    def deadly(self: Model, features: Any) -> Any:
        is_first = id(self) not in loaded  # the golden vectors, which it repeats as it is loaded
        loaded.add(id(self))
        at_zero = predict(self, np.zeros((1, features.shape[1]), np.float32))[0, 0]
        if abs(at_zero - 9.0 - DEADLY_BIAS) < 1e-3 and is_first is (where == "load") and where != "never":
            os.kill(os.getpid(), signal.SIGKILL)
        return predict(self, features)

    Model.predict = deadly  # type: ignore[method-assign]
    return fieldedge.cli.main(rest)


def run(device: DeviceDirectory, where: str, days: int) -> subprocess.CompletedProcess[str]:
    """A process of the device's own, from the first message of the season on."""
    lines = "".join(json.dumps(message) + "\n" for message in season_messages(days, harvest_t_ha=None))
    return subprocess.run(
        [sys.executable, "-c", _RUN, where, "run", "--dir", str(device.root)],
        input=lines,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
    )


@pytest.fixture
def watching(device: DeviceDirectory) -> DeviceDirectory:
    """A device that runs version 11, confirmed, and watches version 12."""
    put(device, files_of("11"), is_on_watch=False)
    put(device, files_of("12", bias=DEADLY_BIAS), is_on_watch=True)
    return device


def pointer_of(device: DeviceDirectory) -> Pointer:
    return Slots(device.root).pointer()


def reports_of(device: DeviceDirectory) -> list[UpdateReport]:
    return [read(one.encode()) for one in pointer_of(device).reports]


@pytest.mark.parametrize("where", ["load", "ask"])
def test_a_model_that_kills_whoever_loads_or_asks_it_is_left_after_the_third_death(
    watching: DeviceDirectory, where: str
) -> None:
    for deaths in (1, 2, 3):
        assert run(watching, where, 3).returncode == -signal.SIGKILL
        pointer = pointer_of(watching)
        assert (pointer.died, pointer.is_on_watch, reports_of(watching)) == (deaths, True, [])
    ended = run(watching, where, 3)
    assert ended.returncode == 0, ended.stderr
    pointer = pointer_of(watching)
    assert pointer.active is not None
    assert (pointer.active.version, pointer.died, pointer.is_on_watch) == ("11", 0, False)
    assert "died 3 times in a row" in str(pointer.why_not("12", "another file of it")), "it is not tried again"
    (said,) = reports_of(watching)
    assert (said.state, said.version, said.former_version, said.decisions) == ("reverted", "12", "11", 0)
    assert "died 3 times in a row while it loaded or asked it" in said.reason
    with Store(watching.store) as store:
        decided = store.records(EPISODE, "recommendations")
        assert [record["model_version"] for record in decided] == ["11"] * 3, "each morning has its decision after all"
        (told,) = (event["text"] for event in store.events(kind="model"))
    assert told.startswith("version 12 was taken back") and told.endswith("version 11 decides again")


def test_one_decision_that_was_made_forgets_the_deaths_before_it(watching: DeviceDirectory) -> None:
    for _ in range(2):
        assert run(watching, "ask", 3).returncode == -signal.SIGKILL
    assert pointer_of(watching).died == 2
    assert run(watching, "never", 2).returncode == 0
    assert (pointer_of(watching).died, pointer_of(watching).is_on_watch) == (0, True)
    for _ in range(2):
        assert run(watching, "ask", 4).returncode == -signal.SIGKILL
    assert run(watching, "never", 4).returncode == 0
    assert pointer_of(watching).is_on_watch, "five deaths, and never three in a row"


def test_starts_that_ask_nothing_count_for_nothing(watching: DeviceDirectory) -> None:
    """A device whose power fails every night starts often, and dies of no model."""
    for _ in range(10):
        with Store(watching.store) as store:
            loaded = load_model(watching, AGRICULTURE, store)
        assert loaded is not None and loaded.installed.version == "12"
    assert pointer_of(watching).died == 0


def test_an_exception_is_no_death(watching: DeviceDirectory) -> None:
    slots, watched = Slots(watching.root), pointer_of(watching).active
    assert watched is not None
    with pytest.raises(RuntimeError), attempts.asking(slots, watched):
        assert pointer_of(watching).died == 1
        raise RuntimeError
    assert pointer_of(watching).died == 0


@pytest.mark.parametrize("died", [-1, True, "3", 1.5, None])
def test_a_count_that_nobody_wrote_is_damage(watching: DeviceDirectory, died: Any) -> None:
    said = json.loads((watching.root / "active.json").read_bytes())
    with pytest.raises(ValueError, match="died"):
        parse_pointer(json.dumps({**said, "died": died}).encode())
