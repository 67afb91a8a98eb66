"""Archives that are bombs, carry paths, duplicates or links, and models that are no models, signed by a stolen key.

Models are tried one by one in `tests/edge/inference/test_trial.py` (`tests/edge/hostile.py` makes them); here some of
each kind meet the command as a device runs it: a process of its own, which must end by itself, in one line.
"""

import io
import stat
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.edge.attacks.conftest import CONTRACT, Attacked
from tests.edge.attacks.mirror import without_end
from tests.edge.hostile import HOSTILE
from tests.edge.patience import PATIENCE_S
from tests.edge.sample import bundle_files, onnx_model, zipped

Entries = list[tuple[zipfile.ZipInfo, bytes]]


def archive(entries: Entries, method: int = zipfile.ZIP_STORED) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", method) as out:
        for entry, data in entries:
            out.writestr(entry, data, compress_type=method)
    return whole.getvalue()


def good() -> Entries:
    files = bundle_files(onnx_model(CONTRACT, bias=1.0), "2")
    return [(zipfile.ZipInfo(name), data) for name, data in files.items()]


def with_more(*names: str) -> bytes:
    return archive([*good(), *((zipfile.ZipInfo(name), b"#!/bin/sh\n") for name in names)])


def in_place_of(name: str, other: str) -> bytes:
    return archive([(zipfile.ZipInfo(other if entry.filename == name else entry.filename), d) for entry, d in good()])


def twice(name: str) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return archive([*good(), *((zipfile.ZipInfo(name), data) for entry, data in good() if entry.filename == name)])


def linked(name: str, kind: int) -> bytes:
    """An entry that says of itself that it is a link, a pipe or a device; the content is where it points."""
    entries = good()
    for entry, _ in entries:
        if entry.filename == name:
            entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
    return archive([(e, b"../../keys/device.pem" if e.filename == name else data) for e, data in entries])


def hidden_behind_nul() -> bytes:
    """`model_card.md`, a NUL, and more: a C program and this one would unpack different files."""
    return archive(good()).replace(b"model_card.md", b"model_card.m\0")


def bomb() -> bytes:
    return archive(
        [(e, bytes(80_000_000) if e.filename == "model_card.md" else d) for e, d in good()], zipfile.ZIP_DEFLATED
    )


def bomb_that_says_little() -> bytes:
    """The directory says a few bytes; the stream goes on for 80 MB."""
    data = bomb()
    return data.replace(struct.pack("<I", 80_000_000), struct.pack("<I", 800))


def overlapping() -> bytes:
    """Every entry of the directory points to one and the same stream."""
    data = bytearray(archive(good()))
    at = -1
    while (at := data.find(b"PK\x01\x02", at + 1)) != -1:
        data[at + 42 : at + 46] = bytes(4)
    return bytes(data)


def nested() -> bytes:
    """An archive of archives, each a hundred times as large as it is."""
    inner = zlib.compress(bytes(1_000_000))
    for _ in range(3):
        inner = archive([(zipfile.ZipInfo(f"{n}.zip"), inner) for n in range(50)], zipfile.ZIP_DEFLATED)
    return archive([(zipfile.ZipInfo("bundle.zip"), inner)])


def encrypted() -> bytes:
    data = bytearray(archive(good()))
    for mark, at in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        found = -1
        while (found := data.find(mark, found + 1)) != -1:
            data[found + at] |= 1
    return bytes(data)


def short(share: float) -> Callable[[], bytes]:
    def make() -> bytes:
        data = archive(good())
        return data[: int(len(data) * share)]

    return make


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "a bomb": bomb,
    "a bomb that says little of itself": bomb_that_says_little,
    "entries that overlap": overlapping,
    "archives in archives": nested,
    "a way out of the folder": lambda: with_more("../../active.json"),
    "an absolute path": lambda: with_more("/etc/cron.d/evil"),
    "a path of another system": lambda: with_more("..\\..\\active.json", "C:\\evil.exe"),
    "a path in a file's place": lambda: in_place_of("model_card.md", "../model_card.md"),
    "a path that comes back": lambda: in_place_of("model_card.md", "x/../model_card.md"),
    "a folder": lambda: with_more("slots/"),
    "a folder in a file's place": lambda: in_place_of("model_card.md", "model_card.md/"),
    "a name with a NUL": hidden_behind_nul,
    "a manifest twice": lambda: twice("manifest.json"),
    "a model twice": lambda: twice("model.onnx"),
    "a symbolic link": lambda: linked("model_card.md", stat.S_IFLNK),
    "a symbolic link for a model": lambda: linked("model.onnx", stat.S_IFLNK),
    "a pipe": lambda: linked("model_card.md", stat.S_IFIFO),
    "a device": lambda: linked("model_card.md", stat.S_IFBLK),
    "encrypted": encrypted,
    "nothing": lambda: b"",
    "an empty archive": lambda: archive([]),
    "a tenth": short(0.1),
    "a half": short(0.5),
    "all but its end": short(0.99),
    "a program of this library's": lambda: with_more("sitecustomize.py"),
}

EXPECTED = {
    **dict.fromkeys(("a symbolic link", "a symbolic link for a model", "a pipe", "a device"), "is no plain file"),
    "a bomb": "unpacks to 80000000 bytes",
    "a bomb that says little of itself": "damaged",
    "entries that overlap": "damaged",
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_archives(attacked: Attacked, what: str) -> None:
    attacked.repository.release(ARCHIVES[what]())
    before = set(attacked.device.root.parent.rglob("*"))
    said = attacked.refuses()
    assert EXPECTED.get(what, "the bundle") in said
    made = set(attacked.device.root.parent.rglob("*")) - before
    assert not [path for path in made if not path.is_relative_to(attacked.device.root)], "beside the device's folder"


IN_A_PROCESS: dict[str, Callable[[Attacked], None]] = {
    "endless data for the timestamp": lambda attacked: endless(attacked, "timestamp.json"),
    "endless data for the root": lambda attacked: endless(attacked, "2.root.json"),
    "endless data for the bundle": lambda attacked: endless(attacked, "bundle.zip"),
    "a bomb": lambda attacked: release(attacked, bomb()),
    "a symbolic link": lambda attacked: release(attacked, ARCHIVES["a symbolic link"]()),
    "a constant in keys/device.pem": lambda attacked: hostile(attacked, "a constant in keys/device.pem"),
    "a custom operator": lambda attacked: hostile(attacked, "a custom operator"),
    "an endless Loop": lambda attacked: hostile(attacked, "an endless Loop"),
    "a gigabyte of products": lambda attacked: hostile(attacked, "a gigabyte of products"),
}


def endless(attacked: Attacked, place: str) -> None:
    attacked.mirror.instead = lambda path, honest: without_end() if path.endswith(place) else honest


def release(attacked: Attacked, data: bytes) -> None:
    attacked.repository.release(data)


def hostile(attacked: Attacked, what: str) -> None:
    made = HOSTILE[what][0]()
    release(attacked, made if isinstance(made, bytes) else zipped(made))


@pytest.mark.slow
@pytest.mark.parametrize("what", IN_A_PROCESS)
def test_the_command_ends_by_itself_and_says_in_one_line_why(attacked: Attacked, what: str, tmp_path: Path) -> None:
    IN_A_PROCESS[what](attacked)
    command = [sys.executable, "-m", "fieldedge", "update", "--dir", str(attacked.device.root)]
    done = subprocess.run(
        [*command, "--gateway", attacked.mirror.url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, ""), done
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("fieldedge: ")
    attacked.refuses()
