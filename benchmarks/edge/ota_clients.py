"""The far end of `ota.py`'s link, and the clients beside the device's: python-tuf's own, and none at all.

ota_clients.py gateway SCRATCH PORT | ngclient FOLDER URL | plain FOLDER URL
"""

import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

TARGET = "agriculture/bundle.zip"


def gateway(scratch: Path, port: int) -> None:
    """The real one, which says each request on stdout."""
    import uvicorn

    from fieldloop.gateway.app import create_app

    served = create_app(scratch / "tuf", scratch / "inbox", scratch / "devices.json")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for name, value in scope.get("headers", ()):
            if name == b"range":
                sys.stdout.write(f"range {value.decode()}\n")
                sys.stdout.flush()
        await served(scope, receive, send)

    uvicorn.run(app, host="0.0.0.0", port=port, access_log=True)  # noqa: S104  (of a namespace of its own)


def ngclient(folder: Path, url: str) -> None:
    """As its example does it."""
    from tuf.ngclient import Updater

    for name in ("metadata", "targets"):
        (folder / name).mkdir(exist_ok=True)
    updater = Updater(
        str(folder / "metadata"),
        f"{url}/tuf/metadata/",
        str(folder / "targets"),
        f"{url}/tuf/targets/",
        bootstrap=(folder / "root.json").read_bytes(),
    )
    updater.refresh()
    target = updater.get_targetinfo(TARGET)
    assert target is not None
    if updater.find_cached_target(target) is None:
        updater.download_target(target)


def plain(folder: Path, url: str) -> None:
    """Whatever is offered, by its name in a list that nobody signed, unless it is there already by its tag."""
    note = folder / "tag.json"
    known = json.loads(note.read_text()) if note.exists() else {}
    with urlopen(f"{url}/tuf/targets/newest.txt") as answer:  # noqa: S310  (the benchmark's own address)
        place = answer.read().decode()
    if known.get("place") == place:
        return
    with urlopen(Request(f"{url}/tuf/targets/{place}")) as answer:  # noqa: S310
        (folder / "bundle.zip").write_bytes(answer.read())
    note.write_text(json.dumps({"place": place}))


def revert(folder: Path, _url: str) -> None:
    """Leave the version on watch: seconds until the former one has answered, still loaded and anew from disk."""
    import numpy as np

    from fieldedge.device.config import DeviceDirectory
    from fieldedge.inference.loading import load_model
    from fieldedge.inference.model import Model
    from fieldedge.inference.slots import Slots, TakenBack
    from fieldedge.workloads import known_workload

    workload, slots = known_workload("agriculture"), Slots(folder / "device")
    pointer, rows = slots.pointer(), np.zeros((1, len(workload.contract.features)), np.float32)
    active, former = pointer.active, pointer.former
    assert active is not None and former is not None and pointer.is_on_watch
    model = Model(slots.verified_model(former), workload.contract)
    began = time.monotonic()
    assert slots.go_back(active, "measured", TakenBack(active.version, active.bundle_sha256, "", ""), b"{}")
    model.predict(rows)
    kept_s = time.monotonic() - began
    loaded = load_model(DeviceDirectory(folder / "device"), workload)
    assert loaded is not None and loaded.installed == former
    loaded.model.predict(rows)
    said = {"kept_s": kept_s, "from_disk_s": time.monotonic() - began, "left": active.version, "back": former.version}
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    what, where, whom = sys.argv[1:]
    if what == "gateway":
        gateway(Path(where), int(whom))
    else:
        {"ngclient": ngclient, "plain": plain, "revert": revert}[what](Path(where), whom)
