"""The device's commands, a module each. `add(commands, shared)` puts a module's commands into the parser.

A module imports at its top only what parsing needs; what a command works with is imported when it runs, so that each
starts quickly.
"""

from types import ModuleType

from fieldedge.commands import doctor, history, link, override, provision, season, service, status, usb

ALL: tuple[ModuleType, ...] = (provision, season, service, status, history, override, doctor, link, usb)
