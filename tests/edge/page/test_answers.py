"""A person says on the page what was done: it is on disk before the page says so, and only the page itself can ask."""

import html
import http.client
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest

from fieldedge.contract import Record
from fieldedge.page.answers import FORM_TYPE, MAX_FORM_BYTES
from fieldedge.page.server import PageServer, page_server
from fieldedge.system.clock import Stamp, format_utc
from tests.edge.page.season import ASSUMED, SeasonedDevice, seasoned_device
from tests.edge.patience import PATIENCE_S
from tests.edge.sample import dated, day_of, field_record

DAYS = 70
TODAY, ASSUMED_DAY = day_of(DAYS - 1), day_of(ASSUMED[0])


@pytest.fixture
def device(tmp_path: Path) -> SeasonedDevice:
    """A device that advised 25 mm this morning, and assumes that those of three days ago were applied."""
    return seasoned_device(tmp_path, DAYS, samples_per_day=4)


@pytest.fixture
def server(device: SeasonedDevice) -> Iterator[PageServer]:
    with page_server(device.directory, device.config, lambda: device.now) as serving:
        yield serving


def page(server: PageServer) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def form_of(server: PageServer, day: str) -> dict[str, str]:
    """The hidden fields of a day's form."""
    for form in re.findall(r"<form.*?</form>", page(server)):
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
        if hidden["date"] == day:
            return hidden
    raise AssertionError(f"the page does not ask about {day}")


def post(
    server: PageServer,
    form: Mapping[str, str] | bytes,
    headers: Mapping[str, str] | None = None,
    path: str = "/done",
) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=PATIENCE_S)
    body = form if isinstance(form, bytes) else urlencode(form).encode()
    try:
        connection.request("POST", path, body, {"Content-Type": FORM_TYPE, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


def operations_on(device: SeasonedDevice, day: str) -> list[Record]:
    with device.open() as store:
        return [record for record in store.records("2006", "operations") if record["date"] == day]


def test_the_page_asks_about_days_of_which_nobody_said_what_was_done(server: PageServer) -> None:
    asked = re.findall(r'name="date" value="([^"]*)"', page(server))
    assert [*dict.fromkeys(asked)] == [TODAY, ASSUMED_DAY]
    assert "Recommended: irrigate 25\u00a0mm. It is assumed that this was done." in page(server)
    assert '<td>25\u00a0mm<td class="">assumed' in page(server)


def test_yes_makes_what_was_assumed_confirmed_and_the_page_asks_no_more(
    server: PageServer, device: SeasonedDevice
) -> None:
    status, headers, _ = post(server, {**form_of(server, ASSUMED_DAY), "answer": "done"})
    assert (status, headers["location"]) == (303, "./")
    (record,) = operations_on(device, ASSUMED_DAY)
    assert (record["irrigation_mm"], record["basis"], record["source"]) == (25.0, "confirmed", "recommendation")
    assert f'value="{ASSUMED_DAY}"' not in page(server)


def test_yes_of_a_day_of_which_nothing_is_noted_confirms_what_was_recommended(
    server: PageServer, device: SeasonedDevice
) -> None:
    assert post(server, {**form_of(server, TODAY), "answer": "done"})[0] == 303
    (record,) = operations_on(device, TODAY)
    assert (record["irrigation_mm"], record["basis"]) == (25.0, "confirmed")


def test_an_answer_is_stamped_with_the_devices_time_and_not_the_systems(device: SeasonedDevice) -> None:
    stamp = Stamp("boot", format_utc(device.now), True)
    with page_server(device.directory, device.config, lambda: device.now, stamp=lambda: stamp) as server:
        assert post(server, {**form_of(server, TODAY), "answer": "done"})[0] == 303
    with device.open() as store:
        (event,) = store.events(1, "confirmed")
    assert event["time_utc"] == stamp.utc


@pytest.mark.parametrize("answer", ["done", "nothing"])
def test_an_answer_is_about_the_season_of_its_form_whatever_was_told_last(
    server: PageServer, device: SeasonedDevice, answer: str
) -> None:
    form = form_of(server, ASSUMED_DAY)
    with device.open() as store:
        store.add("fields", field_record(2007))
    assert post(server, {**form, "answer": answer})[0] == 303
    (record,) = operations_on(device, ASSUMED_DAY)
    assert (record["season"], record["basis"]) == (2006, "confirmed")


def test_what_a_former_agent_noted_as_overridden_is_not_asked_about(device: SeasonedDevice) -> None:
    with device.open() as store:
        former = dated("operations", DAYS - 1, irrigation_mm=9.0, nitrogen_kg_ha=0.0, source="override", why="x")
        store.add("operations", former)
    with page_server(device.directory, device.config, lambda: device.now) as server:
        assert f'value="{TODAY}"' not in page(server)


def test_no_is_an_override_of_nothing(server: PageServer, device: SeasonedDevice) -> None:
    assert post(server, {**form_of(server, ASSUMED_DAY), "answer": "nothing"})[0] == 303
    (record,) = operations_on(device, ASSUMED_DAY)
    assert (record["irrigation_mm"], record["nitrogen_kg_ha"]) == (0.0, 0.0)
    assert (record["source"], record["basis"]) == ("override", "confirmed")


def test_another_amount_is_an_override_with_a_point_or_a_comma_and_the_reason(
    server: PageServer, device: SeasonedDevice
) -> None:
    form = {**form_of(server, ASSUMED_DAY), "answer": "other", "irrigation_mm": "12,5", "why": "the <pump> & I"}
    assert post(server, form)[0] == 303
    (record,) = operations_on(device, ASSUMED_DAY)
    assert (record["irrigation_mm"], record["nitrogen_kg_ha"], record["why"]) == (12.5, 0.0, "the <pump> & I")
    assert "the &lt;pump&gt; &amp; I" in page(server)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"irrigation_mm": "much"}, "irrigation_mm is 'much'; expected a number like 12.5"),
        ({"irrigation_mm": "151"}, "irrigation_mm is 151.0; expected float between 0 and 150 mm"),
        ({"irrigation_mm": "-1"}, "irrigation_mm is '-1'; expected a number like 12.5"),
        ({"irrigation_mm": "nan"}, "irrigation_mm is 'nan'"),
        ({"irrigation_mm": "1_0"}, "irrigation_mm is '1_0'"),
        (
            {"irrigation_mm": "1,000"},
            "irrigation_mm is '1,000'; expected a number like 12.5, with two decimals at most",
        ),
        ({"irrigation_mm": "1e1"}, "irrigation_mm is '1e1'"),
        ({"irrigation_mm": ""}, "no amount is given"),
        ({"nitrogen_kg_ha": "301"}, "nitrogen_kg_ha is 301.0"),
        ({"why": "x" * 301}, "expected a reason of 1 to 300"),
        ({"date": "2099-01-01"}, "is still to come"),
        ({"date": "2006-04-30"}, "planted on 2006-05-01"),
        ({"date": "yesterday"}, "expected a day like"),
        ({"episode": "2005/champion-00"}, "the device has 2006/champion-00"),
        ({"answer": "perhaps"}, "expected done, nothing or other"),
        ({"more": "of it"}, "the form has more; expected"),
    ],
)
def test_an_answer_that_cannot_be_true_is_named_and_changes_nothing(
    server: PageServer, device: SeasonedDevice, change: dict[str, str], said: str
) -> None:
    before = operations_on(device, ASSUMED_DAY)
    status, headers, body = post(
        server, {**form_of(server, ASSUMED_DAY), "answer": "other", "irrigation_mm": "10", **change}
    )
    assert status == 422 and "location" not in headers
    assert said in html.unescape(body).replace("\u00a0", " ")
    assert "Back to the page" in body
    assert operations_on(device, ASSUMED_DAY) == before


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({"Origin": "http://evil.example"}, None),
        ({"Origin": "null"}, None),
        ({"Origin": "http://127.0.0.1:1"}, None),
        ({"Origin": "http://["}, None),
        ({"Sec-Fetch-Site": "cross-site"}, None),
        ({"Sec-Fetch-Site": "same-site"}, None),
        ({}, "guessed"),
        ({}, ""),
        ({}, "\u00e9"),
    ],
)
def test_a_form_of_another_page_is_refused(
    server: PageServer, device: SeasonedDevice, headers: dict[str, str], token: str | None
) -> None:
    form = {**form_of(server, ASSUMED_DAY), "answer": "nothing"}
    status, _, body = post(server, form if token is None else {**form, "token": token}, headers)
    assert status == 403 and "This was not noted" in body
    assert operations_on(device, ASSUMED_DAY)[0]["basis"] == "assumed"


def test_the_pages_own_origin_is_taken(server: PageServer) -> None:
    own = {"Origin": f"http://127.0.0.1:{server.server_port}", "Sec-Fetch-Site": "same-origin"}
    assert post(server, {**form_of(server, ASSUMED_DAY), "answer": "done"}, own)[0] == 303


def test_a_page_from_before_the_last_start_is_told_to_open_anew(server: PageServer, device: SeasonedDevice) -> None:
    former = form_of(server, ASSUMED_DAY)
    with page_server(device.directory, device.config, lambda: device.now) as restarted:
        status, _, body = post(restarted, {**former, "answer": "done"})
        assert status == 403 and "open it again" in body


def test_another_host_is_not_answered(server: PageServer) -> None:
    form = {**form_of(server, ASSUMED_DAY), "answer": "done"}
    assert post(server, form, {"Host": "evil.example"})[0] == 421


@pytest.mark.parametrize(
    ("headers", "body", "path", "status"),
    [
        ({"Content-Type": "application/json"}, b"{}", "/done", 415),
        ({"Content-Type": "text/plain"}, b"answer=done", "/done", 415),
        ({}, b"a" * (MAX_FORM_BYTES + 1), "/done", 413),
        ({"Transfer-Encoding": "chunked"}, b"0\r\n\r\n", "/done", 411),
        ({}, b"\xff\xfe", "/done", 422),
        ({}, b"answer", "/done", 422),
        ({}, b"&".join([b"answer=done"] * 50), "/done", 422),
        ({}, b"answer=done", "/", 405),
        ({}, b"answer=done", "/elsewhere", 404),
    ],
)
def test_what_is_no_form_is_refused(
    server: PageServer, headers: dict[str, str], body: bytes, path: str, status: int
) -> None:
    assert post(server, body, headers, path)[0] == status


def test_a_form_that_does_not_come_whole_is_not_waited_for_without_end(
    server: PageServer, device: SeasonedDevice
) -> None:
    head = (
        f"POST /done HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\nContent-Type: {FORM_TYPE}\r\n"
        "Content-Length: 100\r\n\r\nanswer="
    )
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=PATIENCE_S) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.0 400")
    assert operations_on(device, ASSUMED_DAY)[0]["basis"] == "assumed"


def test_a_page_that_others_reach_takes_no_answers_unless_it_is_told_to(device: SeasonedDevice) -> None:
    silent = replace(device.config, page=replace(device.config.page, takes_answers=False))
    with page_server(device.directory, silent, lambda: device.now) as server:
        assert "<form" not in page(server)
        assert post(server, {"answer": "done"})[0] == 403


def test_what_was_uploaded_is_followed_by_one_more_record(server: PageServer, device: SeasonedDevice) -> None:
    with device.open() as store:
        (entry,) = [e for e in store.entries(2006, "operations") if e.record["date"] == ASSUMED_DAY]
        store.mark_selected("b" * 64, 2006, 1000, [entry])
    assert post(server, {**form_of(server, ASSUMED_DAY), "answer": "nothing"})[0] == 303
    first, second = operations_on(device, ASSUMED_DAY)
    assert (first["basis"], second["basis"], second["irrigation_mm"]) == ("assumed", "confirmed", 0.0)
    assert second["record_id"] == f"{first['record_id']}/2"
