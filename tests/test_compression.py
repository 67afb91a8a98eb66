"""The small file is small, answers as the big one in the session that devices run, and ships only if measured so."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from fieldedge.contract import Record
from fieldedge.errors import ReleaseError
from fieldedge.inference import METADATA_CONTRACT_HASH, METADATA_WORKLOAD, Model
from fieldloop.compression import Compressed, choose, compress, quantize_int8
from fieldloop.inference import predictor
from fieldloop.settings import CompressionParams, load_params
from fieldloop.workloads import WORKLOADS
from fieldloop.workloads.agriculture.examples import Examples
from tests.small_training import CONTRACT, small_examples

PROJECT = Path(__file__).resolve().parents[1]
PROJECT_PARAMS = load_params(PROJECT, "agriculture")
FEATURES = len(CONTRACT.features)
METADATA = {METADATA_CONTRACT_HASH: CONTRACT.hash, METADATA_WORKLOAD: "agriculture"}
LENIENT = CompressionParams(
    calibration_rows=64, max_error_increase_pct=50.0, max_latency_ratio=1000.0, candidates_per_decision=12
)
MEASURED = Compressed(
    shipped="int8",
    reason="",
    path="",
    bytes=0,
    int8_bytes=26,
    float32_bytes=100,
    error_increase_pct=0.2,
    int8_yield_rmse_t_ha=1.002,
    float32_yield_rmse_t_ha=1.0,
    int8_latency_us=40.0,
    float32_latency_us=50.0,
    batch=12,
)


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    files = {"int8": tmp_path / "int8.onnx", "float32": tmp_path / "float32.onnx"}
    for name, path in files.items():
        path.write_bytes(name.encode() * 7)
    return files


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """A network of the size that params.yaml names, fitted a little: outputs of the size of real ones."""
    torch.manual_seed(0)
    workload, examples = WORKLOADS["agriculture"], small_examples()
    model = workload.network(PROJECT_PARAMS.model.hidden, 0.0)
    inputs, targets = torch.from_numpy(examples.model_inputs()), torch.from_numpy(examples.targets)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(150):
        optimizer.zero_grad()
        workload.loss(model(inputs), targets).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def held_out() -> Examples:
    return small_examples(seed=2, season=2005)


@pytest.fixture(scope="module")
def made(network: torch.nn.Module, held_out: Examples, tmp_path_factory: pytest.TempPathFactory) -> Compressed:
    folder = tmp_path_factory.mktemp("compressed")
    return compress(network, small_examples().model_inputs(), held_out, METADATA, LENIENT, folder)


def in_folder_of(made: Compressed, name: str) -> Path:
    return Path(made.path).with_name(f"{name}.onnx")


@pytest.mark.slow
def test_the_int8_file_is_under_30_percent_of_the_float32_file(made: Compressed) -> None:
    assert made.int8_bytes == in_folder_of(made, "int8").stat().st_size
    assert made.float32_bytes == in_folder_of(made, "float32").stat().st_size
    assert made.int8_bytes <= 0.30 * made.float32_bytes


@pytest.mark.slow
def test_every_weight_matrix_is_stored_as_unsigned_8_bit(made: Compressed) -> None:
    graph = onnx.load(in_folder_of(made, "int8")).graph
    arrays = ((tensor, numpy_helper.to_array(tensor)) for tensor in graph.initializer)
    matrices = [tensor for tensor, array in arrays if array.ndim == 2 and array.size > 256]  # not the trigger's few
    assert len(matrices) == len(PROJECT_PARAMS.model.hidden) + 1
    assert {tensor.data_type for tensor in matrices} == {TensorProto.UINT8}
    stored = {tensor.name for tensor in graph.initializer}
    assert not any(node.op_type in ("Clip", "Round") and node.input[0] in stored for node in graph.node)


@pytest.mark.slow
def test_the_fused_session_agrees_with_the_network_within_a_few_hundredths_of_a_deviation(
    made: Compressed, network: torch.nn.Module, held_out: Examples
) -> None:
    rows = held_out.model_inputs()
    with torch.no_grad():
        truth = network(torch.from_numpy(rows)).numpy()
    spread = truth.std(axis=0)
    float32, int8 = (predictor(in_folder_of(made, name))(rows) for name in ("float32", "int8"))
    np.testing.assert_allclose(float32, truth, rtol=1e-4, atol=1e-4)
    error = np.sqrt(((int8 - truth) ** 2).mean(axis=0)) / spread
    assert (error < 0.05).all(), error
    assert (np.abs(int8 - truth) / spread).max() < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["int8", "float32"])
@pytest.mark.parametrize("rows", [1, 12, 300])
def test_a_device_runs_either_file_with_any_number_of_candidates(made: Compressed, name: str, rows: int) -> None:
    model = Model(in_folder_of(made, name).read_bytes(), CONTRACT)
    assert model.predict(np.zeros((rows, FEATURES), np.float32)).shape == (rows, len(CONTRACT.outputs))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["int8", "float32"])
def test_the_file_says_nothing_of_the_machine_that_made_it(made: Compressed, name: str) -> None:
    data = in_folder_of(made, name).read_bytes()
    for trace in (str(PROJECT), "site-packages", "/tmp/", ".py"):  # noqa: S108  (looked for, not used)
        assert trace.encode() not in data
    assert {prop.key: prop.value for prop in onnx.load_from_string(data).metadata_props} == METADATA


@pytest.mark.slow
def test_compressing_again_measures_nothing_again(
    made: Compressed, network: torch.nn.Module, held_out: Examples
) -> None:
    folder = Path(made.path).parent
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = compress(network, small_examples().model_inputs(), held_out, METADATA, LENIENT, folder)
    assert again == made
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.slow
def test_a_tighter_gate_is_asked_again_even_where_the_files_are_made(
    made: Compressed, network: torch.nn.Module, held_out: Examples
) -> None:
    assert made.shipped == "int8"
    impossible = LENIENT.model_copy(update={"max_latency_ratio": 1e-6})
    folder = Path(made.path).parent
    refused = compress(network, small_examples().model_inputs(), held_out, METADATA, impossible, folder)
    assert refused.shipped == "float32"
    assert Path(refused.path) == in_folder_of(made, "float32")
    assert compress(network, small_examples().model_inputs(), held_out, METADATA, LENIENT, folder) == made


def calibration(rows: int = 64, **rubbish: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    values = np.zeros((rows, FEATURES), np.float32)
    if rubbish:
        values[3, 5] = rubbish["value"]
    return values


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (calibration(63), "found 63 rows with 0 broken values"),
        (calibration(0), "found 0 rows with 0 broken values"),
        (calibration(value=np.nan), "found 64 rows with 1 broken values"),
        (calibration(value=np.inf), "found 64 rows with 1 broken values"),
    ],
)
def test_calibration_that_would_make_a_wrong_model_is_refused_by_what_is_wrong(
    tmp_path: Path, rows: np.ndarray[tuple[int, int], np.dtype[np.float32]], told: str
) -> None:
    network = WORKLOADS["agriculture"].network([8], 0.0)
    with pytest.raises(ReleaseError, match=f"calibration needs at least 64 finite rows; {told}"):
        quantize_int8(network, rows, FEATURES, METADATA, tmp_path / "int8.onnx")
    assert not (tmp_path / "int8.onnx").exists()


@pytest.mark.parametrize(
    ("changes", "shipped", "told"),
    [
        ({}, "int8", "int8 ships: INT8 has held-out error +0.20 %, 26 % of the bytes, 0.80 of the time"),
        ({"error_increase_pct": 1.0}, "int8", "held-out error +1.00 %"),
        ({"error_increase_pct": 1.4}, "float32", "the error may rise by 1 % at most"),
        ({"int8_latency_us": 60.0}, "float32", "1.20 of the time; the time may be 1.05 of float32's at most"),
        ({"error_increase_pct": float("nan")}, "float32", "the error may rise by 1 % at most"),
        ({"int8_latency_us": float("nan")}, "float32", "the time may be 1.05 of float32's at most"),
        (
            {"error_increase_pct": 9.0, "int8_latency_us": 90.0},
            "float32",
            "the error may rise by 1 % at most and the time may be 1.05 of float32's at most",
        ),
    ],
)
def test_float32_ships_where_int8_is_measured_worse_or_slower_and_the_reason_says_so(
    paths: dict[str, Path], changes: Record, shipped: str, told: str
) -> None:
    chosen = choose(replace(MEASURED, **changes), PROJECT_PARAMS.compression, paths)
    assert (chosen.shipped, chosen.path) == (shipped, str(paths[shipped]))
    assert chosen.bytes == paths[shipped].stat().st_size
    assert chosen.reason.startswith(f"{shipped} ships: INT8 has ")
    assert told in chosen.reason
    json.dumps(chosen.as_dict())
