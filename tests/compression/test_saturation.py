"""Weights of 7 bits cannot overflow 16 whatever comes in; those of 8 bits do, on real rows and on a real emulator."""

import platform
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch

from fieldedge.diagnostics.benchmark import cpu_features
from fieldloop.compression import Bench, CompressionInputs, Recipe
from fieldloop.compression.onnx_files import export_shell, write_whole
from fieldloop.compression.quantise import quantized_body
from fieldloop.compression.saturation import PairSums, pair_sums
from fieldloop.evaluation.predictor import predictor
from tests.compression.conftest import METADATA, PROJECT, PROJECT_PARAMS
from tests.compression.processors import (
    EMULATOR,
    HAS_EMULATOR,
    error_sd,
    exact,
    is_emulated,
    product_of_the_largest,
    saturates,
)
from tests.training.small_training import CONTRACT, scaled

pytestmark = pytest.mark.slow
FORMS = ("reduced", "unsigned", "signed")


@pytest.fixture(scope="module")
def files(
    inputs: CompressionInputs, network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder, shell = tmp_path_factory.mktemp("forms"), export_shell(network, len(CONTRACT.features))
    return {
        form: write_whole(
            shell,
            quantized_body(network, inputs.calibration, shell, Recipe(weights=form)),  # type: ignore[arg-type]  # of FORMS
            METADATA,
            folder / f"{form}.onnx",
        )
        for form in FORMS
    }


def layers_of(files: dict[str, Path], form: str, inputs: CompressionInputs) -> list[PairSums]:
    return pair_sums(onnx.load(files[form]), inputs.calibration[:200])


def test_no_input_can_overflow_weights_of_the_reduced_range(files: dict[str, Path], inputs: CompressionInputs) -> None:
    layers = layers_of(files, "reduced", inputs)
    assert len(layers) == 4
    assert all(layer.kernel == "u8s8" and layer.is_safe and layer.overflows == 0 for layer in layers)
    assert all(layer.largest_seen <= layer.largest_possible <= 32_767 for layer in layers)


def test_signed_8_bit_weights_overflow_on_calibration_rows(files: dict[str, Path], inputs: CompressionInputs) -> None:
    layers = layers_of(files, "signed", inputs)
    assert sum(layer.overflows for layer in layers) > 0
    assert not any(layer.is_safe for layer in layers)


def test_unsigned_weights_take_the_kernel_that_does_not_saturate(
    files: dict[str, Path], inputs: CompressionInputs
) -> None:
    assert {layer.kernel for layer in layers_of(files, "unsigned", inputs)} == {"u8u8"}


def test_this_processor_is_right_on_reduced_and_unsigned_weights_and_on_signed_ones_where_it_does_not_saturate(
    files: dict[str, Path], inputs: CompressionInputs
) -> None:
    rows = scaled(inputs.held_out)[:64]
    for form in FORMS:
        error = error_sd(predictor(files[form])(rows), exact(files[form], rows))
        assert (error < 0.001) == (form != "signed" or not saturates()), (form, error)


@pytest.mark.skipif(not HAS_EMULATOR, reason="no qemu-user: no processor without VNNI to ask")
def test_an_emulated_processor_without_vnni_is_right_on_reduced_and_unsigned_weights_and_not_on_signed_ones(
    files: dict[str, Path], inputs: CompressionInputs, bench: Bench
) -> None:
    rows = scaled(inputs.held_out)[:64]
    _, answers = bench.measure([*EMULATOR, str(bench.edge_python)], [files[form] for form in FORMS], rows, calls=0)
    for form, got in zip(FORMS, answers, strict=True):
        error = error_sd(got, exact(files[form], rows))
        assert (error < 0.001) == (form != "signed"), (form, error)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86 has both kinds")
def test_a_processor_with_8_bit_dot_products_is_exact_and_one_without_saturates() -> None:
    """What a class of devices `lacks` in params.yaml is what makes the difference."""
    lacking = set(PROJECT_PARAMS.compression.device_classes["x86-64"].lacks)
    if is_emulated():
        pytest.skip("the emulator shows its host's /proc/cpuinfo")
    assert saturates() == lacking.isdisjoint(cpu_features())
    assert product_of_the_largest() in (2 * 255 * 127, 2**15 - 1)


@pytest.mark.skipif(not HAS_EMULATOR, reason="no qemu-user: no processor without VNNI to ask")
def test_an_emulated_processor_without_vnni_saturates_at_16_bits() -> None:
    program = "from tests.compression.processors import product_of_the_largest as p; print(p())"
    said = subprocess.run(
        [*EMULATOR, sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert int(said.stdout) == 2**15 - 1
