"""A device with a season behind it: real decisions of the real agent, in a real store, and loggers that sent samples.

The field follows the advice, now and then with a word of its own. Its probes show what the device's own balance says,
with noise; so the season is plausible without any crop model.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fieldedge.contract import Contract, Record
from fieldedge.contract.samples import Flag, FlaggedSample, Sample
from fieldedge.device.config import DeviceConfig, DeviceDirectory, LinkConfig, PageConfig
from fieldedge.inference.bundles import MANIFEST, MODEL
from fieldedge.inference.loading import load_model
from fieldedge.inference.slots import Installed, Slots
from fieldedge.presentation.facts import ServiceState
from fieldedge.runtime.agent import Agent
from fieldedge.storage.store import Store
from fieldedge.system.clock import Stamp, format_utc
from tests.edge.sample import AGRICULTURE, DEVICE_ID, PLANTING, bundle_files, dated, day_of, field_record

VERSION = "7"
PROBES_CM = (15, 35, 75, 105)
STATION = ("air_temperature_c", "relative_humidity_pct", "wind_speed_m_s", "solar_radiation_w_m2", "rain_mm")
PROBE = tuple(f"vwc_{depth}cm_m3_m3" for depth in PROBES_CM)
LOGGERS = {"station": STATION, "probe-east": PROBE, "probe-west": PROBE, "pump": ("water_pressure_kpa", "battery_v")}
OVERRIDES = {20: (12.0, "the neighbour had water to spare"), 65: (0.0, "pump in repair"), 80: (15.0, "wet patches")}
ASSUMED = (66,)  # of which the grower said nothing
TYPICAL = {
    "air_temperature_c": 22.0,
    "relative_humidity_pct": 58.0,
    "wind_speed_m_s": 2.1,
    "solar_radiation_w_m2": 310.0,
    "rain_mm": 0.0,
    "water_pressure_kpa": 212.0,
    "battery_v": 12.7,
}


@dataclass(frozen=True)
class SeasonedDevice:
    """A device on a morning in its season."""

    directory: DeviceDirectory
    config: DeviceConfig
    now: datetime

    def open(self) -> Store:
        return Store(self.directory.store, lambda: Stamp("boot", format_utc(self.now), True))


def empty_device(root: Path, now: datetime | None = None) -> SeasonedDevice:
    """A device that was just set up: no field, no model, no store."""
    root.mkdir(parents=True, exist_ok=True)
    config = DeviceConfig(
        DEVICE_ID, "agriculture", page=PageConfig(port=0), link=LinkConfig("https://gateway.example.org")
    )
    return SeasonedDevice(DeviceDirectory(root), config, now or datetime(2006, 5, 1, 6, 5, tzinfo=UTC))


def seasoned_device(root: Path, days: int, samples_per_day: int = 96, sampled_days: int = 3) -> SeasonedDevice:
    """A device that has decided on the mornings of `days` days, with a model of its own."""
    now = datetime.combine(PLANTING, datetime.min.time(), UTC) + timedelta(days=days - 1, hours=6, minutes=20)
    device = empty_device(root, now)
    install(device.directory, season_model(AGRICULTURE.contract))
    with device.open() as store:
        live(device, store, days)
        for name, channels in LOGGERS.items():
            store.add_samples(samples_of(name, channels, now, samples_per_day, sampled_days))
        store.add_event("model", f"model {VERSION} (float32) is in use from now on")
        store.add_event("link_sync", "sync: 41 records of season 2006 are acknowledged")
    return device


def live(device: SeasonedDevice, store: Store, days: int) -> None:
    """Every day a decision, what was done, and the day's reading."""
    agent = Agent(device.config, AGRICULTURE, store, load_model(device.directory, AGRICULTURE))
    agent._handle({"kind": "field", "record": field_record()})
    for day in range(days):
        answer = agent._handle({"kind": "decide", "date": day_of(day)})
        assert answer is not None
        done = done_record(day, answer)
        if day < days - 1:
            if done is not None:
                store.add("operations", done)
            agent._handle({"kind": "reading", "record": reading_of(day, answer, done)})


def done_record(day: int, advice: Record) -> Record | None:
    """What the grower did: the advice, but for a few days."""
    water_mm, nitrogen_kg_ha = advice["irrigation_mm"], advice["nitrogen_kg_ha"]
    said = {"source": "recommendation", "basis": "assumed" if day in ASSUMED else "confirmed"}
    if day in OVERRIDES:
        water_mm, why = OVERRIDES[day]
        said = {"source": "override", "basis": "confirmed", "why": why}
    elif water_mm <= 0.0 and nitrogen_kg_ha <= 0.0:
        return None
    return dated("operations", day, irrigation_mm=water_mm, nitrogen_kg_ha=nitrogen_kg_ha, **said)


def reading_of(day: int, advice: Record, done: Record | None) -> Record:
    """The weather of a continental summer, and probes in the evening of the day."""
    rng = np.random.default_rng([2006, day])
    summer = np.sin(np.pi * (day + 25) / 180.0)
    rain_mm = round(float(rng.gamma(1.3, 9.0)), 1) if rng.random() < 0.16 else 0.0
    et0_mm = max(2.0 + 4.6 * summer + rng.normal(0, 0.8) - (1.5 if rain_mm > 2 else 0.0), 0.8)
    given_mm = 0.0 if done is None else done["irrigation_mm"]
    seen = {}
    for depth in PROBES_CM:
        wetness = advice[f"x_wetness_{depth}cm"] + (given_mm + rain_mm - 0.8 * et0_mm) / (1.2 * depth + 60.0)
        vwc = 0.10 + 0.12 * min(max(wetness, 0.02), 1.15) + rng.normal(0, 0.003)
        seen[f"vwc_{depth}cm_m3_m3"] = None if rng.random() < 0.03 else round(vwc, 4)
    is_flight = day % 12 == 9
    tmin_c = 6.0 + 12.0 * summer + rng.normal(0, 2.0)
    return dated(
        "readings",
        day,
        tmin_c=round(tmin_c, 1),
        tmax_c=round(tmin_c + 11.0 + rng.normal(0, 1.5), 1),
        rain_mm=rain_mm,
        et0_mm=round(float(et0_mm), 2),
        **seen,
        ndvi=round(float((advice["x_canopy_cover"] + 0.18) / 1.26), 3) if is_flight else None,
        ndre=round(float(0.12 + 0.3 * advice["x_canopy_cover"]), 3) if is_flight else None,
    )


def samples_of(
    name: str, channels: Sequence[str], now: datetime, per_day: int, days: int, silent: timedelta = timedelta(minutes=9)
) -> list[FlaggedSample]:
    """A logger's samples up to a moment ago, with a bad value here and there."""
    step = timedelta(days=1) / per_day
    rng = np.random.default_rng([len(name), len(channels), per_day])
    found = []
    for back in reversed(range(per_day * days)):
        values: dict[str, float | None] = {}
        flags: dict[str, Flag] = {}
        for channel in channels:
            typical = TYPICAL.get(channel, 0.19)
            values[channel] = round(typical * (1.0 + float(rng.normal(0, 0.02))), 3)
            luck = rng.random()
            if name == "probe-west" and channel == "vwc_75cm_m3_m3" and back < 40:
                values[channel], flags[channel] = 0.214, "flat"
            elif back < 4:
                continue
            elif luck < 0.01:
                values[channel] = None
                flags[channel] = "missing"
            elif luck < 0.02 and typical:
                values[channel], flags[channel] = round(typical * 1.9, 3), "spike"
        found.append(FlaggedSample(Sample(name, format_utc(now - silent - back * step), values), flags))
    return found


def install(directory: DeviceDirectory, model: bytes) -> None:
    """Put a bundle with that model into slot a, as an update would leave it."""
    files = bundle_files(model, VERSION)
    slots = Slots(directory.root)
    slots.write("a", files)
    digest = hashlib.sha256(files[MODEL]).hexdigest()
    slots.activate(Installed("a", VERSION, "float32", hashlib.sha256(files[MANIFEST]).hexdigest(), digest))


def season_model(contract: Contract) -> bytes:
    """A small model with sense: water pays by how dry the soil is, nitrogen the more the older the crop is."""
    names = contract.feature_names

    def column(name: str, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """Weights and bias that bring a scaled feature to `low` at its minimum and `high` at its maximum."""
        weights = np.zeros((len(names), 1), np.float32)
        weights[names.index(name)] = (high - low) / 2.0
        return weights, np.array([(high + low) / 2.0], np.float32)

    parts = {
        "water": column("candidate_irrigation_mm", 0.0, 60.0),
        "dry": column("depletion_fraction", -0.012, 0.034),
        "dose": column("candidate_nitrogen_kg_ha", 0.0, 150.0),
        "grown": column("dap", 0.004, 0.03),
        "old": column("dap", 0.0, 1.0),
    }
    nodes = [helper.make_node("Gemm", ["features", f"{name}_w", f"{name}_b"], [name]) for name in parts]
    nodes += [
        helper.make_node("Mul", ["water", "dry"], ["by_water"]),
        helper.make_node("Mul", ["dose", "grown"], ["by_dose"]),
        helper.make_node("Add", ["by_water", "by_dose"], ["gain"]),
        helper.make_node("Mul", ["gain", "yields"], ["gains"]),
        helper.make_node("Mul", ["old", "ageing"], ["aged"]),
        helper.make_node("Add", ["gains", "aged"], ["moved"]),
        helper.make_node("Add", ["moved", "start"], ["outputs"]),
    ]
    constants = {f"{name}_w": weights for name, (weights, _) in parts.items()}
    constants |= {f"{name}_b": bias for name, (_, bias) in parts.items()}
    constants["yields"] = np.array([[0.8, 1.0, 1.1, 0.0, 0.0]], np.float32)
    constants["ageing"] = np.array([[2.1, 0.9, -0.4, -220.0, -120.0]], np.float32)
    constants["start"] = np.array([[9.4, 11.6, 13.6, 230.0, 120.0]], np.float32)
    graph = helper.make_graph(
        nodes,
        "season",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", len(names)])],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["batch", len(contract.outputs)])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"fieldloop.contract_hash": contract.hash, "fieldloop.workload": contract.workload})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def service_state(now: datetime) -> ServiceState:
    """What a service at work says of itself."""
    steps = ("time", "source loggers", "windows", "decision", "model", "checkpoint", "room", "update", "sync")
    return {
        "is_time_trusted": True,
        "clock_note": None,
        "model_version": VERSION,
        "steps": [{"name": name, "failures": 0, "error": None, "due_in_s": 12.0} for name in steps],
        "link": {
            "last_sync_utc": format_utc(now - timedelta(hours=4)),
            "last_update_utc": format_utc(now - timedelta(hours=16)),
        },
    }
