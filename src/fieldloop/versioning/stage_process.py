"""The child process of `pipeline.reproduce`: one stage of `dvc.yaml`, and a last line that says whether it ran."""

import sys
from pathlib import Path

from fieldedge.system.errors import FieldloopError
from fieldloop.versioning.locks import dvc_repository
from fieldloop.versioning.pipeline import RAN, RESULT_PREFIX, UP_TO_DATE


def main(arguments: list[str]) -> int:
    """Reproduce the stage `arguments[1]` of the clone `arguments[0]`; 1 when that failed, with the reason on stderr."""
    root, stage = Path(arguments[0]), arguments[1]
    try:
        with dvc_repository(root) as repository:
            ran = repository.reproduce(targets=[stage])
    except FieldloopError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{RESULT_PREFIX}{RAN if ran else UP_TO_DATE}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
