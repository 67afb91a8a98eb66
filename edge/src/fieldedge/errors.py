"""Two families of errors, by who must act.

Something is wrong with the thing (retrying will not help): `DataError`, `ReleaseError`, `ConfigError`, `StoreDamaged`.
Something is wrong with the way there (keep the data, back off): `LinkError`, `StoreBusy`, `StoreFailed`.
A message says what was found, what was expected, where, and what to do next.
"""


class FieldloopError(Exception):
    """The root of every error that this project raises on purpose."""


class DataError(FieldloopError):
    """Data that breaks the contract. Retrying will not help; the data must be mended."""


class ReleaseError(FieldloopError):
    """A bundle or its signatures cannot be trusted or do not fit this device."""


class ConfigError(FieldloopError):
    """A setting is missing or broken. The message names it and what to set."""


class LinkError(FieldloopError):
    """The way to the cloud failed. Everything is kept; try again later."""


class StoreBusy(FieldloopError):
    """The store is in use by another process. Try again."""


class StoreFailed(FieldloopError):
    """The disk does not let the store be read or written: full, read-only or failing. Make room, or mend the disk."""


class StoreDamaged(StoreFailed):
    """The store is not what was written to it. It is set aside and rebuilt from what is intact."""
