"""Atheris on one target: `python -m tests.edge.faults.fuzz TARGET -runs=10000 [options of libFuzzer]`.

The agent's own code is instrumented, so that an input that reaches a new line is kept and changed further. It begins
with the target's good inputs. An exception ends the run with the input that brought it about.
"""

import sys
import tempfile
from pathlib import Path


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=["fieldedge"]):
        from tests.edge.faults.fuzz_targets import TARGETS

    name, *options = sys.argv[1:]
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as scratch:
        corpus, work = Path(scratch) / "corpus", Path(scratch) / "work"
        corpus.mkdir()
        work.mkdir()
        for number, seed in enumerate(target.seeds()):
            (corpus / str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], *options, str(corpus)], target.open(work))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
