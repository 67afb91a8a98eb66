import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fieldedge.contract.samples import FlaggedSample, Sample
from fieldedge.device.config import StoreConfig
from fieldedge.page.loggers import LATEST_SAMPLES, MAX_LOGGERS, logger_health
from fieldedge.page.view import plain, read_view
from fieldedge.presentation.facts import ServiceState, View
from tests.edge.page.season import SeasonedDevice, empty_device, live, seasoned_device, service_state
from tests.edge.sample import AGRICULTURE, field_record

NOW = datetime(2006, 7, 12, 6, 0, tzinfo=UTC)


def view_of(device: SeasonedDevice, state: ServiceState | None = None, later: timedelta = timedelta()) -> View:
    with device.open() as store:
        return read_view(device.directory, device.config, AGRICULTURE, device.now + later, store, state)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> SeasonedDevice:
    return seasoned_device(tmp_path_factory.mktemp("device"), 45)


def test_a_device_at_work_shows_its_season_from_the_store_alone(device: SeasonedDevice) -> None:
    view = view_of(device)
    assert view.advice is not None and view.advice.is_today and not view.advice.is_fallback
    assert view.chart is not None and view.chart.days == 45
    assert [logger.name for logger in view.loggers] == ["probe-east", "probe-west", "pump", "station"]
    assert len(view.history) == 10
    assert (view.model.version, view.model.slot) == ("7", "a")
    assert view.store.used_bytes and view.store.records["stored"] > 80
    assert view.notices == () and view.next_steps == ()
    assert {event.kind for event in view.events} == {"model", "link_sync"}


def test_next_years_field_that_is_told_ahead_changes_nothing_on_the_page(tmp_path: Path) -> None:
    device = seasoned_device(tmp_path, 5)
    before = view_of(device)
    with device.open() as store:
        store.add("fields", field_record(2007))
    after = view_of(device)
    assert after.period == 2006
    assert replace(after, store=before.store) == before
    assert view_of(device, later=timedelta(days=365)).period == 2007


def test_the_facts_are_plain_json(device: SeasonedDevice) -> None:
    facts = json.loads(json.dumps(plain(view_of(device, service_state(device.now))), allow_nan=False))
    assert facts["season"] == 2006 and facts["advice"]["date"] == "2006-06-14"
    assert len(facts["chart"]["lines"][0]["values"]) == 45


def test_what_only_the_service_knows_comes_from_it(device: SeasonedDevice) -> None:
    state = service_state(device.now)
    state["steps"][1] |= {"failures": 3, "error": "no route to the logger", "due_in_s": 40.0}
    state |= {"is_time_trusted": False, "clock_note": "the system clock jumped a year"}
    view = view_of(device, state)
    assert view.clock.is_trusted is False and view.link.last_sync_utc == "2006-06-14T02:20:00Z"
    said = [notice.text for notice in view.notices]
    assert said[0] == "source loggers failed 3 times in a row: no route to the logger. It is tried again in 40 s."
    assert "jumped a year" in said[1]


def test_what_the_link_did_before_this_start_is_known_from_its_events(device: SeasonedDevice) -> None:
    link = view_of(device, later=timedelta(days=2)).link
    assert (link.last_sync_utc, link.last_update_utc) == ("2006-06-14T06:20:00Z", None)


def test_a_service_that_says_nonsense_leaves_the_rest_as_it_is(device: SeasonedDevice) -> None:
    nonsense = {"steps": [None, "x", {"failures": "many"}, {}], "link": None, "clock_note": None}
    view = view_of(device, nonsense)
    assert view.advice is not None and len(view.steps) == 2


def test_an_empty_device_says_what_to_do_next(tmp_path: Path) -> None:
    device = empty_device(tmp_path)
    view = read_view(device.directory, device.config, AGRICULTURE, NOW, None)
    assert view.advice is None and view.chart is None and view.loggers == ()
    steps = " ".join(view.next_steps)
    assert steps.startswith('Describe the field: send its record, a line of JSON with "kind": "field"')
    assert "the FAO-56 balance decides" in steps and "once the field is known" in steps
    for word in ("[[source]]", "fieldedge update", "fieldedge import", "06:00 UTC"):
        assert word in steps
    assert not device.directory.store.exists(), "looking at a device does not make a store"


def test_a_device_without_a_model_decides_by_the_balance_and_says_so(tmp_path: Path) -> None:
    device = empty_device(tmp_path, datetime(2006, 5, 5, 7, tzinfo=UTC))
    with device.open() as store:
        live(device, store, 5)
    view = view_of(device)
    assert view.advice is not None and view.advice.is_fallback
    assert [(notice.level, notice.text) for notice in view.notices] == [
        ("note", "No model is installed: the FAO-56 balance decides. Run fieldedge update.")
    ]


def test_a_silent_logger_is_noticed_and_a_late_one_is_not(device: SeasonedDevice) -> None:
    assert view_of(device, later=timedelta(hours=20)).notices == ()
    (notice,) = view_of(device, later=timedelta(days=21)).notices
    assert "station (21 days)" in notice.text and notice.level == "warn"


def test_yesterdays_advice_is_not_called_todays(device: SeasonedDevice) -> None:
    advice = view_of(device, later=timedelta(days=1)).advice
    assert advice is not None and not advice.is_today and "today" not in advice.headline


def test_readings_stand_for_loggers_where_there_are_none(tmp_path: Path) -> None:
    device = empty_device(tmp_path, datetime(2006, 5, 12, 7, tzinfo=UTC))
    with device.open() as store:
        live(device, store, 12)
    (logger,) = view_of(device).loggers
    assert logger.name == "Readings" and not logger.is_silent
    rain = next(channel for channel in logger.channels if channel.name == "rain_mm")
    assert (rain.samples, rain.good) == (11, 11)


def test_a_store_near_its_bound_is_noticed(device: SeasonedDevice) -> None:
    with device.open() as store:
        used_bytes = store.used_bytes()
    for spare, notices in ((1.5, 0), (1.05, 1)):
        bounded = replace(device.config, store=StoreConfig(max_bytes=int(used_bytes * spare)))
        view = view_of(replace(device, config=bounded))
        assert sum("The store holds" in notice.text for notice in view.notices) == notices


def test_a_damaged_record_is_told_and_hides_nothing_else(tmp_path: Path) -> None:
    device = seasoned_device(tmp_path, 12)
    with device.open() as store:
        store._connection.execute("UPDATE records SET body = replace(body, '2006', '2005') WHERE table_name='readings'")
        view = read_view(device.directory, device.config, AGRICULTURE, device.now, store)
    assert any(notice.level == "bad" and "damaged" in notice.text for notice in view.notices)
    assert len(view.loggers) == 4 and view.events


def test_a_damaged_pointer_to_the_model_is_told(tmp_path: Path) -> None:
    device = seasoned_device(tmp_path, 3)
    (tmp_path / "active.json").write_text("{")
    view = view_of(device)
    assert view.model.version is None and "damaged" in str(view.model.error)


def test_a_channel_counts_what_is_good_and_keeps_its_last_flag() -> None:
    samples = [
        FlaggedSample(
            Sample("a", f"2006-07-12T0{hour}:00:00Z", {"rain_mm": value}), {} if flag is None else {"rain_mm": flag}
        )
        for hour, value, flag in ((1, 0.0, None), (2, 999.0, "range"), (3, 1.0, None), (4, None, None))
    ]
    health = logger_health("a", samples, NOW, AGRICULTURE.presenter)
    (rain,) = health.channels
    assert (rain.value, rain.samples, rain.good, rain.is_good) == (1.0, 4, 2, True)
    assert (rain.last_flag, rain.last_flag_utc) == ("missing", "2006-07-12T04:00:00Z")
    assert rain.age_s == 3 * 3600.0 and health.age_s == 2 * 3600.0


def test_depths_are_listed_from_the_top() -> None:
    names = ("vwc_105cm_m3_m3", "vwc_15cm_m3_m3", "air_temperature_c", "vwc_35cm_m3_m3")
    sample = FlaggedSample(Sample("a", "2006-07-12T05:00:00Z", dict.fromkeys(names, 0.2)), {})
    listed = [channel.name for channel in logger_health("a", [sample], NOW, AGRICULTURE.presenter).channels]
    assert listed == ["air_temperature_c", "vwc_15cm_m3_m3", "vwc_35cm_m3_m3", "vwc_105cm_m3_m3"]


def test_a_running_total_is_called_so_and_has_its_channels_unit() -> None:
    values = {"rain_mm.count": 120.4, "rain_mm.count.6553.6": 3.0}
    sample = FlaggedSample(Sample("a", "2006-07-12T05:00:00Z", values), {})
    listed = logger_health("a", [sample], NOW, AGRICULTURE.presenter).channels
    assert {(channel.label, channel.unit) for channel in listed} == {("Rain, running total", "mm")}


def test_a_flood_of_loggers_and_samples_is_bounded(tmp_path: Path) -> None:
    device = empty_device(tmp_path, NOW)
    moment = "2006-07-12T05:{:02d}:{:02d}Z"
    with device.open() as store:
        store.add_samples(
            [FlaggedSample(Sample(f"l{i}", moment.format(0, 0), {"rain_mm": 0.0}), {}) for i in range(40)]
        )
        store.add_samples(
            [FlaggedSample(Sample("l0", moment.format(1 + i // 60, i % 60), {"rain_mm": 0.0}), {}) for i in range(900)]
        )
    view = view_of(device)
    assert len(view.loggers) == MAX_LOGGERS and view.more_loggers == 40 - MAX_LOGGERS
    assert view.loggers[0].channels[0].samples == LATEST_SAMPLES
