"""Addresses in settings: one that can never work is told as a setting to mend, not tried for ever as a failed link."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from fieldedge.system.errors import ConfigError

GATEWAY_LIKE = "https://gateway.example.org"
_IN_NO_HOST = frozenset(":/@?#[]")


def checked_address(setting: str, text: str, like: str = GATEWAY_LIKE) -> str:
    """An address over HTTP that may work; `setting` names where it stands.

    Raises:
        ConfigError: it never can.
    """
    try:
        parts = urlsplit(text)
        is_sound = parts.scheme in ("http", "https") and parts.port != 0 and is_host(parts.hostname or "")
    except ValueError:  # a port that is none, or half an address
        is_sound = False
    if not is_sound:
        raise ConfigError(f"{setting} is {text!r}; expected an address like {like}")
    return text


def is_host(text: str) -> bool:
    """Whether that may be the name of a computer, or is the address of one."""
    try:
        ip_address(text)
    except ValueError:
        pass
    else:
        return True
    try:
        is_name = bool(text.encode("idna"))
    except UnicodeError:  # a part of it is empty or too long
        return False
    return is_name and not any(sign.isspace() or sign in _IN_NO_HOST for sign in text)
