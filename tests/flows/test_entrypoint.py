"""What a person sees when a flow that they started ends early."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

from fieldedge.system.errors import DataError
from fieldloop.stages.refs import ReleasedRef
from flows import entrypoint

STOPPED = "\nStopped. The same command continues from here.\n"


def stop() -> NoReturn:
    raise KeyboardInterrupt


def stop_and_fail_to_clean_up() -> NoReturn:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise OSError("database is locked")  # noqa: B904 - as the library raises it


def find_bad_data() -> NoReturn:
    raise DataError("readings: no column rain_mm")


@pytest.mark.parametrize(
    ("flow", "code", "told"),
    [
        (stop, 130, STOPPED),
        (stop_and_fail_to_clean_up, 130, STOPPED),
        (find_bad_data, 1, "\nfieldloop: readings: no column rain_mm\n"),
    ],
)
def test_an_early_end_is_told_in_one_line(
    flow: Callable[[], NoReturn],
    code: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    named_server: str,
) -> None:
    module = ModuleType("flows.short")
    module.short = flow  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flows.short", module)
    monkeypatch.setenv("FIELDLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")

    with pytest.raises(SystemExit) as ended:
        entrypoint.run_from_terminal("short")

    assert ended.value.code == code
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("named", [(), ("agriculture",)])
def test_a_flow_by_hand_is_about_the_workload_that_is_named_or_finds_the_only_one(
    named: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_server: str
) -> None:
    asked: list[str] = []

    def short(workload: str = "") -> ReleasedRef:
        asked.append(workload)
        return ReleasedRef("1", "s", 1, "b")

    module = ModuleType("flows.short")
    module.short = short  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flows.short", module)
    monkeypatch.setenv("FIELDLOOP_HOME", str(tmp_path))
    entrypoint.run_from_terminal("short", *named)
    assert asked == [*(named or ("",))]


def test_a_flow_about_another_workload_than_there_is_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FIELDLOOP_HOME", str(tmp_path))
    with pytest.raises(SystemExit):
        entrypoint.run_from_terminal("retrain", "kiosk")
    assert "has no block 'kiosk'; it has agriculture" in capsys.readouterr().err
