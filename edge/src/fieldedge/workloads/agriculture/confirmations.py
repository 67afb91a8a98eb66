"""What a person answers to what the season taught: it is so, and holds from planting on, or it is as was told.

For the terminal and for the page alike. How one word takes another's place is for `storage/corrections.py`.
"""

from collections.abc import Iterable, Sequence

from fieldedge.contract import Contract, Record
from fieldedge.storage.corrections import put
from fieldedge.storage.store import Store
from fieldedge.system.errors import DataError


def open_findings(decisions: Sequence[Record], answers: Iterable[Record]) -> list[Record]:
    """Of the last decision, what it learned clearly that nobody has answered since; with its day as `date`."""
    if not decisions:
        return []
    last = decisions[-1]
    answered = {row.get("factor") for row in answers if str(row.get("date")) >= str(last.get("date"))}
    said = last.get("learned")
    rows = [row for row in said if isinstance(row, dict)] if isinstance(said, list | tuple) else []
    return [
        {**row, "date": last.get("date")}
        for row in rows
        if row.get("is_clear") is True and row.get("name") not in answered
    ]


def answer_finding(store: Store, field: Record, factor: str, is_taken: bool, contract: Contract) -> tuple[Record, str]:
    """Store what a person said of a factor that was learned; the record, and what became of it.

    Raises:
        DataError: the device has not learned it clearly, or somebody answered already.
    """
    season = contract.episode.kept_as(field)
    decisions, answers = (
        [row for row in store.records(season, table) if row["field_id"] == field["field_id"]]
        for table in ("recommendations", "confirmations")
    )
    found = open_findings(decisions, answers)
    finding = next((row for row in found if row["name"] == factor), None)
    if finding is None:
        known = ", ".join(str(row["name"]) for row in found) or "nothing"
        raise DataError(f"the device asks nothing of {factor!r:.40}; it asks of {known}")
    record = contract.record(
        "confirmations",
        {
            **{name: field[name] for name in ("season", "region", "field_id")},
            "date": finding["date"],
            "factor": factor,
            "times": finding["times"],
            "answer": "taken" if is_taken else "refused",
        },
        f"answer about {factor}",
    )
    _, outcome = put(store, contract, "confirmations", record)
    if outcome != "unchanged":
        taken = f"taken, {100.0 * record['times']:.0f} % of what was told" if is_taken else "refused, it is as was told"
        store.add_event("confirmed", f"{factor.replace('_', ' ')}: {taken}", {"record_id": record["record_id"]})
    return record, outcome
