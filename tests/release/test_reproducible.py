"""A bundle is a function of its parts: built twice, in other folders and by other habits, it is the same bytes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

BUILD = """
import json, locale, os, sys, time, zipfile
from pathlib import Path
from fieldedge.inference.bundles import CARD, GOLDEN, MANIFEST, MODEL, REFERENCE, parse_golden
from fieldedge.workloads import known_workload
from fieldloop.release import Lineage, build_bundle

parts, folder, umask = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3], 8)
os.umask(umask)
locale.setlocale(locale.LC_ALL, "")
time.tzset()
contract = known_workload("agriculture").contract
with zipfile.ZipFile(parts) as archive:
    files = {name: archive.read(name) for name in archive.namelist()}
manifest = json.loads(files[MANIFEST])
folder.mkdir(parents=True)
model = folder / "model.onnx"
model.write_bytes(files[MODEL])
names = ("version", "precision", "data_hash", "compression_data_hash", "compression_key", "git_commit")
reference = json.loads(files[REFERENCE])
if os.environ["HABIT"] == "other":  # the order in which a mapping was filled is no part of it
    reference = dict(reversed([(name, dict(reversed(values.items()))) for name, values in reference.items()]))
build_bundle(
    folder / "bundle.zip",
    model,
    contract=contract,
    lineage=Lineage(**{name: manifest[name] for name in names}),
    golden=parse_golden(files[GOLDEN], contract),
    golden_tolerance=manifest["golden_tolerance"],
    reference=reference,
    card=files[CARD].decode(),
)
"""

HABITS = {
    "one": {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1", "HABIT": "one", "umask": "022"},
    "other": {"TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "HABIT": "other", "umask": "077"},
}


def test_a_bundle_is_the_same_bytes_in_another_folder_zone_locale_order_umask_and_second(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    parts, made = make_bundle("7"), {}
    for habit, said in HABITS.items():
        folder = tmp_path / f"a folder of {habit}" / "deeper" / habit
        umask = said["umask"]
        environment = {**os.environ, **{name: value for name, value in said.items() if name != "umask"}}
        subprocess.run([sys.executable, "-c", BUILD, str(parts), str(folder), umask], env=environment, check=True)
        made[habit] = folder / "bundle.zip"
    one, other = made.values()
    assert one.stat().st_mtime_ns != other.stat().st_mtime_ns
    assert one.read_bytes() == other.read_bytes()
    assert str(tmp_path).encode() not in one.read_bytes()
