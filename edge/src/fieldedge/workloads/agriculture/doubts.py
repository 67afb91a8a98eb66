"""What of a day's values cannot be true, or hardly: a counter's total taken for rain, a unit that was assumed.

Quality control judges each value by itself and by its neighbours; here the day as a whole is looked at. What cannot be
is `refused`, and the day has no such value; what can hardly be is used and told. The words say which setting mends it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

RAINS_NEARLY_ALWAYS = 0.9  # of a day's samples
ENOUGH_SAMPLES = 12
ENOUGH_H = 16.0  # of a day, to say how it was as a whole
RISING_SAMPLES, RISING_H = (
    8,
    4.0,
)  # in a row to the day's end that rain and never less: a counter since midnight does so
MOST_OF_EQUAL_MM = 50.0  # that a day can bring in samples of one exact value
DOWNPOUR_MM, DOWNPOUR_MM_H = 20.0, 50.0  # out of nothing in one value, and as a rate, and nothing after it
SAME_MM, SAME_SAMPLES = 1.0, 8  # of one value in a row: beyond what a bucket's tips make alike
LONGEST_SILENCE_H = 4.0  # within a day
WETTEST_DAY_MM = 200.0  # that is taken without a word
HOTTEST_DAY_C, HOT_DAY_C = 45.0, 40.0  # a day's mean; the hottest places on record have had 43
WIDEST_DAY_K = 35.0  # between a day's least and greatest; few deserts have had more
CALMEST_DAY_M_S = 0.1  # a day's mean 2 m above ground: no air stands so still
WINDIEST_DAY_M_S = 17.0  # a storm for 24 hours
DIMMEST, BRIGHTEST = (
    0.02,
    1.1,
)  # of the radiation above the atmosphere; FAO-56 has 0.25 and 0.75 for days quite overcast, quite clear
CLEAREST = 0.9  # of it, and still believed: FAO-56 eq. 37 has 0.83 for the clear sky of 4,000 m
DARK_W_M2, HAS_NIGHTS_DEG = 25.0, 60.0  # night, by a sensor; and the latitude up to which every day has one
RADIATION_PER_ROOT_K = 0.16, 0.19  # of that above the atmosphere, by the day's range of temperature: FAO-56 eq. 50
FAR_BELOW, FAR_ABOVE = 0.25, 2.4  # times what that range says
DRIEST_DAY_PCT = 12.0  # that a day's humidity at least reaches once
DRIEST_SOIL, WETTEST_SOIL_M3_M3 = 0.4, 0.05  # of the wilting point (air and roots leave about half); above saturation
WET_AIR_PCT, CLEAR_DAY = 97.0, 0.55  # the air is not so wet all through a day of so much sun
WARMS_BY_K = 10.0  # FAO-56: the air is driest when it is warmest, for the vapour in it stays about the same
MIDDAY_FROM_H, MIDDAY_TO_H = 8.0, 17.0  # noon is from 11:00 to 15:10 by the clock of a zone; one half may be dark
DAYLIGHT_MJ_M2 = 5.0  # above the atmosphere, for that to be asked
LEAST_OF_ET0, MOST_OF_ET0 = 0.3, 2.5  # of what this device's own sensors make of the day
LEAST_APART_MM, MOST_APART_MM = 1.0, 3.0  # and so far from it


@dataclass(frozen=True)
class Doubt:
    """Why a channel's day is doubted. Where it is `is_refused` it does not count."""

    why: str
    is_refused: bool = False


def of_rain(values_mm: Sequence[float], hours: Sequence[float], bad: int) -> Doubt | None:
    """What a day's rain, sample by sample, looks like. `bad` values did not count."""
    never_falls = all(later >= one for one, later in pairwise(values_mm))
    wet = [at for value, at in zip(values_mm, hours, strict=True) if value > 0.0]
    is_whole = len(values_mm) >= ENOUGH_SAMPLES and hours[-1] - hours[0] >= ENOUGH_H
    setting = "if it is a running total, say counter = true in [source.fields]"
    if is_whole and len(wet) >= RAINS_NEARLY_ALWAYS * len(values_mm):
        first, last = values_mm[0], values_mm[-1]
        if never_falls and (last > first > 0.0 or sum(values_mm) > MOST_OF_EQUAL_MM):
            said = f"never falls in {len(values_mm)} values of the day, from {first:g} to {last:g} mm"
            return Doubt(f"{said}, as a counter does; {setting}", is_refused=True)
        return Doubt(f"says in {len(wet)} of {len(values_mm)} values of the day that it rains; {setting}")
    if never_falls and len(wet) >= RISING_SAMPLES and wet[-1] - wet[0] >= RISING_H:
        return Doubt(f"is never less in {len(wet)} values to the day's end, as a counter since midnight is; {setting}")
    same = max((len(list(run)) for value, run in groupby(values_mm) if value > SAME_MM), default=0)
    if same >= SAME_SAMPLES and hours[-1] - hours[0] >= RISING_H:
        return Doubt(f"is the same in {same} values in a row, as the sum of the last hours is; {setting}")
    if (lone_mm := _downpour_mm(values_mm, hours)) is not None:
        said = f"says {lone_mm:g} mm in one value, and nothing before and after it"
        return Doubt(f"{said}; see whether it is what the logger says of a fault, or of water poured into the gauge")
    if sum(values_mm) > WETTEST_DAY_MM:
        return Doubt(f"comes to {sum(values_mm):.0f} mm; see its unit, and whether it is a running total")
    if bad > (1.0 - RAINS_NEARLY_ALWAYS) * (bad + len(values_mm)):
        return Doubt(f"{bad} of {bad + len(values_mm)} values of the day are bad: more may have fallen")
    return None


def _downpour_mm(values_mm: Sequence[float], hours: Sequence[float]) -> float | None:
    """The value of a day that comes out of nothing, and after which there is nothing; None: there is none."""
    for place in range(1, len(values_mm) - 1):
        value, took_h = values_mm[place], max(hours[place] - hours[place - 1], hours[place + 1] - hours[place])
        is_alone = values_mm[place - 1] == values_mm[place + 1] == 0.0 and took_h <= 1.0
        if is_alone and value >= max(DOWNPOUR_MM, DOWNPOUR_MM_H * took_h):
            return value
    return None


def of_temperature(mean_c: float, range_k: float, clearness: float | None) -> Doubt | None:
    """A day's temperature. `clearness` is its radiation as a part of that above the atmosphere, where it is known."""
    if clearness is not None and clearness > FAR_ABOVE * RADIATION_PER_ROOT_K[1] * math.sqrt(range_k):
        return Doubt(f"moves by {range_k:.1f} K on a day that is as good as clear; say its unit in [source.fields]")
    if mean_c <= HOT_DAY_C:
        if range_k <= WIDEST_DAY_K:
            return None
        return Doubt(f"moves by {range_k:.1f} K within the day; see whether its unit or its field changed")
    said = f"has a mean of {mean_c:.1f} degC over the day"
    return Doubt(f'{said}; if it is in Fahrenheit, say unit = "degF" in [source.fields]', mean_c > HOTTEST_DAY_C)


def of_wind(mean_m_s: float) -> Doubt | None:
    if mean_m_s < CALMEST_DAY_M_S:
        return Doubt(f"has a mean of {mean_m_s:.2f} m/s over the day; check the anemometer, and its unit")
    if mean_m_s <= WINDIEST_DAY_M_S:
        return None
    said = f"has a mean of {mean_m_s:.1f} m/s over the day"
    return Doubt(f'{said}; say its unit in [source.fields], such as unit = "km/h"', is_refused=True)


def of_silence(begin_h: float, end_h: float) -> Doubt | None:
    """The longest time of a day, in its hours, in which its logger said nothing."""
    if end_h - begin_h <= LONGEST_SILENCE_H:
        return None
    return Doubt(f"is not known from {_clock(begin_h)} to {_clock(end_h)} UTC; what was then is not in the day")


def _clock(hours: float) -> str:
    return f"{int(hours):02d}:{int(hours * 60.0) % 60:02d}"


def of_humidity(lowest_pct: float, highest_pct: float, clearness: float | None) -> Doubt | None:
    """A day's humidity. `clearness` is as for the temperature."""
    if clearness is not None and clearness >= CLEAR_DAY and lowest_pct >= WET_AIR_PCT:
        return Doubt(f"is never below {lowest_pct:.1f} % on a day of much sun; check the sensor")
    if highest_pct >= DRIEST_DAY_PCT:
        return None
    return Doubt(f"is never above {highest_pct:.1f} % in a whole day; say its unit in [source.fields]")


def of_humidity_and_warmth(at_coldest_pct: float, at_warmest_pct: float, range_k: float) -> Doubt | None:
    """The humidity of a sunny day at its coldest and its warmest."""
    if range_k < WARMS_BY_K or at_warmest_pct < at_coldest_pct:
        return None
    said = f"is {at_coldest_pct:.1f} % at the coldest and {at_warmest_pct:.1f} % at the warmest of a sunny day"
    return Doubt(f"{said}, {range_k:.0f} K apart; see whether it is a dew point or a deficit, and the sensor")


def of_noon(noon_utc_h: float, utc_offset_h: float) -> Doubt | None:
    """The middle of a day's radiation beside the clock of the site's zone."""
    noon_h = (noon_utc_h + utc_offset_h) % 24.0
    if MIDDAY_FROM_H <= noon_h <= MIDDAY_TO_H:
        return None
    said = f"has its middle at {_clock(noon_h).removesuffix(' UTC')} by the zone of [site]"
    return Doubt(
        f"{said}; see in which zone the logger writes its times, and whether hours of the afternoon are 1 or 13"
    )


def of_radiation(
    solar_mj_m2: float, outside_mj_m2: float, lowest_w_m2: float, range_k: float, latitude_deg: float
) -> Doubt | None:
    """A day's global radiation beside that above the atmosphere, FAO-56 eq. 21, its night, and the day's range."""
    if outside_mj_m2 < DAYLIGHT_MJ_M2:
        return None
    clearness = solar_mj_m2 / outside_mj_m2
    setting = 'say its unit in [source.fields], such as unit = "kW/m2" or "MJ/m2/h"'
    said = f"comes to {solar_mj_m2:.2g} MJ/m2, of {outside_mj_m2:.0f} above the atmosphere"
    if not DIMMEST <= clearness <= BRIGHTEST:
        return Doubt(f"{said}; {setting}", is_refused=True)
    if lowest_w_m2 > DARK_W_M2 and abs(latitude_deg) < HAS_NIGHTS_DEG:
        return Doubt(f"is never below {lowest_w_m2:.0f} W/m2, and the sun sets; check the sensor", is_refused=True)
    if clearness > CLEAREST:
        said += ", more than a clear sky lets through"
        return Doubt(f"{said}; see whether it is PAR in umol, or a total per interval, and say its unit")
    if clearness < FAR_BELOW * RADIATION_PER_ROOT_K[0] * math.sqrt(range_k):
        return Doubt(f"{said}, on a day that moves by {range_k:.1f} K as under a clear sky; {setting}")
    return None


def of_soil(water_m3_m3: float, wilting_point_m3_m3: float, saturation_m3_m3: float) -> Doubt | None:
    """A probe's reading beside what the field's soil was said to hold."""
    if water_m3_m3 < DRIEST_SOIL * wilting_point_m3_m3:
        beside = f"far below the wilting point, {wilting_point_m3_m3:g}"
    elif water_m3_m3 > saturation_m3_m3 + WETTEST_SOIL_M3_M3:
        beside = f"above saturation, {saturation_m3_m3:g}"
    else:
        return None
    said = f"reads {water_m3_m3:.3f}, {beside} of the field's soil"
    return Doubt(f"{said}; see the probe, its unit in [source.fields], and the soil that was told")


def of_et0(given_mm: float, own_mm: float) -> Doubt | None:
    """A station's ET0 of the day beside that by this device's own sensors."""
    is_low = given_mm < LEAST_OF_ET0 * own_mm and own_mm - given_mm > LEAST_APART_MM
    is_high = given_mm > MOST_OF_ET0 * own_mm and given_mm - own_mm > MOST_APART_MM
    if not is_low and not is_high:
        return None
    said = f"comes to {given_mm:.2f} mm, where the day's weather makes {own_mm:.2f}"
    return Doubt(f"{said}; see whether it is of the whole day, in mm, and no running total", is_refused=True)
