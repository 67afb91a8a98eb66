"""The cloud asks a model file as a device does."""

from pathlib import Path

import numpy as np
import pytest

from fieldedge.inference.model import Model
from fieldloop.evaluation.predictor import BLOCK, predictor
from tests.conftest import CONTRACT, crop_model


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(crop_model(10.0))
    return tmp_path / "model.onnx"


def test_cloud_and_device_get_the_same_answers(path: Path) -> None:
    rows = np.random.default_rng(1).uniform(-1.5, 1.5, (200, len(CONTRACT.features))).astype(np.float32)
    np.testing.assert_array_equal(predictor(path)(rows), Model(path.read_bytes(), CONTRACT).predict(rows))


def test_more_rows_than_a_block_come_back_in_their_order(path: Path) -> None:
    rows = np.random.default_rng(1).uniform(-1, 1, (2 * BLOCK + 3, len(CONTRACT.features))).astype(np.float32)
    answers = predictor(path)(rows)
    assert len(answers) == len(rows)
    np.testing.assert_allclose(answers[-1:], predictor(path)(rows[-1:]), rtol=1e-6)
