"""What expires soon is signed anew: by the gateway when a device asks, and by the flow's step."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from starlette.testclient import TestClient
from tuf.api.metadata import Metadata

from fieldloop.core.settings import load_settings
from fieldloop.gateway.app import create_app
from fieldloop.release import ReleaseRepository
from fieldloop.release.metadata_store import MetadataStore
from fieldloop.stages.refreshed import refreshed


def hours_left(content: bytes) -> float:
    left: timedelta = Metadata.from_bytes(content).signed.expires - datetime.now(UTC)
    return left.total_seconds() / 3600.0


def test_a_gateway_that_nobody_refreshes_serves_a_timestamp_in_date(tmp_path: Path) -> None:
    tuf, app_root = tmp_path / "tuf", tmp_path
    ReleaseRepository(tuf)
    app = create_app(tuf, app_root / "inbox", app_root / "devices.json")
    long_ago = MetadataStore(tuf, lambda: datetime.now(UTC) - timedelta(days=3))
    signed = long_ago.load()
    signed.changed.add("timestamp")
    long_ago.renew(signed)
    assert hours_left((tuf / "metadata" / "timestamp.json").read_bytes()) < 0
    answer = TestClient(app).get("/tuf/metadata/timestamp.json")
    assert answer.status_code == 200
    assert 12 < hours_left(answer.content) <= 24


def test_the_step_of_the_flow_signs_anew_and_says_what_a_person_should_do(tmp_path: Path) -> None:
    settings = load_settings(root=Path(__file__).parents[2], home=tmp_path / "home")
    assert "nothing is released yet" in refreshed(settings)
    tuf = settings.home_dir / "tuf"
    tuf.parent.mkdir()
    ReleaseRepository(tuf, now=lambda: datetime.now(UTC) - timedelta(days=3))
    said = refreshed(settings)
    assert "stands until" in said and "root is 1 of 1" in said
    assert 12 < hours_left((tuf / "metadata" / "timestamp.json").read_bytes()) <= 24
