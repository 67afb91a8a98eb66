"""A network of the size that params.yaml names, fitted a little, and everything that compression needs of it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fieldedge.inference.model import METADATA_CONTRACT_HASH, METADATA_WORKLOAD
from fieldloop.compression import Bench, Compressed, CompressionInputs, compress
from fieldloop.core.dataset import Dataset, parted
from fieldloop.core.params import CompressionParams
from fieldloop.core.settings import load_settings
from fieldloop.workload import Value
from fieldloop.workloads import known_workload, load_params
from fieldloop.workloads.agriculture.metrics import PROFIT
from tests.training.small_training import CONTRACT, scaled, small_examples

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
PROJECT_PARAMS = load_params(PROJECT, "agriculture")
METADATA = {METADATA_CONTRACT_HASH: CONTRACT.hash, METADATA_WORKLOAD: "agriculture"}
SMALL_SEARCH = {"keep": (0.25,), "epochs": 2, "batch_size": 64, "learning_rate": 0.003}
LENIENT = PROJECT_PARAMS.compression.model_copy(
    update={
        "max_error_increase_pct": 50.0,
        "max_latency_ratio": 1000.0,
        "max_p99_ratio": 1000.0,
        "min_agreement_pct": 0.0,
        "max_profit_loss_pct": 50.0,
        "decision_rows": 50,
        "timed_calls": 50,
        "search": PROJECT_PARAMS.compression.search.model_copy(update=SMALL_SEARCH),
    }
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """One thread, for this folder's tests alone: small networks on all cores, in several processes, mostly wait."""
    before = torch.get_num_threads()
    if HERE in item.path.parents:  # pytest calls this for every test of the run
        torch.set_num_threads(1)
    try:
        return (yield)
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    workload, examples = known_workload("agriculture"), small_examples()
    model = workload.learner.network(PROJECT_PARAMS.model.hidden, 0.0)
    inputs, targets = torch.from_numpy(scaled(examples)), torch.from_numpy(examples.targets)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(150):
        optimizer.zero_grad()
        workload.learner.loss(model(inputs), targets).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="session")
def held_out() -> Dataset:
    return small_examples(seed=2, season=2005)


@pytest.fixture(scope="session")
def bench() -> Bench:
    return Bench(load_settings(root=PROJECT).edge_python_path, PROJECT, "agriculture")


@pytest.fixture(scope="session")
def inputs(network: torch.nn.Module, held_out: Dataset) -> CompressionInputs:
    """Seasons are not simulated here: a model earns its yields at the price of grain."""
    examples = small_examples()
    return CompressionInputs(
        workload=known_workload("agriculture"),
        network=network,
        features=CONTRACT.features,
        calibration=scaled(examples),
        training=examples,
        choosing=parted(examples, 0.25),
        held_out=held_out,
        value=lambda predict: Value(PROFIT, 180.0 * predict(scaled(held_out)[:200])[:, 1].astype(np.float64)),
        value_of="no simulated seasons",
        metadata=METADATA,
        model=PROJECT_PARAMS.model.model_copy(update={"batch_size": 128}),
    )


@pytest.fixture(scope="session")
def made(inputs: CompressionInputs, bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Compressed:
    return compress(inputs, LENIENT, tmp_path_factory.mktemp("compressed"), bench)


FileOf = Callable[[str], Path]


@pytest.fixture(scope="session")
def file_of(made: Compressed) -> FileOf:
    """The path of a candidate's file by its name."""
    paths = {str(one["name"]): Path(str(one["path"])) for one in made.candidates}
    return lambda name: paths[name]


def params(**changes: object) -> CompressionParams:
    """The lenient parameters with some changed."""
    return LENIENT.model_copy(update=changes)
