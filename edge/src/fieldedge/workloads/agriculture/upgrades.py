"""How records of agriculture's former contracts are read.

A contract that changes gets its former hash as a name here, and a line at the end of `UPGRADES` that leads to the one
after it. Hashes and upgrades that stand here are never changed: accepted data and batches on sticks refer to them.
"""

from collections.abc import Mapping

from fieldedge.contract import Record, Upgrade

# The last contract before accepted data said which it is of.
REVISION_2 = "0a0ec91afe99b712a8db4946dfe24eef9a99d2f884704cf76717941788910117"
# The last one whose features took the soil record, the noted irrigation and the gauge at their word.
REVISION_3 = "e21649daba46823744fb7860b817db68030d367142ba6a980b735fbd2b6b7118"


def from_revision_2(table: str, record: Record) -> Record:
    """Nobody had confirmed what a device noted as done because it had advised it; which bundle advised is not known."""
    if table == "operations":
        return {**record, "basis": "assumed" if record["source"] == "recommendation" else "confirmed"}
    if table == "recommendations":
        return {**record, "bundle_sha256": None}
    return record


def from_revision_3(_table: str, record: Record) -> Record:
    """Records are the same; what a device's features were is what that device saw."""
    return record


UPGRADES: Mapping[str, Upgrade] = {REVISION_2: from_revision_2, REVISION_3: from_revision_3}
