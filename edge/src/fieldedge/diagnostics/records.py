"""The store of records, and what waits in it."""

from collections.abc import Iterator
from datetime import timedelta

from fieldedge.diagnostics.finding import Finding, Subject
from fieldedge.presentation.text import counted, printable, size
from fieldedge.storage.store import Store
from fieldedge.system.instants import instant_utc
from fieldedge.workload import merit

NEARLY_FULL = 0.9
SHOWN_CHARACTERS = 400
RECENT = timedelta(days=3)  # what was rejected before is history: it was mended, or nobody sends it any more


def store(subject: Subject) -> Iterator[Finding]:
    from fieldedge.transfer.uploads import NOT_ACKNOWLEDGED

    path, config = subject.directory.store, subject.config
    if not path.exists():
        yield Finding("store", "warn", f"{path} is not there yet", "it is made at the next start")
        return
    if (
        subject.workload is None
    ):  # where it is opened, an older store is brought to today's form, with the workload's help
        found = f"{path} was not looked at: the workload is not known"
        yield Finding("store", "warn", found, "mend the settings first")
        return
    with Store(path, subject.clock.stamp, merit=merit(subject.workload)) as store:
        store.check()
        records, used, waiting = sum(store.states().values()), store.used_bytes(), store.prepared_batches()
        rejected = len(store.rejects())
        recently, last = store.rejected_since(instant_utc(subject.clock.now() - RECENT))
        refused = store.events(1, NOT_ACKNOWLEDGED)
    found = (
        f"sound; {counted(records, 'record')}, {size(used)}; {counted(len(waiting), 'batch', 'batches')} waiting, "
        f"{counted(rejected, 'message')} rejected"
    )
    if config is not None and used > NEARLY_FULL * config.store.max_bytes:
        todo = "sync or export what waits, or raise [store] max_bytes; what is least valuable goes meanwhile"
        yield Finding("store", "warn", f"{found}; at most {size(config.store.max_bytes)}", todo)
    else:
        yield Finding("store", "ok", found)
    if last is not None:
        found = (
            f"{counted(recently, 'message')} in the last {RECENT.days} days, the last: {last['where']}: {last['error']}"
        )
        todo = "mend format or [source.fields] of the source: fieldedge check FILE shows how a file is read"
        yield Finding("rejected", "warn", printable(found[:SHOWN_CHARACTERS]), todo)
    if refused and refused[0]["batch"] in {batch.batch_id for batch in waiting}:
        todo = "update the gateway and publish its release, or mend the gateway's address; a stick frees batches too"
        yield Finding("acknowledgements", "warn", refused[0]["text"], todo)
