"""What a gateway counts of itself, in Prometheus's text form.

The labels are few and fixed: nothing that a stranger sends becomes one. Devices and batches are asked of the database
when somebody looks; where it does not answer, their figures are left out and `fieldloop_gateway_database_up` is 0.
"""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fieldedge.system.errors import StoreBusy
from fieldloop.gateway.database import Database, batches, devices, tokens, utc_text
from fieldloop.gateway.enrolment import Now

ROUTES = ("/v1/batches", "/v1/reports", "/v1/enrolments", "/v1/health", "/tuf/metadata", "/tuf/targets", "/metrics")
OTHER = "other"
METHODS = ("GET", "POST", "HEAD")


class Metrics:
    """The figures of one application."""

    def __init__(self, database: Database, now: Now) -> None:
        self._registry = CollectorRegistry()
        labels = ("route", "method", "status")
        self._requests = Counter("fieldloop_gateway_requests", "Answers", labels, registry=self._registry)
        self._seconds = Histogram(
            "fieldloop_gateway_request_seconds", "From the headers to the end", ("route",), registry=self._registry
        )
        self._registry.register(_Stored(database, now))

    def text(self) -> bytes:
        """All figures as they are now."""
        return generate_latest(self._registry)

    def counted(self, app: ASGIApp) -> ASGIApp:
        """The application, whose answers are counted."""

        async def counting(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            route = next((known for known in ROUTES if _is_below(scope["path"], known)), OTHER)
            method = scope["method"] if scope["method"] in METHODS else OTHER
            began_s, status = time.monotonic(), "none"

            async def noting(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = str(message["status"])
                await send(message)

            try:
                await app(scope, receive, noting)
            finally:
                self._requests.labels(route, method, status).inc()
                self._seconds.labels(route).observe(time.monotonic() - began_s)

        return counting


class _Stored(Collector):
    def __init__(self, database: Database, now: Now) -> None:
        self._database = database
        self._now = now

    def describe(self) -> list[Metric]:
        return []  # else the database is asked when this is registered

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("fieldloop_gateway_database_up", "Whether the database answers")
        try:
            with self._database.read() as connection:
                known, revoked = connection.execute(
                    select(func.count(devices.c.device_id), func.count(devices.c.revoked_utc))
                ).one()
                count, size = connection.execute(select(func.count(), func.sum(batches.c.bytes))).one()
                is_open = (tokens.c.redeemed_utc.is_(None), tokens.c.expires_utc > utc_text(self._now()))
                waiting = connection.execute(select(func.count(tokens.c.token_sha256)).where(*is_open)).scalar_one()
        except StoreBusy:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        states = GaugeMetricFamily("fieldloop_gateway_devices", "Devices", labels=["state"])
        states.add_metric(["may send"], known - revoked)
        states.add_metric(["revoked"], revoked)
        yield states
        yield GaugeMetricFamily("fieldloop_gateway_batches", "Batches ever taken", value=count)
        yield GaugeMetricFamily("fieldloop_gateway_batch_bytes", "Their bytes", value=int(size or 0))
        yield GaugeMetricFamily("fieldloop_gateway_open_tokens", "Tokens that can be redeemed", value=waiting)


def _is_below(path: str, route: str) -> bool:
    return path == route or path.startswith(f"{route}/")
