"""The device's one settings file, `device.toml`, and where everything of a device lies.

`fieldedge init` writes it once, and a person edits it; it is read at each start, and a broken setting is named. What a
kind of source needs beyond its name is checked by that source. Keys, trust, slots, store and outbox are named here and
written elsewhere.
"""

import pkgutil
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fieldedge.system.addresses import checked_address
from fieldedge.system.durable import write_durably
from fieldedge.system.errors import ConfigError
from fieldedge.system.plain_files import NotPlainError, read_own

MAX_SETTINGS_BYTES = 1_000_000
DEFAULT_UPLOAD_BUDGET_BYTES = 10_000
DEFAULT_AUDIT_FRACTION = 0.1

DEFAULT_SILENT_AFTER_H = 26.0  # a logger that drops one file a day is not silent
DEFAULT_MAX_BYTES = 200_000_000
DEFAULT_MAX_DAYS = 800
DEFAULT_MIN_FREE_BYTES = 20_000_000
MAX_WATCHED = 1_000  # decisions

_DEVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_WORKLOAD = re.compile(r"[a-z][a-z0-9_]{0,62}")
_SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


@dataclass(frozen=True)
class DeviceDirectory:
    """The paths of one device below its directory."""

    root: Path

    def make_private(self) -> None:
        """Let none but its user into it: former versions left it open. The store is narrowed when it is opened."""
        if self.root.stat().st_mode & 0o077:
            with suppress(PermissionError):  # another user's: the doctor says so
                self.root.chmod(0o700)

    @property
    def settings(self) -> Path:
        return self.root / "device.toml"

    @property
    def private_key(self) -> Path:
        return self.root / "keys" / "device.pem"

    @property
    def trials(self) -> Path:
        return self.root / "trials.json"

    @property
    def trust(self) -> Path:
        """TUF's metadata, kept by its client."""
        return self.root / "trust"

    @property
    def bootstrap_root(self) -> Path:
        """The root of trust as it was provisioned. Later roots are trusted only through its signatures."""
        return self.trust / "bootstrap.root.json"

    @property
    def time_floor(self) -> Path:
        """When the release metadata was last found good: the clock cannot be earlier."""
        return self.trust / "time_floor"

    @property
    def staging(self) -> Path:
        return self.root / "staging"

    @property
    def store(self) -> Path:
        return self.root / "store.db"

    @property
    def clock_floor(self) -> Path:
        """How far time has run here: it does not run backwards over a restart."""
        return self.root / "clock.json"

    @property
    def sources(self) -> Path:
        """How far each source has been read."""
        return self.root / "sources"

    @property
    def loggers(self) -> Path:
        """Which loggers were heard, and what they send."""
        return self.root / "loggers.json"

    @property
    def outbox(self) -> Path:
        return self.root / "outbox"

    def lock(self, job: str) -> Path:
        """The lock file of a job: `run` (also `serve`), `update` or `sync`."""
        return self.root / "locks" / job


@dataclass(frozen=True)
class Site:
    """Where the field is, how high its wind is measured, and how its loggers tell the time where they name no zone."""

    latitude_deg: float
    elevation_m: float
    utc_offset_h: float = 0.0
    zone: str | None = None
    wind_height_m: float = 2.0
    longitude_deg: float | None = None  # by which the sun judges the loggers' times


@dataclass(frozen=True)
class SourceConfig:
    """One `[[source]]`. `settings` are its kind's own; `fields` say which of the logger's fields is which channel.

    A channel that was sent and is not any more is told of after `silent_after_h`.
    """

    name: str
    kind: str
    format: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    silent_after_h: float = DEFAULT_SILENT_AFTER_H


@dataclass(frozen=True)
class StoreConfig:
    """`[store]`: how large the store may grow, and what it leaves free on its disk.

    `max_days` is how long it keeps what the cloud holds already or does not want: acknowledged records, days that were
    not chosen, samples that are summed up. What nobody has chosen from has no age.
    """

    max_bytes: int = DEFAULT_MAX_BYTES
    max_days: int = DEFAULT_MAX_DAYS
    min_free_bytes: int = DEFAULT_MIN_FREE_BYTES


LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class PageConfig:
    """`[page]`: the status page. Reachable from elsewhere only where `host` says so.

    `names` are those under which it may be asked for, beside this device's own names and addresses. With
    `takes_answers`, whoever reaches it can say what was done.
    """

    is_on: bool = True
    host: str = "127.0.0.1"
    port: int = 8080
    names: tuple[str, ...] = ()
    takes_answers: bool = True


@dataclass(frozen=True)
class LinkConfig:
    """`[link]`: the gateway, how often it is asked, and how long that may take. Without one, a stick is the only way.

    A request is left after a minute, and for what has moved as long again as it takes at `min_bytes_per_s`.
    """

    gateway: str
    sync_every_h: float = 6.0
    update_every_h: float = 24.0
    sync_within_s: float = 3600.0
    update_within_s: float = 3600.0
    min_bytes_per_s: float = 200.0


@dataclass(frozen=True)
class DecideConfig:
    """`[decide]`: when the day's recommendation is made, and whether it counts as done until someone says otherwise."""

    at_utc: str | None = None  # as the workload says
    is_applied_unless_overridden: bool = True


@dataclass(frozen=True)
class WatchConfig:
    """`[watch]`: how many decisions a new model is watched for, and what it may do meanwhile before it is taken back.

    From the decision number `judged_from` on it is taken back where one of the limits is passed by all that was seen so
    far. The shares are of decisions in which the former model did better: it answered, its answer stood. The divergence
    is the mean distance of the two models' answers, in standard deviations of the former's. One that the process did
    not survive `max_deaths` times in a row, while it was loaded or asked, is taken back at the next start.
    """

    decisions: int = 14
    judged_from: int = 3
    max_abstained_share: float = 0.5
    max_guardrail_share: float = 0.5
    max_divergence: float = 3.0
    max_latency_ms: float = 250.0  # of half of the decisions
    max_deaths: int = 3


@dataclass(frozen=True)
class DeviceConfig:
    """Everything that `device.toml` says. Only the first two have no default."""

    device_id: str
    workload: str
    upload_budget_bytes: int = DEFAULT_UPLOAD_BUDGET_BYTES
    audit_fraction: float = DEFAULT_AUDIT_FRACTION
    site: Site | None = None
    sources: tuple[SourceConfig, ...] = ()
    store: StoreConfig = StoreConfig()
    page: PageConfig = PageConfig()
    link: LinkConfig | None = None
    decide: DecideConfig = DecideConfig()
    watch: WatchConfig = WatchConfig()

    def __post_init__(self) -> None:
        if not _DEVICE_ID.fullmatch(self.device_id):
            raise ConfigError(
                f"device_id is {self.device_id!r}; expected up to 63 letters, digits, '-', '_' or '.', like dev-07"
            )
        if not _WORKLOAD.fullmatch(self.workload):
            raise ConfigError(f"workload is {self.workload!r}; expected a name of small letters, digits and '_'")
        if self.upload_budget_bytes < 0:
            raise ConfigError(
                f"upload_budget_bytes is {self.upload_budget_bytes}; expected bytes per episode, 0 or more"
            )
        if not 0.0 <= self.audit_fraction <= 1.0:
            raise ConfigError(f"audit_fraction is {self.audit_fraction}; expected a fraction between 0 and 1")


def write_config(path: Path, config: DeviceConfig) -> None:
    """Write the first `device.toml` durably. The names were checked, so no value needs escaping."""
    text = (
        "# The field computer's settings. Written by `fieldedge init`; edit what follows the first two lines.\n"
        f'device_id = "{config.device_id}"\n'
        f'workload = "{config.workload}"\n'
        f"upload_budget_bytes = {config.upload_budget_bytes}  # per episode, compressed\n"
        f"audit_fraction = {config.audit_fraction}  # of the days sent, drawn at random\n"
    )
    write_durably(path, text.encode())


def read_config(path: Path) -> DeviceConfig:
    """The settings in `device.toml`.

    Raises:
        ConfigError: the file is missing or a setting in it is broken or unknown; the message says which.
    """
    try:
        values = tomllib.loads(read_own(path, MAX_SETTINGS_BYTES).decode())
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; set the device up first: fieldedge init --dir {path.parent}") from None
    except NotPlainError as error:
        raise ConfigError(
            f"{path} {error.strerror}: put the device's settings there, or move it away and run fieldedge init"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not readable TOML: {error}") from error
    table = Table(str(path), values)
    config = DeviceConfig(
        device_id=table.text("device_id"),
        workload=table.text("workload"),
        upload_budget_bytes=table.whole("upload_budget_bytes", DEFAULT_UPLOAD_BUDGET_BYTES),
        audit_fraction=table.number("audit_fraction", DEFAULT_AUDIT_FRACTION, 0.0, 1.0),
        site=_site(table.table("site")),
        sources=_sources(table),
        store=_store(table.table("store")),
        page=_page(table.table("page")),
        link=_link(table.table("link")),
        decide=_decide(table.table("decide")),
        watch=_watch(table.table("watch")),
    )
    table.end()
    return config


def _site(table: "Table | None") -> Site | None:
    if table is None:
        return None
    site = Site(
        table.number("latitude_deg", None, -90.0, 90.0),
        table.number("elevation_m", None, -430.0, 6000.0),
        table.number("utc_offset_h", 0.0, -14.0, 14.0),
        table.text("zone") if table.has("zone") else None,
        table.number("wind_height_m", Site.wind_height_m, 0.5, 50.0),
        table.number("longitude_deg", None, -180.0, 180.0) if table.has("longitude_deg") else None,
    )
    if site.zone is not None and site.utc_offset_h:
        raise ConfigError(f"{table.where} has both zone and utc_offset_h; a zone knows its offset: remove utc_offset_h")
    table.end()
    return site


def _store(table: "Table | None") -> StoreConfig:
    if table is None:
        return StoreConfig()
    store = StoreConfig(
        table.whole("max_bytes", DEFAULT_MAX_BYTES, 1_000_000),
        table.whole("max_days", DEFAULT_MAX_DAYS, 1),
        table.whole("min_free_bytes", DEFAULT_MIN_FREE_BYTES, 0),
    )
    table.end()
    return store


def _page(table: "Table | None") -> PageConfig:
    if table is None:
        return PageConfig()
    host = table.text("host", PageConfig.host)
    page = PageConfig(
        table.claim("is_on", True),
        host,
        table.whole("port", 8080, 0, 65535),
        table.texts("names"),
        table.claim("takes_answers", host in LOOPBACK_HOSTS),
    )
    table.end()
    return page


def _link(table: "Table | None") -> LinkConfig | None:
    if table is None:
        return None
    link = LinkConfig(
        checked_address(f"{table.where}: gateway", table.text("gateway")),
        table.number("sync_every_h", LinkConfig.sync_every_h, 0.01, 8760.0),
        table.number("update_every_h", LinkConfig.update_every_h, 0.01, 8760.0),
        table.number("sync_within_s", LinkConfig.sync_within_s, 60.0, 86_400.0),
        table.number("update_within_s", LinkConfig.update_within_s, 60.0, 86_400.0),
        table.number("min_bytes_per_s", LinkConfig.min_bytes_per_s, 10.0, 1e6),
    )
    table.end()
    return link


def _decide(table: "Table | None") -> DecideConfig:
    if table is None:
        return DecideConfig()
    at_utc = table.take("at_utc")
    if at_utc is not None and not (isinstance(at_utc, str) and _TIME_OF_DAY.fullmatch(at_utc)):
        raise ConfigError(f"{table.where}: at_utc is {at_utc!r}; expected a time of day in UTC like 06:00")
    decide = DecideConfig(at_utc, table.claim("is_applied_unless_overridden", True))
    table.end()
    return decide


def _watch(table: "Table | None") -> WatchConfig:
    if table is None:
        return WatchConfig()
    watch = WatchConfig(
        table.whole("decisions", WatchConfig.decisions, 1, MAX_WATCHED),
        table.whole("judged_from", WatchConfig.judged_from, 1, MAX_WATCHED),
        table.number("max_abstained_share", WatchConfig.max_abstained_share, 0.0, 1.0),
        table.number("max_guardrail_share", WatchConfig.max_guardrail_share, 0.0, 1.0),
        table.number("max_divergence", WatchConfig.max_divergence, 0.0, 1e6),
        table.number("max_latency_ms", WatchConfig.max_latency_ms, 1.0, 1e6),
        table.whole("max_deaths", WatchConfig.max_deaths, 1, MAX_WATCHED),
    )
    table.end()
    return watch


def _sources(table: "Table") -> tuple[SourceConfig, ...]:
    found = table.take("source", [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ConfigError(f"{table.where}: source is {found!r}; expected tables that begin with [[source]]")
    sources = tuple(_source(table.where, number, entry) for number, entry in enumerate(found, start=1))
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{table.where}: two sources are named {name!r}; give each a name of its own")
    return sources


def _source(where: str, number: int, entry: dict[str, Any]) -> SourceConfig:
    table = Table(f"{where}, [[source]] {number}", entry)
    name = table.text("name")
    if not _SOURCE_NAME.fullmatch(name):
        raise ConfigError(f"{table.where}: name is {name!r}; expected up to 32 letters, digits, '-' or '_'")
    kind = table.choice("kind", _modules_of("sources"))
    format_ = table.choice("format", _modules_of("formats"), "jsonlines")
    fields = table.take("fields", {})
    if not isinstance(fields, dict):
        raise ConfigError(f"{table.where}: fields is {fields!r}; expected a table [source.fields]")
    silent_after_h = table.number("silent_after_h", DEFAULT_SILENT_AFTER_H, 0.25, 8760.0)
    return SourceConfig(name, kind, format_, table.rest(), fields, silent_after_h)


def _modules_of(room: str) -> tuple[str, ...]:
    """The kinds of sources, or the formats, that there are: each is a module of its room, which is not loaded here."""
    folder = Path(__file__).parents[1] / "acquisition" / room
    return tuple(module.name for module in pkgutil.iter_modules([str(folder)]))


class Table:
    """One table of the file. What is taken from it is checked; what is left at `end` is a mistake."""

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        self.where = where
        self._values = dict(values)

    def has(self, name: str) -> bool:
        return name in self._values

    def take(self, name: str, default: Any = None) -> Any:
        return self._values.pop(name, default)

    def text(self, name: str, default: str | None = None) -> str:
        value = self._required(name, default)
        if not isinstance(value, str):
            raise ConfigError(f"{self.where}: {name} is {value!r}; expected text in quotes")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.take(name, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise ConfigError(f"{self.where}: {name} is {value!r}; expected a list of texts in quotes")
        return tuple(value)

    def choice(self, name: str, choices: tuple[str, ...], default: str | None = None) -> str:
        value = self.text(name, default)
        if value not in choices:
            raise ConfigError(f"{self.where}: {name} is {value!r}; expected one of {', '.join(choices)}")
        return value

    def number(self, name: str, default: float | None, minimum: float, maximum: float) -> float:
        value = self._required(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ConfigError(f"{self.where}: {name} is {value!r}; expected a number")
        if not minimum <= value <= maximum:
            raise ConfigError(f"{self.where}: {name} is {value!r}; expected between {minimum:g} and {maximum:g}")
        return float(value)

    def whole(self, name: str, default: int, minimum: int = 0, maximum: int = 2**62) -> int:
        value = self._required(name, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ConfigError(f"{self.where}: {name} is {value!r}; expected a whole number")
        if not minimum <= value <= maximum:
            raise ConfigError(f"{self.where}: {name} is {value!r}; expected {minimum} or more")
        return value

    def claim(self, name: str, default: bool) -> bool:
        value = self._required(name, default)
        if not isinstance(value, bool):
            raise ConfigError(f"{self.where}: {name} is {value!r}; expected true or false")
        return value

    def table(self, name: str) -> "Table | None":
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise ConfigError(f"{self.where}: {name} is {value!r}; expected a table [{name}]")
        return Table(f"{self.where}, [{name}]", value)

    def rest(self) -> dict[str, Any]:
        left, self._values = self._values, {}
        return left

    def end(self) -> None:
        for name in self._values:
            raise ConfigError(f"{self.where}: {name} is not a setting here; mend its spelling or remove it")

    def _required(self, name: str, default: Any) -> Any:
        value = self._values.pop(name, default)
        if value is None:
            raise ConfigError(f"{self.where} has no {name}; add a line `{name} = ...`")
        return value
