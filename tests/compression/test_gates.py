"""Each gate refuses what it is for, in words; what is not measured does not ship; the smallest that passes does."""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from fieldloop.compression import Compressed, choose
from fieldloop.compression.candidates import CandidateSet
from fieldloop.compression.choice import Measured
from fieldloop.compression.device_classes import OnClass
from fieldloop.compression.gates import Candidate, failures
from fieldloop.compression.search import pareto_front, picked
from fieldloop.compression.table import compression_rows
from fieldloop.core.params import DeviceClassParams
from fieldloop.workloads.agriculture.metrics import PROFIT, YIELD_ERROR
from tests.compression.conftest import PROJECT_PARAMS

PARAMS = PROJECT_PARAMS.compression
X86 = PARAMS.device_classes["x86-64"]
WHOLE = Candidate(
    name="float32",
    precision="float32",
    keep=1.0,
    hidden=(256, 256, 128),
    recipe="",
    weights="",
    path="float32.onnx",
    bytes=480_000,
    primary=1.2,
    error_increase_pct=0.0,
    same_action_pct=100.0,
    agreement_pct=100.0,
    worst_regret_pct=0.0,
    value=600.0,
    value_change_pct=0.0,
    primary_metric=YIELD_ERROR,
    value_metric=PROFIT,
    is_sound=True,
    is_overflow_free=True,
)
INT8 = replace(WHOLE, name="int8", precision="int8", weights="reduced", bytes=130_000, error_increase_pct=0.2)
SMALL = replace(INT8, name="int8-38", keep=0.375, bytes=48_000, value=599.0)
ON_X86 = OnClass(
    "x86-64",
    "emulated",
    "this processor",
    parity_sd={"float32": 0.0, "int8": 0.001, "int8-38": 0.001},
    p50_us={"float32": 34.0, "int8": 33.0, "int8-38": 27.0},
    p99_us={"float32": 60.0, "int8": 60.0, "int8-38": 50.0},
)


def refused(candidate: Candidate, on_class: OnClass = ON_X86, own: DeviceClassParams = X86) -> str:
    return "; ".join(failures(candidate, PARAMS, on_class, own))


def with_time(p50: float, p99: float = 60.0) -> OnClass:
    return replace(ON_X86, p50_us={**ON_X86.p50_us, "int8": p50}, p99_us={**ON_X86.p99_us, "int8": p99})


def test_a_file_that_is_as_good_and_as_fast_passes() -> None:
    assert refused(INT8) == refused(SMALL) == refused(WHOLE) == ""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"error_increase_pct": 1.4}, "the error may rise by 1 % at most"),
        ({"error_increase_pct": float("nan")}, "the error may rise by 1 % at most"),
        ({"agreement_pct": 98.0}, "98.0 % of the decisions agree, 99 % at least are asked"),
        ({"agreement_pct": float("nan")}, "99 % at least are asked"),
        ({"value_change_pct": -0.7}, "the closed-loop profit changes by -0.70 %, 0.5 % may be lost at most"),
        ({"value_change_pct": float("nan")}, "0.5 % may be lost at most"),
        ({"is_sound": False}, "hides an input that is no number"),
        ({"weights": "signed"}, "it is not for this class: its 8-bit weights are reduced"),
    ],
)
def test_each_gate_refuses_what_it_is_for(changes: dict[str, object], told: str) -> None:
    assert told in refused(replace(INT8, **changes))  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("on_class", "told"),
    [
        (with_time(36.0), "the time may be 1.05 of float32's at most, it is 1.06"),
        (with_time(float("nan")), "the time may be 1.05 of float32's at most"),
        (with_time(33.0, p99=100.0), "the slowest of a hundred calls may take 1.5 of float32's at most, it is 1.67"),
        (replace(ON_X86, p50_us={}, timed_on="not timed: emulated"), "its time there is not measured (not timed"),
        (replace(ON_X86, parity_sd={**ON_X86.parity_sd, "int8": 0.2}), "differ by 0.2 sd, 0.05 at most"),
        (replace(ON_X86, parity_sd={**ON_X86.parity_sd, "int8": float("nan")}), "0.05 at most are allowed"),
    ],
)
def test_a_class_refuses_a_file_that_is_slow_strange_or_unmeasured_there(on_class: OnClass, told: str) -> None:
    assert told in refused(INT8, on_class)


def test_without_an_emulator_only_weights_that_cannot_overflow_are_trusted_to_give_the_same_numbers() -> None:
    unknown = replace(ON_X86, parity_sd={}, parity_on="not run")
    assert refused(INT8, unknown) == ""
    assert "parity on such a processor is not measured" in refused(replace(INT8, is_overflow_free=False), unknown)


def test_a_class_without_8_bit_kernels_takes_float32_with_fewer_neurons() -> None:
    pruned = replace(WHOLE, name="float32-38", keep=0.375, bytes=100_000)
    assert refused(pruned, own=DeviceClassParams()) == ""
    assert "no 8-bit kernels" in refused(INT8, own=DeviceClassParams())


def test_the_smallest_file_that_nothing_speaks_against_ships() -> None:
    files = [WHOLE, INT8, SMALL]
    assert picked(files, {one.name: [] for one in files}, ON_X86) is SMALL
    assert picked(files, {"float32": [], "int8": [], "int8-38": ["slow"]}, ON_X86) is INT8
    assert picked(files, {one.name: ["wrong"] for one in files}, ON_X86) is WHOLE


def test_the_front_holds_what_no_other_file_beats_in_value_time_and_bytes() -> None:
    assert pareto_front([WHOLE, INT8, SMALL], ON_X86) == ["int8", "int8-38"]
    richer = replace(WHOLE, value=601.0)
    assert pareto_front([richer, INT8, SMALL], ON_X86) == ["float32", "int8", "int8-38"]


BARE = {"value": None, "value_change_pct": None, "value_metric": None}
UNCOMPARED = {"same_action_pct": None, "agreement_pct": None, "worst_regret_pct": None}


def test_what_a_workload_has_no_measure_of_refuses_no_file_and_is_said_of_it() -> None:
    whole, small = (replace(one, **BARE, **UNCOMPARED) for one in (WHOLE, SMALL))
    assert refused(small) == ""
    assert refused(replace(small, error_increase_pct=1.4)) == "the error may rise by 1 % at most"
    report = chosen_of([whole, small])
    assert report["shipped"] == "int8"
    assert "its value is not measured, how far its decisions agree is not measured" in report["reason"]
    assert (report["agreement_pct"], report["value_change_pct"]) == (None, None)
    told = compression_rows(report)[1]
    assert told["same decisions %"] == "not measured"
    assert told["yield_rmse_t_ha"] == 1.2


def test_where_no_value_is_measured_the_front_is_of_error_time_and_bytes() -> None:
    whole, small = (replace(one, **BARE) for one in (WHOLE, SMALL))
    assert pareto_front([whole, small], ON_X86) == ["float32", "int8-38"]
    assert pareto_front([whole, replace(small, error_increase_pct=0.0)], ON_X86) == ["int8-38"]


def chosen_of(candidates: list[Candidate], **measured: Any) -> dict[str, Any]:
    """What is reported of these files, kept and read back, where they ship to one class."""
    stored = [
        Candidate.of(json.loads(json.dumps(one.as_dict())), one.primary_metric, one.value_metric) for one in candidates
    ]
    assert stored == candidates
    params = PARAMS.model_copy(update={"device_classes": {"x86-64": X86}, "fleet_class": "x86-64"})
    on_x86 = replace(ON_X86, **measured)
    with TemporaryDirectory() as folder:
        found = choose(Measured(CandidateSet(candidates), {"x86-64": on_x86}, 12), params, Path(folder))
        assert Path(found.picture).stat().st_size > 0
    return found.as_dict()


def test_float32_that_is_smaller_than_8_bits_which_pass_too_says_so() -> None:
    """Where only the pruned 8-bit file is refused, the pruned float32 file may be the smallest left."""
    pruned = replace(WHOLE, name="float32-38", keep=0.375, bytes=100_000)
    costly = replace(SMALL, value_change_pct=-0.6)
    p50_us, p99_us = {**ON_X86.p50_us, pruned.name: 30.0}, {**ON_X86.p99_us, pruned.name: 55.0}
    report = chosen_of([WHOLE, INT8, pruned, costly], p50_us=p50_us, p99_us=p99_us)
    assert (report["shipped"], report["bytes"]) == ("float32", 100_000)
    assert report["reason"].startswith(
        "float32 ships, with 38 % of the neurons: it is smaller than int8, which passes every gate too; INT8 has "
    )


def test_a_file_is_stored_under_the_names_that_its_readers_know() -> None:
    stored = SMALL.as_dict()
    assert list(stored) == [
        *("name", "precision", "keep", "hidden", "recipe", "weights", "path", "bytes", "yield_rmse_t_ha"),
        *("error_increase_pct", "same_action_pct", "agreement_pct", "worst_regret_pct"),
        *("profit_usd_ha", "profit_change_pct", "is_sound", "is_overflow_free"),
    ]
    assert Candidate.of(json.loads(json.dumps(stored)), YIELD_ERROR, PROFIT) == SMALL


def test_what_ships_is_stored_under_the_names_that_its_readers_know() -> None:
    figures = (90, 26, 90, 0.2, 1.0, 1.1, 60.0, 50.0, 12)
    stored = Compressed("int8", "smaller", "x.onnx", *figures, YIELD_ERROR, PROFIT, value_change_pct=-0.1).as_dict()
    assert (stored["int8_yield_rmse_t_ha"], stored["float32_yield_rmse_t_ha"]) == (1.0, 1.1)
    assert list(stored) == [
        *("shipped", "reason", "path", "bytes", "int8_bytes", "float32_bytes", "error_increase_pct"),
        *("int8_yield_rmse_t_ha", "float32_yield_rmse_t_ha", "int8_latency_us", "float32_latency_us", "batch"),
        *("device_class", "neurons_pct", "agreement_pct", "profit_change_pct", "picture", "by_class", "candidates"),
        *("compared", "chosen_on", "judged_on"),
    ]
