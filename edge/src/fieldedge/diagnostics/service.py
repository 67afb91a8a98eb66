"""The service, its page, and the link to the gateway."""

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fieldedge.diagnostics.finding import Finding, Subject
from fieldedge.system.errors import ConfigError, LinkError
from fieldedge.system.locks import is_held

if TYPE_CHECKING:
    from fieldedge.system.http import Answer

LINK_TIMEOUT_S = 4.0


def service(subject: Subject) -> Iterator[Finding]:
    if is_held(subject.directory.lock("run")):
        yield Finding("service", "ok", "running")
    else:
        yield Finding("service", "warn", "not running: nothing is taken in or decided", "systemctl start fieldedge")


def page(subject: Subject) -> Iterator[Finding]:
    page = None if subject.config is None else subject.config.page
    if page is None or not page.is_on or page.port == 0:
        return
    host = f"[{page.host}]" if ":" in page.host else page.host
    url = f"http://{host}:{page.port}/"
    if not is_held(subject.directory.lock("run")):
        try:
            family = socket.AF_INET6 if ":" in page.host else socket.AF_INET
            with socket.socket(family, socket.SOCK_STREAM) as taken:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken.bind((page.host, page.port))
        except OSError as error:
            yield Finding("page", "fail", f"{url} cannot be served: {error}", "choose another [page] port")
        else:
            yield Finding("page", "ok", f"{url} is free for it")
        return
    answered_by = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(page.host, host)  # noqa: S104 - asked, not bound
    try:
        answer = _get(f"http://{answered_by}:{page.port}/health")
    except LinkError as error:
        todo = "see the log, journalctl -u fieldedge; another program may have the port"
        yield Finding("page", "fail", f"{url} does not answer: {error}", todo)
        return
    status = answer.status
    if not _is_page(answer):
        found = f"another program answers at {url}: the page cannot be served there"
        yield Finding(
            "page", "fail", found, f"choose another port in [page], or end what holds it: ss -ltnp sport = :{page.port}"
        )
    elif status == 200:
        yield Finding("page", "ok", f"{url} answers")
    else:
        yield Finding("page", "warn", f"{url} answers with {status}", "open it: it says what is wrong")


def _is_page(answer: "Answer") -> bool:
    """Whether that is the page's word of its own health, and no other program's."""
    from fieldedge.system.http import json_value

    said = json_value(answer.body)
    return isinstance(said, dict) and said.keys() == {"is_ok", "problems"}


def link(subject: Subject) -> Iterator[Finding]:
    if subject.config is None:
        return
    if subject.config.link is None:
        yield Finding("link", "ok", "none is set: a stick is the way (fieldedge export, fieldedge import)")
        return
    from fieldedge.system.http import json_value, redirected

    gateway = subject.config.link.gateway
    try:
        answer = _get(f"{gateway.rstrip('/')}/v1/health")
    except ConfigError as error:
        yield Finding("link", "fail", str(error), "mend the proxy's address in the service's environment")
        return
    except LinkError as error:
        yield Finding("link", "warn", str(error), "check the modem and the address; everything is kept meanwhile")
        return
    said = json_value(answer.body)
    if answer.status == 200 and isinstance(said, dict) and said.get("ok") is True:
        yield Finding("link", "ok", f"{gateway} answers")
    elif answer.location is not None:
        yield Finding("link", "fail", f"{gateway} {redirected(answer)}", "mend [link] gateway in device.toml")
    else:
        found = f"{gateway} answers {answer.status}, and not as a gateway does"
        yield Finding("link", "fail", found, "mend [link] gateway in device.toml")


def _get(url: str) -> "Answer":
    import urllib3

    from fieldedge.system.http import ask

    return ask("GET", url, urllib3.Timeout(total=LINK_TIMEOUT_S))
