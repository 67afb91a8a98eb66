"""What must hold between columns of one row, by workload and table; single columns say it in the contract."""

from typing import NamedTuple


class Ordered(NamedTuple):
    """`larger` is never below `smaller`; with `is_strict`, always above. Rows that lack either are passed over."""

    smaller: str
    larger: str
    is_strict: bool = False


ORDERED: dict[str, dict[str, tuple[Ordered, ...]]] = {
    "agriculture": {
        "fields": (
            Ordered("wilting_point_m3_m3", "field_capacity_m3_m3", is_strict=True),
            Ordered("field_capacity_m3_m3", "saturation_m3_m3"),
        ),
        "readings": (Ordered("tmin_c", "tmax_c"),),
        "recommendations": (
            Ordered("yield_p10_t_ha", "yield_p50_t_ha"),
            Ordered("yield_p50_t_ha", "yield_p90_t_ha"),
        ),
    }
}

# Tables in which a day may be said again after it went home, as `<record_id>/2` to `/9`; the last one counts.
SAID_AGAIN: dict[str, tuple[str, ...]] = {"agriculture": ("operations",)}
