"""The gateway's database: who may send, the one-time tokens, which batches came, and who did what.

SQLite in a file or PostgreSQL, by its address; the tables are the same, and Alembic makes and changes them
(`migrations/`). Times are UTC as ISO text to the second, which sorts as time does. A transaction that is over is on
disk. Whatever a database fails with is a `StoreBusy`: what was sent is kept by its sender and comes again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from filelock import FileLock
from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, create_engine, event, insert, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from fieldedge.system.errors import ConfigError, StoreBusy

BUSY_TIMEOUT_S = 10
CONNECT_TIMEOUT_S = 5
MIGRATION_LOCK = 0x6669656C  # PostgreSQL's advisory lock, so that gateways that start together change tables in turn
MIGRATIONS = Path(__file__).with_name("migrations")

metadata = MetaData()
devices = Table(
    "devices",
    metadata,
    Column("device_id", Text, primary_key=True),
    Column("public_key", Text, nullable=False),
    Column("enrolled_utc", Text, nullable=False),
    Column("enrolled_by", Text, nullable=False),  # a token's name, or devices.json
    Column("revoked_utc", Text),
)
tokens = Table(
    "enrolment_tokens",
    metadata,
    Column("token_sha256", Text, primary_key=True),
    Column("made_utc", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("expires_utc", Text, nullable=False),
    Column("redeemed_utc", Text),
    Column("device_id", Text),
)
batches = Table(
    "batches",
    metadata,
    Column("device_id", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("bytes", Integer, nullable=False),
    Column("received_utc", Text),  # none where a former batch's envelope is damaged
)
audit = Table(
    "audit_log",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("at_utc", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
)


def utc_text(moment: datetime) -> str:
    """A moment as the database has it: 2027-04-01T06:00:00+00:00."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


class Database:
    """One database, whose tables are brought to what this version needs when it is opened."""

    def __init__(self, url: str) -> None:
        """Open it.

        Raises:
            ConfigError: the address is none of a SQLite file or a PostgreSQL server, or the tables are newer than this.
            StoreBusy: it does not answer.
        """
        self._url = _checked(url)
        self.name = self._url.render_as_string(hide_password=True)
        self._engine = _engine(self._url)
        self._migrate()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that changes nothing.

        Raises:
            StoreBusy: the database does not answer.
        """
        with self._told(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is on disk when the block is left, or did not happen.

        Raises:
            StoreBusy: the database does not answer, or others write.
        """
        with self._told(), self._engine.connect().execution_options(is_writer=True) as connection, connection.begin():
            yield connection

    def add_new(self, connection: Connection, table: Table, row: dict[str, Any]) -> bool:
        """Add a row, unless there is one of its key. Whether it is new."""
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        done = connection.execute(dialect.insert(table).values(row).on_conflict_do_nothing())
        return done.rowcount == 1

    def close(self) -> None:
        """Let its connections go."""
        self._engine.dispose()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            why = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise StoreBusy(f"the gateway's database {self.name} does not do it now: {why}") from error

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        if self._engine.dialect.name == "sqlite":
            file = Path(str(self._url.database))
            file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(file.with_suffix(".migration.lock"), timeout=BUSY_TIMEOUT_S), self.write() as connection:
                _upgrade(config, connection, self.name)
            return
        with self.write() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
            _upgrade(config, connection, self.name)


def note(connection: Connection, at: datetime, who: str, what: str, subject: str, detail: str = "") -> None:
    """Add a line to the audit log, in the transaction of what it speaks of."""
    row = {"at_utc": utc_text(at), "who": who, "what": what, "subject": subject, "detail": detail}
    connection.execute(insert(audit).values(row))


def _upgrade(config: Config, connection: Connection, name: str) -> None:
    from alembic.util.exc import CommandError

    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigError(
            f"the tables of {name} are not of this version of Fieldloop: {error}. Run the version that wrote them last"
        ) from error


def _checked(url: str) -> URL:
    expected = "expected like sqlite:////var/lib/fieldloop/gateway.db or postgresql+psycopg2://user@host/fieldloop"
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise ConfigError(f"the gateway's database is no address: {expected}") from None
    if backend not in ("sqlite", "postgresql") or (backend == "sqlite" and parsed.database in (None, "", ":memory:")):
        raise ConfigError(f"the gateway's database is {parsed.render_as_string(hide_password=True)!r}; {expected}")
    return parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        return create_engine(
            url, pool_pre_ping=True, pool_timeout=BUSY_TIMEOUT_S, connect_args={"connect_timeout": CONNECT_TIMEOUT_S}
        )
    engine = create_engine(url, pool_timeout=BUSY_TIMEOUT_S, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says, below
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")  # what is committed outlives a power cut

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer that began as a reader would be turned away by another writer, however long it waits.
        is_writer = connection.get_execution_options().get("is_writer", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")

    return engine
