"""The whole loop: learn from the past, live through seasons in the field, learn from them.

python -m flows
"""

import time

from prefect import flow

from fieldloop import steps
from fieldloop.steps import AcceptedRef, ReportRef, SeasonRefs, SyncedRef, started_utc
from flows.beginning import begin, started_s
from tasks.data import simulate_history, validate_history, version_data
from tasks.field import compare_practices, live_season, release_bundle, sync
from tasks.learning import compress_champion, evaluate_and_register, train_model
from tasks.reporting import write_report


@flow(name="season", validate_parameters=True)
def season(workload: str = "agriculture", devices: int | None = None, seasons: list[int] | None = None) -> ReportRef:
    """Train on the past, ship to the devices, live through the seasons offline, and learn from what comes home.

    Args:
        workload: Which block of params.yaml the loop is about.
        devices: How many field devices live through the seasons; from params.yaml where left empty.
        seasons: The harvest years to live through, in order; from params.yaml where left empty.
    """
    started, clock = started_utc(), started_s()
    loop = begin(workload, devices, seasons)
    steps.require_devices(loop)

    history = simulate_history(loop)
    accepted: AcceptedRef | SyncedRef = validate_history(loop, history)
    lived_seasons: list[SeasonRefs] = []
    for year in loop.params.loop.seasons:
        data = version_data(loop, accepted, year)
        trained = train_model(loop, data)
        registered = evaluate_and_register(loop, data, trained)
        compressed = compress_champion(loop, data, registered)
        released = release_bundle(loop, data, compressed)
        lived = live_season(loop, released, year)
        compared = compare_practices(loop, year)
        accepted = synced = sync(loop, lived)
        lived_seasons.append(SeasonRefs(data, registered, compressed, released, lived, compared, synced))
    data = version_data(loop, accepted, loop.params.loop.seasons[-1] + 1)
    return write_report(loop, lived_seasons, data, started, time.monotonic() - clock)
