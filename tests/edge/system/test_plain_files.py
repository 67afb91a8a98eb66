"""Reading what others may have put there: a plain file or an error, and never a wait."""

import os
from pathlib import Path

import pytest

from fieldedge.system.plain_files import holds, read_plain


def put_folder(path: Path) -> None:
    path.mkdir()


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


def put_circle(path: Path) -> None:
    path.symlink_to(path)


def put_link(path: Path) -> None:
    path.with_name("elsewhere").write_bytes(b"content")
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("put", [put_folder, put_pipe, put_circle, put_link])
def test_what_is_no_plain_file_is_an_error_at_once_and_holds_nothing(tmp_path: Path, put: object) -> None:
    assert callable(put)
    path = tmp_path / "file"
    put(path)
    with pytest.raises(OSError, match="plain file"):
        read_plain(path, 100)
    assert not holds(path, b"content")


def test_a_plain_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert read_plain(path, 7) == b"content"
    with pytest.raises(OSError, match="more than 6 bytes"):
        read_plain(path, 6)


@pytest.mark.parametrize(("found", "is_held"), [(b"content", True), (b"conten", False), (b"content.", False)])
def test_a_file_holds_exactly_its_bytes(tmp_path: Path, found: bytes, is_held: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(found)
    assert holds(path, b"content") is is_held
    assert not holds(tmp_path / "another", b"content")
