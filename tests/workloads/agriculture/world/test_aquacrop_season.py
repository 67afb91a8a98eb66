import datetime
import sys

import numpy as np
import pytest

from fieldedge.system.errors import DataError
from fieldloop.workloads.agriculture.world.aquacrop_season import AquaCropSeason, soil_water
from fieldloop.workloads.agriculture.world.climate import REGIONS, daily_weather, season_weather


def _season(region: str, soil: str, planting: datetime.date, efficiency: float = 1.0) -> AquaCropSeason:
    return AquaCropSeason(season_weather(REGIONS[region], planting), soil, planting, 80.0, efficiency)


def _package_yield(
    region: str, soil: str, planting: datetime.date, efficiency: float, schedule: list[tuple[datetime.date, float]]
) -> float:
    """The season by the package itself: its own schedule, its own loop, one run to the end."""
    import pandas as pd
    from aquacrop.core import AquaCropModel
    from aquacrop.entities.crop import Crop
    from aquacrop.entities.inititalWaterContent import InitialWaterContent
    from aquacrop.entities.irrigationManagement import IrrigationManagement
    from aquacrop.entities.soil import Soil

    days = pd.DataFrame(schedule, columns=["Date", "Depth"]).astype({"Date": "datetime64[ns]"})
    model = AquaCropModel(
        f"{planting:%Y/%m/%d}",
        f"{planting + datetime.timedelta(days=180):%Y/%m/%d}",
        daily_weather(REGIONS[region]),
        Soil(soil),
        Crop("Maize", planting_date=f"{planting:%m/%d}"),
        InitialWaterContent(wc_type="Pct", value=[80.0]),
        irrigation_management=IrrigationManagement(
            irrigation_method=3, Schedule=days, AppEff=100 * efficiency, MaxIrr=1000.0
        ),
    )
    model.run_model(till_termination=True)
    return float(model._outputs.final_stats["Dry yield (tonne/ha)"].iloc[0])


@pytest.mark.parametrize(
    ("region", "soil", "planting", "efficiency"),
    [
        ("champion", "SandyLoam", datetime.date(2012, 5, 1), 1.0),
        ("champion", "ClayLoam", datetime.date(1993, 4, 22), 0.85),
        ("cordoba", "SiltLoam", datetime.date(2008, 10, 20), 0.9),
    ],
)
def test_stepping_equals_the_package_s_own_run_of_the_same_schedule(
    region: str, soil: str, planting: datetime.date, efficiency: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    depths = np.where(rng.random(181) < 0.08, rng.uniform(5, 40, 181), 0.0)
    season = _season(region, soil, planting, efficiency)
    schedule: list[tuple[datetime.date, float]] = []
    while not season.is_finished:
        depth = float(depths[len(schedule)])
        schedule.append((season.date, depth))
        assert season.step(depth).irrigation_mm == depth
    for name, module in list(sys.modules.items()):  # the package as published, with the built-in round
        if name.startswith("aquacrop."):
            monkeypatch.delattr(module, "round", raising=False)
    assert season.yield_t_ha == pytest.approx(_package_yield(region, soil, planting, efficiency, schedule), abs=1e-9)
    assert season.yield_t_ha > 3


def test_less_water_productivity_means_less_yield() -> None:
    yields = []
    for factor in (1.0, 0.7):
        season = _season("champion", "Loam", datetime.date(2001, 5, 1))
        while not season.is_finished:
            season.step(0.0, factor)
        yields.append(season.yield_t_ha)
    assert 0.5 < yields[1] / yields[0] < 0.8


def test_drainage_follows_too_much_water() -> None:
    season = _season("champion", "LoamySand", datetime.date(2001, 5, 1))
    drained_mm = [season.step(100.0 if day == 20 else 0.0).deep_percolation_mm for day in range(30)]
    assert sum(drained_mm[20:]) > sum(drained_mm[:20])


def test_root_zone_depletion_falls_with_irrigation() -> None:
    dry, wet = (_season("champion", "Loam", datetime.date(2001, 5, 1)) for _ in range(2))
    for day in range(60):
        dry.step(0.0)
        wet.step(30.0 if day == 55 else 0.0)
    assert dry.root_zone_mm()[1] == wet.root_zone_mm()[1]
    assert wet.root_zone_mm()[0] < dry.root_zone_mm()[0] - 10


def test_there_is_no_harvest_before_the_end() -> None:
    with pytest.raises(DataError, match="not ripe on 2001-05-01"):
        _ = _season("champion", "Loam", datetime.date(2001, 5, 1)).yield_t_ha


def test_an_unknown_soil_is_refused_with_those_there_are() -> None:
    with pytest.raises(DataError, match="no soil 'Moondust'; it has Sand, LoamySand"):
        soil_water("Moondust")
