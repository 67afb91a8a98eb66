"""What a rollout asks, asked of the signed repository of this clone; and the bundles that it offers."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from fieldedge.system.durable import write_durably
from fieldedge.system.errors import DataError
from fieldedge.system.plain_files import read_own
from fieldedge.transfer.cohort import Rollout
from fieldloop.release import ReleaseRepository
from fieldloop.release.offers import FLOAT32_ONLY
from fieldloop.rollout.engine import Standing

MAX_NOTE_BYTES = 10_000


class SignedReleases:
    """`engine.Releases` over the TUF repository.

    Args:
        run_of: the MLflow run that made a version of a workload, which is signed beside it; empty where nobody knows.
    """

    def __init__(
        self, repository: ReleaseRepository, run_of: Callable[[str, str], str] = lambda _workload, _version: ""
    ) -> None:
        self._repository, self._run_of = repository, run_of

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
        run_id = self._run_of(workload, version)
        self._repository.publish_candidate(workload, version, files, rollout, run_id)

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


def note_run(folder: Path, workload: str, version: str, mlflow_run_id: str) -> None:
    """Keep beside the bundles of a version which run made it: a rollout signs that without asking the registry."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"mlflow_run_id": mlflow_run_id}) + "\n"
    write_durably(_note(folder, workload, version), content.encode())


def run_of(folder: Path, workload: str, version: str) -> str:
    """The MLflow run that made a version; empty where none was noted, as of bundles from before it was.

    Raises:
        DataError: the note is damaged.
    """
    path = _note(folder, workload, version)
    try:
        run_id = json.loads(read_own(path, MAX_NOTE_BYTES))["mlflow_run_id"]
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error!r}): run `retrain`, which writes it again") from error
    if not isinstance(run_id, str):
        raise DataError(f"{path} names the run {run_id!r:.80}: run `retrain`, which writes it again")
    return run_id


def _note(folder: Path, workload: str, version: str) -> Path:
    return folder / f"{workload}-{version}.json"
