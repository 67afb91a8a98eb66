"""What a program prints goes out, whatever characters the terminal's encoding has.

A terminal, a pipe or a log may be Latin-1 or ASCII, and a file's name may be no text at all. An arrow or a superscript
becomes what it is written as where it is missing (`->`, `m3`), anything else its escape (`\\u0259`).
"""

import codecs
import io
import sys

WRITTEN_AS = {
    "→": "->", "…": "...", "–": "-", "—": "-", "−": "-", "·": ".", "°": "deg ", "º": "deg ", "²": "2", "³": "3",
    "⁻": "-", "₀": "0", "µ": "u", "μ": "u", "━": "=", "─": "-", "’": "'",
}  # fmt: skip
_HANDLER = "fieldedge.written_as"


def print_any_character() -> None:
    """From here on no character ends a program that prints it. What the encoding has is printed as ever."""
    codecs.register_error(_HANDLER, _written)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _written(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(WRITTEN_AS.get(one) or _escaped(one) for one in missing), error.end


def _escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode()
