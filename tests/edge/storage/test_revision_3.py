"""A device of the third contract, before seasons taught and persons answered, is upgraded in mid-season.

`former_store/revision_3.db.xz` was made by the version of that contract: twelve days with their decisions by a model.
Its bundle here is of that contract too. The records are read, the rule decides, and page, status and doctor say why.
"""

import hashlib
import json
import lzma
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fieldedge.cli import main
from fieldedge.contract.batches import unpack
from fieldedge.device.config import DeviceDirectory, read_config
from fieldedge.diagnostics.finding import Finding, Subject
from fieldedge.diagnostics.release import model, runtime
from fieldedge.inference.bundles import MANIFEST, MODEL
from fieldedge.inference.loading import load_model
from fieldedge.inference.slots import Installed, Slots
from fieldedge.page.render import render
from fieldedge.page.view import read_view
from fieldedge.presentation.facts import View
from fieldedge.runtime.agent import Agent
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock
from fieldedge.workloads.agriculture.upgrades import REVISION_3
from tests.edge.sample import (
    AGRICULTURE,
    EPISODE,
    GatewaySimulator,
    bundle_files,
    dated,
    day_of,
    onnx_model,
    reading_record,
    with_manifest,
)

STORE = Path(__file__).parent / "former_store" / "revision_3.db.xz"
DAYS = 12
NOW = datetime(2006, 5, DAYS + 1, 6, 20, tzinfo=UTC)
WHY = "is for a former version of this software (contract e21649daba46, now "


def install(device: DeviceDirectory, files: dict[str, bytes], version: str) -> None:
    slots = Slots(device.root)
    slot = slots.free_slot()
    slots.write(slot, files)
    digest = hashlib.sha256(files[MODEL]).hexdigest()
    slots.activate(Installed(slot, version, "float32", hashlib.sha256(files[MANIFEST]).hexdigest(), digest))


@pytest.fixture
def former(device: DeviceDirectory) -> DeviceDirectory:
    """A device whose store and bundle are of revision 3, under today's software."""
    device.store.write_bytes(lzma.decompress(STORE.read_bytes()))
    bundle = bundle_files(onnx_model(AGRICULTURE.contract, contract_hash=REVISION_3), "7")
    install(device, with_manifest(bundle, contract_hash=REVISION_3), "7")
    return device


def view_of(device: DeviceDirectory) -> View:
    with Store(device.store) as store:
        return read_view(device, read_config(device.settings), AGRICULTURE, NOW, store)


def next_day(device: DeviceDirectory) -> dict[str, Any]:
    """Yesterday's reading comes, and today is decided."""
    with Store(device.store) as store:
        agent = Agent(read_config(device.settings), AGRICULTURE, store, load_model(device, AGRICULTURE))
        agent.keep("readings", reading_record(DAYS - 1))
        return agent.decide(day_of(DAYS))


def test_what_it_recorded_is_shown_and_the_season_goes_on_by_the_rule(former: DeviceDirectory) -> None:
    before = view_of(former)
    assert before.advice is not None and not before.advice.is_fallback
    assert before.questions == ()
    decided = next_day(former)
    assert (decided["source"], decided["model_version"], decided["bundle_sha256"]) == ("fao56", "none", None)
    assert decided["contract_hash"] == AGRICULTURE.contract.hash
    after = view_of(former)
    assert after.advice is not None and after.advice.is_today and len(after.history) == 10
    with Store(former.store) as store:
        hashes = [row["contract_hash"] for row in store.records(EPISODE, "recommendations")]
    assert hashes == [REVISION_3] * DAYS + [AGRICULTURE.contract.hash]


def test_the_page_says_why_the_rule_decides_and_what_will_end_that(former: DeviceDirectory) -> None:
    next_day(former)
    view = view_of(former)
    (notice,) = [notice.text for notice in view.notices if WHY in notice.text]
    assert notice.startswith("model 7 in slot a is not used: ")
    assert notice.endswith("the next release brings one for this version. Until then the FAO-56 balance decides.")
    assert view.advice is not None
    assert view.advice.reasons[0] == "The model abstains: no usable model is installed. The FAO-56 balance decides."
    text = render(view)
    assert "train and release" not in text and "No model is installed" not in text


def test_status_says_the_same(former: DeviceDirectory, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr(Clock, "now", lambda _: NOW)
    assert main(["status", "--dir", str(former.root)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"model model 7 in slot a is not used: the bundle's manifest {WHY}" in said
    assert "brings one for this version; the FAO-56 balance decides" in said
    assert "none: the FAO-56 balance decides" not in said


def findings(device: DeviceDirectory) -> list[Finding]:
    subject = Subject(device, Clock(device.clock_floor), read_config(device.settings), AGRICULTURE)
    return [*model(subject), *runtime(subject)]


def test_the_doctor_warns_of_the_model_and_has_nothing_against_the_runtime(former: DeviceDirectory) -> None:
    found, tried = findings(former)
    assert (found.check, found.state, tried.check, tried.state) == ("model", "warn", "runtime", "ok")
    assert found.found == (
        "7 (float32) in slot a, whole, but for a former version of this software: the FAO-56 balance decides"
    )
    assert "float32" not in found.todo and "fieldedge update" in found.todo


def test_with_a_bundle_of_today_the_model_decides_again_and_nothing_is_left_to_say(former: DeviceDirectory) -> None:
    install(former, bundle_files(onnx_model(AGRICULTURE.contract), "8"), "8")
    assert next_day(former)["model_version"] == "8"
    view = view_of(former)
    assert view.model.error is None and not [one for one in view.notices if WHY in one.text]
    assert [one.state for one in findings(former)] == ["ok", "ok"]


def test_what_it_recorded_goes_home_as_todays_contract_has_it(
    former: DeviceDirectory, gateway: GatewaySimulator, capsys: Any
) -> None:
    next_day(former)
    with Store(former.store) as store:
        store.add("harvests", dated("harvests", 120, yield_t_ha=11.0))
    assert main(["sync", "--dir", str(former.root), "--gateway", gateway.url]) == 0
    assert json.loads(capsys.readouterr().out)
    sent = [unpack(body) for body in gateway.received.values()]
    assert {one["contract_hash"] for one in sent} == {AGRICULTURE.contract.hash}
    rows = [(table, row) for one in sent for table, found in one["tables"].items() for row in found]
    assert {"fields", "operations", "harvests", "recommendations", "readings"} == {table for table, _ in rows}
    for table, row in rows:
        AGRICULTURE.contract.table(table).check(row, "sent")
    assert REVISION_3 in [row["contract_hash"] for table, row in rows if table == "recommendations"]
