"""The channels of the agriculture workload: what stands in a field, what it can say, and how fast that can change.

The ranges hold those of the table `readings`, into which days.py sums a day up. The limits of change are wide: they are
for what no air or soil can do, not for what is unusual. A front cools by 8 K in half an hour; under a sprinkler a probe
near the surface wets by 0.2 m3/m3 within the hour.

No field soil reads 0: even air-dry sand holds 0.02 m3/m3 (its residual water by Rawls et al. 1982,
doi:10.13031/2013.33720), and no air outdoors is drier than 1 %. -40 is where the scale of common sensors of temperature
ends, and 0 what many decoders make of a sensor that does not answer. A binary field that is full says nothing of rain.
"""

from fieldedge.contract.samples import Channel
from fieldedge.workloads.agriculture.tables import PROBE_DEPTHS_CM

PROBE_CHANNELS = tuple(f"vwc_{depth}cm_m3_m3" for depth in PROBE_DEPTHS_CM)

_STUCK_H = 96.0  # as long as the balance's own filter believes a probe that repeats itself (probes.py)
_SHALLOW_CM = 20
_FULL_FIELDS_MM = (327.67, 327.68, 409.5)  # of 15, 16 and 12 bits
_DRIEST_SOIL_M3_M3 = 0.01
_DRIEST_AIR_PCT = 1.0

CHANNELS = (
    Channel(
        "air_temperature_c",
        "degC",
        -45.0,
        55.0,
        "mean",
        20.0,
        8.0,
        6.0,
        about="2 m above ground, in a radiation shield",
        error_values=(-40.0, 0.0),
    ),
    Channel(
        "relative_humidity_pct",
        "%",
        0.0,
        105.0,
        "mean",
        80.0,
        36.0,
        25.0,
        about="sensors exceed 100 % in fog",
        floor=_DRIEST_AIR_PCT,
    ),
    Channel("wind_speed_m_s", "m/s", 0.0, 60.0, "mean", None, 30.0, 20.0, about="at [site] wind_height_m, 2 m"),
    Channel(
        "solar_radiation_w_m2", "W/m2", -20.0, 1500.0, "mean", None, 30.0, None, about="global; nights read below 0"
    ),
    Channel("rain_mm", "mm", 0.0, 450.0, "sum", about="since the sample before", error_values=_FULL_FIELDS_MM),
    Channel("et0_mm", "mm", 0.0, 20.0, "sum", about="since the sample before, where a station computes it"),
    *(
        Channel(
            f"vwc_{depth}cm_m3_m3",
            "m3/m3",
            0.0,
            0.75,
            "mean",
            0.6 if depth <= _SHALLOW_CM else 0.4,
            _STUCK_H,
            0.08,
            floor=_DRIEST_SOIL_M3_M3,
        )
        for depth in PROBE_DEPTHS_CM
    ),
    Channel("ndvi", "1", -0.3, 1.0, "last", about="drone flights only"),
    Channel("ndre", "1", -0.3, 1.0, "last", about="drone flights only"),
)
