"""A cached result is used only while it stands."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import Task
from prefect.results import (  # not in its __all__
    ResultRecord,  # type: ignore[attr-defined]
    ResultRecordMetadata,  # type: ignore[attr-defined]
)
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings

import tasks
from fieldedge.system.errors import ReleaseError
from fieldloop.core.code_version import reached
from fieldloop.core.params import STEPS, LoopParams, WorkloadParams
from fieldloop.core.settings import Settings
from fieldloop.core.words import Words
from fieldloop.stages.context import Loop
from fieldloop.stages.refs import AcceptedRef
from fieldloop.workloads import load_params
from fieldloop.workloads.agriculture.params import AgricultureParams
from tasks import artifacts, caching
from tasks.caching import _forgotten_unless_intact
from tasks.data import version_data
from tasks.field import compare_baselines, release_bundle, run_period
from tasks.learning import compress_champion, evaluate_and_register, train_model

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
    given = {"loop": loop, "accepted": accepted, "period": 2007}
    key_of: Any = version_data.cache_key_fn  # type: ignore[attr-defined]
    first, same, other = (key_of(None, {**given, "content": content}) for content in ("a", "a", "b"))
    assert first == same != other


@pytest.mark.parametrize(
    ("step", "given", "settings"),
    [
        (version_data, {"accepted": None, "period": 2007, "content": "c"}, {"is_deployment": True}),
        (evaluate_and_register, {"data": "d", "trained": "t", "last_word": ""}, {"is_deployment": True}),
        (evaluate_and_register, {"data": "d", "trained": "t", "last_word": ""}, {"mlflow_uri": "http://mlflow"}),
        (train_model, {"data": "d", "champion": ""}, {"mlflow_uri": "http://mlflow"}),
        (compress_champion, {"data": "d", "registered": "r"}, {"mlflow_uri": "http://mlflow"}),
        (release_bundle, {"data": "d", "compressed": "c"}, {"mlflow_uri": "http://mlflow"}),
        (release_bundle, {"data": "d", "compressed": "c"}, {"home": Path("/elsewhere")}),
    ],
)
def test_the_settings_that_a_step_depends_on_are_a_part_of_its_key(
    step: Any, given: dict[str, Any], settings: dict[str, Any]
) -> None:
    def key(**own: Any) -> str:
        loop = Loop(Settings(root=PROJECT, **own), "agriculture", load_params(PROJECT, "agriculture"))
        return str(step.cache_key_fn(None, {"loop": loop, **given}))

    assert key() == key() != key(**settings)


@pytest.mark.parametrize(
    ("step", "program", "given"),
    [
        (compress_champion, "fieldedge.diagnostics.benchmark", {"data": "d", "registered": "r"}),
        (run_period, "fieldedge.__main__", {"released": "r", "period": 2007}),
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


def train_key(params: WorkloadParams) -> str:
    loop = Loop(Settings(root=PROJECT), "agriculture", params)
    key_of: Any = train_model.cache_key_fn  # type: ignore[attr-defined]
    return str(key_of(None, {"loop": loop, "data": "d"}))


def test_a_step_is_keyed_by_those_of_the_workloads_own_blocks_that_it_reads() -> None:
    params = load_params(PROJECT, "agriculture")
    assert isinstance(params, AgricultureParams)
    taught = params.model_copy(update={"what_if": params.what_if.model_copy(update={"pairs": 17})})
    compared = params.model_copy(update={"practices": params.practices.model_copy(update={"nitrogen_kg_ha": 1.0})})
    assert train_key(params) == train_key(compared) != train_key(taught)


def test_a_workload_may_name_every_task_and_no_other() -> None:
    beside_the_loop = ("release", "rollout")  # never cached, and no steps of the loop: they read what stands
    names = [module.name for module in pkgutil.iter_modules(tasks.__path__) if module.name not in beside_the_loop]
    modules = [import_module(f"tasks.{name}") for name in names]
    named = {task.name for module in modules for task in vars(module).values() if isinstance(task, Task)}
    assert named == set(STEPS)


def test_a_workload_without_blocks_of_its_own_is_keyed_by_the_core_s() -> None:
    """Nothing of the core asks for a block that only another workload has."""
    whole = load_params(PROJECT, "agriculture").model_dump()
    bare = WorkloadParams.model_validate(
        {
            "history": None,
            "loop": {one.alias: whole["loop"][one.alias] for one in LoopParams.model_fields.values()},
            "model": whole["model"],
            "gates": {name: value for name, value in whole["gates"].items() if name != "slices"} | {"floor": {}},
            "compression": whole["compression"],
        }
    )
    assert train_key(bare) == train_key(bare.model_copy())
    for step in (run_period, compare_baselines, evaluate_and_register, release_bundle, compress_champion):
        given = {"loop": Loop(Settings(root=PROJECT), "agriculture", bare)}
        assert step.cache_key_fn(None, given)  # type: ignore[attr-defined]


def test_what_a_workload_says_of_steps_is_of_steps_that_there_are_and_of_values_that_it_has() -> None:
    params = load_params(PROJECT, "agriculture")
    modules = (import_module(f"tasks.{found.name}") for found in pkgutil.iter_modules(tasks.__path__))
    steps = {value.name for module in modules for value in vars(module).values() if isinstance(value, Task)}
    assert set(params.reads) <= steps
    for names in params.reads.values():
        assert list(params.values_of(names)) == list(names)


@pytest.mark.parametrize("word", ["season", "shift_day"])
def test_a_period_that_devices_live_through_is_shown_by_the_workloads_own_word(
    word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(caching, "words_of", lambda _loop: Words(word, "kiosk", "hall"))
    monkeypatch.setattr(artifacts, "words_of", lambda _loop: Words(word, "kiosk", "hall"))
    keys: list[str] = []
    monkeypatch.setattr(artifacts, "create_markdown_artifact", lambda key, **_: keys.append(key))
    loop = Loop(Settings(root=PROJECT), "agriculture", load_params(PROJECT, "agriculture"))
    name_of: Any = run_period.task_run_name  # type: ignore[attr-defined]
    name = name_of(parameters={"loop": loop, "released": "r", "period": 2007})
    assert name == word
    (hook,) = run_period.on_completion_hooks  # type: ignore[attr-defined]
    lived = SimpleNamespace(period=2007, devices=2)
    hook(run_period, SimpleNamespace(name=name), SimpleNamespace(name="Cached", result=lambda **_: lived))
    assert capsys.readouterr().out.startswith(f"  {word:<10} 2007 lived offline by 2 devices")
    artifacts.show_period(loop, 2007, "")
    assert keys == [f"{word.replace('_', '-')}-2007"]
