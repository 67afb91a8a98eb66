"""A deployment whose code and parameters change: what it has accepted, promised, signed and learned stays.

A real device of its own stands beside the sample world's: registered by a person, with a model that it fetched from the
gateway, and with a batch in the inbox that it was told is safe.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fieldedge.workloads.agriculture import AGRICULTURE
from fieldloop.core.http_server import HttpServer
from fieldloop.core.paths import Paths
from fieldloop.fleet.process import EdgeCommand
from fieldloop.gateway.app import create_app
from tests.flows.small_loop import EDGE_PYTHON, SmallLoop
from tests.flows.upgraded import accepted_records, secrets_of
from tests.sample_season import field_row, season_rows

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("upgrades")]  # one deployment, and each test goes on from it

DEVICE = "north-40"
# The contract of today becomes the former one; its records say the same under the next.
NEXT_UPGRADE = f'\nUPGRADES = {{**UPGRADES, "{AGRICULTURE.contract.hash}": lambda _table, record: record}}\n'
RECORDS = {"fields": 1, "readings": 12, "operations": 2, "harvests": 1}


class Deployment:
    """A clone that a company runs: the small loop's, with a device that is no sample."""

    def __init__(self, root: Path) -> None:
        self.clone = SmallLoop.make(root, has_int8=False)
        self.space = Paths(root, self.clone.home)
        self.device_dir = root.parent / DEVICE
        for setting in (("user.name", "The deployment"), ("user.email", "deployment@example.org")):
            subprocess.run(["git", "config", *setting], cwd=root, check=True)

    def add_device(self) -> None:
        """Set the device up, register it, give it the released model, and let it send a season's records."""
        edge, at = EdgeCommand(EDGE_PYTHON), ("--dir", str(self.device_dir))
        root = self.space.tuf / "metadata" / "1.root.json"
        made = edge.run(
            DEVICE, "init", *at, "--device-id", DEVICE, "--workload", "agriculture", "--root", str(root),
            *("--upload-budget-bytes", "100000"),
        )  # fmt: skip
        registered = self.clone.command("register-device", DEVICE, str(made["public_key"]))
        assert registered.code == 0, registered.stderr
        with self.gateway() as gateway:
            assert edge.run(DEVICE, "update", *at, "--gateway", gateway.url)["changed"]
            self.live()
            sent = edge.run(DEVICE, "sync", *at, "--gateway", gateway.url)
        assert sent["records_acknowledged"] == sum(RECORDS.values())

    def live(self) -> None:
        """Twelve days and a harvest, told to the device as a field tells them."""
        rows = season_rows(field_row(40, device_id=DEVICE), days=RECORDS["readings"])
        (field,), (harvest,) = rows["fields"], rows["harvests"]
        with EdgeCommand(EDGE_PYTHON).agent(DEVICE, "run", "--dir", str(self.device_dir)) as agent:
            agent.ask({"kind": "field", "record": field}, "stored")
            for table, kind in (("readings", "reading"), ("operations", "operation")):
                for record in rows[table]:
                    agent.tell({"kind": kind, "record": record})
            agent.ask({"kind": "harvest", "record": harvest}, "stored")
            agent.finish()

    def gateway(self) -> HttpServer:
        return HttpServer(create_app(self.space.tuf, self.space.inbox, self.space.device_registry))

    def retrain(self) -> str:
        """What a schedule runs, to its end; what it said."""
        ended = self.clone.run(flow="retrain", is_deployment=True)
        assert (ended.code, ended.stderr) == (0, ""), ended.stdout + ended.stderr
        return ended.stdout

    def retrain_with_a_person(self) -> str:
        """The same where there is no champion on the contract: the run names the command, and a person types it."""
        ended = self.clone.run(flow="retrain", is_deployment=True)
        if ended.code == 0:
            return ended.stdout
        named = re.search(r"fieldloop promote agriculture \d+", ended.stderr)
        assert named and "Traceback" not in ended.stderr, ended.stdout + ended.stderr
        promoted = self.clone.command(*named[0].split()[1:], "--why", "tried on two fields")
        assert promoted.code == 0, promoted.stderr
        return self.retrain()

    def live_sample_seasons(self) -> str:
        ended = self.clone.run(is_deployment=True)
        assert (ended.code, ended.stderr) == (0, ""), ended.stdout + ended.stderr
        return ended.stdout

    def accepted(self) -> dict[str, dict[str, object]]:
        return accepted_records(self.clone)

    def of_the_device(self) -> int:
        return sum("/champion-40/" in identity for identity in self.accepted())

    def secrets(self) -> dict[str, bytes]:
        return secrets_of(self.space)

    def registered(self) -> dict[str, object]:
        keys: dict[str, object] = json.loads(self.space.device_registry.read_bytes())
        return keys

    def tags(self) -> list[str]:
        done = subprocess.run(["git", "tag"], cwd=self.clone.root, capture_output=True, text=True, check=True)
        return done.stdout.split()

    def batches(self) -> set[str]:
        return {path.name for path in self.space.inbox.rglob("*.batch")}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, prefect_api_url: str) -> Deployment:
    """One season of the sample world by hand, then the real device's batch in the inbox."""
    made = Deployment(tmp_path_factory.mktemp("deployment") / "clone")
    made.clone.prefect_api_url = prefect_api_url
    ended = made.clone.run()
    assert (ended.code, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    made.add_device()
    return made


def test_a_deployment_upgraded_twice_and_once_taken_back_keeps_all_that_it_had(deployment: Deployment) -> None:
    clone = deployment.clone
    accepted, secrets, registered = deployment.accepted(), deployment.secrets(), deployment.registered()
    code = {path: path.read_bytes() for place in ("src", "edge/src") for path in clone.root.glob(f"{place}/**/*.py")}
    batches = deployment.batches()
    params = (clone.root / "params.yaml").read_text()
    assert DEVICE in registered
    assert deployment.of_the_device() == 0  # it waits in the inbox

    def check_nothing_is_lost(before: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
        now = deployment.accepted()
        assert {identity: now.get(identity) for identity in before} == before
        assert {name: deployment.secrets().get(name) for name in secrets} == secrets
        assert registered.items() <= deployment.registered().items()
        assert batches <= deployment.batches()
        assert not (clone.home / "archive").exists()
        return now

    # New code and new parameters: the schedule's run takes the waiting batch in and trains anew.
    clone.change("src/fieldloop/training/trainer.py", "VALIDATION_SHARE = 0.1", "VALIDATION_SHARE = 0.12")
    clone.set_params(model={"epochs": 2}, loop={"devices": 3, "upload_budget_bytes": 90_000})
    said = deployment.retrain()
    assert "\n  ingest     1 batches: 16 records accepted, 0 quarantined, 0 refused" in said
    assert "\n  train " in said and "MLflow run" in said
    accepted = check_nothing_is_lost(accepted)
    assert deployment.of_the_device() == sum(RECORDS.values())
    assert "season-2006" in deployment.tags()

    # One more season, in which a third device lives: the former one stays what it was.
    clone.set_params(loop={"seasons": [2006, 2007]})
    said = deployment.live_sample_seasons()
    assert "2006 was lived by 2 devices with model 1" in said
    assert "2007 lived offline by 3 devices" in said
    accepted = check_nothing_is_lost(accepted)
    assert {"season-2006", "season-2007"} <= set(deployment.tags())

    # Taken back: the former code and parameters go on from all that there is by now.
    for path, text in code.items():
        path.write_bytes(text)
    (clone.root / "params.yaml").write_text(params)
    said = deployment.retrain()
    assert "\n  ingest     0 batches" in said
    accepted = check_nothing_is_lost(accepted)
    said = deployment.live_sample_seasons()
    assert "2006 was lived by 2 devices with model 1" in said

    # Another contract: accepted data is read through it and migrated, and a person releases the first model on it.
    workload = "edge/src/fieldedge/workloads/agriculture"
    clone.change(f"{workload}/contract.py", f"revision={AGRICULTURE.contract.revision},", "revision=99,")
    upgrades = clone.root / workload / "upgrades.py"
    upgrades.write_text(upgrades.read_text() + NEXT_UPGRADE)
    deployment.retrain_with_a_person()
    accepted = check_nothing_is_lost(accepted)
    (pointer,) = clone.seasons.parent.glob("seasons-*.pointer")

    # And back from it, as its decision record says: the version of before the migration, under the code of before.
    for path, text in code.items():
        path.write_bytes(text)
    pointed = clone.seasons.with_name("seasons.dvc")
    pointed.write_bytes(pointer.read_bytes())
    subprocess.run([sys.executable, "-m", "dvc", "checkout", "--force", str(pointed)], cwd=clone.root, check=True)
    deployment.retrain_with_a_person()
    check_nothing_is_lost(accepted)


def test_a_comments_edit_repeats_no_step(deployment: Deployment) -> None:
    first = deployment.retrain()
    deployment.clone.change(
        "src/fieldloop/training/trainer.py", "VALIDATION_SHARE =", "# how much to look at\nVALIDATION_SHARE ="
    )
    second = deployment.retrain()
    told = [line.split()[0] for line in second.splitlines() if line.endswith("(unchanged)")]
    assert told == ["validate", "version", "train", "register", "compress", "release"], first + second


def test_what_a_run_by_hand_left_uncommitted_a_deployments_run_commits_and_tags(deployment: Deployment) -> None:
    clone = deployment.clone
    assert clone.command("clean").code == 0  # what a deployment's run had cached of this version
    by_hand = clone.run(flow="retrain")
    assert "left uncommitted" in by_hand.stdout, by_hand.stdout + by_hand.stderr
    said = deployment.retrain()
    assert "is committed and tagged season-" in said


def test_accepted_data_that_is_gone_stops_the_run_and_nothing_is_learned_without_it(deployment: Deployment) -> None:
    clone = deployment.clone
    tags = deployment.tags()
    gone = next(clone.seasons.glob("season=2006/region=champion/harvests.parquet"))
    kept = gone.read_bytes()
    gone.unlink()
    try:
        ended = clone.run(flow="retrain", is_deployment=True)
    finally:
        gone.write_bytes(kept)
    assert ended.code == 1
    assert "lacks 1 files that its last version has, season=2006/region=champion/harvests.parquet among" in ended.stderr
    assert "dvc checkout data/seasons.dvc" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert deployment.tags() == tags


def test_cleaning_a_deployment_keeps_what_it_cannot_make_again_and_the_next_run_goes_on(deployment: Deployment) -> None:
    accepted, secrets, registered = deployment.accepted(), deployment.secrets(), deployment.registered()
    cleaned = deployment.clone.command("clean")
    assert cleaned.code == 0, cleaned.stderr
    assert "storage" in cleaned.stdout
    assert (deployment.accepted(), deployment.secrets(), deployment.registered()) == (accepted, secrets, registered)
    deployment.retrain()
    assert deployment.accepted() == accepted


def test_a_reset_that_nobody_confirmed_names_what_would_be_lost_and_does_nothing(deployment: Deployment) -> None:
    accepted, secrets = deployment.accepted(), deployment.secrets()
    refused = deployment.clone.command("reset")
    assert refused.code == 1
    for words in ("files of accepted data", "registered devices", "keys of the release repository", "model registry"):
        assert words in refused.stdout
    assert "fieldloop reset --yes" in refused.stderr
    assert (deployment.accepted(), deployment.secrets()) == (accepted, secrets)


def test_the_next_sample_world_lives_the_same_seasons_with_other_devices_beside_what_was_accepted(
    deployment: Deployment,
) -> None:
    accepted, registered = deployment.accepted(), deployment.registered()
    said = deployment.clone.command("reset-sample")
    assert (said.code, "world 2 begins" in said.stdout) == (0, True), said.stderr
    deployment.live_sample_seasons()
    now = deployment.accepted()
    assert {identity: now.get(identity) for identity in accepted} == accepted
    assert any("/w2-champion-" in identity for identity in now)
    assert registered.items() <= deployment.registered().items()
    assert "w2-dev-00" in deployment.registered()
    assert (deployment.space.home / "sample" / "world-1" / "devices" / "dev-00" / "device.toml").is_file()
