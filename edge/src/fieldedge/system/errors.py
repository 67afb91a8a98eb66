"""Two families of errors, by who must act.

`PermanentError`: something is wrong with the thing. Retrying will not help; mend it, or leave it out.
`TransientError`: something is wrong with the way there. Keep the data, back off, and do the same again.

Each error is exactly one of the two; whoever decides between giving up and trying again catches the family.
A message says what was found, what was expected, where, and what to do next.
"""


class FieldloopError(Exception):
    """The root of every error that this project raises on purpose. What is raised is of one of the two families."""


class PermanentError(FieldloopError):
    """The thing itself is wrong: the same attempt fails again until somebody mends it."""


class TransientError(FieldloopError):
    """The way there failed. Nothing is lost; keep the data and try the same again later."""


class DataError(PermanentError):
    """Data that breaks the contract. The data must be mended."""


class ReleaseError(PermanentError):
    """A bundle or its signatures cannot be trusted or do not fit this device."""


class ConfigError(PermanentError):
    """A setting is missing or broken. The message names it and what to set."""


class LinkError(TransientError):
    """The way to the cloud failed. Everything is kept; try again later."""


class StoreBusy(TransientError):
    """The store is in use by another process. Try again."""


class StoreFailed(TransientError):
    """The disk does not let the store be read or written: full, read-only or failing. Make room, or mend the disk."""


class StoreDamaged(StoreFailed):
    """The store is not what was written to it. It is set aside and rebuilt from what is intact.

    Transient for whoever brings data: nothing is wrong with what they bring, and after the rebuild it is taken.
    """


class TrialUnfinished(TransientError):
    """The trial of a model could not be carried out, or was ended from outside. The old model stays."""
