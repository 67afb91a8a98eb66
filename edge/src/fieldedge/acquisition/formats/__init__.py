"""What loggers write: bytes in, raw samples out. Every module here is a format by its name, and has a `FORMAT`.

A format knows no source, no channel and no unit. It never raises for what a logger sends.
"""

import pkgutil
from importlib import import_module

from fieldedge.acquisition.logger_format import LoggerFormat

FORMATS: dict[str, LoggerFormat] = {
    module.name: import_module(f"{__name__}.{module.name}").FORMAT for module in pkgutil.iter_modules(__path__)
}
