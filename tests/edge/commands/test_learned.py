"""`fieldedge learned`: what the season taught, listed, taken or refused on a terminal."""

import json
import sys
from typing import Any

import pytest

from fieldedge.cli import main
from fieldedge.contract import Record
from fieldedge.contract.batches import unpack
from fieldedge.device.config import DeviceDirectory, read_config
from fieldedge.runtime.agent import Agent
from fieldedge.storage.store import Store
from fieldedge.system.locks import exclusive
from tests.edge.sample import AGRICULTURE, EPISODE, GatewaySimulator, dated, day_of, field_record, season_messages

SOIL = {"name": "field_capacity", "times": 0.88, "low": 0.83, "high": 0.93, "is_clear": True}
SHARE = {"name": "delivered_share", "times": 0.9, "low": 0.83, "high": 0.96, "is_clear": True}
ASKED = (
    "The soil holds less water than you told me. Its field capacity is about 88 % of what was told (80 % sure: 83 to "
    "93 %). Is it so? fieldedge learned --take field_capacity, or --refuse field_capacity"
)


@pytest.fixture
def asking(device: DeviceDirectory) -> DeviceDirectory:
    """A device that learned two things by its fourth day, sooner than any season teaches them."""
    with Store(device.store) as store:
        agent = Agent(read_config(device.settings), AGRICULTURE, store, None)
        list(agent.answers(json.dumps(message) for message in season_messages(3, harvest_t_ha=None)))
        decided = agent.decide(day_of(3))
        store.replace("recommendations", {**decided, "learned": [SOIL, SHARE]}, "as if it had learned them")
    return device


def call(capsys: Any, device: DeviceDirectory, *arguments: str) -> tuple[int, Any, str]:
    code = main(["learned", "--dir", str(device.root), "--json", *arguments])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else None, captured.err


def shown(capsys: Any, device: DeviceDirectory, *arguments: str) -> list[str]:
    """What a person sees on a terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True)
        assert main(["learned", "--dir", str(device.root), *arguments]) == 0
    return list(capsys.readouterr().out.splitlines())


def rows(device: DeviceDirectory) -> list[Record]:
    with Store(device.store) as store:
        return store.records(EPISODE, "confirmations")


def test_it_lists_what_is_asked_with_the_day_and_how_to_answer(asking: DeviceDirectory, capsys: Any) -> None:
    code, said, _ = call(capsys, asking)
    assert code == 0
    assert said == {"findings": [{**SOIL, "date": day_of(3)}, {**SHARE, "date": day_of(3)}], "answers": []}
    soil, share = shown(capsys, asking)
    assert soil == ASKED
    assert share.startswith("Not all of your irrigation arrives: about 90 % of it, perhaps less. Look at the nozzles")
    assert rows(asking) == []


@pytest.mark.parametrize(
    ("option", "answer", "said"),
    [
        ("--take", "taken", "field capacity: taken, 88 % of what was told"),
        ("--refuse", "refused", "field capacity: not so, it is as before"),
    ],
)
def test_an_answer_is_stored_said_and_listed_and_asked_no_more(
    asking: DeviceDirectory, capsys: Any, option: str, answer: str, said: str
) -> None:
    assert shown(capsys, asking, option, "field_capacity") == [f"{said}: recorded."]
    (row,) = rows(asking)
    assert (row["answer"], row["times"], row["date"]) == (answer, 0.88, day_of(3))
    assert [one["name"] for one in call(capsys, asking)[1]["findings"]] == ["delivered_share"]
    assert shown(capsys, asking)[1:] == [f"Answered of {day_of(3)}: {said}."]
    with Store(asking.store) as store:
        (event,) = store.events(1, "confirmed")
    assert (event["text"], event["record_id"]) == (said, row["record_id"])


def test_the_same_answer_twice_is_noted_once_and_another_one_corrects_it(asking: DeviceDirectory, capsys: Any) -> None:
    outcomes = [
        call(capsys, asking, option, "field_capacity")[1]["outcome"] for option in ("--take", "--take", "--refuse")
    ]
    assert outcomes == ["recorded", "unchanged", "corrected"]
    assert [row["answer"] for row in rows(asking)] == ["refused"]


def test_an_answer_goes_home_and_so_does_another_word_on_it(
    asking: DeviceDirectory, gateway: GatewaySimulator, capsys: Any
) -> None:
    for option, outcome in (("--take", "recorded"), ("--refuse", "corrected"), ("--refuse", "unchanged")):
        assert call(capsys, asking, option, "field_capacity")[1]["outcome"] == outcome
        assert main(["sync", "--dir", str(asking.root), "--gateway", gateway.url]) == 0
        capsys.readouterr()
    sent = [row for body in gateway.received.values() for row in unpack(body)["tables"].get("confirmations", [])]
    assert [(row["factor"], row["times"], row["answer"]) for row in sent] == [
        ("field_capacity", 0.88, "taken"),
        ("field_capacity", 0.88, "refused"),
    ]
    assert sent == rows(asking)
    assert call(capsys, asking)[1]["answers"] == [sent[-1]]


@pytest.mark.parametrize(
    "arguments", [["--take", "phase_of_the_moon"], ["--take"], ["--take", "gauge", "--refuse", "x"]]
)
def test_what_is_no_answer_is_told_with_the_factors_that_there_are(
    asking: DeviceDirectory, capsys: Any, arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["learned", "--dir", str(asking.root), *arguments])
    assert ended.value.code == 2
    assert "field_capacity,delivered_share,gauge" in capsys.readouterr().err.replace(" ", "")
    assert rows(asking) == []


def test_a_factor_that_is_not_asked_about_is_not_answered(asking: DeviceDirectory, capsys: Any) -> None:
    code, out, err = call(capsys, asking, "--take", "gauge")
    assert (code, out) == (1, None)
    assert "the device does not ask about 'gauge'; it asks about field_capacity, delivered_share" in err
    assert rows(asking) == []


def test_a_device_that_learned_nothing_says_so(device: DeviceDirectory, capsys: Any) -> None:
    with Store(device.store) as store:
        store.add("fields", field_record())
    assert call(capsys, device)[:2] == (0, {"findings": [], "answers": []})
    assert shown(capsys, device) == [
        "There is nothing to ask: no more was found to be clearly other than the device knows."
    ]
    code, _, err = call(capsys, device, "--refuse", "gauge")
    assert code == 1 and "it asks about nothing now" in err


def test_a_device_without_a_season_says_what_to_do(device: DeviceDirectory, capsys: Any) -> None:
    for arguments in ([], ["--take", "gauge"]):
        code, _, err = call(capsys, device, *arguments)
        assert code == 1 and "fieldedge import --messages FILE" in err


def test_after_the_harvest_it_asks_nothing_and_shows_what_was_answered(asking: DeviceDirectory, capsys: Any) -> None:
    call(capsys, asking, "--take", "field_capacity")
    with Store(asking.store) as store:
        store.add("harvests", dated("harvests", 120, yield_t_ha=11.0))
    code, said, _ = call(capsys, asking)
    assert (code, said["findings"], [one["factor"] for one in said["answers"]]) == (0, [], ["field_capacity"])
    assert call(capsys, asking, "--take", "delivered_share")[0] == 1


def test_another_field_of_the_season_is_another_matter(asking: DeviceDirectory, capsys: Any) -> None:
    with Store(asking.store) as store:
        other = {**dated("recommendations", 5), "field_id": "champion-01", "record_id": "other"}
        store.add("recommendations", {**other, "learned": [{**SOIL, "name": "gauge"}]})
    assert [one["name"] for one in call(capsys, asking)[1]["findings"]] == ["field_capacity", "delivered_share"]


def test_it_answers_while_the_service_runs_which_reckons_with_the_last_word_from_the_next_day_on(
    asking: DeviceDirectory, capsys: Any
) -> None:
    with exclusive(asking.lock("run")), Store(asking.store) as store:
        agent = Agent(read_config(asking.settings), AGRICULTURE, store, None)
        told = agent.decide(day_of(3))["x_field_capacity_m3_m3"]
        believed = []
        for day, option in ((4, "--take"), (5, "--refuse")):
            assert call(capsys, asking, option, "field_capacity")[1]["outcome"] in ("recorded", "corrected")
            believed.append(agent.decide(day_of(day))["x_field_capacity_m3_m3"])
    assert believed == pytest.approx([0.88 * told, told], rel=0.02)
