"""Names on disk, on the wire, in params.yaml and in tags, as the first workload called its periods and units.

What was stored under them stays readable, so they stand whatever a workload calls its own. Columns and partitions are
no part of this: they are the contract's, and code asks `contract.episode` for them.
"""

from collections.abc import Mapping
from typing import Any

from fieldedge.system import stored_names

PERIOD = stored_names.PERIOD  # in notes, reports, headers of batches, git tags
PERIODS = "seasons"  # folders, and the periods that devices go through in params.yaml
HELD_OUT = "holdout_seasons"  # in params.yaml
LEARNED_NOT = "held_out_seasons"  # of a model version
LEARNED_BEFORE = "for_season"  # of a model version and of its run
EPISODES = "field_seasons"  # of a training run
UNIT = "field_id"
FIRST_RUN = "make season"  # the command

_STORED = {"period": PERIOD, "episodes": EPISODES}
_READ = {stored: name for name, stored in _STORED.items()}


def stored(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by the names of our fields, as they are stored."""
    return {_STORED.get(name, name): value for name, value in values.items()}


def unstored(values: Mapping[str, Any]) -> dict[str, Any]:
    """What was stored, by the names of our fields."""
    return {_READ.get(name, name): value for name, value in values.items()}
