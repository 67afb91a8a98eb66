"""The weather forecast, as a message brings it and as a day still sees it."""

from collections.abc import Iterable
from datetime import date

from fieldedge.contract import Record
from fieldedge.system.errors import DataError
from fieldedge.workload import Note
from fieldedge.workloads.agriculture.features import Forecast

MAX_FORECAST_D, MIN_FORECAST_D = 7, 3
_MAX_MM = 450.0


def read_forecast(message: Record) -> Note:
    """A weather forecast for the days from `date` on.

    Raises:
        DataError: an amount is none, or there are too few or too many of them.
    """
    issued = _day(message.get("date"))
    amounts = {name: _amounts(message, name) for name in ("rain_mm", "et0_mm")}
    if len(amounts["rain_mm"]) != len(amounts["et0_mm"]):
        raise DataError("rain_mm and et0_mm have different lengths; expected one value a day in each")
    return Note(f"a forecast from {issued} on", {"issued": issued, **amounts})


def forecast_on(today: str, noted: Iterable[Record]) -> Forecast | None:
    """What the last forecast still says of the days from today on; None where too little is left of it."""
    for kept in noted:
        passed = (date.fromisoformat(today) - date.fromisoformat(kept["issued"])).days
        is_enough = passed >= 0 and len(kept["rain_mm"]) - passed >= MIN_FORECAST_D
        return Forecast(kept["rain_mm"][passed:], kept["et0_mm"][passed:]) if is_enough else None
    return None


def _day(day: object) -> str:
    try:
        if not isinstance(day, str):
            raise ValueError(day)
        return date.fromisoformat(day).isoformat()
    except ValueError:
        raise DataError(f"date is {day!r}; expected a date like 2006-05-01") from None


def _amounts(message: Record, name: str) -> list[float]:
    values = message.get(name)
    if not isinstance(values, list) or not MIN_FORECAST_D <= len(values) <= MAX_FORECAST_D:
        raise DataError(f"{name} is {values!r}; expected a list of {MIN_FORECAST_D} to {MAX_FORECAST_D} amounts")
    for value in values:
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0.0 <= value <= _MAX_MM:
            raise DataError(f"{name} holds {value!r}; expected amounts between 0 and {_MAX_MM:.0f} mm")
    return [float(value) for value in values]
