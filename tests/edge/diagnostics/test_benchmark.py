"""The device measures model files on its own processor: in turns, on one thread, and by its own rules for a model."""

import json
from pathlib import Path

import numpy as np
import pytest

from fieldedge.diagnostics.benchmark import cpu_features, main, quiet_us, resident_kb
from fieldedge.inference.model import Model
from tests.edge.sample import AGRICULTURE, onnx_model

CONTRACT = AGRICULTURE.contract
ROWS = np.random.default_rng(0).uniform(-1, 1, (12, len(CONTRACT.features))).astype(np.float32)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", ROWS)
    return tmp_path / "rows.npy"


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for path, bias in zip(paths, (0.0, 1.0), strict=True):
        path.write_bytes(onnx_model(CONTRACT, bias=bias))
    return [str(path) for path in paths]


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    told: dict[str, object] = json.loads(capsys.readouterr().out)
    return told


def test_each_file_gets_its_bytes_its_times_and_its_answers(
    models: list[str], rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "outputs"
    assert main([*models, "--rows", str(rows), "--calls", "60", "--outputs", str(out)]) == 0
    told = said(capsys)
    assert (told["threads"], told["rows"], told["calls"]) == (1, 12, 60)
    for number, (path, file) in enumerate(zip(models, told["files"], strict=True)):  # type: ignore[call-overload]  # JSON
        assert file["bytes"] == Path(path).stat().st_size
        assert 0.0 < file["p50_us"] <= file["p99_us"]
        np.testing.assert_array_equal(
            np.load(out / f"{number}.npy"), Model(Path(path).read_bytes(), CONTRACT).predict(ROWS)
        )


def test_without_calls_nothing_is_timed(models: list[str], rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*models, "--rows", str(rows), "--calls", "0"]) == 0
    assert all("p50_us" not in file for file in said(capsys)["files"])  # type: ignore[attr-defined]  # JSON


def test_a_file_that_a_device_would_refuse_is_an_error_in_one_line(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.onnx").write_bytes(onnx_model(CONTRACT, contract_hash="0" * 64))
    assert main([str(tmp_path / "other.onnx"), "--rows", str(rows)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("fieldedge.diagnostics.benchmark: the model's metadata is for contract 000000000000")
    assert main([str(tmp_path / "nowhere.onnx"), "--rows", str(rows)]) == 1


def test_the_processor_and_the_memory_are_read_where_the_system_says_them() -> None:
    assert isinstance(cpu_features(), list)
    assert resident_kb() >= 0


def test_a_busy_spell_of_the_machine_is_not_the_files_time() -> None:
    times_us = np.full(1000, 30.0)
    times_us[100:600] = 3000.0
    assert quiet_us(times_us, 0.5) == quiet_us(times_us, 0.99) == 30.0
    times_us[::20] = 90.0  # every twentieth call is slow by itself: that is a tail
    assert quiet_us(times_us, 0.99) == 90.0
