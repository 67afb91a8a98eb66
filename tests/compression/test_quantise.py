"""A body becomes 8-bit by a recipe, in the fused session; what cannot is refused by its operator's name."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

from fieldloop.compression import CompressionInputs, OperatorError, Recipe
from fieldloop.compression.candidates import is_sound
from fieldloop.compression.onnx_files import Shell, export_body, export_shell, whole_model
from fieldloop.compression.ort_quantise import body_inputs, float16, ort_dynamic, ort_static
from fieldloop.compression.quantise import autotuned, quantized_body, recipes
from fieldloop.evaluation.predictor import predictor
from tests.compression.processors import error_sd, exact, saturates
from tests.training.small_training import CONTRACT, WORKLOAD, scaled

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shell(network: torch.nn.Module) -> Shell:
    return export_shell(network, len(CONTRACT.features))


def stored(model: onnx.ModelProto, kind: int) -> list[Any]:
    used = {name for node in model.graph.node for name in node.input}
    tensors = [t for t in model.graph.initializer if t.data_type == kind and len(t.dims) == 2 and t.name in used]
    return [numpy_helper.to_array(tensor) for tensor in tensors]


def truth_of(network: torch.nn.Module, rows: Any) -> Any:
    with torch.no_grad():
        return network(torch.from_numpy(rows)).numpy()


@pytest.mark.parametrize(
    ("recipe", "kind", "reach"),
    [
        (Recipe(weights="signed"), TensorProto.INT8, 127),
        (Recipe(weights="reduced"), TensorProto.INT8, 63),
        (Recipe(weights="unsigned"), TensorProto.UINT8, 255),
        (Recipe(granularity="per_tensor", weights="reduced"), TensorProto.INT8, 63),
        (Recipe(is_symmetric=True, observer="kl", weights="signed"), TensorProto.INT8, 127),
    ],
)
def test_the_recipe_decides_how_weights_are_stored_and_the_answers_stay(
    inputs: CompressionInputs, shell: Shell, network: torch.nn.Module, recipe: Recipe, kind: int, reach: int
) -> None:
    body = quantized_body(network, inputs.calibration, shell, recipe)
    weights = stored(body, kind)
    assert len(weights) == 4
    assert reach - 1 <= max(int(np.abs(w.astype(np.int32)).max()) for w in weights) <= reach + 1
    rows, model = scaled(inputs.held_out), whole_model(shell, body).SerializeToString()
    unfused = exact(model, rows)
    assert error_sd(unfused, truth_of(network, rows)) < 0.08
    can_overflow = kind == TensorProto.INT8 and reach > 64
    assert (error_sd(predictor(model)(rows), unfused) < 0.001) == (not can_overflow or not saturates())


def test_layers_can_stay_in_float(inputs: CompressionInputs, shell: Shell, network: torch.nn.Module) -> None:
    last = [name for name, module in network.body.named_modules() if isinstance(module, nn.Linear)][-1]
    body = quantized_body(network, inputs.calibration, shell, Recipe(float_layers=(last,)))
    assert len(stored(body, TensorProto.INT8)) == 3
    assert [w.shape for w in stored(body, TensorProto.FLOAT)] == [(5, 128)]


def test_the_search_stops_at_the_first_recipe_within_the_tolerance(
    inputs: CompressionInputs, shell: Shell, network: torch.nn.Module
) -> None:
    judged = iter([3.0, 0.2, 0.1])
    trials = autotuned(
        network, inputs.calibration, shell, recipes(network.body)[:3], lambda _: next(judged), tolerance_pct=0.5
    ).trials
    assert [trial.error_increase_pct for trial in trials] == [3.0, 0.2]
    assert [trial.recipe.observer for trial in trials] == ["minmax", "kl"]


def test_the_search_gives_the_best_where_none_is_within_the_tolerance(
    inputs: CompressionInputs, shell: Shell, network: torch.nn.Module
) -> None:
    judged = iter([3.0, 1.2, 2.0])
    tuned = autotuned(
        network, inputs.calibration, shell, recipes(network.body)[:3], lambda _: next(judged), tolerance_pct=0.1
    )
    assert len(tuned.trials) == 3
    kl = quantized_body(network, inputs.calibration, shell, tuned.best.recipe)
    rows = scaled(inputs.held_out)[:50]
    answers = [predictor(whole_model(shell, body).SerializeToString())(rows) for body in (tuned.body, kl)]
    np.testing.assert_array_equal(*answers)
    assert tuned.trials[1] is tuned.best


def test_another_form_of_what_was_found_is_what_a_calibration_of_its_own_gives(
    inputs: CompressionInputs, shell: Shell, network: torch.nn.Module
) -> None:
    tuned = autotuned(network, inputs.calibration, shell, [Recipe()], lambda _: 0.0, tolerance_pct=0.5)
    for form in ("reduced", "unsigned", "signed"):
        anew = quantized_body(network, inputs.calibration, shell, Recipe(weights=form))  # type: ignore[arg-type]  # a form
        files = [whole_model(shell, body).SerializeToString() for body in (tuned.in_form(form), anew)]  # type: ignore[arg-type]
        assert files[0] == files[1], form


class Recurrent(nn.Module):
    """A body with an operator that has no 8-bit form."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(53, 32, batch_first=True)
        self.out = nn.Linear(32, 5)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        answers, _ = self.cell(rows[:, None, :])
        return self.out(answers[:, 0])


def test_an_operator_that_cannot_be_8_bit_is_named_and_float32_is_said_to_ship(
    inputs: CompressionInputs,
) -> None:
    network: Any = WORKLOAD.learner.network([8], 0.0)
    network.body = nn.Sequential(nn.Linear(53, 53), Recurrent())
    network.body[0].in_features = 53
    with pytest.raises(OperatorError, match=r"GRU.*float32 ships instead"):
        quantized_body(network, inputs.calibration, export_shell(network, len(CONTRACT.features)), Recipe())


def test_other_quantisers_put_the_same_body_into_the_same_shell(
    inputs: CompressionInputs, shell: Shell, network: Any
) -> None:
    body, rows = export_body(network.body), scaled(inputs.held_out)
    static = ort_static(body, body_inputs(network, inputs.calibration))
    assert max(int(np.abs(w.astype(np.int32)).max()) for w in stored(static, TensorProto.INT8)) <= 64
    for other, limit in ((static, 0.12), (ort_dynamic(body), 0.12), (float16(body), 0.01)):
        assert error_sd(exact(whole_model(shell, other).SerializeToString(), rows), truth_of(network, rows)) < limit
    size = len(whole_model(shell, body).SerializeToString())
    assert len(whole_model(shell, float16(body)).SerializeToString()) < 0.6 * size


def test_8_bits_hide_an_input_that_is_no_number_and_the_folded_arithmetic_around_them_does_not(
    inputs: CompressionInputs, shell: Shell, network: torch.nn.Module
) -> None:
    plain = export_shell(network, len(CONTRACT.features), is_folded=False)
    body = quantized_body(network, inputs.calibration, shell, Recipe())
    hides, tells = (predictor(whole_model(one, body).SerializeToString()) for one in (plain, shell))
    assert not is_sound(hides, len(CONTRACT.features), WORKLOAD.learner)
    assert is_sound(tells, len(CONTRACT.features), WORKLOAD.learner)
