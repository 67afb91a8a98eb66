"""WOFOST behind the same interface as AquaCrop: pcse's own figures, day by day."""

import importlib.util
import logging
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from fieldedge.system.errors import ConfigError
from fieldloop.workloads.agriculture.world.climate import region_named, season_weather
from fieldloop.workloads.agriculture.world.plots import Plot
from fieldloop.workloads.agriculture.world.wofost import (
    WofostBatch,
    WofostCrop,
    radiation_mj_m2,
    vapour_pressure_kpa,
)

if importlib.util.find_spec("pcse") is None:
    pytest.skip("the extra [wofost] is not installed", allow_module_level=True)
CROPS = Path(__file__).parents[5] / "shared" / "data" / "wofost" / "maize.yaml"
if not CROPS.is_file():
    pytest.skip("the crop parameters of WOFOST are not there", allow_module_level=True)
LATITUDE_DEG = 41.4
PLANTED = date(2010, 5, 1)
EVENTS = {40: 25.0, 60: 25.0, 75: 25.0, 90: 25.0}


def plot() -> Plot:
    frame = season_weather(region_named("champion"), PLANTED)
    weather = frame[["MinTemp", "MaxTemp", "Precipitation", "ReferenceET"]].to_numpy(dtype=np.float64)
    return Plot(weather, "SandyLoam", PLANTED, 80.0, is_nitrogen_limited=False)


def batch(count: int = 1, roots_m: float = 1.0) -> WofostBatch:
    return WofostBatch.of([plot()] * count, WofostCrop.of(CROPS, roots_m), LATITUDE_DEG)


def live(fields: WofostBatch, until: int = 400) -> WofostBatch:
    while not fields.is_finished.all() and fields.day < until:
        fields.step(np.full(fields.size, EVENTS.get(fields.day, 0.0)), np.full(fields.size, 0.0))
    return fields


def test_a_season_ends_as_the_package_ends_it_with_the_same_irrigation() -> None:
    fields = live(batch())
    theirs = _by_the_package()
    assert fields.yield_t_ha[0] == pytest.approx(theirs["TWSO"] / 1000.0, rel=1e-12)
    assert fields.biomass_t_ha[0] == pytest.approx(theirs["TAGP"] / 1000.0, rel=1e-12)
    assert fields.irrigation_mm[0] == sum(EVENTS.values())
    assert fields.yield_t_ha[0] > 5.0


def test_a_branch_goes_on_as_its_season_does_and_changes_nothing_of_it() -> None:
    fields = live(batch(), until=85)
    copies = fields.branch(np.array([0, 0]))
    copies.step(np.array([0.0, 30.0]), np.zeros(2))
    fields.step(np.zeros(1), np.zeros(1))
    assert copies.depletion_mm[0] == fields.depletion_mm[0] > copies.depletion_mm[1]


def test_weather_still_to_come_is_changed_and_what_was_lived_stays() -> None:
    fields, other = live(batch(), until=60), live(batch(), until=60)
    dry = plot().weather[60:].copy()
    dry[:, 2] = 0.0
    other.replace_weather(dry[None])
    assert other.biomass_t_ha[0] == fields.biomass_t_ha[0]
    assert live(other).yield_t_ha[0] < live(fields).yield_t_ha[0]


def test_what_it_shows_is_what_a_device_reads() -> None:
    fields = live(batch(roots_m=1.5), until=70)
    assert 0.7 < fields.canopy_cover[0] <= 1.0
    assert 0.3 < fields.root_depth_m[0] <= 1.5
    assert fields.water_m3_m3.shape == fields.compartment_middles_m.shape == (1, 12)
    assert 0.0 <= fields.depletion_mm[0] <= fields.taw_mm[0]
    assert 0.0 < fields.transpiration_mm[0] <= fields.potential_transpiration_mm[0]


def test_a_variety_that_the_file_has_not_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no variety Grain_maize_1; it has .*Grain_maize_204"):
        WofostCrop.of(CROPS, 1.0, "Grain_maize_1")
    with pytest.raises(ConfigError, match="holds no crop parameters"):
        WofostCrop.of(tmp_path / "none.yaml", 1.0)


def test_radiation_and_vapour_pressure_are_those_of_fao_56() -> None:
    # FAO-56 example 8: 3 September at 20 degrees south, 32.2 MJ/m2 at the top of the air; Hargreaves by eq. 50.
    assert radiation_mj_m2(date(2001, 9, 3), -20.0, 10.0, 26.0) == pytest.approx(0.16 * 4.0 * 32.2, rel=2e-3)
    assert vapour_pressure_kpa(15.0) == pytest.approx(1.705, abs=1e-3)  # FAO-56 table 2.3


def _by_the_package() -> dict[str, float]:
    """pcse's own engine, with irrigation as its timed events."""
    from pcse.engine import Engine

    fields = batch()
    ours = fields._fields[0]._engine
    events = [{PLANTED + timedelta(day): {"amount": mm / 10.0, "efficiency": 1.0}} for day, mm in EVENTS.items()]
    timed = [{"event_signal": "irrigate", "name": "irrigation", "comment": None, "events_table": events}]
    calendar = {
        **{"crop_name": "maize", "variety_name": "maize", "crop_start_date": PLANTED, "crop_start_type": "sowing"},
        **{"crop_end_date": None, "crop_end_type": "maturity", "max_duration": 365},
    }
    management = [{PLANTED: {"CropCalendar": calendar, "TimedEvents": timed, "StateEvents": None}}]
    engine = Engine(ours.parameterprovider, ours.weatherdataprovider, management, "Wofost72_WLP_CWB.conf")
    engine.run_till_terminate()
    (ended,) = engine.get_summary_output()
    return {name: float(ended[name]) for name in ("TWSO", "TAGP")}


def test_what_is_logged_afterwards_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("fieldloop.tests")
    batch()
    with caplog.at_level(logging.WARNING):
        log.warning("said after WOFOST was loaded")
    assert "said after WOFOST was loaded" in caplog.text
