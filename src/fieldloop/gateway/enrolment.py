"""Who may send, by the gateway's database: devices that redeemed a one-time token, and those of `devices.json`.

`devices.json` says whose a signature is and keeps revoked devices, since ingestion judges what they sent before. The
database says who may send now. A line that a person adds to the file counts at once: it is taken into the database
when its device is first asked about. A revocation counts from the moment when its transaction is over, and an upload
that is under way then is refused when it has come. A token is kept as its SHA-256 alone.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, Row, func, insert, select, update

from fieldedge.system.errors import ConfigError, PermanentError
from fieldloop.core.paths import Paths
from fieldloop.core.settings import Settings
from fieldloop.gateway.database import Database, audit, batches, devices, note, tokens, utc_text
from fieldloop.gateway.devices import DeviceRegistry

TOKEN_BYTES = 32
MAX_TOKENS = 100_000
BY_FILE = "devices.json"
Now = Callable[[], datetime]


class EnrolmentRefused(PermanentError):  # noqa: N818 - an answer to the device
    """The device is not enrolled. `name` is the refusal's: what programs tell it by."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Enrolled:
    """A device as an operator sees it. Times are UTC as ISO text; `revoked_utc` is None where it may send."""

    device_id: str
    enrolled_utc: str
    enrolled_by: str
    revoked_utc: str | None
    batches: int
    last_batch_utc: str | None


@dataclass(frozen=True)
class AuditLine:
    """Who did what to which device or token, and when (UTC as ISO text)."""

    at_utc: str
    who: str
    what: str
    subject: str
    detail: str


class EnrolledDevices(DeviceRegistry):
    """The registry in one file, of which the database says who may send now."""

    waits = True

    def __init__(self, path: Path, database: Database, now: Now = lambda: datetime.now(UTC)) -> None:
        super().__init__(path)
        self._database = database
        self._now = now

    def key_of(self, device_id: str) -> str | None:
        """The public key of a device that may send, in hex, or None where it may not.

        Raises:
            ConfigError: the file is not a registry, or is lost; or it has another key than the database.
            StoreBusy: the database does not answer.
        """
        key = super().key_of(device_id)
        if key is None:
            return None
        row = self._row(device_id) or self._taken_in(device_id)
        if row is None or row.revoked_utc is not None:
            return None
        if row.public_key != key.lower():
            raise ConfigError(
                f"{device_id} has another key in {self.path} than in {self._database.name}. If the device was made "
                "anew, give it another id; else bring the line back from a backup"
            )
        return key

    def why_unknown(self, device_id: str) -> str:
        row = self._row(device_id)
        if row is not None and row.revoked_utc is not None:
            return f"{device_id} was revoked at {row.revoked_utc}: ask its operator"
        return super().why_unknown(device_id)

    def check(self, public_keys: Mapping[str, str]) -> dict[str, str]:
        known = super().check(public_keys)
        for device_id in public_keys:
            row = self._row(device_id)
            if row is not None and row.revoked_utc is not None:
                raise ConfigError(
                    f"{device_id} was revoked at {row.revoked_utc}, and stays so: make the device anew with another id"
                )
        return known

    def settle(self) -> int:
        """Let file and database know the same devices; how many the database had not. Repeatable."""
        known = self.public_keys()
        with self._database.write() as connection:
            new = self._take_in(connection, known)
            rows = connection.execute(select(devices.c.device_id, devices.c.public_key)).all()
        lost = {row.device_id: row.public_key for row in rows if row.device_id not in known}
        if lost:  # the file is from a backup that is older than the database
            DeviceRegistry(self.path).register(lost)
        return new

    def make_tokens(self, count: int, lifetime: timedelta, who: str) -> list[str]:
        """New one-time tokens. They are nowhere but in the answer.

        Raises:
            ConfigError: none, or more than anybody needs at once, are asked for; or they would have expired already.
        """
        if not 1 <= count <= MAX_TOKENS or lifetime <= timedelta(0):
            raise ConfigError(f"{count} tokens for {lifetime} were asked for; expected 1 to {MAX_TOKENS}, for a time")
        made = [secrets.token_urlsafe(TOKEN_BYTES) for _ in range(count)]
        now = self._now()
        rows = [
            {
                "token_sha256": _hash(token),
                "made_utc": utc_text(now),
                "made_by": who,
                "expires_utc": utc_text(now + lifetime),
            }
            for token in made
        ]
        with self._database.write() as connection:
            connection.execute(insert(tokens), rows)
            note(connection, now, who, "tokens made", f"{count} tokens", f"until {rows[0]['expires_utc']}")
        return made

    def redeem(self, token: str, device_id: str, public_key: str) -> bool:
        """Enrol a device that has proven that the key is its own. False where it was enrolled with this token before.

        Raises:
            EnrolmentRefused: the token, the id or the key is refused; a refusal spends no token.
            StoreBusy, OSError: it could not be stored; ask again.
        """
        try:
            return self._redeem(token, device_id, public_key.lower())
        except EnrolmentRefused as refused:
            if refused.name != "unknown-token":  # what a stranger makes up fills no log
                with self._database.write() as connection:
                    note(connection, self._now(), device_id[:64], "enrolment refused", _named(token), refused.name)
            raise

    def _redeem(self, token: str, device_id: str, public_key: str) -> bool:
        now = self._now()
        with self._database.write() as connection:
            row = connection.execute(select(tokens).where(tokens.c.token_sha256 == _hash(token))).one_or_none()
            if row is None:
                raise EnrolmentRefused("unknown-token", "there is no such token: ask the operator for one")
            self._check_free(device_id, public_key)
            if row.redeemed_utc is not None:
                known = self.public_keys().get(device_id, "").lower()
                if (row.device_id, known) == (device_id, public_key):
                    return False
                raise EnrolmentRefused("used-token", "the token was redeemed: ask the operator for another")
            if row.expires_utc <= utc_text(now):
                raise EnrolmentRefused("expired-token", f"the token was good until {row.expires_utc}: ask for another")
            spend = update(tokens).where(tokens.c.token_sha256 == row.token_sha256, tokens.c.redeemed_utc.is_(None))
            spent = connection.execute(spend.values(redeemed_utc=utc_text(now), device_id=device_id))
            if spent.rowcount != 1:  # another one was quicker
                raise EnrolmentRefused("used-token", "the token was redeemed: ask the operator for another")
            self._add(connection, device_id, public_key, now, f"token {_named(token)}")
            note(connection, now, device_id, "enrolled", device_id, f"token {_named(token)}")
            try:
                # Before the commit: a device that may send is always one whose batches can be judged.
                DeviceRegistry(self.path).register({device_id: public_key})
            except ConfigError as error:
                raise EnrolmentRefused("no-such-name-or-key", str(error)) from error
        return True

    def _check_free(self, device_id: str, public_key: str) -> None:
        row, known = self._row(device_id), self.public_keys()
        if row is not None and row.revoked_utc is not None:
            raise EnrolmentRefused("revoked-device", f"{device_id} was revoked: make the device anew with another id")
        if known.get(device_id, public_key).lower() != public_key:
            raise EnrolmentRefused("device-exists", f"{device_id} is enrolled with another key: choose another id")
        holders = [other for other, key in known.items() if key.lower() == public_key and other != device_id]
        if holders:
            raise EnrolmentRefused("key-exists", "the key is another device's: make this device anew")

    def revoke(self, device_id: str, who: str) -> bool:
        """Take nothing more of a device, from now on. False where it was revoked before.

        Raises:
            ConfigError: there is no such device.
        """
        self.settle()
        now = self._now()
        with self._database.write() as connection:
            found = connection.execute(select(devices).where(devices.c.device_id == device_id)).one_or_none()
            if found is None:
                raise ConfigError(f"there is no device {device_id!r}: `fieldloop device list` shows those that are")
            if found.revoked_utc is not None:
                return False
            connection.execute(
                update(devices).where(devices.c.device_id == device_id).values(revoked_utc=utc_text(now))
            )
            note(connection, now, who, "revoked", device_id)
        return True

    def all(self) -> list[Enrolled]:
        """All devices, by id, with how much came of each."""
        self.settle()
        count, last = func.count(batches.c.sha256), func.max(batches.c.received_utc)
        both = devices.outerjoin(batches, batches.c.device_id == devices.c.device_id)
        columns = (devices.c.device_id, devices.c.enrolled_utc, devices.c.enrolled_by, devices.c.revoked_utc)
        asked = select(*columns, count, last).select_from(both).group_by(*columns).order_by(devices.c.device_id)
        with self._database.read() as connection:
            return [Enrolled(*row) for row in connection.execute(asked)]

    def audit(self, newest: int = 100) -> list[AuditLine]:
        """The newest lines of the audit log, the oldest of them first."""
        asked = select(audit).order_by(audit.c.number.desc()).limit(newest)
        with self._database.read() as connection:
            return [AuditLine(*row[1:]) for row in connection.execute(asked)][::-1]

    def _row(self, device_id: str) -> Row[tuple[str, ...]] | None:
        with self._database.read() as connection:
            return connection.execute(select(devices).where(devices.c.device_id == device_id)).one_or_none()

    def _taken_in(self, device_id: str) -> Row[tuple[str, ...]] | None:
        self.settle()
        return self._row(device_id)

    def _take_in(self, connection: Connection, known: Mapping[str, str]) -> int:
        held = set(connection.execute(select(devices.c.device_id)).scalars())
        now, new = self._now(), 0
        for device_id in sorted(known.keys() - held):
            if self._add(connection, device_id, known[device_id], now, BY_FILE):
                note(connection, now, BY_FILE, "registered", device_id)
                new += 1
        return new

    def _add(self, connection: Connection, device_id: str, public_key: str, now: datetime, by: str) -> bool:
        row = {
            "device_id": device_id,
            "public_key": public_key.lower(),
            "enrolled_utc": utc_text(now),
            "enrolled_by": by,
        }
        return self._database.add_new(connection, devices, row)


def registry_in_use(settings: Settings, paths: Paths) -> DeviceRegistry:
    """The registry of a clone: with the gateway's database, where there is one.

    Raises:
        ConfigError: the database's address is none, or its tables are newer.
        StoreBusy: it does not answer.
    """
    if not settings.gateway_database and not paths.gateway_database.exists():
        return DeviceRegistry(paths.device_registry)
    return EnrolledDevices(paths.device_registry, database_of(settings, paths))


def database_of(settings: Settings, paths: Paths) -> Database:
    """The gateway's database; made where there is none.

    Raises:
        ConfigError: its address is none, or its tables are newer than this version.
        StoreBusy: it does not answer.
    """
    return Database(settings.gateway_database or f"sqlite:///{paths.gateway_database}")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _named(token: str) -> str:
    """What a token is called where people read of it, by which nobody can redeem it."""
    return _hash(token)[:12]
