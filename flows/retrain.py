"""Learn from what the devices have sent, and release what is better: the loop's cloud half, for a schedule."""

from prefect import flow

from fieldloop.stages.refs import ReleasedRef
from flows.entrypoint import begin
from tasks.data import accepted_content, ingest_inbox, next_period, simulate_history, validate_history, version_data
from tasks.field import begin_rollout, goes_out_in_stages, release_bundle
from tasks.learning import champion_before, compress_champion, evaluate_and_register, last_word, train_model


@flow(name="retrain", validate_parameters=True)
def retrain(workload: str = "") -> ReleasedRef:
    """Take in what devices sent, version, train, judge, compress, and release the champion.

    In a deployment it goes out in stages, by the plan of params.yaml; the first version is offered to all at once.

    Args:
        workload: Which block of params.yaml the loop is about; where left empty, the only one.
    """
    loop = begin(workload)

    has_sample_past = loop.params.history is not None  # else all that there is was imported, or sent by devices
    accepted = validate_history(loop, simulate_history(loop)) if has_sample_past else None
    ingest_inbox(loop)
    data = version_data(loop, accepted, next_period(loop), accepted_content(loop))
    trained = train_model(loop, data, champion_before(loop, data))
    registered = evaluate_and_register(loop, data, trained, last_word(loop))
    compressed = compress_champion(loop, data, registered)
    released = release_bundle(loop, data, compressed, goes_out_in_stages(loop))
    return begin_rollout(loop, released) if released.is_staged else released
