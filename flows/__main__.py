"""`python -m flows [season|retrain]`: a flow by hand.

Kept apart so that worker processes need not load Prefect again.
"""

import sys

from flows.beginning import run_from_terminal

FLOWS = ("season", "retrain")

if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "season"
    if name not in FLOWS or len(sys.argv) > 2:
        sys.exit(f"python -m flows {' '.join(sys.argv[1:])}: there is no such flow; expected one of {', '.join(FLOWS)}")
    run_from_terminal(name)
