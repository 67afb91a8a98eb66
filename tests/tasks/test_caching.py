"""A cached result is used only while it stands."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.results import (  # not in its __all__
    ResultRecord,  # type: ignore[attr-defined]
    ResultRecordMetadata,  # type: ignore[attr-defined]
)
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings

from fieldedge.system.errors import ReleaseError
from fieldloop.core.code_version import reached
from fieldloop.core.settings import Settings, load_params
from fieldloop.stages.context import Loop
from fieldloop.stages.refs import AcceptedRef
from tasks import caching
from tasks.caching import _forgotten_unless_intact
from tasks.data import version_data
from tasks.field import live_season
from tasks.learning import compress_champion

PROJECT = Path(__file__).parents[2]
KEY = "a" * 64


@pytest.fixture(autouse=True)
def storage(tmp_path: Path) -> Iterator[Path]:
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path}):
        yield tmp_path


def cached(storage: Path, result: Any) -> Path:
    record = ResultRecord(result=result, metadata=ResultRecordMetadata(storage_key=KEY))
    (storage / KEY).write_bytes(record.serialize())
    return storage / KEY


def damaged(_result: Any) -> bool:
    raise ReleaseError("metadata/timestamp.json is missing")


def test_a_result_that_stands_is_used_and_one_that_does_not_is_forgotten(storage: Path) -> None:
    kept = cached(storage, {"version": "3"})
    assert _forgotten_unless_intact(KEY, lambda result: result == {"version": "3"}) == KEY
    assert kept.is_file()
    assert _forgotten_unless_intact(KEY, lambda result: result == {"version": "4"}) == KEY
    assert not kept.exists()


def test_a_result_that_a_power_cut_left_half_is_forgotten(storage: Path) -> None:
    kept = cached(storage, {"version": "3"})
    kept.write_bytes(kept.read_bytes()[: kept.stat().st_size // 2])
    assert _forgotten_unless_intact(KEY, lambda _result: True) == KEY
    assert not kept.exists()


def test_where_nothing_can_be_said_for_damage_the_step_runs_and_says_it(storage: Path) -> None:
    kept = cached(storage, {"version": "3"})
    assert _forgotten_unless_intact(KEY, damaged) == KEY
    assert not kept.exists()


def test_a_version_is_keyed_by_what_is_accepted_whoever_brought_it() -> None:
    loop = Loop(Settings(root=PROJECT), "agriculture", load_params(PROJECT, "agriculture"))
    accepted = AcceptedRef("h", 1, 0, "", "")
    given = {"loop": loop, "accepted": accepted, "season": 2007}
    key_of: Any = version_data.cache_key_fn  # type: ignore[attr-defined]
    first, same, other = (key_of(None, {**given, "content": content}) for content in ("a", "a", "b"))
    assert first == same != other


@pytest.mark.parametrize(
    ("step", "program", "given"),
    [
        (compress_champion, "fieldedge.diagnostics.benchmark", {"data": "d", "registered": "r"}),
        (live_season, "fieldedge.__main__", {"released": "r", "season": 2007}),
    ],
)
def test_what_devices_run_is_a_part_of_the_key(
    step: Any, program: str, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their Python and their modules: the cloud's step imports neither."""

    def key(python: str = ".venv-edge/bin/python") -> str:
        settings = Settings(root=PROJECT, edge_python=Path(python))
        loop = Loop(settings, "agriculture", load_params(PROJECT, "agriculture"))
        return str(step.cache_key_fn(None, {"loop": loop, **given}))

    before = key()
    assert key() == before != key("elsewhere/bin/python")
    of_module = caching.code_hash
    monkeypatch.setattr(caching, "code_hash", lambda name: "changed" if name == program else of_module(name))
    assert key() != before


def test_devices_run_their_storage_and_the_code_of_every_workload() -> None:
    assert {"fieldedge.storage.store", "fieldedge.workloads.agriculture"} <= set(reached("fieldedge.__main__"))
