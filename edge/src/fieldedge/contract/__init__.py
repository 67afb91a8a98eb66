"""What the cloud and the device agree on: tables, features, outputs, and the forms in which records travel."""

from fieldedge.contract.contract import (
    MAX_AMENDMENTS,
    MAX_CANDIDATES,
    SCALED_LIMIT,
    Column,
    Contract,
    EpisodeKey,
    Feature,
    Kind,
    Ordered,
    Output,
    Record,
    Role,
    Table,
    Upgrade,
    amendments,
)

__all__ = [
    "MAX_AMENDMENTS",
    "MAX_CANDIDATES",
    "SCALED_LIMIT",
    "Column",
    "Contract",
    "EpisodeKey",
    "Feature",
    "Kind",
    "Ordered",
    "Output",
    "Record",
    "Role",
    "Table",
    "Upgrade",
    "amendments",
]
