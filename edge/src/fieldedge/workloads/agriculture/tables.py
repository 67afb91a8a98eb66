"""The tables of the agriculture workload: columns, units and the ranges of true values.

Every row carries `record_id`, made from what the row is about, so that the same record is the same everywhere
and arrives at most once. Dates are UTC, `YYYY-MM-DD`; the season is named by its harvest year.
"""

from collections.abc import Iterable

from fieldedge.contract import MODEL, Column, EpisodeKey, Feature, Ordered, Output, Record, Table

PROBE_DEPTHS_CM = (15, 35, 75, 105)
DAY_DIGITS = 4  # significant, on the wire; finer than any sensor here
OUTCOME_DIGITS = 6

_IDENTITY = (
    Column("record_id", "str", about="season/field/table/date"),
    Column("season", "int", "harvest year", 1950, 2100),
    Column("region", "str"),
    Column("field_id", "str"),
)
_DATED = (*_IDENTITY, Column("date", "date", "UTC"))

FIELDS = Table(
    "fields",
    (
        *_IDENTITY,
        Column("device_id", "str", is_nullable=True, about="none where a grower kept the books by hand"),
        Column("crop", "str", choices=("maize",)),
        Column("soil", "str", about="USDA texture class"),
        Column("planting_date", "date", "UTC"),
        Column("field_capacity_m3_m3", "float", "m3/m3", 0.05, 0.60, digits=OUTCOME_DIGITS),
        Column("wilting_point_m3_m3", "float", "m3/m3", 0.01, 0.45, digits=OUTCOME_DIGITS),
        Column("saturation_m3_m3", "float", "m3/m3", 0.20, 0.75, digits=OUTCOME_DIGITS),
        Column("root_depth_max_m", "float", "m", 0.3, 3.0, digits=OUTCOME_DIGITS),
        Column(
            "initial_water_pct",
            "float",
            "% of TAW",
            0.0,
            120.0,
            is_nullable=True,
            about="soil sample at planting",
            digits=OUTCOME_DIGITS,
        ),
        Column("application_efficiency", "float", "1", 0.3, 1.0, digits=OUTCOME_DIGITS),
        Column(
            "irrigation_capacity_mm",
            "float",
            "mm/day",
            0.0,
            100.0,
            about="0 where there is no irrigation",
            digits=OUTCOME_DIGITS,
        ),
        Column("water_allowance_mm", "float", "mm/season", 0.0, 3000.0, digits=OUTCOME_DIGITS),
        Column("grain_price_usd_t", "float", "USD/t", 20.0, 2000.0, digits=OUTCOME_DIGITS),
        Column("water_price_usd_mm", "float", "USD/(mm ha)", 0.0, 20.0, digits=OUTCOME_DIGITS),
        Column("nitrogen_price_usd_kg", "float", "USD/kg", 0.0, 10.0, digits=OUTCOME_DIGITS),
        Column("fixed_cost_usd_ha", "float", "USD/ha", 0.0, 10000.0, digits=OUTCOME_DIGITS),
        Column("practice", "str", about="who decides: rainfed, calendar, threshold, fieldloop"),
    ),
    key=("record_id",),
    about="one row per field and season",
    role="context",
    rules=(
        Ordered("wilting_point_m3_m3", "field_capacity_m3_m3", is_strict=True),
        Ordered("field_capacity_m3_m3", "saturation_m3_m3"),
    ),
)

READINGS = Table(
    "readings",
    (
        *_DATED,
        Column("tmin_c", "float", "degC", -45.0, 40.0, digits=DAY_DIGITS),
        Column("tmax_c", "float", "degC", -35.0, 55.0, digits=DAY_DIGITS),
        Column("rain_mm", "float", "mm/day", 0.0, 450.0, digits=DAY_DIGITS),
        Column("et0_mm", "float", "mm/day", 0.0, 20.0, about="FAO-56 reference evapotranspiration", digits=DAY_DIGITS),
        *(
            Column(f"vwc_{depth}cm_m3_m3", "float", "m3/m3", 0.0, 0.75, is_nullable=True, digits=DAY_DIGITS)
            for depth in PROBE_DEPTHS_CM
        ),
        Column("ndvi", "float", "1", -0.3, 1.0, is_nullable=True, about="drone flights only", digits=DAY_DIGITS),
        Column("ndre", "float", "1", -0.3, 1.0, is_nullable=True, about="drone flights only", digits=DAY_DIGITS),
    ),
    key=("record_id",),
    about="one row per field and day, as the sensors saw it",
    role="observation",
    identity=("date",),
    rules=(Ordered("tmin_c", "tmax_c"),),
)

OPERATIONS = Table(
    "operations",
    (
        *_DATED,
        Column("irrigation_mm", "float", "mm", 0.0, 150.0, digits=OUTCOME_DIGITS),
        Column("nitrogen_kg_ha", "float", "kg/ha", 0.0, 300.0, digits=OUTCOME_DIGITS),
        Column("source", "str", choices=("practice", "recommendation", "override")),
        Column("basis", "str", choices=("confirmed", "assumed"), about="assumed: advised, and nobody said otherwise"),
    ),
    key=("record_id",),
    about="one row per field and day on which water or nitrogen was applied; what is said of a day after it went home "
    "is one more, `…/date/2` and so on, and the last one counts",
    role="action",
    identity=("date",),
    is_amendable=True,
)

CONFIRMATIONS = Table(
    "confirmations",
    (
        *_DATED,
        Column("factor", "str", choices=("field_capacity", "delivered_share", "gauge")),
        Column("times", "float", "1", 0.3, 2.0, about="of what was told before", digits=DAY_DIGITS),
        Column("answer", "str", choices=("taken", "refused"), about="refused: it is as was told"),
    ),
    key=("record_id",),
    about="what a person said of something that the season taught; of a factor the last answer counts",
    role="feedback",
    identity=("date", "factor"),
    is_amendable=True,
)

HARVESTS = Table(
    "harvests",
    (*_DATED, Column("yield_t_ha", "float", "t/ha dry grain", 0.0, 30.0, digits=OUTCOME_DIGITS)),
    key=("record_id",),
    about="one row per field and season",
    role="outcome",
    identity=("date",),
    is_once_an_episode=True,
)

EPISODE = EpisodeKey(
    columns=("season", "field_id"),
    partition=("season", "region"),
    closes_on="harvests",
    opens_with="planting_date",
    max_days=400,
)

OUTPUTS = (
    Output("yield_p10_t_ha", "t/ha"),
    Output("yield_p50_t_ha", "t/ha"),
    Output("yield_p90_t_ha", "t/ha"),
    Output("water_to_come_mm", "mm"),
    Output("nitrogen_to_come_kg_ha", "kg/ha"),
)


def recommendations_table(features: tuple[Feature, ...]) -> Table:
    """What a device said, with the inputs it saw: the trace of a decision and a training example in one row."""
    return Table(
        "recommendations",
        (
            *_DATED,
            Column("irrigation_mm", "float", "mm", 0.0, 150.0, digits=DAY_DIGITS),
            Column("nitrogen_kg_ha", "float", "kg/ha", 0.0, 300.0, digits=DAY_DIGITS),
            Column("yield_p10_t_ha", "float", "t/ha", -5.0, 35.0, is_nullable=True, digits=DAY_DIGITS),
            Column("yield_p50_t_ha", "float", "t/ha", -5.0, 35.0, is_nullable=True, digits=DAY_DIGITS),
            Column("yield_p90_t_ha", "float", "t/ha", -5.0, 35.0, is_nullable=True, digits=DAY_DIGITS),
            Column("source", "str", choices=(MODEL, "fao56")),
            Column("model_version", "str"),
            Column("bundle_sha256", "str", is_nullable=True, about="the bundle that was installed; none without one"),
            Column("contract_hash", "str"),
            Column("data_age_days", "int", "d", 0, 400),
            *(
                Column(f"x_{feature.name}", "float", feature.unit, about="the model's input", digits=DAY_DIGITS)
                for feature in features
            ),
        ),
        key=("record_id",),
        about="one row per field and day that the device chose to send",
        role="decision",
        identity=("date",),
        rules=(Ordered("yield_p10_t_ha", "yield_p50_t_ha"), Ordered("yield_p50_t_ha", "yield_p90_t_ha")),
    )


def said_last(operations: Iterable[Record]) -> list[Record]:
    """Of each day what was said last of it, by date: a row that went home already is superseded, not changed."""
    last: dict[str, Record] = {}
    for record in sorted(operations, key=lambda record: str(record.get("record_id"))):
        last[str(record.get("date"))] = record
    return [last[day] for day in sorted(last)]
