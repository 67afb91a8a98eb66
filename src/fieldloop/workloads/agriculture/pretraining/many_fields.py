"""What the devices of many fields know, folded in lockstep by the device's own functions, compiled.

Learning needs hundreds of thousands of simulated device-seasons; plain Python folds a day in 0.08 ms, the compiled
form in 0.002 ms. Where numba is missing, plain Python does it.
"""

import hashlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from fieldedge.contract import Record
from fieldedge.workloads.agriculture import (
    agronomy,
    canopy,
    evidence,
    features,
    layout,
    probes,
    season,
    sensitivity,
    water_balance,
)
from fieldedge.workloads.agriculture.evidence import EVIDENCE_VALUES
from fieldedge.workloads.agriculture.features import FEATURES, FORECAST_VALUES, field_constants
from fieldloop.workloads.agriculture.world.compiled import store

Floats = NDArray[np.float64]
_MODULE = "fieldloop_compiled_device"
_SOURCES = (agronomy, canopy, evidence, features, layout, probes, season, sensitivity, water_balance)
_ROWS_A_THREAD = 128


class ManyFields:
    """N devices on the same day after planting. Row i of every array is field i."""

    def __init__(self, constants: Floats, values: Floats | None = None, threads: int = 0) -> None:
        self.constants = constants
        self.threads = threads or len(os.sched_getaffinity(0))
        self.values = np.zeros((len(constants), layout.STATES)) if values is None else values
        if values is None:
            self._spread(_core().start_rows, self.values, self.constants)

    @classmethod
    def of(cls, records: Sequence[Record], threads: int = 0) -> "ManyFields":
        """Rows of table `fields` on the morning of planting."""
        return cls(np.array([field_constants(record) for record in records]), threads=threads)

    def __len__(self) -> int:
        return len(self.constants)

    def branch(self, rows: NDArray[np.int64]) -> "ManyFields":
        """Copies of these rows; a row may come several times."""
        return ManyFields(self.constants[rows], self.values[rows], self.threads)

    def advance(self, days: Floats) -> None:
        """Fold in one day: (N, DAY_VALUES) as layout.py has them."""
        self._spread(_core().advance_rows, self.values, self.constants, days)

    def features(self, forecasts: Floats | None = None) -> NDArray[np.float32]:
        """Feature rows (N, F) in physical units, without actions. `forecasts` (N, 3) as `Forecast.values`."""
        if forecasts is None:
            forecasts = np.full((len(self), FORECAST_VALUES), np.nan)
        rows = np.zeros((len(self), len(FEATURES)))
        self._spread(_core().read_rows, self.values, self.constants, forecasts, rows)
        return rows.astype(np.float32)

    def evidence(self) -> Floats:
        """Whether the crops do what was foretold: (N, EVIDENCE_VALUES), the values of `Evidence`."""
        found = np.zeros((len(self), EVIDENCE_VALUES))
        self._spread(_core().weigh_rows, self.values, self.constants, found)
        return found

    def _spread(self, work: Callable[..., None], *arrays: Floats) -> None:
        """The work on all rows, divided over threads; rows never touch each other."""
        count = len(self.constants)
        parts = max(1, min(self.threads, count // _ROWS_A_THREAD))
        cuts = np.linspace(0, count, parts + 1).astype(int)
        if parts == 1:
            work(*arrays, 0, count)
            return
        pool = _pool(parts, os.getpid())
        list(pool.map(lambda first, last: work(*arrays, first, last), cuts[:-1].tolist(), cuts[1:].tolist()))


@cache
def _pool(threads: int, process_id: int) -> ThreadPoolExecutor:  # noqa: ARG001  # a fork has none of its parent's threads
    return ThreadPoolExecutor(threads, thread_name_prefix="many-fields")


class _Core(Protocol):
    """The device's functions over rows `first` to `last` of their arrays."""

    def start_rows(self, values: Floats, fields: Floats, first: int, last: int) -> None: ...
    def advance_rows(self, values: Floats, fields: Floats, days: Floats, first: int, last: int) -> None: ...
    def read_rows(
        self, values: Floats, fields: Floats, forecasts: Floats, rows: Floats, first: int, last: int
    ) -> None: ...
    def weigh_rows(self, values: Floats, fields: Floats, found: Floats, first: int, last: int) -> None: ...


class PlainCore:
    """The same in plain Python, where there is no numba."""

    def start_rows(self, values: Floats, fields: Floats, first: int, last: int) -> None:
        for i in range(first, last):
            season.start_season(values[i], fields[i])

    def advance_rows(self, values: Floats, fields: Floats, days: Floats, first: int, last: int) -> None:
        for i in range(first, last):
            season.advance(values[i], fields[i], days[i])

    def read_rows(self, values: Floats, fields: Floats, forecasts: Floats, rows: Floats, first: int, last: int) -> None:
        for i in range(first, last):
            features.read_features(values[i], fields[i], forecasts[i], rows[i])

    def weigh_rows(self, values: Floats, fields: Floats, found: Floats, first: int, last: int) -> None:
        for i in range(first, last):
            evidence.read_evidence(values[i], fields[i], found[i])


@cache
def _core() -> _Core:
    if importlib.util.find_spec("numba") is None:
        return PlainCore()
    compiled: _Core = _compiled()
    return compiled


def _compiled() -> Any:
    """The compiled functions, loaded from their own folder; made where this environment has none yet."""
    source = (Path(__file__).parent / "compiled_season.py").read_bytes()
    digest = hashlib.sha256(source + store.key().encode())
    for part in _SOURCES:
        digest.update(Path(str(part.__file__)).read_bytes())
    folder = store.root() / digest.hexdigest()[:20]
    with FileLock(folder.with_suffix(".lock")):
        folder.mkdir(exist_ok=True)
        path = folder / f"{_MODULE}.py"
        if not path.is_file() or path.read_bytes() != source:
            path.write_bytes(source)
        module = store.imported(_MODULE, path)
        values, fields = np.zeros((1, layout.STATES)), np.zeros((1, layout.CONSTANTS))
        rows, forecasts = np.zeros((1, len(FEATURES))), np.zeros((1, FORECAST_VALUES))
        module.start_rows(values, fields, 0, 0)  # called once under the lock, so that only one process compiles
        module.advance_rows(values, fields, np.zeros((1, layout.DAY_VALUES)), 0, 0)
        module.read_rows(values, fields, forecasts, rows, 0, 0)
        module.weigh_rows(values, fields, np.zeros((1, EVIDENCE_VALUES)), 0, 0)
    return module


def warm_up() -> None:
    """Compile now what would be compiled at first use."""
    _core()
