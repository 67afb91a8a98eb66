"""Whatever a terminal's encoding is, no command ends because of a character."""

import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

FAREWELL = "import sys; from fieldedge.system.streams import print_any_character; print_any_character(); "
ENCODINGS = ("latin-1", "ascii", "cp1252", "utf-8", "ascii:surrogateescape")


def printed(text: str, encoding: str, stream: str = "stdout") -> bytes:
    done = subprocess.run(
        [sys.executable, "-c", f"{FAREWELL}sys.{stream}.write({text!a})"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=True,
    )
    return bytes(getattr(done, stream))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_every_character_goes_out_in_every_encoding(encoding: str, stream: str) -> None:
    assert printed("→ mend it: ə 🌽 \udcff", encoding, stream)


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("latin-1", b"-> 20 mm, 3 m\xb3 \\u0259"),
        ("ascii", b"-> 20 mm, 3 m3 \\u0259"),
        ("utf-8", "→ 20 mm, 3 m³ ə".encode()),
    ],
)
def test_what_an_encoding_has_is_printed_as_ever_and_the_rest_as_it_is_written(encoding: str, told: bytes) -> None:
    assert printed("→ 20 mm, 3 m³ ə", encoding) == told


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_doctor_speaks_on_a_terminal_of_any_encoding(encoding: str, tmp_path: Path) -> None:
    """Its arrow, its superscripts, and a folder whose name the terminal cannot show."""
    place = tmp_path / "Süd→ə"
    place.mkdir()
    (place / "device.toml").write_text("device_id = 'ə'\n", encoding="utf-8")
    terminal, slave = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fieldedge", "doctor", "--dir", str(place)],
            stdout=slave,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONIOENCODING": encoding},
            check=False,
        )
        os.close(slave)
        shown = b""
        with suppress(OSError):  # how a terminal ends
            while piece := os.read(terminal, 65_536):
                shown += piece
    finally:
        os.close(terminal)
    assert b"Traceback" not in done.stderr
    assert done.returncode == 1
    assert b"fail  settings" in shown
    assert ("→" if encoding == "utf-8" else "->").encode() + b" mend" in shown
