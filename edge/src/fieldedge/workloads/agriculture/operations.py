"""What was done on a day: assumed, confirmed, or told otherwise; for the terminal and for the page alike.

How one word takes another's place is for `storage/corrections.py`.
"""

from datetime import date

from fieldedge.contract import Contract, Record
from fieldedge.storage import episodes
from fieldedge.storage.corrections import put
from fieldedge.storage.store import Store
from fieldedge.system.errors import DataError
from fieldedge.workloads.agriculture.tables import EPISODE, said_last

MAX_WHY_CHARACTERS = 300


def field_of(store: Store, season: int) -> Record:
    """The field of a season.

    Raises:
        DataError: the device knows no such field.
    """
    fields = store.records(str(season), "fields")
    if fields:
        return fields[-1]
    known_seasons = ", ".join(store.episodes()) or "none"
    raise DataError(f"season {season} is not on this device; it has {known_seasons}")


def field_on(store: Store, day: str, contract: Contract) -> Record:
    """The field of the season that a day is of; of the latest one, if it is of none.

    Raises:
        DataError: the device knows no field.
    """
    field = episodes.of_moment_or_latest(store, contract, day)
    if field is None:
        raise DataError("no field is known yet; describe it first: fieldedge import --messages FILE")
    return field


def confirm_day(store: Store, field: Record, day: str, contract: Contract, today: date) -> tuple[Record, str]:
    """Store that a day's action was done as it is noted or was recommended; the record, and what became of it.

    Raises:
        DataError: nothing is noted of that day and nothing was recommended, or it cannot have been done then.
    """
    season = contract.episode.kept_as(field)
    check_day(day, field, store.records(season, "harvests"), today)
    noted = next((row for row in said_last(store.records(season, "operations")) if row["date"] == day), None)
    said = noted or store.get(contract.record_id("recommendations", {**field, "date": day}))
    if said is None or (noted is None and said["irrigation_mm"] == said["nitrogen_kg_ha"] == 0.0):
        raise DataError(f"nothing is noted of {day} and nothing was recommended; say what was done: fieldedge override")
    record = contract.record(
        "operations",
        {
            **{name: field[name] for name in ("season", "region", "field_id")},
            "date": day,
            "irrigation_mm": said["irrigation_mm"],
            "nitrogen_kg_ha": said["nitrogen_kg_ha"],
            "source": "recommendation" if noted is None else noted["source"],
            "basis": "confirmed",
        },
        f"confirmation of {day}",
    )
    kept = {"why": noted["why"]} if noted is not None and "why" in noted else {}
    _, outcome = put(store, contract, "operations", {**record, **kept})
    if outcome != "unchanged":
        outcome = "confirmed"
        store.add_event("confirmed", f"{day}: {amounts_as_text(record)}, confirmed", {"record_id": record["record_id"]})
    return record, outcome


def override_record(
    field: Record, day: str, irrigation_mm: float, nitrogen_kg_ha: float, why: str, contract: Contract
) -> Record:
    """The row of table `operations`, with the reason beside it; what goes home are the table's columns.

    Raises:
        DataError: a value is none, or outside of its range.
    """
    reason = " ".join(why.split())
    if not reason or len(reason) > MAX_WHY_CHARACTERS:
        raise DataError(f"the reason has {len(reason)} characters; expected a reason of 1 to {MAX_WHY_CHARACTERS}")
    record = {
        "season": field["season"],
        "region": field["region"],
        "field_id": field["field_id"],
        "date": day,
        "irrigation_mm": irrigation_mm,
        "nitrogen_kg_ha": nitrogen_kg_ha,
        "source": "override",
        "basis": "confirmed",
    }
    return {**contract.record("operations", record, f"override of {day}"), "why": reason}


def override_day(
    store: Store, field: Record, record: Record, contract: Contract, today: date
) -> tuple[Record | None, str]:
    """Store what was really done on a day; the former record, and what became of it.

    Raises:
        DataError: it cannot have been done then, or too much was said of that day already.
    """
    check_day(record["date"], field, store.records(contract.episode.kept_as(field), "harvests"), today)
    former, outcome = put(store, contract, "operations", record)
    if outcome != "unchanged":
        store.add_event("override", sentence(record), {"record_id": record["record_id"]})
    return former, outcome


def check_day(day: str, field: Record, harvests: list[Record], today: date) -> None:
    """See that something can have been done on that day.

    Raises:
        DataError: it is before planting, after the harvest, or still to come.
    """
    done = date.fromisoformat(day)
    if done > today:
        raise DataError(f"{day} is still to come: today is {today} UTC; record what was done, not what is planned")
    if not EPISODE.has_day(day, field):
        raise DataError(
            f"{day} is not in season {field['season']} of {field['field_id']}, which was planted on "
            f"{field['planting_date']}"
        )
    for harvest in harvests:
        if harvest["field_id"] == field["field_id"] and day > harvest["date"]:
            raise DataError(f"{day} is after the harvest of {harvest['date']}: nothing is recorded of this season now")


def sentence(record: Record) -> str:
    """What was done on a day, and why."""
    return f"{record['date']}: {amounts_as_text(record)} ({record['why']})"


def amounts_as_text(record: Record) -> str:
    """What was applied, with its units."""
    if record["irrigation_mm"] == 0.0 and record["nitrogen_kg_ha"] == 0.0:
        return "nothing was applied"
    parts = [f"{record['irrigation_mm']:g} mm of water"] if record["irrigation_mm"] > 0.0 else []
    parts += [f"{record['nitrogen_kg_ha']:g} kg/ha of nitrogen"] if record["nitrogen_kg_ha"] > 0.0 else []
    return " and ".join(parts)
