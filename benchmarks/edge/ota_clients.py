"""The far end of `ota.py`'s link, and the clients beside the device's: python-tuf's own, and none at all.

ota_clients.py gateway SCRATCH PORT | ngclient FOLDER URL | plain FOLDER URL
"""

import json
import sys
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


if __name__ == "__main__":
    what, where, whom = sys.argv[1:]
    if what == "gateway":
        gateway(Path(where), int(whom))
    else:
        {"ngclient": ngclient, "plain": plain}[what](Path(where), whom)
