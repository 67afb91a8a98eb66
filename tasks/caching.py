"""How a step becomes a Prefect task: named, cached by what goes in, and said aloud when it is done.

A task's key covers the references that go in, which carry content hashes, the parameters that the step declares, and
the code that it runs, the devices' included. A step cannot read a parameter that it does not declare. Before a cached
result is used, the files that it refers to are looked for, and the step is asked whether what it left elsewhere still
stands: a version, a registered model, a signed release. Where something is gone the step runs again, and says so where
it cannot be made again.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass, replace
from functools import wraps
from importlib import import_module
from pathlib import Path
from textwrap import shorten
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from prefect.results import ResultRecord  # type: ignore[attr-defined]  # not in its __all__
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH
from prefect.utilities.annotations import NotSet

from fieldedge.system.durable import write_durably
from fieldedge.system.errors import FieldloopError
from fieldloop.core.code_version import code_hash
from fieldloop.core.console import say
from fieldloop.stages.context import Loop, words_of
from fieldloop.stages.refs import NOT_IN_KEY

P = ParamSpec("P")
R = TypeVar("R")
_NAME_WIDTH = 10
_TOLD_WIDTH = 130  # the whole of it stands in the report and on the model version


def step(
    name: str,
    told: Callable[[Any], str],
    *,
    shown: str = "",
    params: tuple[str, ...] = (),
    settings: tuple[str, ...] = (),
    program: str = "",
    stands: str = "",
    is_cached: bool = True,
    retries: int = 0,
    timeout_s: float | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a task.

    Args:
        name: of the task, by which a workload says what the step reads of its own values.
        told: the result in a few words, for the terminal.
        shown: the name of its runs in the UI and on the terminal, with the workload's words in their places
            (`{period}`); where left out, `name`.
        params: the blocks and values of params.yaml that it reads (`model`, `gates.held_out_periods`), and no others
            but those of the workload's own that the workload says by the step's name (`WorkloadParams.reads`).
        settings: the deployment facts that its result depends on.
        program: the module that it runs with the devices' Python, in a process of its own.
        stands: the stage whose `stands(loop, result)` says whether a cached result is so still.
        is_cached: the result depends on these, the references and the code alone.
        retries: for steps that fail for passing reasons (a busy store, a link).
        timeout_s: after which the step is given up.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        code = f"{function.__module__}:{function.__name__}"

        def reads(loop: Loop) -> tuple[str, ...]:
            return (*params, *loop.params.reads.get(name, ()))

        def key(parameters: dict[str, Any]) -> str:
            facts = (*settings, *(("edge_python_path",) if program else ()))
            plain = {parameter: _plain(value, reads, facts) for parameter, value in parameters.items()}
            ran = [code_hash(code), *([code_hash(program)] if program else [])]
            told_all = json.dumps([name, *ran, plain], sort_keys=True, default=str)
            return hashlib.sha256(told_all.encode()).hexdigest()

        def key_if_intact(_context: TaskRunContext, parameters: dict[str, Any]) -> str:
            (loop,) = [_narrowed(value, reads) for value in parameters.values() if isinstance(value, Loop)]
            return _forgotten_unless_intact(key(parameters), lambda result: _stands(stands, loop, result))

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> R:
            started = time.monotonic()
            given = [_narrowed(value, reads) for value in args]
            named = {parameter: _narrowed(value, reads) for parameter, value in kwargs.items()}
            result = function(*given, **named)
            context = TaskRunContext.get()
            called = context.task_run.name if shown and context is not None else name
            if is_cached and context is not None:
                _remember_files(key(context.parameters), result)
            _say_done(called, told(result), f"({time.monotonic() - started:.1f} s)")
            return result

        def run_name(parameters: dict[str, Any]) -> str:
            (loop,) = [value for value in parameters.values() if isinstance(value, Loop)]
            return words_of(loop).say(shown)

        def say_when_cached(_task: Any, task_run: Any, state: Any) -> None:
            _say_cached(task_run.name if shown else name, told, state)

        decorate_as_task: Any = task(
            name=name,
            task_run_name=run_name if shown else None,  # type: ignore[arg-type]  # the protocol has a class method too
            retries=retries,
            retry_delay_seconds=2,
            timeout_seconds=timeout_s,
            persist_result=is_cached,
            cache_key_fn=key_if_intact if is_cached else None,
            cache_policy=NotSet if is_cached else NO_CACHE,
            on_completion=[say_when_cached],
        )
        called_like_the_function: Callable[P, R] = decorate_as_task(run)
        return called_like_the_function

    return decorate


def _forgotten_unless_intact(key: str, stands: Callable[[Any], bool]) -> str:
    """The same key; what was cached under it is forgotten first where a part of its result is gone."""
    note, kept = _note_path(key), _storage() / key
    if kept.is_file() and not (_has_files(note) and _is_standing(kept, stands)):
        kept.unlink()
        note.unlink(missing_ok=True)
    return key


def _stands(stage: str, loop: Loop, result: Any) -> bool:
    return not stage or bool(import_module(f"fieldloop.stages.{stage}").stands(loop, result))


def _has_files(note: Path) -> bool:
    return not note.is_file() or all(Path(path).exists() for path in json.loads(note.read_text(encoding="utf-8")))


def _is_standing(kept: Path, stands: Callable[[Any], bool]) -> bool:
    """Damage is told by the step itself, which runs then; a result that was cut off by a power cut is none."""
    try:
        return stands(ResultRecord.deserialize(kept.read_bytes()).result)
    except (FieldloopError, ValueError):
        return False


def _narrowed(value: Any, reads: Callable[[Loop], tuple[str, ...]]) -> Any:
    return replace(value, params=value.params.only(reads(value))) if isinstance(value, Loop) else value


def _plain(value: Any, reads: Callable[[Loop], tuple[str, ...]], settings: tuple[str, ...]) -> Any:
    if isinstance(value, Loop):
        facts = {name: getattr(value.settings, name) for name in ("root", "home_dir", *settings)}
        return [value.workload, facts, value.params.values_of(reads(value)), value.paths.sample.number]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    counted = [item.name for item in fields(value) if not item.metadata.items() >= NOT_IN_KEY.items()]
    return {name: _plain(getattr(value, name), reads, settings) for name in counted}


def _remember_files(key: str, result: Any) -> None:
    """Note which files a result refers to: every value of it that is an absolute path."""
    values = asdict(result).values() if is_dataclass(result) and not isinstance(result, type) else [result]
    files = [value for value in values if isinstance(value, str) and value.startswith("/")]
    note = _note_path(key)
    note.parent.mkdir(parents=True, exist_ok=True)
    write_durably(note, json.dumps(files).encode())  # half a note would stop the next run


def _note_path(key: str) -> Path:
    return _storage() / "files" / f"{key}.json"


def _storage() -> Path:
    return Path(str(PREFECT_LOCAL_STORAGE_PATH.value()))


def _say_cached(name: str, told: Callable[[Any], str], state: Any) -> None:
    if state.name == "Cached":
        _say_done(name, told(state.result(raise_on_failure=False)), "(unchanged)")


def _say_done(name: str, words: str, how: str) -> None:
    say(f"  {name:<{_NAME_WIDTH}} {shorten(words, _TOLD_WIDTH, placeholder=' …')} {how}")
