"""`python -m flows [season|retrain] [WORKLOAD]`: a flow by hand.

Kept apart so that worker processes need not load Prefect again.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence

from flows.entrypoint import run_from_terminal

FLOWS = {
    "season": "the whole loop: learn from the past, live through the periods in the field, learn from them",
    "retrain": "its cloud half: take in what devices sent, train, judge, compress, and sign the champion",
}


def main(arguments: Sequence[str]) -> None:
    """Run the flow that is named."""
    listed = "\n".join(f"  {name:<10} {words}" for name, words in FLOWS.items())
    parser = ArgumentParser("python -m flows", epilog=f"flows:\n{listed}", formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("flow", nargs="?", choices=FLOWS, default="season", help="season, where none is named")
    parser.add_argument("workload", nargs="?", default="", help="the block of params.yaml, where there are two")
    said = parser.parse_args(arguments)
    run_from_terminal(said.flow, said.workload)


if __name__ == "__main__":
    main(sys.argv[1:])
