"""Which of the episodes that a store knows a day is of.

The one that was told last need not be it: next year's is described ahead, a former one is told late.
"""

from collections.abc import Sequence

from fieldedge.contract import Contract, Record
from fieldedge.storage.store import Store


def contexts(store: Store, contract: Contract) -> list[Record]:
    """What was said of each episode when it was opened, those of the latest last."""
    opening = contract.context_table.name
    return [context for episode in store.episodes() for context in store.records(episode, opening)]


def of_day_or_latest(store: Store, contract: Contract, day: str) -> Record | None:
    """The context of the episode that a day is of, else of the latest one. None: the store knows none."""
    known = contexts(store, contract)
    return of_day(known, contract, day) or next(reversed(known), None)


def of_day(known: Sequence[Record], contract: Contract, day: str, preferred: Record | None = None) -> Record | None:
    """The context of the episode that a day is of, the last that was opened by then. None: there is none.

    Args:
        known: the contexts that there are.
        preferred: the context that it is, where several were opened on the same day; else it is the last of them.
    """
    key = contract.episode
    found = [context for context in known if key.has_day(day, context)]
    if key.opens_with is not None:
        found.sort(key=lambda context: (-key.days_into(day, context), context == preferred))
    return found[-1] if found else None
