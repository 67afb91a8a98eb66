"""The device's one settings file, `device.toml`, and where everything of a device lies.

The settings are written once by `fieldedge init` and read at each start; a person may edit the two tunables. Keys,
trust, slots, store and outbox are named here and written elsewhere.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldedge.durable import write_durably
from fieldedge.errors import ConfigError

DEFAULT_UPLOAD_BUDGET_BYTES = 10_000
DEFAULT_AUDIT_FRACTION = 0.1

_DEVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_WORKLOAD = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class DeviceDirectory:
    """The paths of one device below its directory."""

    root: Path

    @property
    def settings(self) -> Path:
        return self.root / "device.toml"

    @property
    def private_key(self) -> Path:
        return self.root / "keys" / "device.pem"

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
    def outbox(self) -> Path:
        return self.root / "outbox"

    def lock(self, job: str) -> Path:
        """The lock file of a job: `run`, `update` or `sync`."""
        return self.root / "locks" / job


@dataclass(frozen=True)
class DeviceConfig:
    """Who the device is and the two numbers that a technician may set."""

    device_id: str
    workload: str
    upload_budget_bytes: int = DEFAULT_UPLOAD_BUDGET_BYTES
    audit_fraction: float = DEFAULT_AUDIT_FRACTION

    def __post_init__(self) -> None:
        if not _DEVICE_ID.fullmatch(self.device_id):
            raise ConfigError(
                f"device_id is {self.device_id!r}; expected up to 63 letters, digits, '-', '_' or '.', like dev-07"
            )
        if not _WORKLOAD.fullmatch(self.workload):
            raise ConfigError(f"workload is {self.workload!r}; expected a name like agriculture")
        if self.upload_budget_bytes < 0:
            raise ConfigError(
                f"upload_budget_bytes is {self.upload_budget_bytes}; expected bytes per season, 0 or more"
            )
        if not 0.0 <= self.audit_fraction <= 1.0:
            raise ConfigError(f"audit_fraction is {self.audit_fraction}; expected a fraction between 0 and 1")


def write_config(path: Path, config: DeviceConfig) -> None:
    """Write `device.toml` durably. The names were checked, so no value needs escaping."""
    text = (
        "# The field computer's settings. Written by `fieldedge init`; the two numbers may be edited.\n"
        f'device_id = "{config.device_id}"\n'
        f'workload = "{config.workload}"\n'
        f"upload_budget_bytes = {config.upload_budget_bytes}  # per season, compressed\n"
        f"audit_fraction = {config.audit_fraction}  # of the days sent, drawn at random\n"
    )
    write_durably(path, text.encode())


def read_config(path: Path) -> DeviceConfig:
    """The settings in `device.toml`.

    Raises:
        ConfigError: the file is missing or a setting in it is broken; the message says which.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; set the device up first: fieldedge init --dir {path.parent}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not readable TOML: {error}") from error
    return DeviceConfig(
        device_id=_setting(path, values, "device_id", str),
        workload=_setting(path, values, "workload", str),
        upload_budget_bytes=_setting(path, values, "upload_budget_bytes", int, DEFAULT_UPLOAD_BUDGET_BYTES),
        audit_fraction=float(_setting(path, values, "audit_fraction", (int, float), DEFAULT_AUDIT_FRACTION)),
    )


def _setting(
    path: Path,
    values: dict[str, Any],
    name: str,
    kind: type | tuple[type, ...],
    default: float | None = None,
) -> Any:
    value = values.get(name, default)
    if value is None:
        raise ConfigError(f"{path} has no {name}; add a line `{name} = ...`")
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = "text in quotes" if kind is str else "a number"
        raise ConfigError(f"{path}: {name} is {value!r}; expected {wanted}")
    return value
