"""A long search for when to act, on the sample world's past: the start from which every deployment's search begins.

    .venv/bin/python benchmarks/practice.py [--rounds 1] [--generations 40] [--population 16] [--seasons 240]
        [--processes 2]

The past is simulated as params.yaml has it (Champion 1984-2005, Córdoba 1992-2005; nothing of what benchmarks test on),
and practised on in the wide world. What is found goes into the package, beside the command, seeds, version and date
that made it: src/fieldloop/workloads/agriculture/pretraining/start_weights.py. The same command finds the same weights,
on however many processes.
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from fieldedge.workloads.agriculture.tables import FIELDS, READINGS
from fieldloop.core.code_version import code_hash
from fieldloop.core.process_setup import settle
from fieldloop.workloads import load_params
from fieldloop.workloads.agriculture.pretraining import policy_search, shipped_start
from fieldloop.workloads.agriculture.pretraining.policy_search import (
    FIRST_STEP,
    FROM_CHAMPION_STEP,
    QUESTIONS,
    START,
    Question,
)
from fieldloop.workloads.agriculture.pretraining.training_world import TrainingWorld
from fieldloop.workloads.agriculture.pretraining.what_if import Floats
from fieldloop.workloads.agriculture.world.history import simulate_history

ROOT = Path(__file__).resolve().parent.parent
WRITTEN = ROOT / "src" / "fieldloop" / "workloads" / "agriculture" / "pretraining" / "start_weights.py"
PARTS = 6  # of a generation's fields: they are drawn and lived apart, wherever there is a core
FIRST_SEED, SEARCH_SEED = 100_000, 3
HEADING = (
    "Weights from which practice begins: a long search found them. Written by benchmarks/practice.py, not by hand."
)
STAY_CLOSE = 0.05  # many generations may go far
_world: TrainingWorld


def main() -> int:
    """Search, and write what was found."""
    options = parsed()
    settle()
    torch.set_num_threads(1)
    started = time.monotonic()
    regions, history_seed, fields = past()
    with tempfile.TemporaryDirectory() as folder:
        seasons = {region: range(first, last + 1) for region, (first, last) in regions.items()}
        simulate_history(seasons, fields, history_seed, Path(folder), options.processes)
        remember(Path(folder))
    with multiprocessing.get_context("fork").Pool(options.processes) as pool:

        def earn(candidates: Floats, question: Question, generation: int) -> Floats:
            first = FIRST_SEED * (1 + done) + 10_000 * QUESTIONS.index(question) + PARTS * generation
            asked = [(candidates, question, first + part, options.seasons // PARTS) for part in range(PARTS)]
            earned: Floats = np.concatenate(pool.map(lived, asked, chunksize=1), axis=1).mean(1)
            return earned

        found = START
        for done in range(options.rounds):
            seed, step = SEARCH_SEED + done, FROM_CHAMPION_STEP if done else FIRST_STEP
            found = policy_search.searched(
                earn, found, options.generations, options.population, seed, step, STAY_CLOSE, told
            )
    made = {
        **command_of(options),
        "past": {region: list(years) for region, years in regions.items()},
        "history_seed": history_seed,
        "fields_per_region": fields,
        "date": datetime.now(UTC).date().isoformat(),
    }
    write(found, made)
    print(f"written to {WRITTEN.relative_to(ROOT)} after {time.monotonic() - started:.0f} s")
    return 0


def parsed() -> argparse.Namespace:
    """The command line."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=1, help="of water, then doses, then forecasts")
    arguments.add_argument("--generations", type=int, default=40)
    arguments.add_argument("--population", type=int, default=16)
    arguments.add_argument("--seasons", type=int, default=240, help="what-if fields that each candidate lives")
    arguments.add_argument("--processes", type=int, default=2)
    return arguments.parse_args()


def command_of(options: argparse.Namespace) -> dict[str, object]:
    """What was run: the command, its seeds and the code."""
    efforts = ("rounds", "generations", "population", "seasons")
    asked = " ".join(f"--{name} {getattr(options, name)}" for name in efforts)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {
        "command": f"benchmarks/practice.py {asked}",
        "first_seed": FIRST_SEED,
        "search_seed": SEARCH_SEED,
        "code": code_hash("fieldloop.workloads.agriculture.pretraining.policy_search"),
        "commit": commit.stdout.strip(),
    }


def past() -> tuple[dict[str, tuple[int, int]], int, int]:
    """The sample world's past: harvest years by region, its seed, and its fields in each region and season."""
    history = load_params(ROOT, "agriculture").require_history()
    return history.regions, history.seed, history.fields_per_region


def remember(history: Path) -> None:
    """The world of that past, for this process and those that it forks."""
    global _world  # processes inherit it; sent to each, it would be copied every time
    tables = {
        table.name: pd.concat(
            [pd.read_parquet(file) for file in sorted(history.glob(f"season=*/region=*/{table.name}.parquet"))]
        )
        for table in (FIELDS, READINGS)
    }
    _world = TrainingWorld.of(tables)


def lived(asked: tuple[Floats, Question, int, int]) -> Floats:
    """What each candidate earned on each field of that draw, (P, N)."""
    candidates, question, seed, seasons = asked
    drawn = policy_search.drawn_for(question, _world, seasons, seed)
    drawn.fields.devices.threads = 1
    return policy_search.earned_usd_ha(drawn, candidates)


def told(done: int, generations: int) -> None:
    """A generation is lived."""
    print(f"  generation {done} of {generations}", flush=True)


def write(found: Floats, made: dict[str, object]) -> None:
    """The weights as a module of the package: so they are part of the code that a step's result hangs on."""
    weights = {name: round(float(value), 4) for name, value in zip(shipped_start.names(), found, strict=True)}
    parts = {"MADE_BY": made, "FORM": shipped_start.form(), "WEIGHTS": weights}
    lines = [f"{name} = {json.dumps(value)}" for name, value in parts.items()]
    filled = "\n".join([f'"""{HEADING}"""', "", *lines, ""])
    WRITTEN.write_text(filled, encoding="utf-8")
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", str(WRITTEN)], cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
