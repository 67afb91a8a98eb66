"""The whole loop: learn from the past, live through seasons in the field, learn from them.

python -m flows
"""

import time

from prefect import flow

from fieldloop.stages.context import started_utc
from fieldloop.stages.refs import AcceptedRef, PeriodRefs, ReportRef, SyncedRef
from fieldloop.stages.turns import data_of_turn, finish_turn
from flows.entrypoint import begin, recall_turn, started_s
from tasks.data import accepted_content, simulate_history, validate_history, version_data
from tasks.field import compare_baselines, release_bundle, require_devices, run_period, sync
from tasks.learning import champion_before, compress_champion, evaluate_and_register, last_word, train_model
from tasks.reporting import write_report


@flow(name="season", validate_parameters=True)
def season(workload: str = "", devices: int | None = None, seasons: list[int] | None = None) -> ReportRef:
    """Train on the past, ship to the devices, live through the seasons offline, and learn from what comes home.

    Args:
        workload: Which block of params.yaml the loop is about; where left empty, the only one.
        devices: How many field devices live through the seasons; from params.yaml where left empty.
        seasons: The years of the seasons to live through, in order; from params.yaml where left empty.
    """
    started, clock = started_utc(), started_s()
    loop = begin(workload, devices, seasons)
    require_devices(loop)

    history = simulate_history(loop)
    accepted: AcceptedRef | SyncedRef = validate_history(loop, history)
    turns: list[PeriodRefs] = []
    for year in loop.params.loop.periods:
        if (turn := recall_turn(loop, year)) is not None:
            turns.append(turn)
            accepted = turn.synced
            continue
        data = data_of_turn(loop, year) or version_data(loop, accepted, year, accepted_content(loop, before=year))
        trained = train_model(loop, data, champion_before(loop, data))
        registered = evaluate_and_register(loop, data, trained, last_word(loop))
        compressed = compress_champion(loop, data, registered)
        released = release_bundle(loop, data, compressed, loop.params.loop.rollout is not None)
        lived = run_period(loop, released, year)
        compared = compare_baselines(loop, year)
        accepted = synced = sync(loop, lived)
        refs = PeriodRefs(data, registered, compressed, released, lived, compared, synced)
        turns.append(finish_turn(loop, year, refs))
    data = version_data(loop, accepted, loop.params.loop.periods[-1] + 1, accepted_content(loop))
    return write_report(loop, turns, data, started, time.monotonic() - clock)
