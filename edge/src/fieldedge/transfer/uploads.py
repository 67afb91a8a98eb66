"""Sending what was selected, until the gateway says that it holds it.

Only an acknowledgement that names the SHA-256 of the bytes sent, and that the gateway signed for this device, frees a
batch (`acknowledgements.py`). Any other answer keeps it in the outbox, and the next call sends the same bytes again.
"""

import logging
from dataclasses import asdict, dataclass, field
from typing import Any

import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldedge.contract import Record
from fieldedge.contract.batches import PERIOD_KEY, as_header, batch_id
from fieldedge.contract.update_report import signed_part
from fieldedge.storage.store import Store
from fieldedge.system.errors import ConfigError, DataError, LinkError
from fieldedge.system.http import Answer, Bounds, Patience, ask, json_value, redirected
from fieldedge.system.keys import sign
from fieldedge.transfer.acknowledgements import AcknowledgementError, Acknowledger
from fieldedge.transfer.opening import opening_headers
from fieldedge.transfer.outbox import Outbox
from fieldedge.transfer.packing import Packer
from fieldedge.transfer.reports import REPORTS_PATH, report_id

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
CREATED, KNOWN = 201, 200
NOT_ACKNOWLEDGED = "not_acknowledged"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gateway:
    """Where to send, as whom, and who judges what it answers; how long all of it may take, and each batch."""

    url: str
    device_id: str
    key: Ed25519PrivateKey
    acknowledger: Acknowledger
    bounds: Bounds = field(default_factory=Bounds)
    patience: Patience = field(default_factory=Patience)

    def post(self, body: bytes) -> None:
        """Send one batch. Returns only when the gateway has acknowledged exactly these bytes.

        Raises:
            LinkError: no answer, or not provably the gateway's; try again later.
            ConfigError: the gateway does not accept this device.
            DataError: the gateway refuses the batch itself.
        """
        answered = self._request(body)
        status, answer = answered.status, json_value(answered.body)
        if status in (CREATED, KNOWN):
            self.acknowledger.check(answer, self.device_id, batch_id(body))
        elif status == 401:
            raise ConfigError(
                f"{self.url} does not accept {self.device_id} ({_reason(answer)}): register the device's public key"
            )
        elif status in (400, 413):
            raise DataError(f"{self.url} refuses batch {batch_id(body)[:12]} ({_reason(answer)}); it stays here")
        elif answered.location is not None:
            raise LinkError(f"{self.url} {redirected(answered)}; the batch is kept, try again later")
        else:
            raise LinkError(f"{self.url} answered {status} ({_reason(answer)}); the batch is kept, try again later")

    def post_report(self, data: bytes) -> bool:
        """Send one report of `reports.py`. True when the gateway has acknowledged exactly these bytes, False where it
        takes none yet.

        Raises:
            LinkError, ConfigError, DataError: as `post`.
        """
        answered = self._ask(REPORTS_PATH, data, {"Fieldloop-Signature": sign(self.key, signed_part(data))})
        status, answer = answered.status, json_value(answered.body)
        if status in (CREATED, KNOWN):
            self.acknowledger.check(answer, self.device_id, report_id(data))
        elif status in (404, 405):
            return False
        elif status == 401:
            raise ConfigError(f"{self.url} does not accept {self.device_id} ({_reason(answer)})")
        elif status in (400, 413):
            raise DataError(f"{self.url} refuses report {report_id(data)[:12]} ({_reason(answer)})")
        else:
            raise LinkError(f"{self.url} answered {status} ({_reason(answer)}); the report is kept")
        return True

    def _request(self, body: bytes) -> Answer:
        headers = {
            "Fieldloop-Signature": sign(self.key, body),
            **opening_headers(self.key, self.device_id, body),
        }
        try:
            return self._ask("/v1/batches", body, headers)
        except LinkError as error:
            raise LinkError(f"{error}; the batch is kept, try again later") from error

    def _ask(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        whose = {"Content-Type": "application/octet-stream", "Fieldloop-Device": self.device_id}
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
        url = f"{self.url.rstrip('/')}{path}"
        return ask("POST", url, timeout, body, {**whose, **headers}, self.bounds, self.patience)


def sync(store: Store, outbox: Outbox, packer: Packer, gateway: Gateway) -> Record:
    """Prepare what is due in every episode, send all that waits, and report the latest one.

    A batch that the gateway refuses does not hold up the others; it is reported at the end.

    Raises:
        LinkError: the link failed; all that is not acknowledged is kept.
        ConfigError: the gateway does not accept this device.
        DataError: the gateway refused a batch.
    """
    outbox.settle()
    episodes = store.episodes()
    for episode in episodes:
        packer.prepare(outbox, episode)
    refused: list[DataError] = []
    for batch, data in outbox.waiting():
        try:
            gateway.post(data)
        except DataError as error:
            refused.append(error)
            continue
        except AcknowledgementError as error:
            store.add_event(NOT_ACKNOWLEDGED, str(error), {"batch": batch.batch_id})
            raise
        outbox.acknowledged(batch.batch_id)
        _log.info("acknowledged batch=%s bytes=%d", batch.batch_id[:12], batch.bytes)
    if refused:
        raise refused[0]
    return sync_report(store, episodes[-1] if episodes else None)


def sync_report(store: Store, episode: str | None) -> Record:
    """How much of an episode was collected, selected and acknowledged, over all calls."""
    return {PERIOD_KEY: as_header(episode), **asdict(store.totals(episode or ""))}


def _reason(answer: Any) -> str:
    return str(answer.get("error", "no reason given"))[:200] if isinstance(answer, dict) else "not the gateway's answer"
