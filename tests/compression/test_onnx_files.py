"""Exports share one table of operators, and give what they would give without; what is no number comes through."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from fieldloop.compression import onnx_files
from fieldloop.compression.candidates import is_sound
from fieldloop.compression.ort_quantise import body_inputs, ort_static
from fieldloop.evaluation.predictor import predictor
from fieldloop.training.plain import PlainLearner
from tests.training.small_training import CONTRACT


def test_a_body_is_the_same_bytes_whether_the_table_of_operators_is_shared_or_torchs_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(1)
    body = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    made_by_torch, made = ONNXRegistry.from_torchlib, []

    def counted(opset_version: int) -> ONNXRegistry:
        made.append(opset_version)
        return made_by_torch(opset_version)

    onnx_files.export_body(body)  # the first export brings operators of its own
    onnx_files._known_operators.cache_clear()
    monkeypatch.setattr(onnx_files, "_made_by_torch", counted)
    shared = [onnx_files.export_body(body).SerializeToString() for _ in range(2)]
    assert len(made) == 1
    assert ONNXRegistry.from_torchlib == made_by_torch
    monkeypatch.setattr(onnx_files, "_operators", made_by_torch)
    assert shared == [onnx_files.export_body(body).SerializeToString()] * 2


def test_a_network_is_exported_once_where_it_is_read_again_and_anew_where_anything_of_it_differs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exported, learner, features = [], PlainLearner(CONTRACT), len(CONTRACT.features)

    def counted(body: nn.Module) -> onnx.ModelProto:
        exported.append(body)
        return onnx.ModelProto()

    monkeypatch.setattr(onnx_files, "export_shell", lambda network, _features: onnx_files.Shell(network, torch.ones(1)))
    monkeypatch.setattr(onnx_files, "export_body", counted)
    onnx_files._parts_of.cache_clear()
    first = learner.network((8, 8), 0.0).eval()
    again, other = learner.network((8, 8), 0.0).eval(), learner.network((8, 8), 0.0).eval()
    for network in (again, other):
        network.load_state_dict(first.state_dict())
    assert onnx_files.export_parts(first, features) == onnx_files.export_parts(again, features)
    assert exported == [first.body]
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1e-6
    onnx_files.export_parts(other, features)
    first.unknown_before = 1.0
    onnx_files.export_parts(first, features)
    first.unknown_before = lambda: 1.0  # cannot be written: never taken for another one
    onnx_files.export_parts(first, features)
    onnx_files.export_parts(first, features)
    assert exported == [first.body, other.body, *[first.body] * 3]
    onnx_files._parts_of.cache_clear()


def test_an_input_that_is_no_number_comes_through_a_plain_networks_float_file_and_its_8_bit_one() -> None:
    torch.manual_seed(1)
    learner, features = PlainLearner(CONTRACT), len(CONTRACT.features)
    network = learner.network((8, 8), 0.0).eval()
    shell, body = onnx_files.export_shell(network, features), onnx_files.export_body(network.body)
    rows = np.random.default_rng(1).uniform(-1.0, 1.0, (64, features)).astype(np.float32)
    for made in (body, ort_static(body, body_inputs(network, rows))):
        whole = onnx_files.whole_model(shell, made)
        assert is_sound(predictor(whole.SerializeToString()), features, learner)
