"""Validation: every row that comes in is checked against the contract before anything is learned from it.

Rows that break an expectation go to quarantine with the reason in plain words; a table that is broken as a whole
(unreadable, a missing column, another type, another unit) is refused with an error that says which and where.
Storing the accepted rows is `fieldloop.data`'s work.
"""

from fieldloop.validation.checks import Checked, check_frames
from fieldloop.validation.ownership import Ownership
from fieldloop.validation.quarantine import quarantine_rows
from fieldloop.validation.report import TableReport, ValidationReport

__all__ = [
    "Checked",
    "Ownership",
    "TableReport",
    "ValidationReport",
    "check_frames",
    "quarantine_rows",
]
