"""Refresh: what expires soon is signed anew, and a person is told what only offline keys can sign."""

from datetime import UTC, datetime

from fieldloop.core.paths import paths_of
from fieldloop.core.settings import Settings
from fieldloop.release import ReleaseRepository, is_begun
from fieldloop.release.key_changes import KeyChanges
from fieldloop.release.metadata_store import MetadataStore


def refreshed(settings: Settings) -> str:
    """Sign anew what is due; what there is to say.

    Raises:
        ReleaseError: the repository is damaged, or a key that must be online does not sign.
        StoreBusy: another process is publishing.
    """
    tuf = paths_of(settings).tuf
    if not is_begun(tuf):
        return "nothing is released yet: there is nothing to refresh"
    ReleaseRepository(tuf).refresh()
    status = KeyChanges(MetadataStore(tuf, lambda: datetime.now(UTC))).status()
    until = min(role.expires for role in status.roles)
    return "\n".join([f"what devices read stands until {until:%Y-%m-%d %H:%M} UTC", *status.advice])
