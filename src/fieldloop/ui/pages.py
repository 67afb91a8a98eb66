"""The report and Data Docs as a small web application.

An address is the file's path below `.fieldloop/`, so links between the pages work here as they do on disk. Only the
report and Data Docs are served: beside them lie the keys that sign releases.
"""

import html
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from fieldloop.core.stored_names import FIRST_RUN

DATA_DOCS = "data_docs"
REPORTS = {"report.html": "The report", "report.json": "Its figures as JSON"}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fieldloop</title><style>
:root{color-scheme:light dark}
body{font:17px/1.6 system-ui,sans-serif;max-width:40rem;margin:12vh auto 4rem;padding:0 1.5rem}
h1{font-size:1.5rem;margin:0}p{margin:.2rem 0 1.6rem;opacity:.75}ul{list-style:none;padding:0}
li{border-top:1px solid #8884}
li a{display:block;padding:.7rem 0;text-decoration:none}li a:hover{text-decoration:underline}
</style></head><body><h1>Fieldloop</h1><p>{lead}</p><ul>{links}</ul></body></html>
"""


class _DataDocs(StaticFiles):
    """Static files whose folder may come later, and may be replaced."""

    async def check_config(self) -> None:
        """A folder that is not there yet is no fault: its pages are not found."""


def create_pages(home_dir: Path) -> Starlette:
    """The application over the files below `home_dir`, as they are at each request."""

    def index(_request: Request) -> Response:
        return HTMLResponse(_index(home_dir))

    def report(request: Request) -> Response:
        path = home_dir / request.url.path.removeprefix("/")
        if not path.is_file():
            return PlainTextResponse(f"There is no report yet: run `{FIRST_RUN}`.\n", status_code=404)
        return FileResponse(path)

    return Starlette(
        routes=[
            Route("/", index),
            *(Route(f"/{name}", report) for name in REPORTS),
            Mount(f"/{DATA_DOCS}", _DataDocs(directory=home_dir / DATA_DOCS, html=True, check_dir=False)),
        ],
        # A website that a browser has open cannot read them by pointing a name of its own at this machine.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False)],
    )


def _index(home_dir: Path) -> str:
    links = [(name, label) for name, label in REPORTS.items() if (home_dir / name).is_file()]
    for page in sorted((home_dir / DATA_DOCS).glob("**/index.html")):
        folder = page.parent.relative_to(home_dir / DATA_DOCS).as_posix()
        links.append((page.relative_to(home_dir).as_posix(), "Data Docs" if folder == "." else f"Data Docs: {folder}"))
    lead = (
        "What the loop did, and what it learned from." if links else f"Nothing here yet: run <code>{FIRST_RUN}</code>."
    )
    items = "".join(f'<li><a href="{html.escape(name)}">{html.escape(label)}</a></li>' for name, label in links)
    return _PAGE.replace("{lead}", lead).replace("{links}", items)
