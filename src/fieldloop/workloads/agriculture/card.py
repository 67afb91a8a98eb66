"""What a model card of agriculture says, and what its examples and groups are called wherever they are told of."""

from fieldloop.workload import CardColumn, CardWords
from fieldloop.workloads.agriculture.metrics import YIELD_ERROR

CARD = CardWords(
    purpose="Scores the day's irrigation and nitrogen actions of one maize field: final yield (p10, p50, p90), water "
    "and nitrogen still to come. It advises within FAO-56 and nitrogen-balance bounds; it never decides alone.",
    limits="maize, soils and climates like those it learned from; sensors with faults as simulated. "
    "Beyond them the device's guardrails hold and the FAO-56 rule stands in.",
    groups="field-seasons",
    examples="days",
    columns=(
        CardColumn("yield RMSE t/ha", YIELD_ERROR.key, "{:.2f}"),
        CardColumn("bias t/ha", "yield_bias_t_ha", "{:+.2f}"),
        CardColumn("coverage of the 80 % interval", "interval_coverage_pct", "{:.0f} %"),
        CardColumn("field-seasons", "field_seasons", "{}"),
    ),
)
