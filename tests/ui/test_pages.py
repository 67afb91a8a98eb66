"""The pages of the report and Data Docs, and what stays out of reach beside them."""

from pathlib import Path

import pytest
import urllib3

from fieldloop.core.http_server import HttpServer
from fieldloop.ui.pages import create_pages
from tests.ui.browser import get


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("report.html", "report.json", "data_docs/history/index.html", "tuf/keys/root.pem"):
        path = tmp_path / "home" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {name}")
    return tmp_path / "home"


def test_the_report_and_every_data_docs_folder_are_listed_and_served(home: Path) -> None:
    with HttpServer(create_pages(home)) as server:
        status, index = get(f"{server.url}/")
        assert status == 200
        for name in ("report.html", "report.json", "data_docs/history/index.html"):
            assert f'href="{name}"' in index
            assert get(f"{server.url}/{name}") == (200, f"this is {name}")
        assert get(f"{server.url}/data_docs/history/") == (200, "this is data_docs/history/index.html")


def test_pages_that_come_later_are_seen_without_a_restart(tmp_path: Path) -> None:
    with HttpServer(create_pages(tmp_path)) as server:
        assert "make season" in get(f"{server.url}/")[1]
        assert get(f"{server.url}/report.html")[0] == 404
        assert get(f"{server.url}/data_docs/")[0] == 404
        (tmp_path / "report.html").write_text("now")
        (tmp_path / "data_docs").mkdir()
        (tmp_path / "data_docs" / "index.html").write_text("docs")
        assert get(f"{server.url}/report.html") == (200, "now")
        assert get(f"{server.url}/data_docs/") == (200, "docs")


@pytest.mark.parametrize(
    "path", ["/tuf/keys/root.pem", "/data_docs/../tuf/keys/root.pem", "/data_docs/%2e%2e/tuf/keys/root.pem", "//tuf"]
)
def test_the_keys_beside_the_report_are_out_of_reach(home: Path, path: str) -> None:
    with HttpServer(create_pages(home)) as server:
        assert get(f"{server.url}{path}")[0] == 404


def test_a_website_with_a_name_that_points_here_reads_nothing(home: Path) -> None:
    with HttpServer(create_pages(home)) as server:
        for host, status in (("localhost:8000", 200), ("rebound.example:8000", 400), ("10.9.8.7", 400)):
            answer = urllib3.request("GET", f"{server.url}/report.html", headers={"Host": host}, retries=False)
            assert answer.status == status, host
