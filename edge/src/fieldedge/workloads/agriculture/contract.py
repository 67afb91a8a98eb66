"""What device and cloud agree on for a field of maize: every table, feature and output, and what they rest on."""

from fieldedge.contract import Contract
from fieldedge.workloads.agriculture import agronomy, features, probes, tables, upgrades

CONTRACT = Contract(
    workload="agriculture",
    revision=4,
    tables=(
        tables.FIELDS,
        tables.READINGS,
        tables.OPERATIONS,
        tables.CONFIRMATIONS,
        tables.HARVESTS,
        tables.recommendations_table(features.FEATURES),
    ),
    features=features.FEATURES,
    outputs=tables.OUTPUTS,
    episode=tables.EPISODE,
    constants={
        "days_to_maturity": agronomy.DAYS_TO_MATURITY,
        "probe_bias_sd": probes.BIAS_SD,
        "probe_alike_d": probes.ALIKE_D,
        "start_water_unknown": features.START_WATER_UNKNOWN,
        "volatilised_fraction": agronomy.VOLATILISED_FRACTION,
        "start_mineral_nitrogen_kg_ha": agronomy.START_MINERAL_NITROGEN_KG_HA,
    },
    upgrades=upgrades.UPGRADES,
)
