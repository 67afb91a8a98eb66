"""Whoever would have an action counted as done of which nobody said so."""

import http.client
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.attacks import Outcome, attack
from benchmarks.attacks.acknowledgements import fieldedge
from benchmarks.attacks.device_files import made
from benchmarks.attacks.ingestion import (
    CONTRACT,
    DAYS,
    FIELD,
    OTHER_FIELD,
    OWNER,
    SEASON,
    STRANGER,
    Cloud,
    Tables,
    as_columns,
    as_json_in_xz,
    batch,
    header_of,
    row_of,
    season,
)
from fieldedge.contract import Record, amendments
from fieldedge.contract.batches import unpack
from fieldedge.page.answers import FORM_TYPE
from fieldedge.page.server import PageServer, page_server
from fieldedge.system.keys import load_key, public_key_hex
from fieldedge.workloads.agriculture.upgrades import REVISION_2
from fieldloop.core.http_server import HttpServer
from fieldloop.gateway.app import create_app
from fieldloop.gateway.devices import DeviceRegistry
from tests.edge.farm import Farm
from tests.edge.page.season import ASSUMED, SeasonedDevice, seasoned_device
from tests.edge.sample import DEVICE_ID, dated, day_of

ASSUMED_DAY = day_of(ASSUMED[0])
ANSWERS = ({"answer": "done"}, {"answer": "nothing"}, {"answer": "other", "irrigation_mm": "9", "why": "a word"})
# What a device of the owner's may send in the place of a word that somebody said.
NO_BASIS = (None, "", "CONFIRMED", " confirmed", True, 1, ["confirmed"], {"is": "confirmed"})


@attack(line=13, words="websites and neighbours answer on the page that an assumed action was done")
def answered_by_others(scratch: Path) -> Outcome:
    """Without the page's token, with a former one, and with the right one from elsewhere; then the page itself."""
    device = seasoned_device(scratch, 70, samples_per_day=4)
    with page_server(device.directory, device.config, lambda: device.now) as former:
        old_token = form_of(former)["token"]
    before = operations(device)
    with page_server(device.directory, device.config, lambda: device.now) as page:
        form, own = form_of(page), f"127.0.0.1:{page.server_port}"
        tried = [asked(page, *one) for answer in ANSWERS for one in _foreign(form | answer, old_token, own)]
        rebound = re.search(form["token"], asked(page, b"", {"Host": "rebound.example"}, "GET", "/")[1])
        changed = sum(before.get(name) != record for name, record in operations(device).items())
        headers = {"Origin": f"http://{own}", "Sec-Fetch-Site": "same-origin"}
        taken = asked(page, urlencode(form | {"answer": "done"}).encode(), headers)[0] == 303
    (said,) = (record for record in operations(device).values() if record["date"] == ASSUMED_DAY)
    refused_own = not taken or said["basis"] != "confirmed"
    noted = sum(status == 303 for status, _ in tried)
    detail = f"{len(tried)} forms, {noted} taken, {changed} records changed"
    return Outcome(noted + changed + bool(rebound) + refused_own, 0, detail)


@attack(line=13, words="batches say confirmed of days of which nobody said anything", at_most_s=600.0)
def confirmed_in_a_batch(scratch: Path) -> Outcome:
    """By a stranger in every way that a batch has, and by the owner's device without the word; then with it."""
    cloud, tables = Cloud(scratch), season(OWNER)
    cloud.own(FIELD, OWNER)
    cloud.own(OTHER_FIELD, STRANGER)
    assumed, said = DAYS[2:8], DAYS[8]
    tables["operations"] = [_operation(day, "assumed") for day in assumed] + [_operation(said, "confirmed")]
    for data in _strangers([_operation(day, "confirmed") for day in assumed]):
        cloud.keep(STRANGER, data)
    cloud.keep(OWNER, batch(OWNER, tables))
    cloud.ingest()
    for times, basis in enumerate(NO_BASIS, start=2):
        again = [_operation(day, basis, times) for day in assumed]
        cloud.keep(OWNER, as_json_in_xz(header_of(OWNER) | {"tables": as_columns({"operations": again})}))
        cloud.keep(STRANGER, batch(STRANGER, {"operations": [_operation(day, "confirmed", times) for day in assumed]}))
    silent = [{name: value for name, value in _operation(day, "", 2).items() if name != "basis"} for day in assumed]
    for more in ({}, {"basis": "confirmed"}):  # under a contract that had no such column
        former = header_of(OWNER) | {"contract_hash": REVISION_2}
        rows = as_columns({"operations": [row | more for row in silent]})
        cloud.keep(OWNER, as_json_in_xz(former | {"tables": rows}))
    cloud.keep(OWNER, as_json_in_xz(header_of(OWNER) | {"tables": as_columns({"operations": silent})}))
    cloud.ingest()
    believed = learned_days(cloud) & set(assumed)
    cloud.keep(OWNER, batch(OWNER, {"operations": [_operation(assumed[0], "confirmed", 9)]}))
    cloud.ingest()
    refused_own = {assumed[0], said} - learned_days(cloud)
    detail = f"{len(assumed)} assumed days, {len(believed)} of them learned from; {len(refused_own)} confirmed ones not"
    return Outcome(len(believed) + len(refused_own), 0, detail)


@attack(line=13, words="a device of which nobody says anything, with rows of before in its store, sends its season")
def silence_sent_home(scratch: Path) -> Outcome:
    """Restarted each day; what comes home says assumed of every action."""
    directory = made(scratch)
    farm = Farm(directory)
    farm.plant()
    for _ in range(4):
        farm.live(1)
        farm.reboot()
    former = dated("operations", 40, irrigation_mm=20.0, nitrogen_kg_ha=0.0, source="recommendation")
    farm.service.store.add("operations", former)  # as an agent of before left it, which knew no basis
    farm.close()
    registry = DeviceRegistry(scratch / "devices.json")
    registry.register({DEVICE_ID: public_key_hex(load_key(directory.private_key))})
    with HttpServer(create_app(scratch / "tuf", scratch / "inbox", registry.path)) as gateway:
        fieldedge(directory, "update", gateway.url)  # it learns whose acknowledgements count
        fieldedge(directory, "sync", gateway.url)
    came = [unpack(path.read_bytes())["tables"].get("operations", []) for path in (scratch / "inbox").rglob("*.batch")]
    rows = [row for operations_ in came for row in operations_]
    if len(rows) < 2:
        raise RuntimeError(f"{len(rows)} operations came home; expected that of before and one that was assumed")
    confirmed = sum(row["basis"] != "assumed" for row in rows)
    return Outcome(confirmed, 0, f"{len(rows)} actions that nobody spoke of, {confirmed} came home as confirmed")


def _foreign(form: dict[str, str], old_token: str, own: str) -> Iterator[tuple[Any, ...]]:
    """Requests that are not the page's own: body, headers, method, path."""
    right = urlencode(form).encode()
    tokens = ("", "guessed", old_token, form["token"][:-1], form["token"].swapcase(), form["token"] + "=", "\0", "é")
    for token in tokens:
        yield urlencode(form | {"token": token}).encode(), {}
    yield urlencode({name: value for name, value in form.items() if name != "token"}).encode(), {}
    yield right.replace(b"token=", b"token=guessed&token="), {}
    port = int(own.rpartition(":")[2])
    for origin in (
        *("http://rebound.example", "null", "", f"http://127.0.0.1:{port - 1}", f"http://{own}.rebound.example"),
        *(f"http://{own}@rebound.example", f"http://localhost:{port}", "file://", "http://["),
    ):
        yield right, {"Origin": origin}
    for site in ("cross-site", "same-site", ""):
        yield right, {"Sec-Fetch-Site": site}
    for host in ("rebound.example", f"rebound.example:{port}", "10.9.8.7", ""):
        yield right, {"Host": host, "Origin": f"http://{host}"}
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/json", ""):
        yield right, {"Content-Type": kind}
    yield b"", {}, "GET", f"/done?{right.decode()}"
    yield right, {}, "PUT", "/done"
    yield right, {}, "POST", f"/done?{right.decode()}"
    yield right, {}, "POST", "/"


def asked(
    page: PageServer, body: bytes, headers: Mapping[str, str], method: str = "POST", path: str = "/done"
) -> tuple[int, str]:
    """How the page answers a request: its status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", page.server_port, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": FORM_TYPE, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def form_of(page: PageServer) -> dict[str, str]:
    """The hidden fields of the form about the day that is assumed."""
    for form in re.findall(r"<form.*?</form>", asked(page, b"", {}, "GET", "/")[1]):
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
        if hidden["date"] == ASSUMED_DAY:
            return hidden
    raise RuntimeError(f"the page does not ask about {ASSUMED_DAY}")


def operations(device: SeasonedDevice) -> dict[str, Record]:
    with device.open() as store:
        return {record["record_id"]: record for record in store.records("2006", "operations")}


def learned_days(cloud: Cloud) -> set[str]:
    """The days of the owner's field that are examples."""
    from fieldloop.workloads.agriculture.dataset import build_examples  # torch comes with it; to be listed needs none

    examples = build_examples({table.name: cloud.store.read(table.name) for table in CONTRACT.tables})
    mine = examples.inputs[examples.group == examples.groups.index(f"{SEASON}/{FIELD}")]
    planting = date.fromisoformat(DAYS[0]).toordinal()
    return {date.fromordinal(planting + int(dap)).isoformat() for dap in mine[:, CONTRACT.feature_names.index("dap")]}


def _operation(day: str, basis: Any, times: int = 1) -> Record:
    row = row_of("operations", OWNER, FIELD, day) | {"source": "recommendation", "basis": basis}
    return row | {"record_id": amendments(row["record_id"])[times - 1]}


def _strangers(forged: list[Record]) -> Iterator[bytes]:
    """Batches of a stranger about the owner's days, before anything of the owner's came."""
    overrides: Tables = {"operations": [row | {"source": "override"} for row in forged]}
    own, claim = season(STRANGER, OTHER_FIELD), season(STRANGER)
    yield batch(STRANGER, overrides)
    yield batch(STRANGER, own | {"operations": forged})
    yield batch(STRANGER, claim | overrides)
    yield batch(OWNER, overrides)
    yield batch(STRANGER, {"operations": [row | {"field_id": OTHER_FIELD} for row in forged]})
    former = header_of(STRANGER) | {"contract_hash": REVISION_2}
    yield as_json_in_xz(former | {"tables": as_columns(overrides)})
