"""What a rollout asks, asked of the signed repository of this clone; and the bundles that it offers."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from fieldedge.transfer.cohort import Rollout
from fieldloop.release import ReleaseRepository
from fieldloop.release.offers import FLOAT32_ONLY
from fieldloop.rollout.engine import Standing


class SignedReleases:
    """`engine.Releases` over the TUF repository."""

    def __init__(self, repository: ReleaseRepository) -> None:
        self._repository = repository

    def standing(self, workload: str) -> Standing:
        """What is offered now."""
        offers = self._repository.offers(workload)
        released, candidate = offers.released, offers.candidate
        return Standing(
            None if released is None else released.version,
            None if candidate is None else candidate.version,
            offers.withdrawn,
        )

    def publish_candidate(self, workload: str, version: str, files: Mapping[str, Path], rollout: Rollout) -> None:
        """Offer a version, by device class, to whom the rollout says."""
        self._repository.publish_candidate(workload, version, files, rollout)

    def set_rollout(self, workload: str, rollout: Rollout) -> None:
        """Offer the candidate to more devices."""
        self._repository.set_rollout(workload, rollout)

    def finish_rollout(self, workload: str) -> None:
        """Offer the candidate to every device."""
        self._repository.finish_rollout(workload)

    def withdraw(self, workload: str, version: str) -> None:
        """Say that devices go back from a version."""
        self._repository.withdraw(workload, version)


def bundles_of(folder: Path, workload: str, version: str, classes: Iterable[str]) -> dict[str, Path]:
    """The file of each device class in a folder of bundles: its own, else the one for all; empty where there is none.

    Args:
        folder: has `<workload>-<version>-<class>.zip`, and `<workload>-<version>.zip` for all.
    """
    for_all = folder / f"{workload}-{version}.zip"
    named = {name: folder / f"{workload}-{version}-{name}.zip" for name in (*classes, FLOAT32_ONLY)}
    found = {name: path if path.is_file() else for_all for name, path in named.items()}
    return {name: path for name, path in found.items() if path.is_file()}
