"""What a grower answers on the page: a day was as recommended, nothing was applied, or other amounts were; and
whether what the season taught is so.

What it means is `operations.py`'s, as for the commands on a terminal.
"""

import re
from collections.abc import Mapping
from datetime import date

from fieldedge.contract import Record
from fieldedge.storage.episodes import contexts
from fieldedge.storage.store import Store
from fieldedge.system.errors import DataError
from fieldedge.workloads.agriculture.confirmations import answer_finding
from fieldedge.workloads.agriculture.contract import CONTRACT
from fieldedge.workloads.agriculture.operations import confirm_day, override_day, override_record

AMOUNTS = ("irrigation_mm", "nitrogen_kg_ha")
_AMOUNT = re.compile(r"[0-9]{1,4}(?:[.,][0-9]{0,2})?|[.,][0-9]{1,2}", re.ASCII)
_NO_REASON = "answered on the page, without a reason"


class AgricultureAnswers:
    """The forms of the agriculture workload. It holds nothing."""

    fields = ("date", "answer", "why", "about", *AMOUNTS)

    def store(self, store: Store, form: Mapping[str, str], today: date) -> str:
        """Keep what was said of a day; what became of it, in a word.

        Raises:
            DataError: a value is none, outside of its range, or of another field or day than it can be.
            StoreBusy, StoreFailed: it could not be kept.
        """
        fields = {CONTRACT.episode.of(field): field for field in contexts(store, CONTRACT)}
        field = fields.get(form.get("episode", ""))
        if field is None:
            known = ", ".join(fields) or "none"
            raise DataError(f"the answer is about {form.get('episode')!r:.80}; the device has {known}")
        if "about" in form:
            return _answered(store, field, form)
        day, answer = _day(form.get("date", "")), form.get("answer")
        if answer == "done":
            return confirm_day(store, field, day, CONTRACT, today)[1]
        if answer not in ("nothing", "other"):
            raise DataError(f"the answer is {answer!r:.80}; expected done, nothing or other")
        irrigation_mm, nitrogen_kg_ha = (0.0, 0.0) if answer == "nothing" else _amounts(form)
        why = " ".join(form.get("why", "").split()) or _NO_REASON
        record = override_record(field, day, irrigation_mm, nitrogen_kg_ha, why, CONTRACT)
        return override_day(store, field, record, CONTRACT, today)[1]


def _answered(store: Store, field: Record, form: Mapping[str, str]) -> str:
    answer = form.get("answer")
    if answer not in ("taken", "refused"):
        raise DataError(f"the answer is {answer!r:.80}; expected taken or refused")
    return answer_finding(store, field, form["about"], answer == "taken", CONTRACT)[1]


def _day(text: str) -> str:
    try:
        if date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise DataError(f"date is {text!r:.40}; expected a day like 2026-07-03")


def _amounts(form: Mapping[str, str]) -> tuple[float, float]:
    given = {name: form.get(name, "").strip() for name in AMOUNTS}
    if not any(given.values()):
        raise DataError("no amount is given: fill in what was applied, or say that nothing was")
    irrigation_mm, nitrogen_kg_ha = (_amount(name, text) for name, text in given.items())
    return irrigation_mm, nitrogen_kg_ha


def _amount(name: str, text: str) -> float:
    """An amount as people write it, with a point or a comma; nothing is 0. `1,000` could be one or a thousand."""
    if not text:
        return 0.0
    if not _AMOUNT.fullmatch(text):
        raise DataError(f"{name} is {text!r:.40}; expected a number like 12.5, with two decimals at most")
    return float(text.replace(",", "."))
