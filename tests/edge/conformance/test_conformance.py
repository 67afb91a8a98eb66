"""The public TUF conformance suite against the device's client, where a checkout of the suite is at hand.

    git clone https://github.com/theupdateframework/tuf-conformance
    TUF_CONFORMANCE=tuf-conformance python -m pytest -m heavy tests/edge/conformance

Nothing of the suite is copied here. It wants `faketime` (Debian's package of that name), and no more than the packages
with which the device is tested.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.heavy

ADAPTER = Path(__file__).resolve().with_name("client.py")


def test_the_devices_client_does_what_the_suite_asks(tmp_path: Path) -> None:
    suite = os.environ.get("TUF_CONFORMANCE", "")
    if not (Path(suite) / "tuf_conformance").is_dir() or not suite:
        pytest.skip("there is no checkout of the TUF conformance suite; TUF_CONFORMANCE says where one is")
    if shutil.which("faketime") is None:
        pytest.skip("the TUF conformance suite needs the command faketime")
    client = tmp_path / "client"
    client.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(ADAPTER))} "$@"\n')
    client.chmod(0o755)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tuf_conformance"]
    done = subprocess.run(
        [*command, "--entrypoint", str(client)],
        cwd=suite,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
    assert "xfailed" not in done.stdout
