"""What the code of an earlier commit left behind is read, kept and gone on from: by the cloud, and by each device.

The fixture was made by that code (`former/README.md`); nothing in it was written by today's.
"""

from pathlib import Path

import pytest

from fieldedge.contract import Record
from fieldloop.core.http_server import HttpServer
from fieldloop.core.paths import Paths
from fieldloop.fleet.process import EdgeCommand
from fieldloop.gateway.app import create_app
from tests.flows.former_clone import unpack
from tests.flows.small_loop import EDGE_PYTHON, SmallLoop
from tests.flows.upgraded import accepted_records, secrets_of
from tests.sample_season import field_row, season_rows

pytestmark = pytest.mark.heavy


class Former:
    """The former clone, its devices, and what a person does with them today."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clone: SmallLoop = unpack(folder)
        self.space = Paths(self.clone.root, self.clone.home)
        self.edge = EdgeCommand(EDGE_PYTHON)

    def gateway(self) -> HttpServer:
        return HttpServer(create_app(self.space.tuf, self.space.inbox, self.space.device_registry))

    def device(self, name: str, command: str, *arguments: str) -> Record:
        return self.edge.run(name, command, "--dir", str(self.folder / name), *arguments)

    def run(self, flow: str) -> str:
        ended = self.clone.run(flow=flow)
        assert (ended.code, ended.stderr) == (0, ""), ended.stdout + ended.stderr
        return ended.stdout

    def records_of(self, field_id: str) -> int:
        return sum(f"/{field_id}/" in identity for identity in accepted_records(self.clone))


def test_an_upgrade_from_the_former_layout_loses_nothing_that_cloud_or_devices_had(
    tmp_path: Path, prefect_api_url: str
) -> None:
    former = Former(tmp_path)
    former.clone.prefect_api_url = prefect_api_url
    accepted, secrets = accepted_records(former.clone), secrets_of(former.space)
    registry = former.space.device_registry.read_text()
    assert len(accepted) > 1000

    # The schedule's run: the batch that was acknowledged before the upgrade is taken in, the champion is still there.
    said = former.run("retrain")
    assert "\n  ingest     1 batches: 19 records accepted, 0 quarantined, 0 refused" in said
    assert former.records_of("champion-40") == 19
    assert former.space.device_registry.read_text() == registry

    # A prepared batch that could not be sent goes out as it is; a season under way goes on.
    with former.gateway() as gateway:
        for name in ("south-41", "west-42"):
            status = former.device(name, "status", "--json")
            assert status["device_id"] == name
            former.device(name, "update", "--gateway", gateway.url)
        sent = former.device("south-41", "sync", "--gateway", gateway.url)
        assert (sent["records_selected"], sent["records_acknowledged"]) == (19, 19)
        rows = season_rows(field_row(42, device_id="west-42"), days=12)
        with former.edge.agent("west-42", "run", "--dir", str(tmp_path / "west-42")) as agent:
            agent.ask({"kind": "field", "record": rows["fields"][0]}, "stored")
            agent.ask({"kind": "harvest", "record": rows["harvests"][0]}, "stored")
            assert agent.finish()["records_collected"] == 19
        sent = former.device("west-42", "sync", "--gateway", gateway.url)
        assert (sent["records_selected"], sent["records_acknowledged"]) == (19, 19)
    said = former.run("retrain")
    assert "\n  ingest     2 batches: 38 records accepted, 0 quarantined, 0 refused" in said
    assert (former.records_of("champion-41"), former.records_of("champion-42")) == (19, 19)

    # The sample world's season was lived; it is told as it was.
    said = former.run("season")
    assert "2006 was lived by 2 devices with model 1, 560 records accepted, 0 lost (unchanged)" in said
    now = accepted_records(former.clone)
    assert {identity: {name: now[identity].get(name) for name in row} for identity, row in accepted.items()} == accepted
    assert {name: secrets_of(former.space).get(name) for name in secrets} == secrets
    assert registry == former.space.device_registry.read_text()
