"""What a person answers on the page: one form, one day, on disk before the page says so.

A form is taken from the device's own page alone: it carries a token that only that page has, and a browser that says
where it comes from says the same. What it means is `operations.py`'s, as for the commands on a terminal.
"""

import hmac
import re
import secrets
from collections.abc import Mapping
from datetime import date
from urllib.parse import parse_qsl

from fieldedge.contract import Contract
from fieldedge.storage.store import Store
from fieldedge.system.errors import DataError
from fieldedge.workloads.agriculture.operations import confirm_day, field_of, override_day, override_record

MAX_FORM_BYTES = 4_096
AMOUNTS = ("irrigation_mm", "nitrogen_kg_ha")
FIELDS = ("token", "episode", "date", "answer", "why", *AMOUNTS)
FORM_TYPE = "application/x-www-form-urlencoded"
_AMOUNT = re.compile(r"[0-9]{1,4}(?:[.,][0-9]{0,2})?|[.,][0-9]{1,2}", re.ASCII)
_NO_REASON = "answered on the page, without a reason"


class ForeignFormError(DataError):
    """A form that does not come from this device's own page, or from one of before the last start."""


def new_token() -> str:
    """What the forms of one start of the page carry, 43 characters."""
    return secrets.token_urlsafe(32)


def parse_form(body: bytes) -> dict[str, str]:
    """The fields of a form, each once.

    Raises:
        DataError: it is not a form of the page.
    """
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            max_num_fields=len(FIELDS),
            errors="strict",
        )
    except ValueError as error:
        raise DataError(f"the form cannot be read: {error}; open the page again") from error
    form = dict(pairs)
    unknown = sorted(set(form) - set(FIELDS))
    if unknown or len(form) != len(pairs):
        raise DataError(
            f"the form has {', '.join(unknown) or 'a field twice'}; expected {', '.join(FIELDS)}, each once"
        )
    return form


def check_origin(headers: Mapping[str, str | None], host: str | None) -> None:
    """See that a browser comes from a page of the same address; older ones say nothing, and have the token alone.

    Args:
        headers: `Origin` and `Sec-Fetch-Site`, None where they were not sent.
        host: the header `Host` of the same request.

    Raises:
        ForeignFormError: it says that it comes from elsewhere.
    """
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    own = "" if host is None else host.strip().lower()
    if origin is not None and origin.lower() not in (f"http://{own}", f"https://{own}"):
        raise ForeignFormError(
            f"the form comes from {origin[:100]!r}, which is not this page; answer on the page itself"
        )
    if site is not None and site not in ("same-origin", "none"):
        raise ForeignFormError(f"the form comes from elsewhere ({site[:40]!r}); answer on the page itself")


def check_token(form: Mapping[str, str], token: str) -> None:
    """See that a form is of the page as it is served now.

    Raises:
        ForeignFormError: it is not.
    """
    if not hmac.compare_digest(form.get("token", "").encode(), token.encode()):
        raise ForeignFormError("the page was loaded before the device started anew: open it again, and answer there")


def store_answer(store: Store, form: Mapping[str, str], contract: Contract, today: date) -> str:
    """Keep what was said of a day; what became of it, in a word.

    Raises:
        DataError: a value is none, outside of its range, or of another field or day than it can be.
        StoreBusy, StoreFailed: it could not be kept.
    """
    field = field_of(store)
    episode = f"{field['season']}/{field['field_id']}"
    if form.get("episode") != episode:
        raise DataError(f"the answer is about {form.get('episode')!r:.80}; the device is in {episode!r} now")
    day, answer = _day(form.get("date", "")), form.get("answer")
    if answer == "done":
        return confirm_day(store, day, contract, today)[1]
    if answer not in ("nothing", "other"):
        raise DataError(f"the answer is {answer!r:.80}; expected done, nothing or other")
    irrigation_mm, nitrogen_kg_ha = (0.0, 0.0) if answer == "nothing" else _amounts(form)
    why = " ".join(form.get("why", "").split()) or _NO_REASON
    record = override_record(field, day, irrigation_mm, nitrogen_kg_ha, why, contract)
    return override_day(store, field, record, contract, today)[1]


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
