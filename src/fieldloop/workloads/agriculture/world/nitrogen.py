"""Nitrogen beside AquaCrop: one mineral pool, a crop that takes from it, and growth that feels its lack.

AquaCrop knows water only. This layer is stepped once a day after it, with its fluxes, and gives back the factor on
water productivity for the next day. All amounts are kg N/ha.

Sources: critical dilution of maize, Plénet & Lemaire 2000 (Plant and Soil 216:65-82, doi:10.1023/A:1004783431055);
nitrogen nutrition index (NNI) and relative yield, Ziadi et al. 2008 (Agronomy Journal 100:271-276,
doi:10.2134/agronj2007.0059); leaching, Burns 1975 (Journal of Agricultural Science 85:443-454); mineralisation,
Stanford et al. 1973 (Soil Science 115:321-323) for temperature, Cassman & Munns 1980 (Soil Science Society of America
Journal 44:1233-1237) for water. docs/nitrogen.md has the formulas, and how much each assumption matters.
"""

from dataclasses import dataclass, field

import numpy as np

from fieldloop.workloads.agriculture.world.aquacrop_season import CropDay, SoilWater

CRITICAL_KG_PER_T = 34.0  # 3.40 % of shoot biomass at 1 t/ha
DILUTION_EXPONENT = 0.63  # 1 - 0.37: Nc = 3.40 W^-0.37 %
DILUTION_FROM_T_HA, DILUTION_UP_TO_T_HA = 1.0, 22.0  # where the curve was fitted
TOPSOIL_COMPARTMENTS = 3  # 0-30 cm, where organic matter mineralises


@dataclass(frozen=True)
class NitrogenRates:
    """The layer's constants.

    Q10 is Stanford's. The others have no single source: they are set so that Champion, sandy loam, answers as maize
    does in rate trials, with an economic optimum near 200 kg/ha and a recovery near 0.7. Luxury uptake stands for the
    store that Plénet & Lemaire found in well-fed crops.
    """

    mineralised_at_20c_kg_ha_d: float = 1.2
    mineralisation_q10: float = 2.0
    fertiliser_lost_fraction: float = 0.25  # surface urea, volatilised
    unavailable_kg_ha: float = 20.0
    uptake_per_day: float = 0.10
    uptake_max_kg_ha_d: float = 6.0
    luxury_uptake: float = 1.1
    soil_depth_m: float = 1.2
    growth_factor_min: float = 0.3


@dataclass
class NitrogenBalance:
    """The state of the layer, and its one step. `nni` is uptake over critical uptake: 1 is just enough."""

    soil: SoilWater
    mineral_kg_ha: float
    rates: NitrogenRates = field(default_factory=NitrogenRates)
    uptake_kg_ha: float = 0.0
    leached_kg_ha: float = 0.0
    lost_to_air_kg_ha: float = 0.0
    mineralised_kg_ha: float = 0.0
    applied_kg_ha: float = 0.0
    nni: float = 1.0

    @property
    def growth_factor(self) -> float:
        """What today's nitrogen status leaves of water productivity: NNI, within [0.3, 1]."""
        return min(1.0, max(self.rates.growth_factor_min, self.nni))

    def step(self, day: CropDay, fertiliser_kg_ha: float) -> None:
        """Fertilise, mineralise, leach, take up; in that order, over the day that AquaCrop has just lived."""
        self._fertilise(fertiliser_kg_ha)
        self._mineralise(day)
        self._leach(day.deep_percolation_mm)
        critical_kg_ha = critical_uptake_kg_ha(day.biomass_t_ha)
        self._take_up(day, critical_kg_ha)
        self.nni = self._nutrition_index(day.biomass_t_ha, critical_kg_ha)

    def _fertilise(self, kg_ha: float) -> None:
        lost = kg_ha * self.rates.fertiliser_lost_fraction
        self.applied_kg_ha += kg_ha
        self.lost_to_air_kg_ha += lost
        self.mineral_kg_ha += kg_ha - lost

    def _mineralise(self, day: CropDay) -> None:
        """By temperature (Stanford et al. 1973) and topsoil water (Cassman & Munns 1980), nothing in frozen soil."""
        mean_c = (day.tmin_c + day.tmax_c) / 2
        if mean_c <= 0:
            return
        topsoil_m3_m3 = float(day.water_m3_m3[:TOPSOIL_COMPARTMENTS].mean())
        dry, moist = self.soil.wilting_point_m3_m3, self.soil.field_capacity_m3_m3
        wetness = float(np.clip((topsoil_m3_m3 - dry) / (moist - dry), 0.0, 1.0))
        warmth = self.rates.mineralisation_q10 ** ((mean_c - 20.0) / 10.0)
        released = self.rates.mineralised_at_20c_kg_ha_d * warmth * (0.2 + 0.8 * wetness)
        self.mineral_kg_ha += released
        self.mineralised_kg_ha += released

    def _leach(self, drained_mm: float) -> None:
        """Burns 1975, his one mixed layer taken for the whole depth: the share that leaves with the drainage."""
        if drained_mm <= 0:
            return
        held_mm = 1000.0 * self.soil.field_capacity_m3_m3 * self.rates.soil_depth_m
        lost = self.mineral_kg_ha * drained_mm / (drained_mm + held_mm)
        self.mineral_kg_ha -= lost
        self.leached_kg_ha += lost

    def _take_up(self, day: CropDay, critical_kg_ha: float) -> None:
        """The least of what the crop still wants, what reaches its roots, and what they can take in a day."""
        rates = self.rates
        demand = max(0.0, rates.luxury_uptake * critical_kg_ha - self.uptake_kg_ha)
        reach = min(1.0, day.root_depth_m / rates.soil_depth_m)
        flow = 1.0
        if day.potential_transpiration_mm > 0:
            flow = min(1.0, day.transpiration_mm / day.potential_transpiration_mm)
        available = max(0.0, self.mineral_kg_ha - rates.unavailable_kg_ha)
        supply = rates.uptake_per_day * available * reach * (0.3 + 0.7 * flow)
        taken = min(demand, supply, rates.uptake_max_kg_ha_d)
        self.mineral_kg_ha -= taken
        self.uptake_kg_ha += taken

    def _nutrition_index(self, biomass_t_ha: float, critical_kg_ha: float) -> float:
        """NNI: uptake over critical uptake (Ziadi et al. 2008)."""
        index = self.uptake_kg_ha / critical_kg_ha if critical_kg_ha > 1.0 else 1.0
        if biomass_t_ha < DILUTION_FROM_T_HA and self.mineral_kg_ha > self.rates.unavailable_kg_ha:
            return max(index, 1.0)  # a seedling with mineral nitrogen around it is not short of any
        return index


def critical_uptake_kg_ha(biomass_t_ha: float) -> float:
    """The least nitrogen in the shoots that does not limit growth (Plénet & Lemaire 2000), kg/ha."""
    within = min(biomass_t_ha, DILUTION_UP_TO_T_HA)
    if within < DILUTION_FROM_T_HA:
        return CRITICAL_KG_PER_T * within
    return float(CRITICAL_KG_PER_T * within**DILUTION_EXPONENT)
