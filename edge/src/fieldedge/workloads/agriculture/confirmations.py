"""What a person answers to what the season taught: it is so, and holds from planting on, or it is as was told.

For the terminal and for the page alike. How one word takes another's place is for `storage/corrections.py`.
"""

from collections.abc import Iterable, Sequence

from fieldedge.contract import Contract, Record
from fieldedge.storage.corrections import put
from fieldedge.storage.store import Store
from fieldedge.system.errors import DataError
from fieldedge.workloads.agriculture.learned import sentences

WHAT_IT_IS_OF = {"field_capacity": "what was told", "delivered_share": "what is noted", "gauge": "what it shows"}


def open_findings(decisions: Sequence[Record], answers: Iterable[Record]) -> list[Record]:
    """Of the last day's decision, what it learned clearly that nobody has answered since; with its day as `date`."""
    if not decisions:
        return []
    last = max(decisions, key=lambda row: str(row.get("date")))
    answered = [row.get("factor") for row in answers if str(row.get("date")) >= str(last.get("date"))]
    said = last.get("learned")
    rows = [row for row in said if isinstance(row, dict)] if isinstance(said, list | tuple) else []
    return [{**row, "date": last.get("date")} for row in rows if sentences([row]) and row.get("name") not in answered]


def findings_and_answers(store: Store, field: Record, contract: Contract) -> tuple[list[Record], list[Record]]:
    """What is asked of a field's season, nothing once it was harvested; and the last word on each factor, by its day.

    A person may answer once more: the last word counts.
    """
    season = contract.episode.kept_as(field)
    decisions, answers, harvests = (
        [row for row in store.records(season, table) if row["field_id"] == field["field_id"]]
        for table in ("recommendations", "confirmations", "harvests")
    )
    last: dict[str, Record] = {}
    for row in sorted(answers, key=lambda row: (row["date"], row["record_id"])):
        last.pop(row["factor"], None)
        last[row["factor"]] = contract.current("confirmations", row)
    return [] if harvests else open_findings(decisions, answers), list(last.values())


def answer_finding(store: Store, field: Record, factor: str, is_taken: bool, contract: Contract) -> tuple[Record, str]:
    """Store what a person said of a factor that was learned; the record, and what became of it.

    Raises:
        DataError: the device does not ask of it and never did, or the season is over.
    """
    found, answers = findings_and_answers(store, field, contract)
    asked = next((row for row in found if row["name"] == factor), None)
    asked = asked or next((row for row in answers if row["factor"] == factor), None)
    if asked is None or store.records(contract.episode.kept_as(field), "harvests"):
        known = ", ".join(str(row["name"]) for row in found) or "nothing now"
        raise DataError(f"the device does not ask about {factor!r:.40}; it asks about {known}")
    record = contract.record(
        "confirmations",
        {
            **{name: field[name] for name in ("season", "region", "field_id")},
            "date": asked["date"],
            "factor": factor,
            "times": asked["times"],
            "answer": "taken" if is_taken else "refused",
        },
        f"answer about {factor}",
    )
    _, outcome = put(store, contract, "confirmations", record)
    if outcome != "unchanged":
        store.add_event("confirmed", as_words(record), {"record_id": record["record_id"]})
    return record, outcome


def as_words(answer: Record) -> str:
    """An answer as a person reads it: the factor, and what holds from then on."""
    factor = str(answer["factor"])
    taken = f"taken, {100.0 * answer['times']:.0f} % of {WHAT_IT_IS_OF[factor]}"
    return f"{factor.replace('_', ' ')}: {taken if answer['answer'] == 'taken' else 'not so, it is as before'}"
