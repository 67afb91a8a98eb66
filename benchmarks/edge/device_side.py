"""What is measured on the device itself: run by the device's Python, on one core, printing one JSON object.

.venv-edge/bin/python benchmarks/edge/device_side.py decide|memory|ingest|floor FOLDER ...
"""

import argparse
import gc
import json
import os
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from fieldedge.device.config import DeviceDirectory
from fieldedge.inference.loading import load_model
from fieldedge.runtime.agent import Agent
from fieldedge.storage.recovery.rebuild import open_store
from fieldedge.workloads import read_device


def main() -> None:
    """Run one measurement."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("what", choices=("decide", "memory", "ingest", "floor"))
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--seasons", type=Path)
    arguments.add_argument("--decisions", type=int, default=10_000)
    options = arguments.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    measure = {"decide": decide, "memory": memory, "ingest": ingest, "floor": floor}[options.what]
    sys.stdout.write(json.dumps(measure(options)) + "\n")


def messages(path: Path) -> Any:
    """The lines of a seasons file, parsed."""
    with path.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines)


class TimedModel:
    """A model whose time is taken."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.last_ms = 0.0
        self.rows = 0

    def predict(self, features: Any) -> Any:
        started_ns = time.perf_counter_ns()
        outputs = self._model.predict(features)
        self.last_ms = (time.perf_counter_ns() - started_ns) / 1e6
        self.rows = len(features)
        return outputs


def decide(options: argparse.Namespace) -> dict[str, Any]:
    """Each decision from the call to the answer on disk; readings are stored beforehand, as they come in."""
    directory = DeviceDirectory(options.folder)
    config, workload = read_device(directory)
    store, _ = open_store(directory.store)
    loaded = load_model(directory, workload)
    assert loaded is not None
    timed = TimedModel(loaded.model)
    agent = Agent(config, workload, store, replace(loaded, model=timed))  # type: ignore[arg-type]
    whole_ms, model_ms, candidates = timed_decisions(agent, store, timed, options.seasons, options.decisions)
    watched = len(store.watched(loaded.installed.bundle_sha256))
    store.close()
    return {"whole_ms": whole_ms, "model_ms": model_ms, "candidates": candidates, "watched": watched}


def timed_decisions(
    agent: Agent, store: Any, timed: TimedModel, seasons: Path, limit: int
) -> tuple[list[float], list[float], list[int]]:
    """Time of each whole decision, of the model in it (0 where it was not asked), and the number of candidates."""
    whole_ms: list[float] = []
    model_ms: list[float] = []
    candidates: list[int] = []
    for message in messages(seasons):
        if message["kind"] != "decide":
            agent.answer_line(json.dumps(message), "benchmark")
            continue
        timed.last_ms, timed.rows = 0.0, 0
        started_ns = time.perf_counter_ns()
        agent.decide(message["date"])
        whole_ms.append((time.perf_counter_ns() - started_ns) / 1e6)
        model_ms.append(timed.last_ms)
        candidates.append(timed.rows)
        if len(whole_ms) % 200 == 0:
            store.checkpoint()  # the service does this once a minute, between decisions
        if len(whole_ms) >= limit:
            break
    return whole_ms, model_ms, candidates


def floor(options: argparse.Namespace) -> dict[str, Any]:
    """The bare ONNX Runtime call on as many candidates as a decision has, and the bare fsync of a stored row."""
    import numpy as np

    directory = DeviceDirectory(options.folder)
    _, workload = read_device(directory)
    loaded = load_model(directory, workload)
    assert loaded is not None
    session = loaded.model._session
    times: dict[str, list[float]] = {}
    for rows in (1, 2, 8, 16):
        feed = {"features": np.zeros((rows, len(workload.contract.features)), np.float32)}
        taken = times[str(rows)] = []
        for _ in range(3000):
            started_ns = time.perf_counter_ns()
            session.run(["outputs"], feed)
            taken.append((time.perf_counter_ns() - started_ns) / 1e6)
    synced = []
    with (options.folder / "floor.bin").open("wb") as file:
        for _ in range(500):
            file.write(b"x" * 4096)
            file.flush()
            started_ns = time.perf_counter_ns()
            os.fsync(file.fileno())
            synced.append((time.perf_counter_ns() - started_ns) / 1e6)
    return {"onnxruntime_ms": times, "fsync_ms": synced}


def resident_mb() -> float:
    """Resident memory now, MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize() / 1e6


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """Resident memory after the imports, after the model is loaded, and after each season."""
    found = {"imports_mb": 0.0, "loaded_mb": 0.0}
    import numpy  # noqa: F401

    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: F401

    found["imports_mb"] = resident_mb()
    directory = DeviceDirectory(options.folder)
    config, workload = read_device(directory)
    store, _ = open_store(directory.store)
    agent = Agent(config, workload, store, load_model(directory, workload))
    found["loaded_mb"] = resident_mb()
    by_season: list[float] = []
    for message in messages(options.seasons):
        if message["kind"] == "field" and by_season is not None and agent.context is not None:
            gc.collect()
            by_season.append(resident_mb())
        agent.answer_line(json.dumps(message), "benchmark")
    by_season.append(resident_mb())
    store.close()
    return {**found, "after_season_mb": by_season}


def ingest(options: argparse.Namespace) -> dict[str, Any]:
    """Readings from a logger's file into the store, fsynced batch by batch, through the whole pipeline."""
    from fieldedge.runtime.service import Service
    from fieldedge.system.clock import Clock

    directory = DeviceDirectory(options.folder)
    config, workload = read_device(directory)
    service = Service(directory, config, workload, Clock(directory.clock_floor))
    started_s, readings, polls = time.perf_counter(), 0, 0
    idle = 0
    while idle < 3:
        taken = service.take_samples(config.sources[0].name)
        readings, polls = readings + taken.samples, polls + 1
        idle = idle + 1 if taken.samples == 0 else 0
    seconds = time.perf_counter() - started_s
    service.close()
    return {"readings": readings, "seconds": seconds, "batches": polls}


if __name__ == "__main__":
    main()
