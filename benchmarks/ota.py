"""What an update costs: bytes and requests on the wire, cold and warm; seconds on 64 kbit/s with a tenth of the packets
lost; what is fetched twice after restarts; the way back to a former model; and the time to publish a thousand bundles.

    .venv/bin/python benchmarks/ota.py [--bundles 1000] [--runs 3]

The device's own environment updates from the real gateway, over a link between two network namespaces (root is needed).
Bytes are of whole IP packets. Beside it stand python-tuf's own client with the same repository, and a plain download of
the whole file, which trusts whoever answers.
"""

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.common.bars import machine, print_bars  # noqa: E402
from benchmarks.edge.narrow_link import FAR, UNHINDERED, Conditions, Link, narrow_link  # noqa: E402
from fieldedge.inference.bundles import FILES, MANIFEST, open_bundle  # noqa: E402
from fieldedge.workloads import known_workload  # noqa: E402
from fieldloop.release import ReleaseRepository  # noqa: E402
from tests.edge.sample import bundle_files, onnx_model  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "ota.json"
EDGE_PYTHON = ROOT / ".venv-edge" / "bin" / "python"
CLIENTS = ROOT / "benchmarks" / "edge" / "ota_clients.py"
CONTRACT = known_workload("agriculture").contract
PORT = 8321
WARM_POLL_BYTES = 4_000
RANGE_BYTES = 16_384
SIZE_WITHOUT_A_SEASON = 100_000
KILLED_AT = (0.25, 0.5, 0.75)


def main() -> int:
    """Run, print the tables, write the JSON; 1 where a bar is missed."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--bundles", type=int, default=1_000, help="how many are published one after the other")
    arguments.add_argument("--runs", type=int, default=3, help="how often each update goes over the narrow link")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        data, what = a_bundle()
        figures: dict[str, Any] = {"machine": machine(), "bundle": {"bytes": len(data), "what": what}}
        with narrow_link() as link, Gateway(scratch, link, data) as gateway:
            figures["clients"] = {name: costs(gateway, name) for name in ("fieldedge", "ngclient", "plain")}
            figures["reverting"] = reverting(gateway)
            figures["narrow"] = narrow(gateway, options.runs)
            figures["restarts"] = {name: restarts(gateway, name) for name in ("fieldedge", "ngclient", "plain")}
        figures["publishing"] = publishing(scratch / "many", data, options.bundles)
    poll = figures["clients"]["fieldedge"]["warm poll"]["bytes"]
    twice = figures["restarts"]["fieldedge"]["bytes_twice"] / max(figures["restarts"]["fieldedge"]["restarts"], 1)
    figures["bars"] = [
        _bar("a warm poll without news, bytes on the wire", poll, WARM_POLL_BYTES),
        _bar("back on the former model, ms", 1000.0 * figures["reverting"]["from_disk_s"], 1_000.0),
        _bar("of the bundle fetched twice for each restart, bytes", twice, RANGE_BYTES),
    ]
    show(figures)
    RESULT.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"\nwritten to {RESULT.relative_to(ROOT)}")
    return int(not all(bar["is_met"] for bar in figures["bars"]))


def _bar(name: str, measured: float, limit: float) -> dict[str, Any]:
    return {"bar": name, "measured": measured, "limit": limit, "is_met": measured <= limit}


# Bundles


def a_bundle() -> tuple[bytes, str]:
    """The one that the last season released, or one of its size about a model that is nothing but large."""
    made = sorted((ROOT / ".fieldloop" / "bundles").glob("*.zip"), key=lambda path: path.stat().st_mtime)
    if made:
        return made[-1].read_bytes(), "released by the last season"
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(onnx_model(CONTRACT))
    weights = np.random.default_rng(13).integers(0, 256, SIZE_WITHOUT_A_SEASON, dtype=np.uint8)
    model.graph.initializer.append(numpy_helper.from_array(weights, "ballast"))
    return zipped(bundle_files(model.SerializeToString())), "a stand-in: there is no season in this clone"


def zipped(files: dict[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return whole.getvalue()


def of_version(data: bytes, version: str) -> bytes:
    """The same bundle under another version."""
    bundle = open_bundle(data, CONTRACT)
    manifest = replace(bundle.manifest, version=version)
    return zipped({**{name: bundle.files[name] for name in FILES}, MANIFEST: manifest.as_json()})


# The two ends of the link


class Gateway:
    """The real gateway at the far end; its log of requests is what is counted."""

    def __init__(self, scratch: Path, link: Link, data: bytes) -> None:
        self.scratch, self.link, self._data = scratch, link, data
        self.repository = ReleaseRepository(scratch / "tuf")
        self.repository.delegate_acknowledgements()
        self._log = scratch / "requests.log"
        self._version = 0

    def __enter__(self) -> "Gateway":
        self.release()
        command = [sys.executable, str(CLIENTS), "gateway", str(self.scratch), str(PORT)]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(self.link.command(self.link.far, *command), stdout=log, stderr=log)
        until(lambda: "Uvicorn running" in self._log.read_text(), "the gateway has not started")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    @property
    def url(self) -> str:
        return f"http://{FAR}:{PORT}"

    def requests(self) -> int:
        return self._log.read_text().count('"GET ')

    def ranges(self) -> list[int]:
        """Where the ranges begin that were asked for."""
        return [
            int(line[12:].partition("-")[0]) for line in self._log.read_text().splitlines() if "range bytes=" in line
        ]

    def release(self) -> Path:
        """Offer the next version; its file."""
        self._version += 1
        path = self.scratch / f"{self._version}.zip"
        path.write_bytes(of_version(self._data, str(self._version)))
        released = self.repository.publish(path, "agriculture", str(self._version), CONTRACT.hash)
        place = f"agriculture/{released.sha256}.bundle.zip"
        (self.repository.targets_dir / "newest.txt").write_text(place)  # for who trusts whoever answers
        return path


class Device:
    """One client in a folder of its own at the near end, by the name of its kind."""

    def __init__(self, gateway: Gateway, kind: str) -> None:
        self.gateway, self.kind = gateway, kind
        self.root = Path(tempfile.mkdtemp(dir=gateway.scratch))
        root = gateway.repository.trusted_root()
        if kind == "fieldedge":
            arguments = ["--device-id", "bench-00", "--workload", "agriculture", "--root", str(root)]
            self._on_device("-m", "fieldedge", "init", "--dir", str(self.root / "device"), *arguments)
            with (self.root / "device" / "device.toml").open("a") as file:
                file.write(f'\n[link]\ngateway = "{gateway.url}"\nupdate_within_s = 3600\n')
        else:
            shutil.copy(root, self.root / "root.json")

    def start(self) -> subprocess.Popen[str]:
        """Begin an update."""
        command = (
            ["-m", "fieldedge", "update", "--dir", str(self.root / "device"), "--gateway", self.gateway.url]
            if self.kind == "fieldedge"
            else [str(CLIENTS), self.kind, str(self.root), self.gateway.url]
        )
        return subprocess.Popen(
            self.gateway.link.command(self.gateway.link.near, str(EDGE_PYTHON), "-P", *command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def update(self, tries: int = 1) -> dict[str, float]:
        """Update, beginning again where it gives up; what it cost, and how often it began."""
        link, requests, began = self.gateway.link, self.gateway.requests(), time.monotonic()
        up, down = link.up_bytes, link.down_bytes
        begun, is_done = 0, False
        while not is_done and begun < tries:
            begun, process = begun + 1, self.start()
            said, _ = process.communicate()
            is_done = process.returncode == 0
        if not is_done:
            raise SystemExit(f"{self.kind} has not updated in {tries} tries: {said}")
        seconds = time.monotonic() - began
        time.sleep(0.5)  # what closes the connection still comes
        return {
            "requests": self.gateway.requests() - requests,
            "bytes": link.up_bytes - up + link.down_bytes - down,
            "up_bytes": link.up_bytes - up,
            "down_bytes": link.down_bytes - down,
            "seconds": seconds,
            "begun": begun,
        }

    def part_bytes(self) -> int:
        """How much of a bundle lies on the device and is not whole yet."""
        sizes = []
        for part in (self.root / "device").rglob("*.part"):
            with suppress(FileNotFoundError):
                sizes.append(part.stat().st_size)
        return max(sizes, default=0)

    @staticmethod
    def _on_device(*command: str) -> None:
        subprocess.run([str(EDGE_PYTHON), "-P", *command], check=True, capture_output=True)


def until(is_so: Callable[[], bool], complaint: str, within_s: float = 300.0) -> None:
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > within_s:
            raise SystemExit(complaint)
        time.sleep(0.02)


# What is measured


def costs(gateway: Gateway, kind: str) -> dict[str, dict[str, float]]:
    """A first update, one without news, and the next version."""
    gateway.link.conditions = UNHINDERED
    device = Device(gateway, kind)
    found = {"cold": device.update(), "warm poll": device.update()}
    gateway.release()
    return {**found, "warm update": device.update()}


def reverting(gateway: Gateway, times: int = 5) -> dict[str, float]:
    """Seconds from the decision to revert to an answer of the former model; each time on a device of its own."""
    found = []
    for _ in range(times):
        device = Device(gateway, "fieldedge")
        device.update()
        gateway.release()
        device.update()
        command = [str(EDGE_PYTHON), "-P", str(CLIENTS), "revert", str(device.root), "-"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return {name: max(one[name] for one in found) for name in ("kept_s", "from_disk_s")}


def narrow(gateway: Gateway, runs: int) -> dict[str, Any]:
    """Seconds of a first update on the narrow link."""
    gateway.link.conditions = Conditions()
    found: dict[str, Any] = {}
    for kind in ("fieldedge", "ngclient", "plain"):
        times = [Device(gateway, kind).update(tries=10) for _ in range(runs)]
        found[kind] = {
            "seconds": statistics.median(one["seconds"] for one in times),
            "slowest_s": max(one["seconds"] for one in times),
            "bytes": statistics.median(one["bytes"] for one in times),
            "begun": [one["begun"] for one in times],
        }
    gateway.link.conditions = UNHINDERED
    return found


def restarts(gateway: Gateway, kind: str) -> dict[str, float]:
    """The device is killed when a quarter, a half and three quarters of the bundle have come; then it ends it.

    Twice comes what lay on its disk already, and what had come to whoever keeps nothing. What the link still carries
    when the device dies is in the bytes of the wire alone.
    """
    gateway.link.conditions = Conditions(loss=0.0)
    size = gateway.release().stat().st_size
    device = Device(gateway, kind)
    before, twice = gateway.link.down_bytes, 0
    for share in KILLED_AT:
        began, ranges = gateway.link.down_bytes, len(gateway.ranges())
        process = device.start()
        if kind == "fieldedge":
            had = device.part_bytes()
            until(lambda share=share: device.part_bytes() > share * size, f"{kind} came to no {share}")
            asked = gateway.ranges()[ranges:]
            twice += had - (asked[0] if asked else 0)
        else:
            until(lambda began=began: gateway.link.down_bytes - began > 0.25 * size, f"{kind} came to no {share}")
            twice += gateway.link.down_bytes - began
        _kill(process)
    had, ranges = device.part_bytes(), len(gateway.ranges())
    last = device.update()
    asked = gateway.ranges()[ranges:]
    twice += had - (asked[0] if asked else 0)
    gateway.link.conditions = UNHINDERED
    return {
        "restarts": len(KILLED_AT),
        "bytes_twice": twice,
        "bytes": gateway.link.down_bytes - before,
        "last_seconds": last["seconds"],
    }


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.communicate()


def publishing(folder: Path, data: bytes, bundles: int) -> dict[str, Any]:
    """Publish so many versions one after the other, into one repository."""
    repository = ReleaseRepository(folder)
    path, times = folder / "next.zip", []
    for number in range(1, bundles + 1):
        path.write_bytes(of_version(data, str(number)))
        began = time.monotonic()
        repository.publish(path, "agriculture", str(number), CONTRACT.hash)
        times.append(time.monotonic() - began)
    tenth = max(bundles // 10, 1)
    return {
        "bundles": bundles,
        "seconds": sum(times),
        "first_tenth_ms": 1000.0 * statistics.median(times[:tenth]),
        "last_tenth_ms": 1000.0 * statistics.median(times[-tenth:]),
        "timestamp_bytes": (folder / "metadata" / "timestamp.json").stat().st_size,
    }


def show(figures: dict[str, Any]) -> None:
    bundle = figures["bundle"]
    print(f"a bundle of {bundle['bytes'] / 1000:.0f} kB, {bundle['what']}\n")
    print(f"{'an update without loss':<30} {'requests':>9} {'bytes':>9} {'up':>7} {'beside the bundle':>18}")
    for kind, rows in figures["clients"].items():
        for what, row in rows.items():
            beside = row["bytes"] - (0 if what == "warm poll" else bundle["bytes"])
            print(f"{kind + ', ' + what:<30} {row['requests']:>9} {row['bytes']:>9} {row['up_bytes']:>7} {beside:>18}")
    print("\n64 kbit/s, 10 % of the packets lost, 100 ms each way")
    print(f"{'':<30} {'median s':>9} {'slowest':>9} {'bytes':>9}  begun")
    for kind, row in figures["narrow"].items():
        print(f"{kind:<30} {row['seconds']:>9.1f} {row['slowest_s']:>9.1f} {row['bytes']:>9.0f}  {row['begun']}")
    print("\nkilled three times, 64 kbit/s")
    print(f"{'':<30} {'fetched':>9} {'twice':>9} {'last s':>9}")
    for kind, row in figures["restarts"].items():
        print(f"{kind:<30} {row['bytes']:>9.0f} {row['bytes_twice']:>9.0f} {row['last_seconds']:>9.1f}")
    back = figures["reverting"]
    print(
        f"\nback on the former model in {back['kept_s']:.3f} s, in {back['from_disk_s']:.3f} s where it is loaded anew"
    )
    many = figures["publishing"]
    print(
        f"\n{many['bundles']} bundles published in {many['seconds']:.1f} s: {many['first_tenth_ms']:.0f} ms each in "
        f"the first tenth, {many['last_tenth_ms']:.0f} ms in the last\n"
    )
    print_bars(figures["bars"], decimals=0)


if __name__ == "__main__":
    sys.exit(main())
