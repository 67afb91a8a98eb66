"""The small file is small, answers as the big one in the session that devices run, and ships only if measured so."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from fieldedge.inference.model import Model
from fieldloop.compression import Bench, Compressed, CompressionInputs, compress
from fieldloop.compression.candidates import make_candidates
from fieldloop.compression.choice import _key
from fieldloop.core.dataset import Dataset
from fieldloop.evaluation.predictor import predictor
from tests.compression.conftest import LENIENT, METADATA, PROJECT, PROJECT_PARAMS, FileOf, params
from tests.compression.processors import error_sd, exact, saturates
from tests.training.small_training import CONTRACT, scaled

FEATURES = len(CONTRACT.features)
NAMES = ["float32", "int8-reduced", "float32-25", "int8-reduced-25"]

pytestmark = pytest.mark.slow


def test_the_pruned_8_bit_file_is_under_15_percent_of_the_float32_file(made: Compressed, file_of: FileOf) -> None:
    assert made.int8_bytes == file_of("int8-reduced-25").stat().st_size
    assert made.float32_bytes == file_of("float32").stat().st_size
    assert made.int8_bytes <= 0.15 * made.float32_bytes
    assert (made.shipped, made.path) == ("int8", str(file_of("int8-reduced-25")))


def test_the_report_says_which_seasons_chose_and_which_judged(made: Compressed, inputs: CompressionInputs) -> None:
    assert made.chosen_on == f"{len(inputs.choosing.groups)} field-seasons of 2003"
    assert made.judged_on == f"{len(inputs.held_out.groups)} field-seasons of 2005"


def test_the_seasons_that_judge_a_file_choose_nothing_of_it(inputs: CompressionInputs, tmp_path: Path) -> None:
    least = params(search=LENIENT.search.model_copy(update={"keep": (), "autotune_trials": 2}))
    other = replace(inputs.held_out, targets=inputs.held_out.targets[::-1].copy())
    first = make_candidates(inputs, least, tmp_path / "a")
    second = make_candidates(replace(inputs, held_out=other), least, tmp_path / "b")
    assert first.compared == second.compared
    assert [one.recipe for one in first.candidates] == [one.recipe for one in second.candidates]
    assert [one.primary for one in first.candidates] != [one.primary for one in second.candidates]


def _late_row(examples: Dataset) -> Dataset:
    """The same but for the last row's yield: a harvest that was corrected."""
    targets = examples.targets.copy()
    targets[-1, 0] += 0.5
    return replace(examples, targets=targets)


def test_what_was_measured_is_known_by_all_that_it_depends_on(inputs: CompressionInputs) -> None:
    changed = [
        inputs,
        replace(inputs, held_out=_late_row(inputs.held_out)),
        replace(inputs, training=_late_row(inputs.training)),
        replace(inputs, choosing=_late_row(inputs.choosing)),
        replace(inputs, calibration=inputs.calibration[:-1]),
        replace(inputs, value_of="other seasons"),
        replace(inputs, metadata={**inputs.metadata, "contract": "another"}),
        replace(inputs, model=inputs.model.model_copy(update={"seed": 4})),
    ]
    bench = Bench(PROJECT / ".venv-edge/bin/python", PROJECT, "agriculture")
    keys = [_key(one, LENIENT, bench) for one in changed]
    keys.append(_key(inputs, LENIENT, replace(bench, edge_python=PROJECT / "elsewhere/bin/python")))
    assert len(set(keys)) == len(changed) + 1
    assert _key(inputs, LENIENT, bench) == keys[0]
    assert (
        _key(inputs, params(max_error_increase_pct=1.0), bench) == keys[0]
    )  # a tolerance asks again and measures nothing


def test_every_weight_matrix_of_the_body_is_stored_as_8_bit(file_of: FileOf) -> None:
    graph = onnx.load(file_of("int8-signed")).graph
    layers = len(PROJECT_PARAMS.model.hidden) + 1
    stored = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.INT8 and len(tensor.dims) == 2]
    assert len(stored) == layers
    largest_float = max(
        numpy_helper.to_array(tensor).size for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT
    )
    assert largest_float < 5_000  # the arithmetic around the body


def test_the_fused_session_agrees_with_the_network_within_a_few_hundredths_of_a_deviation(
    file_of: FileOf, network: torch.nn.Module, held_out: Dataset
) -> None:
    """Of 7-bit weights on every processor; of 8-bit signed ones where no product saturates, and there alone."""
    rows = scaled(held_out)
    with torch.no_grad():
        truth = network(torch.from_numpy(rows)).numpy()
    float32 = predictor(file_of("float32"))(rows)
    np.testing.assert_allclose(float32, truth, rtol=1e-4, atol=1e-4)
    for name, is_right_here in (("int8-reduced", True), ("int8-signed", not saturates())):
        unfused = exact(file_of(name), rows)
        assert error_sd(unfused, truth) < 0.06, name
        assert (np.abs(unfused - truth) / truth.std(axis=0)).max() < 0.5, name
        assert (error_sd(predictor(file_of(name))(rows), unfused) < 0.001) == is_right_here, name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 12, 300])
def test_a_device_runs_every_file_with_any_number_of_candidates(file_of: FileOf, name: str, rows: int) -> None:
    model = Model(file_of(name).read_bytes(), CONTRACT)
    assert model.predict(np.zeros((rows, FEATURES), np.float32)).shape == (rows, len(CONTRACT.outputs))


@pytest.mark.parametrize("name", NAMES)
def test_the_file_says_nothing_of_the_machine_that_made_it(file_of: FileOf, name: str) -> None:
    data = file_of(name).read_bytes()
    for trace in (str(PROJECT), "site-packages", "/tmp/", ".py"):  # noqa: S108  (looked for, not used)
        assert trace.encode() not in data
    assert {prop.key: prop.value for prop in onnx.load_from_string(data).metadata_props} == METADATA


def test_compressing_again_makes_and_measures_nothing_again(
    made: Compressed, inputs: CompressionInputs, bench: Bench
) -> None:
    folder = Path(made.path).parent
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.onnx")}
    assert compress(inputs, LENIENT, folder, bench).as_dict() == made.as_dict()
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.onnx")} == before


def test_a_tighter_gate_is_asked_again_even_where_the_files_are_made(
    made: Compressed, inputs: CompressionInputs, bench: Bench
) -> None:
    folder = Path(made.path).parent
    refused = compress(inputs, params(max_latency_ratio=1e-6), folder, bench)
    assert (refused.shipped, refused.path) == ("float32", str(folder / "float32.onnx"))
    assert refused.reason.startswith("float32 ships: ")
    assert "the time may be 1e-06 of float32's at most" in refused.reason
    assert "; INT8 has held-out error " in refused.reason


def test_each_class_of_devices_gets_its_own_file_and_reason(made: Compressed) -> None:
    assert set(made.by_class) == {"x86-64", "aarch64", "float32-only"}
    assert made.by_class["float32-only"]["precision"] == "float32"
    assert ": the class has no 8-bit kernels" in made.by_class["float32-only"]["reason"]
    assert made.by_class["x86-64"]["ships"] == "int8-reduced-25"
    json.dumps(made.as_dict())


def test_8_bits_do_not_ship_to_devices_whose_time_nobody_could_measure(made: Compressed) -> None:
    choice = made.by_class["aarch64"]
    assert choice["precision"] == "float32"
    assert "is not measured" in choice["reason"]


def test_a_calibration_that_is_refused_ships_float32_and_says_why(
    inputs: CompressionInputs, bench: Bench, tmp_path: Path
) -> None:
    from dataclasses import replace

    stuck = replace(inputs, calibration=np.zeros_like(inputs.calibration))
    compressed = compress(stuck, params(search=LENIENT.search.model_copy(update={"keep": (1.0,)})), tmp_path, bench)
    assert compressed.shipped == "float32"
    assert "rows of one class only" in compressed.reason
    assert "float32 ships instead" in compressed.reason
