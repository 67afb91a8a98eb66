import dataclasses
import datetime
import math
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldedge.system.errors import DataError
from fieldloop.workloads.agriculture.world.aquacrop_season import AquaCropSeason, _package
from fieldloop.workloads.agriculture.world.climate import MAX_SEASON_DAYS, REGIONS, region_named, season_weather
from fieldloop.workloads.agriculture.world.compiled import store, translation
from fieldloop.workloads.agriculture.world.field import SimulatedField
from fieldloop.workloads.agriculture.world.field_batch import FieldBatch, PackageBatch, field_batch
from fieldloop.workloads.agriculture.world.nitrogen import NitrogenRates
from fieldloop.workloads.agriculture.world.plots import Plot, plot_of
from fieldloop.workloads.agriculture.world.variety import Variety
from fieldloop.workloads.agriculture.world.world import FieldSpec, field_specs

Array = NDArray[np.float64]
STATE = (
    *("weather", "water_m3_m3", "compartment_middles_m", "canopy_cover", "root_depth_m", "biomass_t_ha", "yield_t_ha"),
    *("irrigation_mm", "deep_percolation_mm", "transpiration_mm", "potential_transpiration_mm", "depletion_mm"),
    *("taw_mm", "growth_stage", "nni", "mineral_nitrogen_kg_ha", "nitrogen_uptake_kg_ha", "leached_kg_ha"),
    *("nitrogen_kg_ha", "is_finished"),
)
RANDOM_SEASONS = 200


def _plot(**changes: Any) -> Plot:
    weather = np.tile([12.0, 27.0, 2.0, 5.0], (MAX_SEASON_DAYS + 1, 1))
    return Plot(**{"weather": weather, "soil": "Loam", "planting_date": datetime.date(2001, 5, 1)} | _FULL | changes)


_FULL: dict[str, Any] = {"initial_water_pct": 80.0}


def _specs() -> list[FieldSpec]:
    return [
        spec
        for region, season in (("champion", 1991), ("champion", 2005), ("cordoba", 2003))
        for spec in field_specs(region, season, 5, seed=3, practice="test")
    ]


def _amounts(size: int, seed: int = 5) -> tuple[Array, Array]:
    """Irrigation and nitrogen by day and row, in the tenths that equipment applies."""
    rng = np.random.default_rng(seed)
    shape = (MAX_SEASON_DAYS, size)
    water_mm = np.where(rng.random(shape) < 0.1, rng.uniform(5, 20, shape), 0.0)
    nitrogen_kg_ha = np.where(rng.random(shape) < 0.02, rng.uniform(20, 60, shape), 0.0)
    return water_mm.round(1), nitrogen_kg_ha.round(1)


def _live(batch: FieldBatch, water_mm: Array, nitrogen_kg_ha: Array, until: int = MAX_SEASON_DAYS) -> None:
    while batch.day < until and not batch.is_finished.all():
        batch.step(water_mm[batch.day], nitrogen_kg_ha[batch.day])


def _assert_equal(one: FieldBatch, other: FieldBatch, within: float = 0.0) -> None:
    for name in STATE:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=within, err_msg=name)


# Quick ones: nothing compiles.


def _spoilt(day: int, column: int, value: float) -> Array:
    weather = _plot().weather.copy()
    weather[day, column] = value
    return weather


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"soil": "Moondust"}, "no soil 'Moondust'; it has Sand"),
        (
            {"weather": np.ones((100, 4))},
            r"plot 0 \(Loam, planted on 2001-05-01\): weather is \(100, 4\); expected \(181",
        ),
        ({"weather": np.ones((200, 3))}, r"weather is \(200, 3\); expected \(181 days or more, 4\)"),
        ({"weather": _spoilt(17, 1, np.nan)}, "plot 0 .*: tmax_c of day 17 is nan; expected a temperature"),
        ({"weather": _spoilt(180, 2, -1.0)}, "rain_mm of day 180 is -1.0; expected at least 0"),
        ({"weather": _spoilt(3, 3, 0.0)}, "et0_mm of day 3 is 0.0; expected above 0"),
        ({"initial_water_pct": np.nan}, "initial_water_pct is nan; expected a number of at least 0"),
        ({"application_efficiency": 85.0}, "application_efficiency is 85.0; expected above 0 up to 1"),
    ],
)
def test_a_plot_that_no_season_can_be_made_of_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        field_batch([_plot(**changes)])


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="no plots"):
        field_batch([])


def test_another_aquacrop_is_stepped_itself_and_the_batch_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PROVEN_VERSION", "2.9.9")
    batch = field_batch([_plot()])
    assert isinstance(batch, PackageBatch)
    assert batch.why == "aquacrop is 3.1.0; its translation is proven for 2.9.9 alone"
    batch.step(np.zeros(1), np.zeros(1))
    assert batch.day == 1


def test_without_numba_the_package_is_stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = store._installed
    monkeypatch.setattr(store, "_installed", lambda name: None if name == "numba" else installed(name))
    assert field_batch([_plot()]).why == "numba is not installed"


def test_the_proven_version_is_the_one_installed() -> None:
    assert store.why_not() is None


def test_what_goes_into_compiled_code_changes_its_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = store.key()
    for name in ("day.py", "translation.py"):
        (tmp_path / name).write_bytes((store._here() / name).read_bytes())
    monkeypatch.setattr(store, "_here", lambda: tmp_path)
    assert store.key() == before
    (tmp_path / "day.py").write_text("# another day")
    assert store.key() != before


def test_the_translation_keeps_indices_whole_and_makes_quantities_floats(tmp_path: Path) -> None:
    day = tmp_path / "day.py"
    day.write_text(
        "def live_rows(state, prof):\n"
        "    comp = -1\n"
        "    total = 0\n"
        "    while total < 5:\n"
        "        comp = comp + 1\n"
        "        total = total + round(prof.dz[comp] * 1000, 2) + np.exp(state.gdd)\n"
        "    state.th[comp] = total\n"
    )
    text = translation.translated(store._solution(), day)
    assert "comp = -1\n    total = 0.0\n    while total < 5.0:\n        comp = comp + 1\n" in text
    assert "total = total + round_to(prof[0, comp] * 1000.0, 100.0) + math.exp(state[0][0])" in text
    assert "state[1][comp] = total" in text


# Slow ones: each needs the compiled core, which takes a quarter of a minute the first time.


@pytest.fixture(scope="module")
def core() -> store.Core:
    return store.core()


Climate = tuple[str, str, tuple[int, int], tuple[int, int]]
_CLIMATES: tuple[Climate, ...] = (  # climate, crop, planting (month, day), planting years
    ("champion", "Maize", (5, 1), (1982, 2018)),
    ("champion", "MaizeChampionGDD", (5, 10), (1982, 2018)),
    ("champion", "Soybean", (5, 15), (1982, 2018)),
    ("cordoba", "Maize", (10, 15), (1992, 2016)),
    ("hyderabad", "Maize", (11, 15), (2000, 2008)),
    ("hyderabad", "PaddyRice", (8, 1), (2000, 2008)),
    ("tunis", "Wheat", (12, 1), (1979, 2000)),
    ("tunis", "WheatGDD", (11, 15), (1979, 2000)),
    ("tunis", "Tomato", (4, 15), (1979, 2000)),
)
_SOILS = ("SandyLoam", "Loam", "SiltLoam", "ClayLoam", "LoamySand", "SiltClayLoam", "Sand", "Clay")


def _random_model(rng: np.random.Generator, climates: Sequence[Climate], soils: Sequence[str]) -> Any:
    """A package model of a random crop, soil, year and irrigation, by the package's own methods."""
    from aquacrop.utils.data import get_filepath
    from aquacrop.utils.prepare_weather import prepare_weather

    climate, crop, (month, day), years = climates[rng.integers(len(climates))]
    method = int(rng.choice([0, 1, 2, 5]))
    of_method: dict[int, dict[str, Any]] = {
        1: {"SMT": [float(target) for target in rng.uniform(0, 100, 4)]},
        2: {"IrrInterval": int(rng.integers(2, 15))},
    }
    package, start = _package(), datetime.date(int(rng.integers(years[0], years[1])), month, day)
    model = package.AquaCropModel(
        f"{start:%Y/%m/%d}",
        f"{start + datetime.timedelta(days=300):%Y/%m/%d}",
        _weather_of(climate, lambda: prepare_weather(get_filepath(f"{climate}_climate.txt"))),
        package.Soil(str(rng.choice(soils))),
        package.Crop(crop, planting_date=f"{start:%m/%d}"),
        package.InitialWaterContent(wc_type="Pct", value=[float(rng.uniform(20, 110))]),
        irrigation_management=package.IrrigationManagement(
            irrigation_method=method,
            MaxIrr=float(rng.choice([10, 25, 40])),
            MaxIrrSeason=float(rng.choice([1e4, 150, 60])),
            AppEff=float(rng.choice([70, 85, 100])),
            WetSurf=float(rng.choice([40, 100])),
            **of_method.get(method, {}),
        ),
    )
    with np.errstate(all="ignore"):
        model._initialize()
    return model


_weathers: dict[str, Any] = {}


def _weather_of(climate: str, read: Callable[[], Any]) -> Any:
    if climate not in _weathers:
        _weathers[climate] = read()
    return _weathers[climate]


def _numpy_of_the_c_library() -> ModuleType:
    """numpy with the C library's exp, log, log10, sin and power: numpy's own differ from it in the last bit."""
    numpy = ModuleType("numpy")
    numpy.__dict__.update(np.__dict__)
    for name, in_math in {"exp": "exp", "log": "log", "log10": "log10", "sin": "sin", "power": "pow"}.items():
        setattr(numpy, name, _of_c(getattr(math, in_math), getattr(np, name)))
    return numpy


def _of_c(function: Callable[..., float], in_numpy: Callable[..., Any]) -> Callable[..., Any]:
    def of_c(*numbers: float) -> Any:
        try:
            return np.float64(function(*numbers))
        except (ValueError, OverflowError):
            return in_numpy(*numbers)

    return of_c


def _lived(models: list[Any], core: store.Core, rng: np.random.Generator) -> list[float]:
    """Each model's largest difference from its row of a batch, over all its days and what they bring."""
    days, size = max(len(model._weather) for model in models), len(models)
    weathers = np.zeros((size, days, 4))
    for index, model in enumerate(models):
        weathers[index, : len(model._weather)] = model._weather[:, :4].astype(np.float64)
    batch = _batch_of(models, core, weathers)
    depths_mm = np.where(rng.random((days, size)) < 0.1, rng.choice([5.0, 15.0, 33.0], (days, size)), 0.0)
    worst = [0.0] * size
    while not batch.is_finished.all():
        growing, day = np.flatnonzero(~batch.is_finished), batch.day
        batch.step(depths_mm[day], np.zeros(size))
        for index in growing:
            models[index]._param_struct.IrrMngt.depth = depths_mm[day, index]
            with np.errstate(all="ignore"):
                models[index].run_model(initialize_model=False)
        worst = np.maximum(worst, _differences(batch, models, growing, day)).tolist()
    assert all(model._clock_struct.model_is_finished for model in models)
    harvested = [float(model._outputs.final_stats["Dry yield (tonne/ha)"].iloc[0]) for model in models]
    assert np.ptp(harvested) > 3
    return np.maximum(worst, abs(batch.yield_t_ha - harvested)).tolist()


def _batch_of(models: list[Any], core: store.Core, weathers: Array) -> FieldBatch:
    """Rows from initialised package models, of any crop and irrigation; growth does not feel nitrogen."""
    from fieldloop.workloads.agriculture.world.compiled import batch
    from fieldloop.workloads.agriculture.world.compiled.extraction import row_of

    rows = [row_of(core, model) for model in models]
    shared = batch.Shared(
        crops=np.stack([row.crop for row in rows]),
        profiles=np.stack([row.profile for row in rows]),
        soils=np.stack([row.soil for row in rows]),
        middles_m=np.stack([batch._middles_m(core, row.profile) for row in rows]),
    )
    own = batch.Rows(
        states=np.stack([row.state for row in rows]),
        water_m3_m3=np.stack([row.water_m3_m3 for row in rows]),
        aeration_days=np.zeros_like([row.water_m3_m3 for row in rows]),
        management=np.stack([row.management for row in rows]),
        rates=np.tile(batch._rates(core, NitrogenRates()), (len(rows), 1)),
        kinds=np.repeat(np.arange(len(rows))[:, None], 3, axis=1),
    )
    return batch.CompiledBatch(core, shared, own, weathers, first_day=0, day=0, threads=1)


def _differences(batch: FieldBatch, models: list[Any], growing: NDArray[np.int64], day: int) -> Array:
    differences = np.zeros(batch.size)
    states = [models[index]._init_cond for index in growing]
    differences[growing] = abs(batch.water_m3_m3[growing] - [state.th for state in states]).max(axis=1)
    for name, expected in {
        "canopy_cover": [state.canopy_cover for state in states],
        "yield_t_ha": [state.DryYield for state in states],
        "irrigation_mm": [state.irr_cum for state in states],
        "deep_percolation_mm": [np.asarray(models[index]._outputs.water_flux)[day, 9] for index in growing],
        "is_finished": [models[index]._clock_struct.model_is_finished for index in growing],
    }.items():
        found = getattr(batch, name)[growing].astype(float)
        differences[growing] = np.maximum(differences[growing], abs(found - np.array(expected, dtype=float)))
    return differences


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_every_day_is_the_package_s_for_random_crops_soils_and_irrigations(
    core: store.Core, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    models = [_random_model(rng, _CLIMATES, _SOILS) for _ in range(RANDOM_SEASONS // 4)]
    numpy = _numpy_of_the_c_library()
    for name, module in list(sys.modules.items()):
        if name.startswith("aquacrop.solution."):
            monkeypatch.setattr(module, "np", numpy, raising=False)
    assert max(_lived(models, core, rng)) < 1e-9


@pytest.mark.slow
def test_our_maize_is_the_package_s_as_published(core: store.Core) -> None:
    """In waterlogged ground the package turns a last bit into days of aeration: a rare season may differ more."""
    rng = np.random.default_rng(9)
    soils = tuple(soil for region in REGIONS.values() for soil in region.soils)
    models = [_random_model(rng, tuple(c for c in _CLIMATES if c[1] == "Maize"), soils) for _ in range(40)]
    differences = np.sort(_lived(models, core, rng))
    assert differences[-4] < 1e-9
    assert differences[-1] < 0.5


@pytest.mark.slow
def test_a_batch_lives_the_seasons_of_simulated_fields(core: store.Core) -> None:
    specs = _specs()
    fields, batch = [SimulatedField(spec) for spec in specs], field_batch([plot_of(spec) for spec in specs])
    assert batch.why is None
    water_mm, nitrogen_kg_ha = _amounts(len(specs))
    water_mm[:, :] = np.where(water_mm.cumsum(0) > 190, 0.0, water_mm)  # within every field's allowance
    while not batch.is_finished.all():
        growing, day = np.flatnonzero(~batch.is_finished), batch.day
        for index in growing:
            applied = fields[index].apply(water_mm[day, index], nitrogen_kg_ha[day, index])
            assert applied == (water_mm[day, index], nitrogen_kg_ha[day, index])
        batch.step(water_mm[day], nitrogen_kg_ha[day])
        truths = [fields[index].truth() for index in growing]
        for name in (
            *("irrigation_mm", "nitrogen_kg_ha", "nni", "leached_kg_ha", "mineral_nitrogen_kg_ha"),
            *("nitrogen_uptake_kg_ha", "depletion_mm", "taw_mm", "root_depth_m", "canopy_cover", "biomass_t_ha"),
            *("deep_percolation_mm", "growth_stage"),
        ):
            expected = [truth[name] for truth in truths]
            np.testing.assert_allclose(getattr(batch, name)[growing], expected, rtol=0, atol=1e-9, err_msg=name)
        assert [fields[index].is_finished for index in growing] == batch.is_finished[growing].tolist()
    assert batch.yield_t_ha.round(3).tolist() == [field.outcome().yield_t_ha for field in fields]
    assert (batch.nni < 0.9).any()


@pytest.mark.slow
def test_planting_day_is_the_package_s_whatever_its_weather_day_and_year(core: store.Core) -> None:
    from fieldloop.workloads.agriculture.world.compiled.extraction import row_of

    rng = np.random.default_rng(8)
    specs = [
        s for year in range(1984, 2016, 4) for s in field_specs("champion", year, 5, int(rng.integers(99)), "test")
    ]
    plots = [plot_of(spec) for spec in specs]
    batch: Any = field_batch(plots)
    for index, (spec, plot) in enumerate(zip(specs, plots, strict=True)):
        weather = season_weather(region_named(spec.region), plot.planting_date)
        season = AquaCropSeason(
            weather, plot.soil, plot.planting_date, plot.initial_water_pct, plot.application_efficiency
        )
        row, kinds = row_of(core, season._model), batch._rows.kinds[index]
        assert np.array_equal(batch._shared.crops[kinds[0]], row.crop)
        assert np.array_equal(batch._shared.profiles[kinds[1]], row.profile)
        assert np.array_equal(batch._shared.soils[kinds[1]], row.soil)
        assert np.array_equal(batch.water_m3_m3[index], row.water_m3_m3)
        assert np.array_equal(batch.compartment_middles_m[index], season.compartment_middles_m)
        assert (batch.depletion_mm[index], batch.taw_mm[index]) == season.root_zone_mm()
        assert np.isnan(batch.weather[index]).all()
        names = core.offsets["state"]
        ours = [names[name] for name in ("nni", "mineral_kg_ha", "depletion_mm", "taw_mm")]
        assert np.array_equal(np.delete(batch._rows.states[index], ours), np.delete(row.state, ours))


@pytest.mark.slow
def test_a_branch_that_goes_on_alike_ends_alike_and_leaves_the_trunk_as_it_was(core: store.Core) -> None:
    plots = [plot_of(spec) for spec in _specs()]
    water_mm, nitrogen_kg_ha = _amounts(len(plots))
    whole, trunk = field_batch(plots), field_batch(plots)
    _live(whole, water_mm, nitrogen_kg_ha)
    _live(trunk, water_mm, nitrogen_kg_ha, until=50)
    rows = np.array([3, 0, 3, 11])
    branch, before = trunk.branch(rows), {name: getattr(trunk, name) for name in STATE}
    assert (branch.size, branch.day) == (4, 50)
    _live(branch, water_mm[:, rows], nitrogen_kg_ha[:, rows])
    for name in STATE:
        np.testing.assert_array_equal(getattr(branch, name), getattr(whole, name)[rows], err_msg=name)
        np.testing.assert_array_equal(getattr(trunk, name), before[name], err_msg=name)
    _live(trunk, water_mm, nitrogen_kg_ha)
    _assert_equal(trunk, whole)


@pytest.mark.slow
def test_new_weather_is_lived_from_the_next_day_on(core: store.Core) -> None:
    one, other = (plot_of(field_specs("champion", year, 1, 3, "test")[0]) for year in (1991, 2005))
    joined = np.concatenate([one.weather[:40], other.weather[40:]])
    water_mm, nitrogen_kg_ha = _amounts(1)
    whole, changed = field_batch([_like(one, joined)]), field_batch([one])
    _live(whole, water_mm, nitrogen_kg_ha)
    _live(changed, water_mm, nitrogen_kg_ha, until=40)
    trunk = changed.branch(np.array([0]))
    changed.replace_weather(other.weather[None, 40:])
    _live(changed, water_mm, nitrogen_kg_ha)
    _assert_equal(changed, whole)
    _live(trunk, water_mm, nitrogen_kg_ha)
    assert trunk.weather[0].tolist() == one.weather[trunk.day - 1].tolist()


def _like(plot: Plot, weather: Array) -> Plot:
    return Plot(
        weather,
        plot.soil,
        plot.planting_date,
        plot.initial_water_pct,
        plot.application_efficiency,
        plot.initial_nitrogen_kg_ha,
        plot.mineralised_at_20c_kg_ha_d,
    )


@pytest.mark.slow
def test_weather_that_ends_before_the_crop_does_is_an_error_on_the_day_after(core: store.Core) -> None:
    for batch in (field_batch([_plot()]), PackageBatch.of([_plot()], "a test")):
        batch.step(np.zeros(1), np.zeros(1))
        batch.replace_weather(_plot().weather[None, :3])
        for _ in range(3):
            batch.step(np.zeros(1), np.zeros(1))
        with pytest.raises(DataError, match="no weather for day 4: the last one known is day 3"):
            batch.step(np.zeros(1), np.zeros(1))
        with pytest.raises(DataError, match=r"new weather is \(3, 4\); expected \(1, days, 4\)"):
            batch.replace_weather(np.ones((3, 4)))
        with pytest.raises(DataError, match="new weather: tmin_c of row 0, day 2 is inf"):
            batch.replace_weather(_spoilt(2, 0, np.inf)[None])


@pytest.mark.slow
def test_bad_amounts_are_refused(core: store.Core) -> None:
    for batch in (field_batch([_plot(), _plot()]), PackageBatch.of([_plot(), _plot()], "a test")):
        with pytest.raises(DataError, match=r"irrigation_mm is \(1,\); expected \(2,\)"):
            batch.step(np.zeros(1), np.zeros(2))
        with pytest.raises(DataError, match="nitrogen_kg_ha of row 1 is nan; expected a number of at least 0"):
            batch.step(np.zeros(2), np.array([0.0, np.nan]))
        with pytest.raises(DataError, match=r"irrigation_mm of row 0 is -1\.0"):
            batch.step(np.array([-1.0, 0.0]), np.zeros(2))
        assert batch.day == 0


@pytest.mark.slow
def test_a_finished_row_stays_as_it_is_while_others_live_on(core: store.Core) -> None:
    drought = np.tile([24.0, 41.0, 0.0, 11.0], (MAX_SEASON_DAYS + 1, 1))
    batch = field_batch([_plot(weather=drought, initial_water_pct=100.0), _plot()])
    while not batch.is_finished[0]:
        batch.step(np.zeros(2), np.zeros(2))
    assert not batch.is_finished[1]
    dead = {name: getattr(batch, name)[0].copy() for name in STATE}
    _live(batch, np.full((MAX_SEASON_DAYS, 2), 9.0), np.ones((MAX_SEASON_DAYS, 2)))
    for name in STATE:
        np.testing.assert_array_equal(getattr(batch, name)[0], dead[name], err_msg=name)
    assert batch.irrigation_mm[1] > 100
    ripe = {name: getattr(batch, name) for name in STATE}
    batch.step(np.full(2, 9.0), np.ones(2))
    for name in STATE:
        np.testing.assert_array_equal(getattr(batch, name), ripe[name], err_msg=name)


@pytest.mark.slow
def test_the_package_behind_the_same_interface_does_the_same(core: store.Core) -> None:
    plots = [plot_of(spec) for spec in _specs()[::7]]
    plots += [_like(plots[0], plots[0].weather)]
    object.__setattr__(plots[-1], "is_nitrogen_limited", False)
    compiled, package = field_batch(plots), PackageBatch.of(plots, "a test")
    water_mm, nitrogen_kg_ha = _amounts(len(plots))
    _assert_equal(compiled, package, within=1e-9)
    for until in (1, 30, 60):
        _live(compiled, water_mm, nitrogen_kg_ha, until)
        _live(package, water_mm, nitrogen_kg_ha, until)
        _assert_equal(compiled, package, within=1e-9)
    rows = np.array([1, 0, 0])
    branches = compiled.branch(rows), package.branch(rows)
    future = np.stack([plots[row].weather[60:] for row in (0, 1, 0)])
    for branch in branches:
        branch.replace_weather(future)
        _live(branch, water_mm[:, rows], nitrogen_kg_ha[:, rows])
    _assert_equal(*branches, within=1e-9)
    _live(compiled, water_mm, nitrogen_kg_ha)
    _live(package, water_mm, nitrogen_kg_ha)
    _assert_equal(compiled, package, within=1e-9)
    assert compiled.biomass_t_ha[-1] > compiled.biomass_t_ha[0]


@pytest.mark.slow
def test_threads_change_nothing(core: store.Core) -> None:
    plots = [plot_of(spec) for spec in _specs()] * 20
    water_mm, nitrogen_kg_ha = _amounts(len(plots))
    one, three = field_batch(plots, threads=1), field_batch(plots, threads=3)
    _live(one, water_mm, nitrogen_kg_ha)
    _live(three, water_mm, nitrogen_kg_ha)
    _assert_equal(one, three)


@pytest.mark.slow
def test_rounding_is_python_s(core: store.Core) -> None:
    import fieldloop_compiled_season as generated  # type: ignore[import-not-found]  # made by the core
    from numba import njit

    round_to, numbers = generated.round_to, np.random.default_rng(2).uniform(0, 60, 20_000)
    numbers = np.concatenate([numbers, numbers.round(3), np.arange(0, 40, 0.005), np.arange(0, 40, 0.125)])

    @njit
    def rounded(values: Array, scale: float) -> Array:
        return np.array([round_to(value, scale) for value in values])

    assert rounded(numbers, 100.0).tolist() == [round(float(number), 2) for number in numbers]
    assert rounded(numbers, 1000.0).tolist() == [round(float(number), 3) for number in numbers]


@pytest.mark.slow
def test_two_processes_that_find_nothing_compile_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        made = pool.map(_compiled_under, [tmp_path / "one"] * 2)
    assert sorted(made) == [False, True]
    assert len(list((tmp_path / "one" / "__pycache__").glob("*.nbc"))) == 1


def _compiled_under(folder: Path) -> bool:
    """Whether this process was the one that compiled."""
    made = store._made
    calls: list[Path] = []

    def noted(where: Path) -> store.Core:
        calls.append(where)
        return made(where)

    store._made = noted
    assert store._load(folder).sizes["state"] > 50
    return bool(calls)


def _varied(count: int, seed: int) -> list[Plot]:
    """Plots of random varieties, sown late and early, all thresholds and roots within what is practised."""
    rng, specs = np.random.default_rng(seed), _specs()
    return [
        dataclasses.replace(
            plot_of(specs[index % len(specs)]),
            variety=Variety(
                root_depth_max_m=float(rng.uniform(0.6, 2.5)),
                expansion_threshold=float(rng.uniform(0.05, 0.3)),
                stomata_threshold=float(rng.uniform(0.4, 0.75)),
                canopy_growth_per_d=float(rng.uniform(0.12, 0.2)),
                water_productivity_g_m2=float(rng.uniform(28.0, 37.0)),
            ),
            sown_late_d=int(rng.integers(-10, 11)),
            initial_water_pct=float(rng.uniform(20.0, 110.0)),
        )
        for index in range(count)
    ]


@pytest.mark.slow
def test_a_variety_s_planting_day_is_the_package_s(core: store.Core) -> None:
    from fieldloop.workloads.agriculture.world.compiled.extraction import row_of

    plots = [*_varied(24, 1), dataclasses.replace(_plot(), variety=Variety(root_depth_max_m=2.5), sown_late_d=-10)]
    batch: Any = field_batch(plots)
    package = PackageBatch.of(plots, "a test")
    for index, field in enumerate(package._fields):
        row, kinds = row_of(core, field.season._model), batch._rows.kinds[index]
        np.testing.assert_allclose(batch._shared.crops[kinds[0]], row.crop, rtol=1e-14)
        assert np.array_equal(batch._shared.profiles[kinds[1]], row.profile)
        assert np.array_equal(batch._shared.soils[kinds[1]], row.soil)
        assert np.array_equal(batch._rows.management[index, 1:], row.management[1:])  # all but our own first one
        names = core.offsets["state"]
        ours = [names[name] for name in ("nni", "mineral_kg_ha", "depletion_mm", "taw_mm")]
        assert np.array_equal(np.delete(batch._rows.states[index], ours), np.delete(row.state, ours))
    _assert_equal(batch, package, within=1e-12)


@pytest.mark.slow
def test_a_variety_lives_the_package_s_days(core: store.Core) -> None:
    plots = _varied(12, 2)
    compiled, package = field_batch(plots), PackageBatch.of(plots, "a test")
    water_mm, nitrogen_kg_ha = _amounts(len(plots))
    for until in (1, 40, 90, MAX_SEASON_DAYS):
        _live(compiled, water_mm, nitrogen_kg_ha, until)
        _live(package, water_mm, nitrogen_kg_ha, until)
        _assert_equal(compiled, package, within=1e-9)
    assert np.ptp(compiled.root_depth_m) > 1.0


@pytest.mark.slow
def test_a_crop_that_is_sown_late_ripens_as_much_later_and_one_that_is_sown_early_as_much_earlier(
    core: store.Core,
) -> None:
    shifts = (-10, -3, 0, 4, 10)
    wet = np.tile([15.0, 27.0, 6.0, 4.0], (MAX_SEASON_DAYS + 1, 1))
    batch = field_batch([_plot(weather=wet, sown_late_d=days) for days in shifts])
    ripe, emerged = np.full(len(shifts), -1), np.full(len(shifts), -1)
    while not batch.is_finished.all():
        batch.step(np.zeros(len(shifts)), np.zeros(len(shifts)))
        ripe[(ripe < 0) & batch.is_finished] = batch.day
        emerged[(emerged < 0) & (batch.canopy_cover > 0.1)] = batch.day
    assert (ripe - ripe[2]).tolist() == list(shifts)
    assert np.abs(emerged - emerged[2] - shifts).max() <= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variety": Variety(root_depth_max_m=3.0)}, "root_depth_max_m is 3.0; expected 0.3 to 2.5"),
        ({"variety": Variety(water_productivity_g_m2=15.0)}, "water_productivity_g_m2 is 15.0; expected 20.0 to 40.0"),
        ({"sown_late_d": 60}, "sown_late_d is 60; expected -30 to 30"),
    ],
)
def test_a_crop_that_aquacrop_cannot_grow_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        field_batch([_plot(**changes)])


def test_a_variety_that_says_nothing_is_the_package_s_maize() -> None:
    own = _package().Crop("Maize", planting_date="05/01")
    every = Variety(root_depth_max_m=2.3 - 1e-12).parameters()  # not quite the package's, so that all is written out
    for name, value in every.items():
        assert value == pytest.approx(getattr(own, name), rel=1e-9), name
