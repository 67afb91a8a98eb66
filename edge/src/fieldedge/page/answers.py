"""The forms of the page, as they come in: what a person answers is on disk before the page says so.

A form is taken from the device's own page alone: it carries a token that only that page has, and a browser that says
where it comes from says the same. What it says beside that is the workload's matter.
"""

import hmac
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from fieldedge.system.errors import DataError

MAX_FORM_BYTES = 4_096
FIELDS = ("token", "episode")
FORM_TYPE = "application/x-www-form-urlencoded"


class ForeignFormError(DataError):
    """A form that does not come from this device's own page, or from one of before the last start."""


def new_token() -> str:
    """What the forms of one start of the page carry, 43 characters."""
    return secrets.token_urlsafe(32)


def parse_form(body: bytes, own_fields: Sequence[str]) -> dict[str, str]:
    """The fields of a form, each once: those of every form, and the workload's own.

    Raises:
        DataError: it is not a form of the page.
    """
    known = (*FIELDS, *own_fields)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            max_num_fields=len(known),
            errors="strict",
        )
    except ValueError as error:
        raise DataError(f"the form cannot be read: {error}; open the page again") from error
    form = dict(pairs)
    unknown = sorted(set(form) - set(known))
    if unknown or len(form) != len(pairs):
        raise DataError(f"the form has {', '.join(unknown) or 'a field twice'}; expected {', '.join(known)}, each once")
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
