"""How a step becomes a Prefect task: named, cached by what goes in, and said aloud when it is done.

A task's key covers its references, which carry the loop's id (parameters and code) and content hashes. Before a cached
result is used, the files that it refers to are looked for; where one is gone the step runs again.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from functools import wraps
from pathlib import Path
from textwrap import shorten
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH
from prefect.utilities.annotations import NotSet

from fieldedge.durable import write_durably
from fieldloop.progress import say
from fieldloop.steps import Loop

P = ParamSpec("P")
R = TypeVar("R")
_NAME_WIDTH = 10
_TOLD_WIDTH = 130  # the whole of it stands in the report and on the model version


def step(
    name: str,
    told: Callable[[Any], str],
    *,
    is_cached: bool = True,
    retries: int = 0,
    timeout_s: float | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a task.

    Args:
        name: shown in the UI and on the terminal.
        told: the result in a few words, for the terminal.
        is_cached: the result depends on the references alone.
        retries: for steps that fail for passing reasons (a busy store, a link).
        timeout_s: after which the step is given up.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            started = time.monotonic()
            result = function(*args, **kwargs)
            context = TaskRunContext.get()
            if is_cached and context is not None:
                _remember_files(_key(context, context.parameters), result)
            _say_done(name, told(result), f"({time.monotonic() - started:.1f} s)")
            return result

        def say_when_cached(_task: Any, _run: Any, state: Any) -> None:
            _say_cached(name, told, state)

        decorate_as_task: Any = task(
            name=name,
            retries=retries,
            retry_delay_seconds=2,
            timeout_seconds=timeout_s,
            persist_result=is_cached,
            cache_key_fn=_key_if_intact if is_cached else None,
            cache_policy=NotSet if is_cached else NO_CACHE,
            on_completion=[say_when_cached],
        )
        called_like_the_function: Callable[P, R] = decorate_as_task(run)
        return called_like_the_function

    return decorate


def _key_if_intact(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """The cache key; what was cached under it is forgotten first where a file of its result is gone."""
    key = _key(context, parameters)
    note = _note_path(key)
    if note.is_file() and not all(Path(path).exists() for path in json.loads(note.read_text())):
        (_storage() / key).unlink(missing_ok=True)
        note.unlink()
    return key


def _key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    plain = json.dumps({name: _plain(value) for name, value in parameters.items()}, sort_keys=True, default=str)
    return hashlib.sha256(f"{context.task.name}|{plain}".encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Loop):
        return [value.workload, value.loop_id, str(value.settings.root), str(value.settings.home_dir)]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


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
