"""A device whose season taught it something: its soil holds less than it was told, a part of the water never arrives.

What is true of the field is the device's own balance, folded from the true field record and the water that arrives;
the probes show it with noise, and flights its canopy. So the balance is right and what was told is wrong.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from fieldedge.contract import Record
from fieldedge.inference.loading import load_model
from fieldedge.runtime.agent import Agent
from fieldedge.storage.store import Store
from fieldedge.workloads.agriculture import layout as at
from fieldedge.workloads.agriculture.features import field_constants
from fieldedge.workloads.agriculture.probes import LAYER_OF_PROBE
from fieldedge.workloads.agriculture.season import advance, start_season
from tests.edge.page.season import PROBES_CM, SeasonedDevice, empty_device, install, season_model
from tests.edge.sample import AGRICULTURE, PLANTING, dated, day_of, field_record

NOISE_M3_M3 = 0.003


@dataclass
class TrueField:
    """The field as it is, day by day. `share` of the irrigation arrives; `gauge` times what is shown fell."""

    record: Record
    share: float = 1.0
    gauge: float = 1.0

    def __post_init__(self) -> None:
        self._constants, self._state = field_constants(self.record), [0.0] * at.STATES
        start_season(self._state, self._constants)

    def live(self, day: int, irrigation_mm: float, nitrogen_kg_ha: float) -> Record:
        """A day passes; its row of table `readings`."""
        rng = np.random.default_rng([2006, day])
        summer = np.sin(np.pi * (day + 25) / 180.0)
        rain_mm = round(float(rng.gamma(1.3, 9.0)), 1) if rng.random() < 0.16 else 0.0
        et0_mm = round(float(max(2.0 + 4.6 * summer + rng.normal(0, 0.8), 0.8)), 2)
        tmin_c = round(float(6.0 + 12.0 * summer + rng.normal(0, 2.0)), 1)
        tmax_c = round(float(tmin_c + 11.0 + rng.normal(0, 1.5)), 1)
        unseen = (float("nan"),) * (2 + at.PROBES)
        water = self.share * irrigation_mm, nitrogen_kg_ha
        advance(self._state, self._constants, [*water, tmin_c, tmax_c, self.gauge * rain_mm, et0_mm, *unseen])
        seen = {
            f"vwc_{depth}cm_m3_m3": round(float(self._state[at.THETA + layer] + rng.normal(0, NOISE_M3_M3)), 4)
            for depth, layer in zip(PROBES_CM, LAYER_OF_PROBE, strict=True)
        }
        is_flight, cover = day % 12 == 9, self._state[at.CANOPY]
        return dated(
            "readings",
            day,
            tmin_c=tmin_c,
            tmax_c=tmax_c,
            rain_mm=rain_mm,
            et0_mm=et0_mm,
            **seen,
            ndvi=round((cover + 0.18) / 1.26, 3) if is_flight else None,
            ndre=round(0.12 + 0.3 * cover, 3) if is_flight else None,
        )


@dataclass
class TaughtDevice:
    """A device and its true field, on the morning of a day: today's decision is made."""

    device: SeasonedDevice
    field: TrueField
    day: int = 0

    def evening(self, store: Store, agent: Agent, answer: Record) -> None:
        """What was advised is done, and the day is read."""
        water_mm, nitrogen_kg_ha = answer["irrigation_mm"], answer["nitrogen_kg_ha"]
        if water_mm > 0.0 or nitrogen_kg_ha > 0.0:
            said = {"source": "recommendation", "basis": "confirmed"}
            store.add(
                "operations",
                dated("operations", self.day, irrigation_mm=water_mm, nitrogen_kg_ha=nitrogen_kg_ha, **said),
            )
        agent._handle({"kind": "reading", "record": self.field.live(self.day, water_mm, nitrogen_kg_ha)})
        self.day += 1

    def go_on(self, days: int) -> Record:
        """So many days more, each with its decision, up to the morning after them; that morning's decision."""
        with self.device.open() as store:
            agent = Agent(self.device.config, AGRICULTURE, store, load_model(self.device.directory, AGRICULTURE))
            for _ in range(days):
                self.evening(store, agent, agent.decide(day_of(self.day)))
            last = agent.decide(day_of(self.day))
        self.device = replace(self.device, now=morning_of(self.day))
        return last


def morning_of(day: int) -> datetime:
    """A moment after the decision of that day."""
    return datetime.combine(PLANTING, datetime.min.time(), UTC) + timedelta(days=day, hours=6, minutes=20)


def taught_device(root: Path, days: int, capacity_told: float = 1.0, share: float = 1.0) -> TaughtDevice:
    """A device after so many days.

    Args:
        capacity_told: field capacity as the device was told it, times what is true.
        share: of the irrigation, arrives.
    """
    device = empty_device(root)
    install(device.directory, season_model(AGRICULTURE.contract))
    true = field_record()
    with device.open() as store:
        store.add("fields", {**true, "field_capacity_m3_m3": round(capacity_told * true["field_capacity_m3_m3"], 4)})
    taught = TaughtDevice(device, TrueField(true, share))
    taught.go_on(days)
    return taught
