"""What is said of a thing once more, in a table whose rows may be amended.

What is noted is corrected in its place until it is on its way home; from then on each word is one more record of the
same thing, and the last one counts. Who may say what is for whoever calls.
"""

from fieldedge.contract import MAX_AMENDMENTS, Contract, Record, amendments
from fieldedge.storage.store import Store
from fieldedge.system.errors import DataError


def said(store: Store, identity: str) -> list[Record]:
    """What is stored of a thing, as it was said, the last word last."""
    rows = (store.get(named) for named in amendments(identity))
    return [row for row in rows if row is not None]


def put(store: Store, contract: Contract, table: str, record: Record) -> tuple[Record | None, str]:
    """Store what was said of a thing; the former record, and what was done.

    What is noted of it already is corrected with it. Once that went home it is a fact, and this becomes one more
    record, which counts from then on.

    Raises:
        DataError: too much was said of it already.
    """
    identity, former, names = record["record_id"], None, amendments(record["record_id"])
    last = max((index for index, named in enumerate(names) if store.get(named) is not None), default=0)
    for named in names[last:]:  # room may have been made of words before the last one
        again = {**record, "record_id": named}
        noted = store.get(again["record_id"])
        if noted is None:
            if former is not None and {**former, "record_id": identity} == record:
                return former, "unchanged"
            try:
                store.add(table, again, day=contract.day(table, again))
            except DataError:  # the service noted the recommendation as done in this very moment
                noted = store.get(again["record_id"])
            else:
                return former, "recorded" if former is None else "corrected"
        former = contract.current(table, noted or again)
        if store.state(again["record_id"]) == "stored":
            if former == again:
                return former, "unchanged"
            store.replace(table, again, record.get("why", "it was confirmed"))
            return former, "corrected"
    moment = contract.moment(table, record)
    raise DataError(f"{moment} was corrected {MAX_AMENDMENTS} times already; tell the office what was done")
