"""The gateway's web application: signed releases out, signed batches in.

A batch is acknowledged only after it and its envelope are fsynced in the inbox and were read back from it, one that
came before too; anything else is an error that tells the device to keep it. An acknowledgement is signed, for this
batch of this device alone, with the key that the releases' metadata names for it: without that no device believes it.
A device is known before a byte of its batch is read, and proves by a signed opening that the batch is its own; who
proves nothing waits behind who does. Releases are plain files that carry their own signatures; the
signing keys beside them are out of reach. What a batch holds is the ingest's business; how many are read at once,
`admission.py`'s; how the application is run, `core/http_server.py`'s.
"""

import base64
import binascii
import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from fieldedge.contract.batches import MAX_PACKED_BYTES
from fieldedge.contract.update_report import MAX_REPORT_BYTES
from fieldedge.system.errors import ConfigError, DataError, PermanentError, ReleaseError, StoreBusy, StoreFailed
from fieldedge.transfer.opening import BATCH, ONCE, OPENING, opening
from fieldedge.transfer.reports import REPORTS_PATH
from fieldloop.gateway.admission import Admission, AdmissionLimits, Busy, TooSlow, Turn
from fieldloop.gateway.devices import DeviceRegistry
from fieldloop.gateway.inbox import Inbox
from fieldloop.gateway.reports import REPORTS, Reports
from fieldloop.release import ReleaseRepository

MAX_UPLOAD_BYTES = MAX_PACKED_BYTES
MAX_OPENINGS = 65_536
_OPENED = re.compile(r"[0-9a-f]{64} [0-9a-f]{32}")
_log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


def create_app(
    tuf_dir: Path,
    inbox_dir: Path,
    registry_path: Path,
    max_upload_bytes: int = MAX_UPLOAD_BYTES,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    admission: AdmissionLimits | None = None,
    reports_dir: Path | None = None,
) -> Starlette:
    """The application over a release repository, an inbox and a device registry; reports lie beside the inbox, unless
    `reports_dir` says where.

    Raises:
        ConfigError: there is no release repository in `tuf_dir`.
        ReleaseError: the repository is damaged, or a key that the gateway needs is not there.
    """
    repository = open_repository(tuf_dir)
    reports = Reports(reports_dir or inbox_dir.with_name(REPORTS))
    devices = DeviceRegistry(registry_path)
    routes = device_routes(tuf_dir, repository, Inbox(inbox_dir), devices, reports, max_upload_bytes, now, admission)
    return Starlette(routes=[Route("/v1/health", _health, methods=["GET"]), *routes])


def open_repository(tuf_dir: Path) -> ReleaseRepository:
    """The release repository, which names a key for acknowledgements.

    Raises:
        ConfigError: there is none in `tuf_dir`.
        ReleaseError: it is damaged, or a key that the gateway needs is not there.
    """
    for directory in (tuf_dir / "metadata", tuf_dir / "targets"):
        if not directory.is_dir():
            raise ConfigError(f"{directory} is not there: publish a release, or point the gateway at its repository")
    repository = ReleaseRepository(tuf_dir)
    repository.delegate_acknowledgements()
    return repository


def device_routes(
    tuf_dir: Path,
    repository: ReleaseRepository,
    inbox: Inbox,
    registry: DeviceRegistry,
    reports: Reports,
    max_upload_bytes: int = MAX_UPLOAD_BYTES,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    admission: AdmissionLimits | None = None,
) -> list[BaseRoute]:
    """What devices ask for: batches and reports up, releases down; of a run's application and of the service."""
    limits = Admission(admission or AdmissionLimits())
    uploads = _Uploads(inbox, registry, repository, max_upload_bytes, now, limits, reports)
    return [
        Route("/v1/batches", uploads.receive, methods=["POST"]),
        Route(REPORTS_PATH, uploads.receive_report, methods=["POST"]),
        Mount("/tuf/metadata", _Metadata(tuf_dir / "metadata", repository)),
        Mount("/tuf/targets", StaticFiles(directory=tuf_dir / "targets")),
    ]


class _Metadata(StaticFiles):
    """The signed metadata. What expires soon is signed anew when a device asks, whether or not a flow does it."""

    def __init__(self, directory: Path, repository: ReleaseRepository) -> None:
        super().__init__(directory=directory)
        self._repository = repository

    async def get_response(self, path: str, scope: Scope) -> Response:
        if path == "timestamp.json":
            await run_in_threadpool(self._refresh)
        return await super().get_response(path, scope)

    def _refresh(self) -> None:
        try:
            self._repository.refresh_if_due()
        except (ConfigError, OSError, ReleaseError, StoreBusy):
            _log.exception("the metadata could not be signed anew; devices are served what there is")


class _Refused(PermanentError):  # noqa: N818 - an answer to the device
    """What was sent is wrong; sent again, it is refused again."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class _Uploads:
    inbox: Inbox
    registry: DeviceRegistry
    repository: ReleaseRepository
    max_bytes: int
    now: Callable[[], datetime]
    admission: Admission
    reports: Reports
    openings: dict[tuple[str, str], None] = field(default_factory=dict)  # the newest that were used, oldest first

    async def receive(self, request: Request) -> JSONResponse:
        try:
            device_id, signature = _sender(request)
            await self._asked(self._check_known, device_id)
            size = self._size(request)
            opened = await self._opened(request, device_id, size)
            if opened is not None and await self._is_held(device_id, opened, signature):
                async for _ in request.stream():  # its sender listens when it has sent all; nothing is kept of it
                    pass
                return await run_in_threadpool(self._acknowledgement, opened, device_id, 200)
            async with self.admission.turn(device_id, size, opened) as turn:
                body = await self._body(request, turn)
                turn.is_read()
                sha256 = hashlib.sha256(body).hexdigest()
                if opened not in (None, sha256):
                    raise _Refused(400, f"the batch is {sha256[:12]}, and not {opened[:12]} as its headers say")
                is_new = await run_in_threadpool(self._keep, body, device_id, signature)
        except _Refused as refused:
            _log.warning("batch refused: %s", refused)
            return error_answer(refused.status, str(refused))
        except ClientDisconnect:
            return error_answer(400, "the batch broke off; send it again")
        except TooSlow as slow:
            return error_answer(408, str(slow))
        except Busy as busy:
            return error_answer(503, str(busy))
        except ConfigError:
            _log.exception("no device can be known")
            return error_answer(503, "the devices' registry cannot be read here; keep it and send it again later")
        except (OSError, StoreBusy):
            _log.exception("a batch could not be stored")
            return error_answer(503, "the batch could not be stored here; keep it and send it again later")
        return await run_in_threadpool(self._acknowledgement, sha256, device_id, 201 if is_new else 200)

    async def receive_report(self, request: Request) -> JSONResponse:
        """Keep what a device says of its model. A few thousand bytes: they are read whole before they are judged."""
        try:
            device_id, signature = _sender(request)
            await self._asked(self._check_known, device_id)
            async with self.admission.turn(device_id, MAX_REPORT_BYTES) as turn:
                body = bytearray()
                async for chunk in request.stream():
                    body += chunk
                    turn.has(len(body))
                    if len(body) > MAX_REPORT_BYTES:
                        raise _Refused(413, f"the report has more than {MAX_REPORT_BYTES} bytes")
                turn.is_read()
                is_new = await run_in_threadpool(self._keep_report, bytes(body), device_id, signature)
        except _Refused as refused:
            _log.warning("report refused: %s", refused)
            return error_answer(refused.status, str(refused))
        except ClientDisconnect:
            return error_answer(400, "the report broke off; send it again")
        except TooSlow as slow:
            return error_answer(408, str(slow))
        except Busy as busy:
            return error_answer(503, str(busy))
        except ConfigError:
            _log.exception("no device can be known")
            return error_answer(503, "the devices' registry cannot be read here; keep it and send it again later")
        except (OSError, StoreBusy):
            _log.exception("a report could not be stored")
            return error_answer(503, "the report could not be stored here; keep it and send it again later")
        sha256 = hashlib.sha256(body).hexdigest()
        return await run_in_threadpool(self._acknowledgement, sha256, device_id, 201 if is_new else 200, is_batch=False)

    def _keep_report(self, body: bytes, device_id: str, signature: str) -> bool:
        if not self.registry.is_report_signed_by(device_id, body, signature):
            raise _Refused(401, f"not signed by a registered device {device_id!r}: register it, or check its key")
        try:
            return self.reports.keep(body, device_id, signature, self.now())
        except DataError as error:
            raise _Refused(400, str(error)) from error

    def _acknowledgement(self, sha256: str, device_id: str, status: int, *, is_batch: bool = True) -> JSONResponse:
        try:
            signature = self.repository.sign_acknowledgement(device_id, sha256, is_batch=is_batch)
        except (ReleaseError, StoreFailed):
            _log.exception("batch %s is held, but cannot be acknowledged", sha256[:12])
            return error_answer(
                503, "the batch is held, but cannot be acknowledged now; keep it and send it again later"
            )
        return JSONResponse({"acknowledged": sha256, "signature": signature}, status_code=status)

    async def _asked(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask the registry. At once where that waits for nobody: senders are admitted in the order of their coming."""
        if self.registry.waits:
            return await run_in_threadpool(question, *args, **kwargs)
        return question(*args, **kwargs)

    def _check_known(self, device_id: str) -> None:
        if self.registry.key_of(device_id) is None:
            raise _Refused(401, self.registry.why_unknown(device_id))

    def _size(self, request: Request) -> int:
        """How much memory the batch may take: what it says, or the most where it says nothing."""
        declared = request.headers.get("content-length", "")
        if not (declared.isascii() and declared.isdigit()):
            return self.max_bytes
        if int(declared) > self.max_bytes:
            raise _Refused(413, f"the batch has {declared} bytes; at most {self.max_bytes} are taken")
        return int(declared)

    async def _opened(self, request: Request, device_id: str, size: int) -> str | None:
        """The batch whose opening the device signed, or None: a device of before signs none, a proxy hides the size."""
        sha256, once, signature = (request.headers.get(name, "") for name in (BATCH, ONCE, OPENING))
        if not signature or "content-length" not in request.headers:
            return None
        if not _OPENED.fullmatch(f"{sha256} {once}"):
            raise _Refused(400, f"{BATCH} and {ONCE} are not the hex digits that open a batch")
        said = opening(device_id, sha256, size, once)
        if not await self._asked(self.registry.is_opened_by, device_id, said, signature):
            raise _Refused(401, f"its headers are not signed by the registered device {device_id!r}: check its key")
        if (device_id, once) in self.openings:
            raise _Refused(409, "these headers were used before; send the batch again with new ones")
        self.openings[device_id, once] = None
        if len(self.openings) > MAX_OPENINGS:
            del self.openings[next(iter(self.openings))]
        return sha256

    async def _is_held(self, device_id: str, opened: str, signature: str) -> bool:
        """Whether the inbox holds it. The disk is asked in a turn that takes no room and no sender can prolong."""
        async with self.admission.turn(device_id, 0, opened) as turn:
            turn.is_read()
            return await run_in_threadpool(self.inbox.holds, device_id, opened, signature)

    async def _body(self, request: Request, turn: Turn) -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            turn.has(len(body))
            if len(body) > self.max_bytes:
                raise _Refused(413, f"the batch has more than {self.max_bytes} bytes, which is the most that is taken")
        if not body:
            raise _Refused(400, "the batch is empty")
        return bytes(body)

    def _keep(self, body: bytes, device_id: str, signature: str) -> bool:
        if not self.registry.is_signed_by(device_id, body, signature):
            raise _Refused(401, f"not signed by a registered device {device_id!r}: register it, or check its key")
        try:
            return self.inbox.keep(body, device_id, signature, self.now())
        except DataError as error:
            raise _Refused(400, str(error)) from error


async def _health(_: Request) -> JSONResponse:
    return JSONResponse({"ok": True})


def _sender(request: Request) -> tuple[str, str]:
    device_id = request.headers.get("fieldloop-device", "")
    encoded = request.headers.get("fieldloop-signature", "")
    if not device_id or not encoded:
        raise _Refused(400, "the headers Fieldloop-Device and Fieldloop-Signature are both needed")
    try:
        base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise _Refused(400, "Fieldloop-Signature is not base64") from None
    return device_id, encoded


def error_answer(status: int, message: str) -> JSONResponse:
    """An answer that ends the connection: what is left of a body is read by nobody."""
    headers = {"Connection": "close", **({"Retry-After": "10"} if status == 503 else {})}
    return JSONResponse({"error": message}, status_code=status, headers=headers)
