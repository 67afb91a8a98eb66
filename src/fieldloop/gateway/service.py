"""The gateway as a service: the routes of `app.py` on a database, enrolment, health and metrics.

What devices ask for is `app.py`'s, over the registry and the inbox that the database knows of. A former gateway's
folder is taken in when the service starts, and nothing in it is moved. How it is run is `core/http_server.py`'s.
"""

import asyncio
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from fieldedge.system.errors import ConfigError, FieldloopError, StoreBusy
from fieldedge.system.keys import is_signed_by
from fieldedge.transfer.enrolment import ENROLMENTS_PATH, PREFIX
from fieldloop.core.paths import Paths
from fieldloop.gateway.admission import AdmissionLimits
from fieldloop.gateway.app import device_routes, error_answer, open_repository
from fieldloop.gateway.database import Database
from fieldloop.gateway.enrolment import EnrolledDevices, EnrolmentRefused, Now
from fieldloop.gateway.metrics import Metrics
from fieldloop.gateway.recorded import RecordedInbox
from fieldloop.gateway.reports import Reports

MAX_ENROLMENT_BYTES = 4_096
ENROLMENT_TIMEOUT_S = 20.0
STATUS = {"unknown-token": 401, "not-signed": 401, "expired-token": 403, "used-token": 403, "revoked-device": 403}
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """The application, and what it took in of a former gateway's folder."""

    app: ASGIApp
    api: FastAPI
    new_devices: int
    new_batches: int


class Enrolment(BaseModel):
    """What a device sends to be enrolled; `public_key` is 64 hex digits."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    device_id: str = Field(min_length=1, max_length=63)
    public_key: str = Field(pattern=r"^[0-9a-fA-F]{64}$")
    token: str = Field(min_length=1, max_length=200)


def create_service(
    paths: Paths,
    database: Database,
    now: Now = lambda: datetime.now(UTC),
    admission: AdmissionLimits | None = None,
) -> Service:
    """The service over a clone's folders and a database.

    Raises:
        ConfigError: there is no release repository, or the device registry is lost.
        ReleaseError: the repository is damaged, or a key that the gateway needs is not there.
        StoreBusy: the database does not answer.
    """
    repository = open_repository(paths.tuf)
    enrolled = EnrolledDevices(paths.device_registry, database, now)
    inbox = RecordedInbox(paths.inbox, database)
    new_devices, new_batches = enrolled.settle(), inbox.list_former()
    metrics = Metrics(database, now)
    api = FastAPI(title="Fieldloop gateway", openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None)

    @api.get("/v1/health", tags=["health"])
    @api.get("/v1/health/live", tags=["health"])
    async def live() -> dict[str, bool]:
        """Whether the process answers."""
        return {"ok": True}

    @api.get("/v1/health/ready", tags=["health"], responses={503: {"description": "what is missing"}})
    def ready() -> JSONResponse:
        """Whether a batch could be taken and acknowledged now."""
        missing = _missing(paths, database, enrolled)
        return JSONResponse({"ok": not missing, "missing": missing}, 503 if missing else 200)

    @api.get("/metrics", tags=["health"], response_class=Response)
    def figures() -> Response:
        """Figures for Prometheus."""
        return Response(metrics.text(), media_type=METRICS_TYPE)

    schema = {"application/json": {"schema": Enrolment.model_json_schema()}}

    @api.post(
        ENROLMENTS_PATH,
        tags=["devices"],
        status_code=201,
        openapi_extra={"requestBody": {"required": True, "content": schema}},
    )
    async def enrol(request: Request) -> JSONResponse:
        """Redeem a one-time token; the header Fieldloop-Signature is the key's own over prefix and body."""
        return await _enrol(request, enrolled)

    reports = Reports(paths.reports)
    api.router.routes.extend(
        device_routes(paths.tuf, repository, inbox, enrolled, reports, now=now, admission=admission)
    )
    return Service(metrics.counted(api), api, new_devices, new_batches)


async def _enrol(request: Request, enrolled: EnrolledDevices) -> JSONResponse:
    try:
        async with asyncio.timeout(ENROLMENT_TIMEOUT_S):
            body = await _bounded(request)
        asked = Enrolment.model_validate_json(body)
        signature = request.headers.get("fieldloop-signature", "")
        if not await run_in_threadpool(is_signed_by, asked.public_key, PREFIX + body, signature):
            raise EnrolmentRefused("not-signed", "the request is not signed with the key that it names")
        is_new = await run_in_threadpool(enrolled.redeem, asked.token, asked.device_id, asked.public_key)
    except ValidationError as error:
        where = ", ".join(".".join(map(str, one["loc"])) or "the body" for one in error.errors(include_input=False))
        return _refusal(400, "not-an-enrolment", f"not as expected: {where}")
    except EnrolmentRefused as refused:
        _log.warning("enrolment refused: %s: %s", refused.name, refused)
        return _refusal(STATUS.get(refused.name, 409), refused.name, str(refused))
    except ClientDisconnect:
        return error_answer(400, "the request broke off; send it again")
    except TimeoutError:
        return error_answer(408, "the request did not come in time; send it again")
    except (ConfigError, OSError, StoreBusy):
        _log.exception("an enrolment could not be stored")
        return error_answer(503, "the enrolment could not be stored here; send it again later")
    return JSONResponse({"enrolled": asked.device_id}, status_code=201 if is_new else 200)


async def _bounded(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_ENROLMENT_BYTES:
            raise EnrolmentRefused("too-large", f"an enrolment has at most {MAX_ENROLMENT_BYTES} bytes")
    return bytes(body)


def _refusal(status: int, name: str, message: str) -> JSONResponse:
    return JSONResponse({"refusal": name, "error": message}, status_code=status, headers={"Connection": "close"})


def _missing(paths: Paths, database: Database, enrolled: EnrolledDevices) -> list[str]:
    """What keeps a batch from being taken now, in words that name no place on this machine."""
    missing = []
    try:
        with database.read() as connection:
            connection.execute(select(1))
    except StoreBusy:
        _log.exception("the database does not answer")
        missing.append("the database does not answer")
    if not os.access(paths.inbox, os.W_OK):
        missing.append("the inbox cannot be written")
    if not (paths.tuf / "metadata" / "timestamp.json").is_file():
        missing.append("there is no signed release metadata")
    try:
        enrolled.public_keys()
    except FieldloopError:
        _log.exception("the device registry cannot be read")
        missing.append("the device registry cannot be read")
    return missing
