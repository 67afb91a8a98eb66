"""`python -m fieldedge`."""

import sys

from fieldedge.cli import main

if __name__ == "__main__":
    sys.exit(main())
