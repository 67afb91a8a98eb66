"""What is taken for granted of a logger, because nobody says it: a field's unit, the zone of its times, a comma.

None of it is ever guessed. Where no unit is set nor stated, a field counts in the unit of its channel, and that is
asked for; a field that is called as its channel has its unit in its name. What a name says otherwise is told along:
`wind_mph` is hardly in m/s.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from fieldedge.acquisition.mapping import UNITS, Mapped, Mapper, TimeSetting, known_unit, says_unit, value_of
from fieldedge.acquisition.raw import RawSample, is_undecided

ASKED = "asked"  # the kind of event that tells of it
_TIME = "time"

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-zµμ]+", re.ASCII)
_DIGIT = re.compile(r"[0-9]")
_SHORT = {"ms": "m/s", "wm": "W/m2", "w": "W/m2", "kw": "kW/m2", "vwc": None, "in": "in"}
_ENDINGS = {"mph": "mph", "kmh": "km/h", "kph": "km/h", "tempf": "degF", "rainin": "in"}  # of words without a gap
_OTHER_THINGS = {
    "irradiance": ("par", "ppfd", "quantum", "umol", "lux", "uv", "uvi", "net", "rn"),
    "ratio": ("dew", "dewpoint", "vpd", "tension", "matric", "kpa", "cb", "centibar"),
    "temperature": ("dew", "dewpoint", "chill", "windchill", "index", "feels", "feelslike", "soil", "wet", "wetbulb"),
    "speed": ("gust", "windgust", "windgustmph", "maxdailygust"),
}  # what is called so is another quantity than a channel of this one


@dataclass(frozen=True)
class Asked:
    """What is taken for granted of a channel's field, or of the time, and what to set so that it is known."""

    channel: str
    field: str | None
    said: str
    todo: str


def assumed(raw: RawSample, mapper: Mapper) -> tuple[Asked, ...]:
    """What is taken for granted of a sample."""
    beside = [name for name, value in raw.fields.items() if isinstance(value, str) and says_unit(value)]
    return (*_of_units(mapper.mapped, raw.fields, {*raw.units, *beside}), *_of_zone(raw, mapper.time))


def undecided(raw: RawSample, mapper: Mapper) -> tuple[Asked, ...]:
    """The numbers of a sample of which nobody can say what they are."""
    found = []
    for one in mapper.mapped:
        value = raw.fields.get(one.field)
        if not isinstance(value, str):
            continue
        if one.decimal is None and is_undecided(value, raw.fields.values()):
            plain, point = value.replace(",", ""), value.replace(",", ".")
            found.append(
                Asked(
                    one.channel.name,
                    one.field,
                    f"the field {one.field} is {value!r:.20}, which can be {plain:.20} or {point:.20}: it is left out",
                    f'say which in [source.fields] of {one.channel.name}: decimal = "," or decimal = "."',
                )
            )
        elif _DIGIT.search(value) and value_of(raw, one) is None:
            found.append(
                Asked(
                    one.channel.name,
                    one.field,
                    f"the field {one.field} is {value!r:.40}, which is no number: it is left out",
                    "have the logger write numbers, with the unit in [source.fields] or in its header",
                )
            )
    return tuple(found)


def is_still_asked(channel: str, field: str | None, mapper: Mapper) -> bool:
    """Whether the settings have not answered since."""
    if channel == _TIME:
        return not mapper.time.is_known
    return any(
        one.channel.name == channel and one.field == field and not one.is_unit_set and one.decimal is None
        for one in mapper.mapped
    )


def _of_units(mapped: Sequence[Mapped], sent: Collection[str], stated: Collection[str]) -> Iterator[Asked]:
    for one in mapped:
        channel, field = one.channel, one.field
        if one.is_unit_set or channel.how == "last" or field == channel.name or field in stated:
            continue
        if field not in sent and not one.is_choice:
            continue
        quantity = UNITS[channel.unit].quantity
        words = [word.lower() for word in _WORD.findall(field.rpartition(".")[2])]
        other = next((word for word in words if word in _OTHER_THINGS.get(quantity, ())), None)
        named = _unit_in(words, quantity)
        if other is None and (named == channel.unit or (one.scale != 1.0 and quantity == "depth of water")):
            continue
        said = f"nobody says in which unit the field {field} is, and it is taken for {channel.unit}"
        perhaps = f'unit = "{channel.unit}" if it is so'
        if other is not None:
            said = f"the field {field} is by its name ({other}) another quantity than {channel.name}"
            perhaps += ", or name another field"
        elif named is not None:
            perhaps = f'perhaps unit = "{named}"'
        yield Asked(channel.name, field, said, f"say it in [source.fields] of {channel.name}: {perhaps}")


def _unit_in(words: Sequence[str], quantity: str) -> str | None:
    """The unit of a quantity that a word of a name is: `windspeedmph`, `rain_mm`, `tempF`."""
    for word in words:
        unit = _SHORT.get(word) or known_unit(word)
        if unit is not None and UNITS[unit].quantity == quantity:
            return unit
        for ending, unit in _ENDINGS.items():
            if word.endswith(ending) and UNITS[unit].quantity == quantity:
                return unit
    return None


def _of_zone(raw: RawSample, time: TimeSetting) -> Iterator[Asked]:
    if not time.is_known and raw.utc_offset_h is None and time.is_without_zone(raw):
        yield Asked(
            _TIME,
            None,
            "its times say no zone, and are taken for UTC",
            'say it: zone = "America/Chicago" in [site], or utc_offset_h in [source.fields] time, which may be 0',
        )
