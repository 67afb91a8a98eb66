"""What of a day's values cannot be true, or hardly: a counter's total taken for rain, a unit that was assumed.

Quality control judges each value by itself and by its neighbours; here the day as a whole is looked at. What cannot be
is `refused`, and the day has no such value; what can hardly be is used and told. The words say which setting mends it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import median

RAINS_NEARLY_ALWAYS = 0.9  # of a day's samples
ENOUGH_SAMPLES = 12
ENOUGH_H = 16.0  # of a day, to say how it was as a whole
RISING_SAMPLES, RISING_H = (
    8,
    4.0,
)  # in a row to the day's end that rain and never less: a counter since midnight does so
MOST_OF_EQUAL_MM = 50.0  # that a day can bring in samples of one exact value
DOWNPOUR_MM, DOWNPOUR_MM_H = 20.0, 50.0  # out of nothing in one value, and as a rate, and nothing after it
SUMMED_OVER_H, LEAST_SUMMED = (1, 2, 3, 6, 12, 24), 3  # as stations sum the last hours; and how many values at least
UNEVEN = 0.2  # of the usual gap between samples
WHOLE_TIPS = 4  # gauges resolve 0.1 to 0.5 mm
FALLS_OF_A_DAY, MANY_AN_HOUR_H = 2, 0.34
UNIT_FACTORS = 25.4, 10.0, 100.0, 2.54, 5.0, 3.937, 4.0, 39.37  # inches, tenths, cm, and tips of 0.2, 0.254 and 0.01 in
SAME_TOTAL = 0.01
SAME_MM, SAME_SAMPLES = 1.0, 8  # of one value in a row: beyond what a bucket's tips make alike
LONGEST_SILENCE_H = 4.0  # within a day
WETTEST_DAY_MM = 200.0  # that is taken without a word
HOTTEST_DAY_C, HOT_DAY_C = 45.0, 40.0  # a day's mean; the hottest places on record have had 43
COLD_DAY_C = -5.0  # a day's mean in a season; maize is dead then
WIDEST_DAY_K = 35.0  # between a day's least and greatest; few deserts have had more
CALMEST_DAY_M_S = 0.1  # a day's mean 2 m above ground: no air stands so still
WINDIEST_DAY_M_S = 17.0  # a storm for 24 hours
WINDY_DAY_M_S = 9.0  # 12 m/s on a mast of 10 m, for 24 hours: few days are so
WINDY_PLACE_M_S, DAYS_OF_WIND = 5.5, 5  # day after day; of the windiest plains that are farmed the year has less
WHOLE_NUMBERS, KINDS_OF_THEM = 12, 4  # who measures in m/s writes tenths
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
DRIES_TO = 0.9  # of what it was at the coldest: air that warms by 10 K and keeps its vapour comes to 0.55
WARMS_BY_K = 10.0  # FAO-56: the air is driest when it is warmest, for the vapour in it stays about the same
WARM_DAY_K, WARM_DAYS, DULL_FOR_WARM = 12.0, 5, 0.45  # FAO-56 eq. 50 has 0.55 and more for a range of 12 K
CLEAR_NOON_H, DULL_NOON_H = 0.75, 2.5  # that clouds move the middle of a day by, if it is a clear one, else
MOVED_NOON_H, CLEAR_DAYS = 0.7, 2  # summer time moves it by an hour
MIDDAY_FROM_H, MIDDAY_TO_H = 8.0, 17.0  # noon is from 11:00 to 15:10 by the clock of a zone; one half may be dark
DAYLIGHT_MJ_M2 = 5.0  # above the atmosphere, for that to be asked
DIMMEST_PEAK, PEAK_DAYS = 0.45, 5  # of the brightest hour in days beside the sun above the atmosphere: 0.65 and more
DAMPER_WHEN_WARM, SUNNY_DAYS = 0.1, 3  # the correlation of humidity and temperature on sunny days is about -0.9
FINEST_TIP_MM, COARSEST_TIP_MM = 0.09, 1.05  # buckets tip at 0.1 to 1 mm
WET_VALUES, LIGHT_HOUR_MM, MANY_TIPS = 6, 0.1, (5.0, 80.0)
DROP_MM = 0.017  # by which some gauges count drops
OFF_A_STEP, OFF_BY_ROUNDING = 0.15, 0.02  # of a step; and for each step
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
    if (length_h := _summed_over_h(values_mm, hours)) is not None:
        said = f"rises and falls as the sum of the last {_hours_in_words(length_h)} does: each drop of it counts again"
        return Doubt(
            f"{said}; name the field of the rain since the sample before, or a running total with counter = true"
        )
    if (lone_mm := _downpour_mm(values_mm, hours)) is not None:
        said = f"says {lone_mm:g} mm in one value, and nothing before and after it"
        return Doubt(f"{said}; see whether it is what the logger says of a fault, or of water poured into the gauge")
    if sum(values_mm) > WETTEST_DAY_MM:
        return Doubt(f"comes to {sum(values_mm):.0f} mm; see its unit, and whether it is a running total")
    if bad > (1.0 - RAINS_NEARLY_ALWAYS) * (bad + len(values_mm)):
        return Doubt(f"{bad} of {bad + len(values_mm)} values of the day are bad: more may have fallen")
    rains = [value for value in values_mm if value > 0.0]
    if len(rains) >= WHOLE_TIPS and all(value == int(value) for value in rains):
        said = f"has whole numbers alone, {len(rains)} of them, as where tips are counted"
        return Doubt(f"{said}; say what a tip is in [source.fields], such as scale = 0.2")
    return None


def _summed_over_h(values_mm: Sequence[float], hours: Sequence[float]) -> int | None:
    """The hours of which each value is the sum, where the values cannot be told from such sums; None: they can.

    What enters such a sum leaves it again, exactly so much, when its hours are over: the rain of an interval does not.
    """
    if len(values_mm) < ENOUGH_SAMPLES or values_mm[0] > 0.0 or not any(values_mm):
        return None
    gaps_h = [later - one for one, later in pairwise(hours)]
    step_h, least_mm = median(gaps_h), min(value for value in values_mm if value > 0.0)
    if not all(abs(gap - step_h) <= UNEVEN * step_h for gap in gaps_h):
        return None
    for length_h in SUMMED_OVER_H:
        count = round(length_h / step_h)
        if count < LEAST_SUMMED or count >= len(values_mm) or sum(value > 0.0 for value in values_mm) < count:
            continue
        entered, falls = [0.0], 0
        for place, (one, later) in enumerate(pairwise(values_mm), start=1):
            left = entered[place - count] if place >= count else 0.0
            entered.append(later - one + left)
            falls += later < one
            if entered[-1] < -OFF_A_STEP * least_mm:
                break
        else:
            if falls >= FALLS_OF_A_DAY:
                return length_h
    return None


def _hours_in_words(hours: int) -> str:
    return "hour" if hours == 1 else f"{hours} hours"


def _downpour_mm(values_mm: Sequence[float], hours: Sequence[float]) -> float | None:
    """The value of a day that comes out of nothing, and after which there is nothing; None: there is none."""
    for place in range(1, len(values_mm) - 1):
        value, took_h = values_mm[place], max(hours[place] - hours[place - 1], hours[place + 1] - hours[place])
        is_alone = values_mm[place - 1] == values_mm[place + 1] == 0.0 and took_h <= 1.0
        if is_alone and value >= max(DOWNPOUR_MM, DOWNPOUR_MM_H * took_h):
            return value
    return None


def of_repeats(again_mm: Sequence[float]) -> Doubt | None:
    """The rain of messages that repeat the one before them."""
    if not again_mm:
        return None
    said = f"counts {sum(again_mm):g} mm of {len(again_mm)} messages that say all that the one before them did"
    return Doubt(f"{said}; see whether each is sent again with a new time: a running total with counter = true is safe")


def of_temperature(mean_c: float, range_k: float, clearness: float | None) -> Doubt | None:
    """A day's temperature. `clearness` is its radiation as a part of that above the atmosphere, where it is known."""
    if clearness is not None and clearness > FAR_ABOVE * RADIATION_PER_ROOT_K[1] * math.sqrt(range_k):
        return Doubt(f"moves by {range_k:.1f} K on a day that is as good as clear; say its unit in [source.fields]")
    if mean_c < COLD_DAY_C:
        return Doubt(f"has a mean of {mean_c:.1f} degC over the day; see its unit in [source.fields], and its sign")
    if mean_c <= HOT_DAY_C:
        if range_k <= WIDEST_DAY_K:
            return None
        return Doubt(f"moves by {range_k:.1f} K within the day; see whether its unit or its field changed")
    said = f"has a mean of {mean_c:.1f} degC over the day"
    return Doubt(f'{said}; if it is in Fahrenheit, say unit = "degF" in [source.fields]', mean_c > HOTTEST_DAY_C)


def of_wind(mean_m_s: float, values: Sequence[float]) -> Doubt | None:
    setting = 'say its unit in [source.fields], such as unit = "km/h"'
    if mean_m_s < CALMEST_DAY_M_S:
        return Doubt(f"has a mean of {mean_m_s:.2f} m/s over the day; check the anemometer, and its unit")
    if mean_m_s > WINDY_DAY_M_S:
        said = f"has a mean of {mean_m_s:.1f} m/s over the day"
        return Doubt(f"{said}; {setting}", is_refused=mean_m_s > WINDIEST_DAY_M_S)
    if len(values) >= WHOLE_NUMBERS and len(set(values)) == 1:
        return Doubt(f"is {values[0]:g} m/s all day long; check the anemometer")
    blows = [value for value in values if value > 0.0]
    if len(blows) >= WHOLE_NUMBERS and len(set(blows)) >= KINDS_OF_THEM and all(value == int(value) for value in blows):
        return Doubt(f'has whole numbers alone, as mph, km/h and knots are written; {setting}, "mph", "kn" or "m/s"')
    return None


def of_usual_rain(values_mm: Sequence[float], wet_hours_mm: Sequence[float]) -> Doubt | None:
    """The rain of a week: its values that are no 0, and the wet hours that they make.

    Buckets tip at a tenth of a millimetre or more. What is finer and makes a wet hour lighter than a tip is in another
    unit, and so is what comes in steps that are coarser than any bucket's. Drizzle and dew of a gauge that weighs are
    as light, but never many times as much as the least of them.
    """
    if len(values_mm) < WET_VALUES:
        return None
    least_mm, usual_mm = min(values_mm), median(wet_hours_mm)
    is_fine = least_mm < FINEST_TIP_MM and usual_mm <= LIGHT_HOUR_MM
    are_tips = MANY_TIPS[0] <= max(wet_hours_mm) / least_mm <= MANY_TIPS[1]
    if is_fine and are_tips and not _is_of(DROP_MM, values_mm):
        said = f"comes to {usual_mm:.2g} mm in a usual wet hour of the week, by {least_mm:.2g} mm at least"
        setting = 'say its unit in [source.fields], such as unit = "in" or "cm"'
        return Doubt(f"{said}, and no bucket tips so finely; {setting}")
    if least_mm > COARSEST_TIP_MM and least_mm != int(least_mm) and _is_of(least_mm, values_mm):
        setting = "say its unit, or what a tip is, in [source.fields], such as scale = 0.1"
        return Doubt(f"comes in steps of {least_mm:.3g} mm, and no bucket tips so coarsely; {setting}")
    return None


def _is_of(step: float, values: Sequence[float]) -> bool:
    """Whether values are in whole steps, as far as they were rounded."""
    steps = [value / step for value in values]
    return all(abs(one - max(round(one), 1)) <= OFF_A_STEP + OFF_BY_ROUNDING * one for one in steps)


def of_usual_warmth(humidity_by_warmth: Sequence[float]) -> Doubt | None:
    """How humidity goes with temperature on each of the week's sunny days."""
    if len(humidity_by_warmth) < SUNNY_DAYS or median(humidity_by_warmth) <= DAMPER_WHEN_WARM:
        return None
    said = f"and the humidity rise together on {len(humidity_by_warmth)} sunny days, where the air dries as it warms"
    return Doubt(f"{said}; see in [source.fields] whether its field is a dew point or is in the soil")


def of_usual_wind(means_m_s: Sequence[float]) -> Doubt | None:
    """The wind at 2 m, day by day."""
    usual = median(means_m_s)
    if len(means_m_s) < DAYS_OF_WIND or usual <= WINDY_PLACE_M_S:
        return None
    said = f"has been about {usual:.1f} m/s on {len(means_m_s)} days, which is more than fields have"
    return Doubt(f'{said}; say its unit in [source.fields], such as unit = "km/h", "mph" or "kn"')


def of_counter(totals: Sequence[float], hours: Sequence[float]) -> Doubt | None:
    """A day's running totals of rain, in mm."""
    falls = [place for place in range(1, len(totals)) if totals[place] < totals[place - 1]]
    for place in (*falls, *(one for one in range(1, len(totals)) if totals[one] - totals[one - 1] >= DOWNPOUR_MM)):
        if unit_changed(totals[place - 1], totals[place]):
            said = (
                f"goes from a total of {totals[place - 1]:g} to {totals[place]:g} mm at once, as where its unit changes"
            )
            is_refused = totals[place] > totals[place - 1]
            return Doubt(
                f"{said}; see what the logger counts now, and its unit or scale in [source.fields]", is_refused
            )
    setting = "if it is the rain of each interval and no running total, leave counter = true out of [source.fields]"
    step_h = median(later - one for one, later in pairwise(hours)) if len(hours) > 1 else 1.0
    if step_h <= MANY_AN_HOUR_H and all(hours[place] % 1.0 <= step_h for place in falls):
        return None  # it counts the rain since the hour began, and begins anew with each
    if len(falls) >= FALLS_OF_A_DAY:
        return Doubt(f"falls {len(falls)} times in the day, where a counter begins anew once at most; {setting}")
    for place in falls:
        rose = next((one for one in range(place - 1, 0, -1) if totals[one] > totals[one - 1]), None)
        if rose is not None and place - rose == 1 and place + 1 < len(totals):
            said = f"falls from {totals[place - 1]:g} to {totals[place]:g} mm as soon as it has risen"
            return Doubt(f"{said}, as the rain of an interval does; {setting}")
    return None


def unit_changed(last_mm: float, total_mm: float) -> bool:
    """Whether a total is the one before in another unit: inches, tips of a bucket, tenths or hundredths."""
    if min(last_mm, total_mm) <= 0.0 or max(last_mm, total_mm) < DOWNPOUR_MM:
        return False
    factor = max(last_mm, total_mm) / min(last_mm, total_mm)
    return any(abs(factor / one - 1.0) <= SAME_TOTAL for one in UNIT_FACTORS)


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
    if range_k < WARMS_BY_K or at_warmest_pct < DRIES_TO * at_coldest_pct:
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


def of_sun(noon_utc_h: float, sun_utc_h: float, clearness: float) -> Doubt | None:
    """The middle of a day's radiation beside the hour at which the sun stands highest there."""
    late_h = (noon_utc_h - sun_utc_h + 12.0) % 24.0 - 12.0
    if abs(late_h) <= (CLEAR_NOON_H if clearness >= CLEAR_DAY else DULL_NOON_H):
        return None
    said = f"has its middle at {_clock(noon_utc_h)} UTC, and the sun stands highest at {_clock(sun_utc_h)} there"
    return Doubt(
        f"{said}: the times are {abs(late_h):.1f} h {'late' if late_h > 0.0 else 'early'}; say the zone in which the "
        "logger writes them in [source.fields] time, or begins_min = 60 if its rows have the begin of their hours; set "
        "its clock, and see longitude_deg in [site]"
    )


def of_usual_noon(noon_utc_h: float, before_utc_h: Sequence[float]) -> Doubt | None:
    """The middle of a clear day's radiation beside that of the clear days before."""
    if len(before_utc_h) < CLEAR_DAYS:
        return None
    usual_h = median((one - noon_utc_h + 12.0) % 24.0 - 12.0 for one in before_utc_h)
    if abs(usual_h) <= MOVED_NOON_H:
        return None
    said = f"has its middle {abs(usual_h):.1f} h {'earlier' if usual_h > 0.0 else 'later'} than on the days before"
    return Doubt(f"{said}: was the logger's clock set, or has it summer time? Say its zone in [source.fields] time")


def of_usual_peak(peaks: Sequence[float]) -> Doubt | None:
    """The brightest hour of each day as a part of the sun at noon above the atmosphere."""
    if len(peaks) < PEAK_DAYS or max(peaks) >= DIMMEST_PEAK:
        return None
    said = f"has been {max(peaks):.2f} of the sun above the atmosphere in the brightest hour of {len(peaks)} days"
    return Doubt(f"{said}; see whether it is PAR or a total per interval, the sensor, and its unit in [source.fields]")


def of_usual_radiation(clearness: float, range_k: float, before: Sequence[tuple[float, float]]) -> Doubt | None:
    """A day's radiation as a part of that above the atmosphere, and its range of temperature, beside the days before.

    What was too much on one of them is in no such unit; nor is what is little on each, though they warm as under a
    clear sky.
    """
    most = max((one for one, _ in before), default=0.0)
    warm = [one for one, by_k in (*before, (clearness, range_k)) if by_k >= WARM_DAY_K]
    if len(warm) >= WARM_DAYS and max(warm) < DULL_FOR_WARM:
        said = f"has been {max(warm):.2f} of that above the atmosphere at most, on {len(warm)} days that warm by much"
        return Doubt(f"{said}; see whether it is PAR, the sensor, and its unit in [source.fields]")
    if most <= CLEAREST:
        return None
    said = f"came to {most:.1f} times that above the atmosphere on a day of the week before"
    todo = "see whether it is PAR in umol, or a total per interval, and say its unit in [source.fields]"
    return Doubt(f"{said}, so that a dull day is not to be believed either; {todo}", is_refused=most > BRIGHTEST)


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
