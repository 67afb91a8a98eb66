"""The names that the core writes beside a table's own columns, so that a workload's columns have others.

Whoever writes one of them takes it from here; a contract that declares one is refused where it is loaded, on both
sides: what it says under that name would be overwritten.
"""

from collections.abc import Iterator

from fieldedge.contract.contract import Contract, EpisodeKey, Table

# In the cloud's frames, beside each row.
ORIGIN = "origin"  # where it came from: a file, a batch
EXPECTATION = "expectation"  # what it broke, in plain words
EXPECTED_ID = "expected_record_id"
HAS_CONTEXT_ROW = "has_context_row"
IS_SENDERS_OWN = "is_senders_own"
IS_KNOWN_DEVICE = "is_known_device"
IS_SAME_PLACE = "is_same_place"
KEY_OF_SENDER = "key_of_sender"
BESIDE_ROWS = (
    *(ORIGIN, EXPECTATION, EXPECTED_ID, HAS_CONTEXT_ROW),
    *(IS_SENDERS_OWN, IS_KNOWN_DEVICE, IS_SAME_PLACE, KEY_OF_SENDER),
)
# After the name of a column that names a day or a time.
IS_CALENDAR_DATE = "_is_calendar_date"
DAYS_AGO = "_days_ago"
DAYS_INTO_EPISODE = "_days_into_episode"
YEARS_BEFORE = "_years_before_"  # and the period's column
# On the device, in a decision and in its answer.
BESIDE_DECISIONS = ("kind", "latency_ms")


def written_beside(table: Table, episode: EpisodeKey) -> frozenset[str]:
    """Every name that the core writes beside this table's columns."""
    ends = (IS_CALENDAR_DATE, DAYS_AGO, DAYS_INTO_EPISODE, *(YEARS_BEFORE + name for name in episode.partition[:1]))
    of_moments = (f"{column.name}{end}" for column in table.date_columns for end in ends)
    return frozenset((*BESIDE_ROWS, *of_moments, *(BESIDE_DECISIONS if table.role == "decision" else ())))


def name_faults(contract: Contract) -> Iterator[str]:
    """Which columns bear a name that is taken, in words."""
    for table in contract.tables:
        taken, seen = written_beside(table, contract.episode), set[str]()
        for name in table.column_names:
            if name in taken:
                yield f"the table {table.name} has a column {name}, which the core writes there itself: rename it"
            elif name in seen:
                yield f"the table {table.name} has two columns {name}: rename one"
            seen.add(name)
