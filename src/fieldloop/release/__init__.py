"""Releases: the bundle that a device installs, and the signed repository that delivers it."""

from fieldloop.release.acknowledged import AcknowledgedBatches
from fieldloop.release.bundle import Lineage, build_bundle, try_bundle, with_slices
from fieldloop.release.repository import Released, ReleaseRepository, is_begun

__all__ = [
    "AcknowledgedBatches",
    "Lineage",
    "ReleaseRepository",
    "Released",
    "build_bundle",
    "is_begun",
    "try_bundle",
    "with_slices",
]
