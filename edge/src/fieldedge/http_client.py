"""Asking over HTTP, whoever answers: bounded in time and in bytes, and every failure is a `LinkError`.

urllib3 takes the lengths that an answer states at their word: where they are no lengths it raises ValueError, where
they are exabytes OverflowError or MemoryError.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import urllib3

from fieldedge.errors import LinkError

MAX_ANSWER_BYTES = 65_536
UNREADABLE = (urllib3.exceptions.HTTPError, OSError, ValueError, ArithmeticError, MemoryError)


@dataclass(frozen=True)
class Answer:
    """What came back: the status, and the first `MAX_ANSWER_BYTES` of the body."""

    status: int
    body: bytes


def ask(
    method: str,
    url: str,
    timeout: urllib3.Timeout,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request, without a second try and without following a redirect.

    Raises:
        LinkError: nobody answered in time, or nothing that HTTP can read.
    """
    try:
        with urllib3.request(
            method,
            url,
            body=body,
            headers=headers,
            timeout=timeout,
            retries=False,
            redirect=False,
            preload_content=False,
        ) as response:
            return Answer(response.status, response.read(MAX_ANSWER_BYTES))
    except UNREADABLE as error:
        raise LinkError(f"{url} cannot be reached: {words(error)}") from error


def words(error: BaseException) -> str:
    """What an error says; its name where it says nothing."""
    return str(error) or type(error).__name__
