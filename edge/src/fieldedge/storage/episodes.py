"""Which of the episodes that a store knows a moment is of, a day or a time.

The one that was told last need not be it: next year's is described ahead, a former one is told late.
"""

from collections.abc import Sequence

from fieldedge.contract import Contract, Record
from fieldedge.storage.store import Store


def contexts(store: Store, contract: Contract) -> list[Record]:
    """What was said of each episode when it was opened, those of the latest last."""
    opening = contract.context_table.name
    return [context for episode in store.episodes() for context in store.records(episode, opening)]


def of_moment_or_latest(store: Store, contract: Contract, at: str) -> Record | None:
    """The context of the episode that a day or a time is of, else of the latest one. None: the store knows none."""
    known = contexts(store, contract)
    return of_moment(known, contract, at) or next(reversed(known), None)


def of_moment(known: Sequence[Record], contract: Contract, at: str, preferred: Record | None = None) -> Record | None:
    """The context of the episode that a day or a time is of, the last that was opened by then. None: there is none.

    Args:
        known: the contexts that there are.
        at: of those that open at times of the same day a time is of the last that was open by then; a day tells them
            not apart.
        preferred: the context that it is, where several could be it; else it is the last of them.
    """
    key = contract.episode
    found = [context for context in known if key.has_day(at[:10], context)]
    if (opens := key.opens_with) is not None:
        found.sort(
            key=lambda one: (
                -key.days_into(at[:10], one),
                one[opens] if one[opens] <= at else "",
                one == preferred,
            )
        )
    return found[-1] if found else None
