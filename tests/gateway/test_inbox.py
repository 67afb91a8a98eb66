"""The inbox: what one device sent is no other's, and an inbox of before is read."""

import hashlib
import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fieldloop.gateway import inbox as inbox_module
from fieldloop.gateway.inbox import UNKNOWN_SENDER, Inbox, read_envelope

NOW = datetime(2006, 11, 1, 12, tzinfo=UTC)
BODY = b"a batch"
SHA256 = hashlib.sha256(BODY).hexdigest()


def former(folder: Path, body: bytes = BODY, device_id: str = "dev-00") -> str:
    """A batch as the flat layout of before had it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(body).hexdigest()
    envelope = {"device_id": device_id, "signature": "AAAA", "received_utc": "2006-11-01T12:00:00+00:00"}
    (folder / f"{name}.json").write_text(json.dumps(envelope))
    (folder / f"{name}.batch").write_bytes(body)
    return name


def test_the_same_bytes_of_two_devices_are_two_batches(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    assert inbox.keep(BODY, "dev-66", "stolen", NOW)
    assert inbox.keep(BODY, "dev-00", "own", NOW)
    assert not inbox.keep(BODY, "dev-00", "own", NOW)
    assert [held.name for held in inbox.waiting()] == [f"dev-00/{SHA256}", f"dev-66/{SHA256}"]


def test_a_former_inbox_is_sorted_by_device_waiting_and_ingested(tmp_path: Path) -> None:
    waiting, ingested = former(tmp_path), former(tmp_path / "ingested", b"another", "dev-01")
    (tmp_path / f"{'e' * 64}.json").write_text("an envelope whose batch never came")
    inbox = Inbox(tmp_path)
    assert [held.name for held in inbox.waiting()] == [f"dev-00/{waiting}"]
    assert [held.name for held in inbox.ingested()] == [f"dev-01/{ingested}"]
    assert inbox.waiting()[0].batch.read_bytes() == BODY
    assert not inbox.keep(BODY, "dev-00", "AAAA", NOW)
    assert not inbox.keep(b"another", "dev-01", "AAAA", NOW)
    assert not list(tmp_path.glob("*.batch"))
    assert not list((tmp_path / "ingested").iterdir())


@pytest.mark.parametrize(
    "envelope",
    [
        "{",
        "[]",
        '{"device_id": "../x", "signature": "", "received_utc": ""}',
        '{"device_id": "a", "device_id": "b", "signature": "", "received_utc": ""}',
    ],
)
def test_a_former_batch_that_says_no_sender_is_kept_for_the_ingestion_to_refuse(tmp_path: Path, envelope: str) -> None:
    name = former(tmp_path)
    (tmp_path / f"{name}.json").write_text(envelope)
    (held,) = Inbox(tmp_path).waiting()
    assert held.name == f"{UNKNOWN_SENDER}/{name}"
    assert held.envelope.read_text() == envelope


@pytest.mark.parametrize("steps", range(3))
def test_sorting_cut_off_anywhere_is_continued(tmp_path: Path, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    name = former(tmp_path)
    done = iter(range(steps))

    def cut(path: Path) -> None:
        if next(done, None) is None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(inbox_module, "fsync_directory", cut)
        with pytest.raises(KeyboardInterrupt):
            Inbox(tmp_path)
    (held,) = Inbox(tmp_path).waiting()
    assert (held.name, held.batch.read_bytes()) == (f"dev-00/{name}", BODY)
    assert not list(tmp_path.glob("*.json"))


def test_a_former_move_that_a_crash_cut_off_is_finished(tmp_path: Path) -> None:
    name = former(tmp_path)
    (tmp_path / "ingested").mkdir()
    (tmp_path / f"{name}.batch").rename(tmp_path / "ingested" / f"{name}.batch")
    assert [held.name for held in Inbox(tmp_path).ingested()] == [f"dev-00/{name}"]


@pytest.mark.parametrize("back", [False, True])
def test_a_move_that_a_crash_cut_off_is_finished(tmp_path: Path, back: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox(tmp_path)
    inbox.keep(BODY, "dev-00", "own", NOW)
    if back:
        inbox.move_to_ingested(*inbox.waiting())
    (held,) = inbox.ingested() if back else inbox.waiting()
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.suffix == ".json":
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            (inbox.move_to_waiting if back else inbox.move_to_ingested)(held)
    inbox.finish_moves()
    (found,) = inbox.waiting() if back else inbox.ingested()
    assert (found.sha256, found.envelope.is_file()) == (SHA256, True)


def lose_the_envelope(batch: Path) -> None:
    batch.with_suffix(".json").unlink()


def break_the_envelope(batch: Path) -> None:
    batch.with_suffix(".json").write_bytes(b"{")


def change_the_signature(batch: Path) -> None:
    batch.with_suffix(".json").write_text(batch.with_suffix(".json").read_text().replace("own", "0wn"))


def cut_the_batch(batch: Path) -> None:
    batch.write_bytes(BODY[:3])


def zero_the_batch(batch: Path) -> None:
    batch.write_bytes(bytes(len(BODY)))


DAMAGES = [lose_the_envelope, break_the_envelope, change_the_signature, cut_the_batch, zero_the_batch]


@pytest.mark.parametrize("is_ingested", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_lies_damaged_is_not_held_and_is_written_again_when_it_comes_again(
    tmp_path: Path, damage: Callable[[Path], None], is_ingested: bool
) -> None:
    inbox = Inbox(tmp_path)
    inbox.keep(BODY, "dev-00", "own", NOW)
    if is_ingested:
        inbox.move_to_ingested(*inbox.waiting())
    (held,) = inbox.ingested() if is_ingested else inbox.waiting()
    damage(held.batch)
    assert inbox.keep(BODY, "dev-00", "own", NOW)
    assert (held.batch.read_bytes(), read_envelope(held.envelope).signature) == (BODY, "own")
    assert len([*inbox.waiting(), *inbox.ingested()]) == 1
    assert not inbox.keep(BODY, "dev-00", "own", NOW)


def test_a_disk_that_does_not_give_back_what_was_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "write_durably", lambda path, data: path.write_bytes(data[:-1]))
    with pytest.raises(OSError, match="not what is read back"):
        Inbox(tmp_path).keep(BODY, "dev-00", "own", NOW)


def test_a_large_batch_is_looked_for_in_little_memory(tmp_path: Path) -> None:
    inbox, body = Inbox(tmp_path), bytes(8_000_000)
    inbox.keep(body, "dev-00", "signature", datetime.now(UTC))
    sha256 = hashlib.sha256(body).hexdigest()
    tracemalloc.start()
    try:
        assert inbox.holds("dev-00", sha256, "signature")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert not inbox.holds("dev-00", sha256, "another")
    assert not inbox.holds("dev-00", sha256[::-1], "signature")


def test_a_batch_without_an_envelope_is_seen(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    inbox.keep(BODY, "dev-00", "own", NOW)
    (held,) = inbox.waiting()
    held.envelope.unlink()
    assert inbox.waiting() == [held]
    flat = former(tmp_path, b"another")
    (tmp_path / f"{flat}.json").unlink()
    assert [held.name for held in Inbox(tmp_path).waiting()] == [f"dev-00/{SHA256}", f"{UNKNOWN_SENDER}/{flat}"]


def test_a_batch_that_is_put_back_covers_none_that_came_again(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    inbox.keep(BODY, "dev-00", "own", NOW)
    inbox.put_back("dev-00", SHA256, b"{", b"damaged")
    assert not inbox.keep(BODY, "dev-00", "own", NOW)
