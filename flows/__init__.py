"""Prefect flows: the loop from top to bottom. They only compose tasks.

Prefect reads its environment when it is imported, so this package fills it in before any flow is.
"""

import os
from pathlib import Path

from fieldloop import quiet

_CLONE = Path(__file__).resolve().parent.parent

quiet.settle(_CLONE / os.environ.get("FIELDLOOP_HOME", ".fieldloop"))
