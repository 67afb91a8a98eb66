"""Releases: the bundle that a device installs, and the signed repository that delivers it."""

from fieldloop.release.acknowledged import AcknowledgedBatches
from fieldloop.release.bundle import Lineage, build_bundle, try_bundle, with_slices
from fieldloop.release.metadata_store import is_bare, is_begun
from fieldloop.release.offers import Candidate, Offers, Released
from fieldloop.release.repository import ReleaseRepository

__all__ = [
    "AcknowledgedBatches",
    "Candidate",
    "Lineage",
    "Offers",
    "ReleaseRepository",
    "Released",
    "build_bundle",
    "is_bare",
    "is_begun",
    "try_bundle",
    "with_slices",
]
