"""What is taken for granted of a logger, because nobody says it: a field's unit, the zone of its times, a comma.

None of it is ever guessed. Where no unit is set nor stated, a field counts in the unit of its channel, and that is
asked for; a field that is called as its channel has its unit in its name. What a name says otherwise is told along:
`wind_mph` is hardly in m/s. A name that says another quantity, a gust or a dew point, is told of whatever its unit is.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from unicodedata import combining, normalize

from fieldedge.acquisition.mapping import UNITS, Mapped, Mapper, TimeSetting, known_unit, says_unit, value_of
from fieldedge.acquisition.raw import RawSample, is_undecided

ASKED = "asked"  # the kind of event that tells of it
_TIME = "time"

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-zµμ]+", re.ASCII)
_DIGIT = re.compile(r"[0-9]")
_SHORT = {"ms": "m/s", "wm": "W/m2", "w": "W/m2", "kw": "kW/m2", "vwc": None, "in": "in"}
_ENDINGS = {"mph": "mph", "kmh": "km/h", "kph": "km/h", "tempf": "degF", "rainin": "in"}  # of words without a gap
_EXTREMES = ("max", "maximum", "min", "minimum", "hi", "high", "lo", "low", "peak", "maxi", "mini")
_NO_EXTREME = re.compile(r"[0-9][ _-]?min|\bmin[0-9]|max[0-9]{3}|lora|hi(?:gh)?[ _-]?res", re.IGNORECASE)
_INDOORS = ("inside", "indoor", "indoors", "console", "tempin", "tempinf", "humidityin", "humin")
_OTHER_THINGS = {
    "irradiance": (
        *("par", "ppfd", "quantum", "umol", "lux", "uv", "uvi", "net", "rn", "diffuse", "dhi", "dni", "direct"),
        *("longwave", "lwin", "reflected", "albedo", *_EXTREMES),
    ),
    "ratio": (
        *("dew", "dewpoint", "vpd", "tension", "matric", "potential", "kpa", "cb", "centibar", "permittivity"),
        *("epsilon", "conductivity", "ec", "raw", "adc", *_EXTREMES, *_INDOORS),
    ),
    "temperature": (
        *("dew", "dewpoint", "dewptf", "chill", "windchill", "index", "heatindex", "feels", "feelslike", "apparent"),
        *("wet", "wetbulb", "soil", "leaf", "canopy", "water", "surface", "board", "panel", *_EXTREMES, *_INDOORS),
        *("taupunkt", "rosee", "rocio", "orvalho", "boden", "sol", "suelo", "solo"),
    ),
    "speed": (
        *("gust", "gusts", "windgust", "windgustmph", "maxdailygust", "rafale", "rafales", "racha", "rafaga"),
        *("rajada", "boe", "boen", "spitze", *_EXTREMES),
    ),
    "depth of water": (
        *("rate", "rainrate", "rainratein", "rainratemm", "intensity", "hourlyrain", "hourlyrainin", "hourlyrainmm"),
        *_INDOORS,
    ),
}  # what is called so is another quantity than a channel of this one
_RUNNING_TOTALS = tuple(
    f"{since}{what}"
    for since in ("daily", "event", "storm", "weekly", "monthly", "yearly", "annual")
    for what in ("", "rain", "rainin", "rainmm")
)  # of rain since some moment: a counter's


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
        one.channel.name == channel
        and one.field == field
        and (_other_thing(one) is not None or (not one.is_unit_set and one.decimal is None))
        for one in mapper.mapped
    )


def _of_units(mapped: Sequence[Mapped], sent: Collection[str], stated: Collection[str]) -> Iterator[Asked]:
    for one in mapped:
        channel, field = one.channel, one.field
        if field not in sent and not one.is_choice:
            continue
        other = _other_thing(one)
        if other is not None:
            said = f"the field {field} is by its name ({other}) another quantity than {channel.name}"
            todo = f"name another field in [source.fields] of {channel.name}, or say is_meant = true if it is so"
            yield Asked(channel.name, field, said, todo)
            continue
        if one.is_unit_set or channel.how == "last" or field == channel.name or field in stated:
            continue
        quantity = UNITS[channel.unit].quantity
        named = _unit_in(_words(field), quantity)
        if named == channel.unit or (one.scale != 1.0 and quantity == "depth of water"):
            continue
        said = f"nobody says in which unit the field {field} is, and it is taken for {channel.unit}"
        perhaps = f'unit = "{channel.unit}" if it is so' if named is None else f'perhaps unit = "{named}"'
        yield Asked(channel.name, field, said, f"say it in [source.fields] of {channel.name}: {perhaps}")


def _other_thing(one: Mapped) -> str | None:
    """The word by which a field is another quantity than its channel; None where it is not, or is meant."""
    channel, field = one.channel, one.field
    if one.is_meant or channel.how == "last" or field == channel.name:
        return None
    quantity = UNITS[channel.unit].quantity
    others = _OTHER_THINGS.get(quantity, ())
    if quantity == "depth of water" and one.kept_as == channel.name:
        others += _RUNNING_TOTALS
    return next((word for word in _words(field) if word in others), None)


def _words(field: str) -> list[str]:
    """The words of a field's own name, without accents: `Port 1 / Water Content`, `AirTC_Max`, `Rafale`.

    Minutes, chips and radios are no extremes: `wind_10min`, `MAX31865`, `LoRa`.
    """
    plain = "".join(one for one in normalize("NFKD", field.rpartition(".")[2]) if not combining(one))
    return [word.lower() for word in _WORD.findall(_NO_EXTREME.sub(" ", plain))]


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
