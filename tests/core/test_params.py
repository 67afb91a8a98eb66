"""A missing or broken parameter says which, and what to write."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from fieldedge.system.errors import ConfigError
from fieldloop.core.params import only_workload
from fieldloop.workloads import load_params
from fieldloop.workloads.agriculture.params import AgricultureParams

PROJECT = Path(__file__).resolve().parents[2]
MISSING = object()


def with_param(clone: Path, place: str, value: Any) -> Path:
    """Change one value of the agriculture block, or take it away."""
    document = yaml.safe_load((clone / "params.yaml").read_text())
    block = document["agriculture"]
    *parents, last = place.split(".")
    for parent in parents:
        block = block[parent]
    if value is MISSING:
        del block[last]
    else:
        block[last] = value
    (clone / "params.yaml").write_text(yaml.safe_dump(document))
    return clone


def refusal(clone: Path) -> str:
    """What the person is told: one line."""
    with pytest.raises(ConfigError) as refused:
        load_params(clone, "agriculture")
    told = str(refused.value)
    assert "\n" not in told
    return told


def test_the_projects_own_params_are_sound() -> None:
    params = load_params(PROJECT, "agriculture")
    assert params.loop.devices == 24
    assert params.practices.threshold_depletion_fractions == (0.95, 0.55, 0.60, 0.80)


def test_params_are_frozen(clone: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_params(clone, "agriculture").model.epochs = 99


@pytest.mark.parametrize("block", sorted(set(AgricultureParams.model_fields) - {"rollout"}))
def test_a_missing_block_is_named(clone: Path, block: str) -> None:
    assert f"params.yaml: agriculture.{block}: field required" in refusal(with_param(clone, block, MISSING))


def test_params_of_before_there_were_rollouts_get_the_same_as_todays(clone: Path) -> None:
    declared = load_params(clone, "agriculture").rollout
    assert load_params(with_param(clone, "rollout", MISSING), "agriculture").rollout == declared


@pytest.mark.parametrize(
    ("percentages", "told"),
    [((10, 1, 100), "from 10 % to 1 %"), ((1, 1, 100), "from 1 % to 1 %"), ((1, 50), "the last stage is 50 %")],
)
def test_a_percentage_that_shrinks_or_does_not_reach_all_is_refused(
    clone: Path, percentages: tuple[float, ...], told: str
) -> None:
    stages = [{"percentage": percentage, "soak_d": 1} for percentage in percentages]
    assert told in refusal(with_param(clone, "rollout.stages", stages))


@pytest.mark.parametrize(
    "place",
    [
        f"{block}.{name}"
        for block, field in AgricultureParams.model_fields.items()
        for kind in get_args(field.annotation) or (field.annotation,)
        if issubclass(kind, BaseModel)
        for name in kind.model_fields
    ],
)
def test_a_parameter_of_the_wrong_kind_is_named_with_its_place(clone: Path, place: str) -> None:
    told = refusal(with_param(clone, place, {"not": ["a", "value"]}))
    assert f"agriculture.{place}" in told


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("loop.devices", 0, "agriculture.loop.devices: input should be greater than or equal to 1; found 0"),
        ("loop.seasons", [], "agriculture.loop.seasons: tuple should have at least 1 item"),
        (
            "loop.seasons",
            [2006, 2006],
            "agriculture.loop.seasons: each period is lived through once, and after those before it",
        ),
        ("loop.seasons", [2007, 2006], "and after those before it; write [2006, 2007]; found [2007, 2006]"),
        ("model.dropout", 1.0, "agriculture.model.dropout: input should be less than 1; found 1.0"),
        ("model.hiden", [8], "agriculture.model.hiden: extra inputs are not permitted"),
        ("model.precision", "int3", "agriculture.model.precision: input should be '32-true' or 'bf16-mixed'"),
        ("practices.threshold_depletion_fractions", [0.5, 0.5], "threshold_depletion_fractions.2: field required"),
        ("history.regions", {"champion": [2005, 1984]}, "champion runs from 2005 to 1984; name the first harvest year"),
        (
            "gates.holdout_seasons",
            [2006],
            "[2006] are both in gates.holdout_seasons and in loop.seasons; choose others",
        ),
        ("gates.holdout_seasons", [1950], "held-out seasons [1950] are not in the history of any region"),
    ],
)
def test_a_broken_parameter_says_what_to_write(clone: Path, place: str, value: Any, expected: str) -> None:
    assert expected in refusal(with_param(clone, place, value))


def test_what_a_flow_is_given_is_checked_as_params_are() -> None:
    params = load_params(PROJECT, "agriculture")
    assert params.with_loop(devices=2, seasons=(2007,)).loop.periods == (2007,)
    for broken, told in (
        ({"seasons": (2007, 2006)}, r"the flow's parameters: loop\.seasons: each period is lived through once"),
        ({"devices": 0}, r"loop\.devices: input should be greater than or equal to 1"),
        ({"seasons": params.gates.held_out_periods}, "are both in gates.holdout_seasons and in loop.seasons"),
    ):
        with pytest.raises(ConfigError, match=told):
            params.with_loop(**broken)


def test_an_unknown_workload_says_which_are_there(clone: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no block 'kiosk'; it has agriculture\. Add one, see CONTRIBUTING"):
        load_params(clone, "kiosk")


def test_a_command_is_about_the_one_block_that_there_is_and_asks_where_there_are_two(clone: Path) -> None:
    assert only_workload(clone) == "agriculture"
    text = (clone / "params.yaml").read_text()
    (clone / "params.yaml").write_text(f"{text}\nkiosk: {{}}\n")
    with pytest.raises(ConfigError, match=r"has agriculture, kiosk; say which one is meant: --workload NAME"):
        only_workload(clone)


@pytest.mark.parametrize(
    "content", [b"agriculture: [unclosed\n  x: :", b"\xff\xfe\x00rubbish", b"", b"- a\n- list\n", b"1: 2\n"]
)
def test_a_params_file_that_is_not_one_says_how_to_get_it_back(clone: Path, content: bytes) -> None:
    (clone / "params.yaml").write_bytes(content)
    assert str(clone / "params.yaml") in refusal(clone)


def test_a_lost_params_file_says_how_to_get_it_back(clone: Path) -> None:
    (clone / "params.yaml").unlink()
    assert "git checkout params.yaml" in refusal(clone)


def test_a_step_reads_the_parameters_that_it_declares_and_no_others() -> None:
    params = load_params(PROJECT, "agriculture")
    narrowed = params.only(("model", "gates.held_out_periods", "compression.parity_sd"))
    assert narrowed.model == params.model
    assert narrowed.gates.held_out_periods == params.gates.held_out_periods
    assert narrowed.compression.parity_sd == params.compression.parity_sd
    for read in (lambda: narrowed.history, lambda: narrowed.gates.bootstrap_draws, lambda: narrowed.compression.search):
        with pytest.raises(AttributeError):
            read()


def test_the_values_of_a_steps_parameters_are_plain_and_by_name() -> None:
    params = load_params(PROJECT, "agriculture")
    values = params.values_of(("gates.held_out_periods", "practices"))
    assert list(values) == ["gates.held_out_periods", "practices"]
    assert list(values["gates.held_out_periods"]) == list(params.gates.held_out_periods)
    assert values["practices"]["nitrogen_kg_ha"] == params.practices.nitrogen_kg_ha
    json.dumps(values)
