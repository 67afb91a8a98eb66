"""A class is measured by the device's own package; what cannot be measured here says so and why."""

import platform
from pathlib import Path

import numpy as np
import pytest

from fieldedge.inference.model import largest_error_sd
from fieldloop.compression import Bench
from fieldloop.compression.device_classes import measure_class
from fieldloop.core.params import DeviceClassParams
from fieldloop.evaluation.predictor import predictor
from tests.compression.conftest import PROJECT, FileOf
from tests.compression.processors import saturates
from tests.conftest import crop_model
from tests.training.small_training import scaled, small_examples

ROWS = scaled(small_examples(field_seasons=2))
OTHER = "aarch64" if platform.machine() == "x86_64" else "x86_64"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    paths = {"float32": tmp_path / "a.onnx", "small": tmp_path / "b.onnx"}
    for path in paths.values():
        path.write_bytes(crop_model(10.0))
    return paths


def measured(files: dict[str, Path], params: DeviceClassParams, bench: Bench):  # type: ignore[no-untyped-def]  # OnClass
    expected = {name: predictor(path)(ROWS) for name, path in files.items()}
    return measure_class("a class", params, files, ROWS, expected, ROWS[:12], 50, bench)


def test_this_processor_gives_parity_time_and_memory(files: dict[str, Path], bench: Bench) -> None:
    found = measured(files, DeviceClassParams(), bench)
    assert found.parity_on == "this processor, which is of the class"
    assert set(found.parity_sd) == set(found.p50_us) == set(found.p99_us) == set(found.memory_kb) == set(files)
    assert max(found.parity_sd.values()) < 1e-5
    assert all(0.0 < found.p50_us[name] <= found.p99_us[name] for name in files)


def test_another_machine_is_never_timed_here(files: dict[str, Path], bench: Bench) -> None:
    found = measured(files, DeviceClassParams(machine=OTHER), bench)
    assert found.p50_us == {}
    assert found.timed_on.startswith(f"not timed: this machine is {platform.machine()}, not {OTHER}")
    assert found.parity_on.startswith("not run")


def test_an_emulator_that_is_not_there_is_told_with_its_name(files: dict[str, Path], bench: Bench) -> None:
    found = measured(files, DeviceClassParams(machine=OTHER, emulator=("qemu-nowhere",)), bench)
    assert found.parity_on == "not run: there is no qemu-nowhere here (Debian has it in qemu-user)"


def test_a_model_that_does_not_load_there_is_a_failure_and_no_parity(files: dict[str, Path], bench: Bench) -> None:
    expected = {name: predictor(path)(ROWS) for name, path in files.items()}
    files["small"].write_bytes(b"no model")
    found = measure_class("a class", DeviceClassParams(), files, ROWS, expected, ROWS[:12], 50, bench)
    assert (found.parity_sd, found.p50_us) == ({}, {})
    assert all("the model does not load" in failure for failure in found.failures)


def test_a_missing_device_environment_measures_nothing_and_says_so(files: dict[str, Path], tmp_path: Path) -> None:
    found = measured(files, DeviceClassParams(), Bench(tmp_path / "python", PROJECT, "agriculture"))
    assert found.p50_us == {}
    assert len(found.failures) == 2


def test_the_error_is_in_standard_deviations_of_each_output() -> None:
    expected = np.float32([[0.0, 5.0], [2.0, 5.0]])
    assert largest_error_sd(expected, expected + np.float32([0.5, 0.0])) == pytest.approx(0.5)
    assert largest_error_sd(expected, expected + np.float32([0.0, 0.25])) == pytest.approx(0.25)


@pytest.mark.slow
@pytest.mark.skipif(not (PROJECT / ".venv-aarch64/python").is_file(), reason="sh tools/aarch64.sh was not run here")
def test_an_emulated_aarch64_answers_as_this_machine_does(file_of: FileOf, bench: Bench) -> None:
    # Where this processor saturates, its answers to signed weights are not those to compare with.
    names = ("float32", "int8-reduced") if saturates() else ("float32", "int8-signed", "int8-signed-25")
    files = {name: file_of(name) for name in names}
    found = measured(files, DeviceClassParams(machine="aarch64", python=".venv-aarch64/python"), bench)
    assert found.parity_on == "emulated: .venv-aarch64/python"
    assert max(found.parity_sd.values()) < 0.01
    assert found.p50_us == {}
