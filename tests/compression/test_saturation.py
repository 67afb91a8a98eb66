"""Weights of 7 bits cannot overflow 16 whatever comes in; those of 8 bits do, on real rows and on a real emulator."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from fieldloop.compression import Bench, Material, Recipe
from fieldloop.compression.onnx_files import export_shell, write_whole
from fieldloop.compression.quantise import quantized_body
from fieldloop.compression.saturation import PairSums, pair_sums
from fieldloop.inference import predictor
from tests.compression.conftest import METADATA
from tests.small_training import CONTRACT

pytestmark = pytest.mark.slow
FORMS = ("reduced", "unsigned", "signed")


@pytest.fixture(scope="module")
def files(material: Material, network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, shell = tmp_path_factory.mktemp("forms"), export_shell(network, len(CONTRACT.features))
    return {
        form: write_whole(
            shell,
            quantized_body(network, material.calibration, shell, Recipe(weights=form)),  # type: ignore[arg-type]  # of FORMS
            METADATA,
            folder / f"{form}.onnx",
        )
        for form in FORMS
    }


def layers_of(files: dict[str, Path], form: str, material: Material) -> list[PairSums]:
    return pair_sums(onnx.load(files[form]), material.calibration[:200])


def test_no_input_can_overflow_weights_of_the_reduced_range(files: dict[str, Path], material: Material) -> None:
    layers = layers_of(files, "reduced", material)
    assert len(layers) == 4
    assert all(layer.kernel == "u8s8" and layer.is_safe and layer.overflows == 0 for layer in layers)
    assert all(layer.largest_seen <= layer.largest_possible <= 32_767 for layer in layers)


def test_signed_8_bit_weights_overflow_on_calibration_rows(files: dict[str, Path], material: Material) -> None:
    layers = layers_of(files, "signed", material)
    assert sum(layer.overflows for layer in layers) > 0
    assert not any(layer.is_safe for layer in layers)


def test_unsigned_weights_take_the_kernel_that_does_not_saturate(files: dict[str, Path], material: Material) -> None:
    assert {layer.kernel for layer in layers_of(files, "unsigned", material)} == {"u8u8"}


@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="no qemu-user: no processor without VNNI to ask")
def test_an_emulated_processor_without_vnni_agrees_on_reduced_and_unsigned_weights_and_not_on_signed_ones(
    files: dict[str, Path], material: Material, bench: Bench
) -> None:
    rows = material.held_out.model_inputs()[:64]
    command = ["qemu-x86_64", "-cpu", "Haswell", str(bench.edge_python)]
    _, answers = bench.measure(command, [files[form] for form in FORMS], rows, calls=0)
    for form, got in zip(FORMS, answers, strict=True):
        here = predictor(files[form])(rows)
        error_sd = float((np.sqrt(((got - here) ** 2).mean(0)) / here.std(0)).max())
        assert (error_sd < 0.001) == (form != "signed"), (form, error_sd)
