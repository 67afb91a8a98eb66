"""Files that loggers drop or let grow: every line once, whatever happens to the files and to us."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldedge.acquisition.formats import FORMATS
from fieldedge.acquisition.source import Delivery
from fieldedge.acquisition.sources import folder as folder_module
from fieldedge.acquisition.sources.folder import PIECE_BYTES, FolderSettings, FolderSource, read_folder_settings
from fieldedge.device.config import Table
from fieldedge.system.errors import ConfigError

LOOK_S = 5.0
HEADER = (
    b'"TOA5","Station","CR1000","1048","OS","CPU:Weather.CR1","54655","Met15"\n'
    b'"TIMESTAMP","RECORD","AirTC"\n"TS","RN","Deg C"\n"","","Avg"\n'
)
OTHER_HEADER = HEADER.replace(b'"AirTC"', b'"RH"').replace(b"Deg C", b"%")


@pytest.fixture
def three_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "FILES_A_LOOK", 3)


class Folder:
    """A folder, and the source that reads it, with clocks that the test moves."""

    def __init__(self, root: Path, logger: str = "jsonlines", **changes: Any) -> None:
        self.path = root / "in"
        self.path.mkdir(parents=True, exist_ok=True)
        self.state = root / "sources" / "station.json"
        self.now_s = 1000.0
        self.now = datetime(2026, 5, 1, tzinfo=UTC)
        self.told: list[str] = []
        self._logger = logger
        self._settings = FolderSettings(self.path, look_every_s=LOOK_S, **changes)
        self.source = self._start()

    def restart(self) -> None:
        """Begin again from what is on disk, as after a crash."""
        self.source = self._start()

    def write(self, name: str, data: bytes) -> None:
        (self.path / name).write_bytes(data)

    def append(self, name: str, data: bytes) -> None:
        with (self.path / name).open("ab") as file:
            file.write(data)

    def poll(self, limit_bytes: int = 1_000_000) -> list[Delivery]:
        """What is there at the next look."""
        self.now_s += LOOK_S
        return self.source.poll(limit_bytes)

    def take(self) -> list[bytes]:
        """The payloads of everything that is there; all of it becomes durable."""
        taken = []
        idle = 0
        while idle < 2:
            deliveries = self.poll()
            for delivery in deliveries:
                taken.append(delivery.payload)
                delivery.done()
            idle = 0 if deliveries else idle + 1
        return taken

    def _start(self) -> FolderSource:
        return FolderSource(
            "station",
            self._settings,
            FORMATS[self._logger],
            self.state,
            self.told.append,
            monotonic=lambda: self.now_s,
            now=lambda: self.now,
            chance=lambda: 0.5,
        )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_dropped_file_is_taken_once(folder: Folder) -> None:
    folder.write("a.jsonl", b"1\n2\n")
    (delivery,) = folder.poll()
    assert (delivery.payload, delivery.where, delivery.origin, delivery.first_line) == (
        b"1\n2\n",
        "station/a.jsonl",
        "station",
        1,
    )
    delivery.done()
    assert folder.take() == []


def test_a_growing_file_gives_its_new_whole_lines(folder: Folder) -> None:
    folder.write("a.jsonl", b"1\n2")
    assert folder.take() == [b"1\n"]
    folder.append("a.jsonl", b"2\n3\n")
    (delivery,) = folder.poll()
    assert (delivery.payload, delivery.first_line) == (b"22\n3\n", 2)


def test_what_is_not_done_comes_again(folder: Folder) -> None:
    folder.write("a.jsonl", b"1\n")
    folder.poll()
    assert folder.take() == [b"1\n"]


def test_what_is_done_does_not_come_again_after_a_restart(folder: Folder) -> None:
    folder.write("a.jsonl", b"1\n")
    folder.take()
    folder.restart()
    folder.append("a.jsonl", b"2\n")
    assert folder.take() == [b"2\n"]


def test_what_was_done_right_before_a_crash_comes_again(folder: Folder) -> None:
    folder.write("a.jsonl", b"1\n")
    folder.poll()[0].done()
    folder.restart()
    assert folder.take() == [b"1\n"]


def test_closing_keeps_what_is_done(folder: Folder) -> None:
    folder.write("a.jsonl", b"1\n")
    folder.poll()[0].done()
    folder.source.close()
    folder.restart()
    assert folder.take() == []


def test_a_damaged_state_is_told_and_the_files_are_read_anew(folder: Folder) -> None:
    folder.write("a.jsonl", b"1\n")
    folder.take()
    folder.state.write_bytes(b'{"a.jsonl": {"inode": ')
    folder.restart()
    assert folder.take() == [b"1\n"]
    assert "is not readable" in folder.told[0]


def test_a_state_that_cannot_be_written_stops_nothing(folder: Folder) -> None:
    folder.state.parent.write_bytes(b"a file where the directory should be")
    folder.write("a.jsonl", b"1\n")
    assert folder.take() == [b"1\n"]


def test_a_file_written_anew_in_its_place_is_read_anew_and_told(folder: Folder) -> None:
    folder.write("a.jsonl", b"1\n2\n3\n")
    folder.take()
    folder.write("a.jsonl", b"4\n")
    assert folder.take() == [b"4\n"]
    assert folder.told == ["station/a.jsonl was shortened or written anew: it is read from its beginning"]


def test_a_file_written_anew_and_longer_is_read_anew(folder: Folder) -> None:
    folder.write("a.jsonl", b"1\n2\n")
    folder.take()
    folder.write("a.jsonl", b"3\n4\n5\n")
    assert folder.take() == [b"3\n4\n5\n"]


def test_a_file_written_anew_and_as_long_is_read_anew(folder: Folder) -> None:
    folder.write("a.jsonl", b"1\n2\n")
    folder.take()
    folder.write("a.jsonl", b"3\n4\n")
    os.utime(folder.path / "a.jsonl", ns=(1, 1))
    assert folder.take() == [b"3\n4\n"]


def test_a_rotated_file_goes_on_under_its_new_name(folder: Folder) -> None:
    folder.write("a.jsonl", b"1\n")
    folder.take()
    folder.append("a.jsonl", b"2\n")
    (folder.path / "a.jsonl").rename(folder.path / "a.jsonl.1")
    folder.write("a.jsonl", b"3\n")
    assert sorted(folder.take()) == [b"2\n", b"3\n"]
    assert folder.told == []


def test_a_replaced_file_with_the_same_beginning_goes_on(folder: Folder) -> None:
    """As rsync leaves it: a new file under the old name, with more at its end."""
    folder.write("a.jsonl", b"1\n2\n")
    folder.take()
    folder.write("new.tmp", b"1\n2\n3\n")
    (folder.path / "new.tmp").rename(folder.path / "a.jsonl")
    assert folder.take() == [b"3\n"]


def test_a_replaced_file_with_a_filled_gap_is_read_anew(folder: Folder) -> None:
    long = b"".join(b"%06d\n" % n for n in range(1000))
    folder.write("a.jsonl", long)
    folder.take()
    mended = long.replace(b"000500\n", b"999999\n")
    folder.write("new.tmp", mended)
    (folder.path / "new.tmp").rename(folder.path / "a.jsonl")
    assert folder.take() == [mended]


def test_a_file_that_was_deleted_and_came_back_with_other_content_is_read(folder: Folder) -> None:
    folder.write("a.jsonl", b"1\n")
    folder.take()
    (folder.path / "a.jsonl").unlink()
    folder.poll()
    folder.write("a.jsonl", b"2\n")
    assert folder.take() == [b"2\n"]


@pytest.mark.parametrize("name", [".hidden", "a.tmp", "a.part", "a.PART", "a.jsonl~", "b.txt"])
def test_hidden_unfinished_and_other_files_are_left(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path, pattern="[!b]*")
    folder.write(name, b"1\n")
    assert folder.take() == []


def test_neither_links_nor_pipes_nor_folders_are_followed(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"1\n")
    (folder.path / "link").symlink_to(tmp_path / "secret")
    (folder.path / "folder").mkdir()
    os.mkfifo(folder.path / "pipe")
    assert folder.take() == []


def test_a_last_line_without_an_end_is_taken_once_the_file_rests(tmp_path: Path) -> None:
    folder = Folder(tmp_path, settle_s=60.0)
    folder.write("a.jsonl", b"1\n2")
    assert folder.take() == [b"1\n"]
    folder.now_s += 30.0
    folder.append("a.jsonl", b"2")
    assert folder.poll() == []
    folder.now_s += 50.0
    assert folder.poll() == []
    folder.now_s += 10.0
    (delivery,) = folder.poll()
    assert (delivery.payload, delivery.first_line) == (b"22", 2)
    delivery.done()
    folder.append("a.jsonl", b"\n3\n")
    assert folder.take() == [b"\n3\n"]


def test_a_huge_file_is_read_in_bounded_pieces(folder: Folder) -> None:
    line = b"x" * 999 + b"\n"
    folder.write("a.jsonl", line * 2000)
    taken = b""
    while len(taken) < 2_000_000:
        (delivery,) = folder.poll(10_000_000)
        assert len(delivery.payload) <= PIECE_BYTES
        delivery.done()
        taken += delivery.payload
    assert taken == line * 2000


def test_files_take_turns(folder: Folder) -> None:
    line = b"x" * 999 + b"\n"
    folder.write("a.jsonl", line * 2000)
    folder.write("b.jsonl", b"1\n")
    os.utime(folder.path / "a.jsonl", ns=(1, 1))
    wheres = []
    for _ in range(2):
        for delivery in folder.poll(PIECE_BYTES):
            wheres.append(delivery.where)
            delivery.done()
    assert wheres[0] == "station/a.jsonl"
    assert "station/b.jsonl" in wheres


def test_older_files_come_first(folder: Folder) -> None:
    for age, name in enumerate(["c", "a", "b"]):
        folder.write(name, name.encode() + b"\n")
        os.utime(folder.path / name, ns=(age, age))
    assert folder.take() == [b"c\n", b"a\n", b"b\n"]


def test_a_line_without_end_is_a_fault_and_passed_over(folder: Folder) -> None:
    folder.write("a.jsonl", b"1\n" + b"x" * 1_000_000 + b"\n2\n")
    seen: list[tuple[bytes, str | None, int]] = []
    for _ in range(20):
        for delivery in folder.poll(1000):
            seen.append((delivery.payload[:5], delivery.fault, delivery.first_line))
            delivery.done()
    assert seen == [
        (b"1\n", None, 1),
        (b"xxxxx", "the line is longer than 100000 bytes; its beginning is kept", 2),
        (b"2\n", None, 3),
    ]


def test_a_file_that_cannot_be_read_is_told_once_and_tried_again_later(folder: Folder, monkeypatch: Any) -> None:
    folder.write("a.jsonl", b"1\n")
    folder.write("b.jsonl", b"2\n")
    real_open, attempts = os.open, []

    def failing(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).endswith("a.jsonl"):
            attempts.append(folder.now_s)
            raise PermissionError(13, "Permission denied")
        return real_open(path, *rest, **more)

    monkeypatch.setattr(os, "open", failing)
    assert folder.take() == [b"2\n"]
    for _ in range(100):
        folder.poll()
    assert folder.told == ["station/a.jsonl cannot be read: Permission denied; trying again later"]
    assert folder.source.note == "1 files cannot be read, such as station/a.jsonl"
    assert len(attempts) < 12
    monkeypatch.setattr(os, "open", real_open)
    folder.now_s += 700.0
    assert folder.take() == [b"1\n"]
    assert folder.told[1:] == ["station/a.jsonl can be read again"]
    assert folder.source.note is None


def test_a_folder_that_is_not_there_is_told_once_and_waited_for(folder: Folder) -> None:
    away = folder.path.with_name("away")
    folder.write("a.jsonl", b"1\n")
    folder.take()
    folder.path.rename(away)
    for _ in range(5):
        assert folder.poll() == []
    assert len(folder.told) == 1
    assert "cannot be read: No such file or directory" in (folder.source.note or "")
    away.rename(folder.path)
    folder.append("a.jsonl", b"2\n")
    assert folder.take() == [b"2\n"]
    assert folder.told[1:] == [f"the folder {folder.path} can be read again"]


def test_the_folder_is_not_looked_at_more_often_than_asked(folder: Folder) -> None:
    folder.poll()
    folder.write("a.jsonl", b"1\n")
    assert folder.source.poll(1000) == []
    folder.now_s += LOOK_S
    assert len(folder.source.poll(1000)) == 1


def test_names_that_are_not_text_are_read(folder: Folder) -> None:
    name = os.fsdecode(b"caf\xe9.jsonl")
    folder.write(name, b"1\n")
    (delivery,) = folder.poll()
    assert delivery.where == "station/caf\\xe9.jsonl"
    delivery.done()
    folder.source.close()
    folder.restart()
    assert folder.take() == []


def test_every_piece_of_a_csv_carries_the_header(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "toa5")
    folder.write("a.dat", HEADER + b"1\n")
    folder.take()
    folder.restart()
    folder.append("a.dat", b"2\n")
    (delivery,) = folder.poll()
    assert (delivery.payload, delivery.first_line) == (HEADER + b"2\n", 2)
    names = [parsed.where for parsed in FORMATS["toa5"].parse(delivery.payload, delivery.where, delivery.first_line)]
    assert names == ["station/a.dat, line 6"]


def test_a_header_is_waited_for(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "toa5")
    folder.write("a.dat", HEADER[:100])
    folder.now_s += 1000.0
    assert folder.take() == []
    folder.append("a.dat", HEADER[100:] + b"1\n")
    assert folder.take() == [HEADER + b"1\n"]


def test_a_new_header_within_a_file_counts_from_there_on(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "toa5")
    folder.write("a.dat", HEADER + b"1\n" + OTHER_HEADER[:100])
    assert folder.take() == [HEADER + b"1\n"]
    folder.append("a.dat", OTHER_HEADER[100:] + b"2\n")
    assert folder.take() == [HEADER + OTHER_HEADER + b"2\n"]
    folder.append("a.dat", b"3\n")
    assert folder.take() == [OTHER_HEADER + b"3\n"]


def test_a_finished_file_is_moved_only_if_that_is_asked_for(tmp_path: Path) -> None:
    left, moved = Folder(tmp_path / "left"), Folder(tmp_path / "moved", move_done=True, done_after_days=7.0)
    for folder in (left, moved):
        folder.write("a.jsonl", b"1\n")
        folder.write("b.jsonl", b"2\n3")
        for name in ("a.jsonl", "b.jsonl"):
            os.utime(folder.path / name, (folder.now.timestamp(), folder.now.timestamp()))
        assert len(folder.poll()) == 2  # not done: nothing may be moved
        folder.now += timedelta(days=8)
        folder.poll()
        assert (folder.path / "a.jsonl").exists()
        folder.take()
    assert (left.path / "a.jsonl").exists()
    assert sorted(path.name for path in moved.path.iterdir()) == ["b.jsonl", "done"]
    assert (moved.path / "done" / "a.jsonl").read_bytes() == b"1\n"
    moved.write("a.jsonl", b"4\n")
    assert moved.take() == [b"4\n"]
    os.utime(moved.path / "a.jsonl", (0, 0))
    moved.take()
    assert len(list((moved.path / "done").iterdir())) == 2


def test_settings_are_read_with_their_defaults(tmp_path: Path) -> None:
    found = read_folder_settings(Table("device.toml, [[source]] station", {"path": "in"}), tmp_path)
    assert found == FolderSettings(tmp_path / "in")
    with pytest.raises(ConfigError, match=r"\[\[source\]\] station has no path"):
        read_folder_settings(Table("device.toml, [[source]] station", {}), tmp_path)
    with pytest.raises(ConfigError, match="patern is not a setting here"):
        read_folder_settings(Table("device.toml", {"path": "in", "patern": "*"}), tmp_path)


LINES = b"".join(b"%03d\n" % n for n in range(1000))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.integers(1, 200), st.sampled_from(["poll", "take", "crash", "close", "rotate"])), max_size=25)
)
def test_a_growing_file_gives_every_line_in_order_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, actions: list[int | str]
) -> None:
    folder = Folder(tmp_path_factory.mktemp("grow"), settle_s=1e9)
    written, stored = 0, dict[bytes, None]()

    def take() -> None:
        for delivery in folder.poll():
            lines = delivery.payload.splitlines(keepends=True)
            assert all(len(line) == 4 and line in LINES for line in lines)
            stored.update(dict.fromkeys(lines))
            delivery.done()

    for action in actions:
        if isinstance(action, int):
            folder.append("a.jsonl", LINES[written : written + action])
            written += action
        elif action == "poll":
            folder.poll()
        elif action == "take":
            take()
        elif action == "crash":
            folder.restart()
        elif action == "close":
            folder.source.close()
            folder.restart()
        elif written % 4 == 0 and (folder.path / "a.jsonl").exists():
            (folder.path / "a.jsonl").rename(folder.path / f"a.jsonl.{written}")
    take()
    take()
    assert b"".join(stored) == LINES[: written // 4 * 4]


def test_no_link_named_done_leads_what_is_done_elsewhere(tmp_path: Path) -> None:
    folder = Folder(tmp_path, move_done=True, done_after_days=0.0)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder.path / "done").symlink_to(elsewhere)
    folder.write("a.jsonl", b"1\n")
    assert folder.take() == [b"1\n"]
    folder.now += timedelta(days=3650)
    folder.poll()
    assert not list(elsewhere.iterdir())
    assert (folder.path / "a.jsonl").read_bytes() == b"1\n"
    assert any("cannot be moved to done/" in text for text in folder.told)


def test_a_name_is_told_on_one_line_and_commands_no_terminal(folder: Folder) -> None:
    folder.write("a\nb\x1b[2J.jsonl", b"1\n")
    (delivery,) = folder.poll()
    assert delivery.where == r"station/a\nb\x1b[2J.jsonl"


@pytest.mark.parametrize("content", [b"[" * 100_000, b"7", b'{"a": 7}', b"\xff"])
def test_a_state_that_is_none_lets_the_files_be_read_from_their_beginning(folder: Folder, content: bytes) -> None:
    folder.state.parent.mkdir()
    folder.state.write_bytes(content)
    folder.restart()
    folder.write("a.jsonl", b"1\n")
    assert folder.take() == [b"1\n"]
    assert any("not readable" in text for text in folder.told)


@pytest.mark.usefixtures("three_a_look")
def test_of_many_files_the_oldest_are_lined_up_and_the_rest_at_the_next_step(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for number in range(8):
        folder.write(f"{7 - number}.log", b'{"n": %d}\n' % number)
        os.utime(folder.path / f"{7 - number}.log", (number, number))
    folder.now_s += LOOK_S
    steps = [[delivery.payload for delivery in done(folder.source.poll(1_000_000))] for _ in range(3)]
    lines = [b'{"n": %d}\n' % number for number in range(8)]
    assert steps == [lines[:3], lines[3:6], lines[6:]]
    assert folder.poll() == []
    folder.append("7.log", b'{"n": 8}\n')
    assert folder.take() == [b'{"n": 8}\n'], "what is done stays known"


@pytest.mark.usefixtures("three_a_look")
def test_files_that_cannot_be_read_keep_no_others_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path)
    for number in range(8):
        folder.write(f"{number}.log", b'{"n": %d}\n' % number)
        os.utime(folder.path / f"{number}.log", (number, number))
    opened = folder_module.open_plain

    def refused(path: Path) -> Any:
        if path.name < "4":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path)

    monkeypatch.setattr(folder_module, "open_plain", refused)
    assert len([delivery for _ in range(12) for delivery in done(folder.poll())]) == 4


def done(deliveries: list[Delivery]) -> list[Delivery]:
    for delivery in deliveries:
        delivery.done()
    return deliveries
