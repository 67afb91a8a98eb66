"""The device as a service: everything it does by itself, until it is told to stop.

Loops of steps. The field's loop takes in samples, closes windows, decides, and keeps the store in bounds; it needs no
link and answers the watchdog. The link sends and updates in a thread each, with a store connection of its own, so that
a slow gateway never holds up the field, nor an update that hangs the sending. Nothing that a step raises ends a loop, a
damaged store is mended and the loop goes on. All loops can be stepped by hand with any clock: `serve` only waits.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day

from fieldedge.acquisition.counters import running_totals, with_increments
from fieldedge.acquisition.pipeline import Pipeline, Taken
from fieldedge.contract import Record
from fieldedge.contract.batches import PERIOD_KEY
from fieldedge.contract.samples import FlaggedSample
from fieldedge.contract.windows import Window
from fieldedge.device.config import DeviceConfig, DeviceDirectory, LinkConfig
from fieldedge.inference.loading import LoadedModel, load, load_model, read_reference
from fieldedge.inference.slots import Slots
from fieldedge.page.server import PageServer, page_server
from fieldedge.runtime.agent import Agent
from fieldedge.storage.eviction import make_room
from fieldedge.storage.recovery.rebuild import open_store
from fieldedge.storage.store import Store
from fieldedge.system.clock import Clock, Reading, Stamp, format_utc
from fieldedge.system.durable import sweep_temporaries
from fieldedge.system.errors import ConfigError, DataError, FieldloopError, ReleaseError, StoreDamaged, StoreFailed
from fieldedge.system.instants import instant_utc
from fieldedge.system.scheduler import Scheduler, Step
from fieldedge.system.watchdog import Watchdog
from fieldedge.workload import At, EveryWindow, Observed, Workload, chosen_roles, merit

POLL_S = 1.0
LOOK_AT_CLOCK_S, PAGE_S, CLOSE_WINDOWS_S, DECIDE_S, LOOK_FOR_MODEL_S = 1.0, 30.0, 30.0, 20.0, 10.0
CHECKPOINT_S, MAKE_ROOM_S, CHECK_STORE_S = 60.0, 600.0, 86_400.0
LATE_WINDOWS = 40  # of samples that came before a restart, those that belong to older ones change none any more
TOTALS_BEFORE = timedelta(hours=3)  # so much ahead of a window tells an outlier at its edge from a reset
TOTALS_REACH = timedelta(days=60)  # a total from before says nothing of what was counted since
RESOLUTION = timedelta(microseconds=1)  # of a sample's time
APPLIED_WITHIN_D = 7
CATCH_UP_S = 900.0
LONGEST_WAIT_S = 1.0
ROOM_WAIT_S = 10.0

_log = logging.getLogger(__name__)


class Service:
    """One device at work. Close it when done.

    Raises:
        ConfigError: a source's settings are broken, or the workload needs a site and there is none.
    """

    def __init__(
        self,
        directory: DeviceDirectory,
        config: DeviceConfig,
        workload: Workload,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if config.sources and config.site is None and workload.needs_site:
            raise ConfigError(
                f"{directory.settings} has sources but no [site]; add one with latitude_deg and elevation_m"
            )
        if config.decide.at_utc is not None and not isinstance(workload.trigger, At):
            raise ConfigError(
                f"{directory.settings}, [decide]: at_utc is {config.decide.at_utc!r}, and {workload.name} decides at "
                "no time of day; remove it"
            )
        self._directory, self._config, self._workload = directory, config, workload
        self._clock, self._monotonic = clock, monotonic
        self._time = SharedTime(clock, monotonic)
        self._page: PageServer | None = None
        self._pipeline: Pipeline | None = None
        self._decided: str | None = None
        self._active_sha256: str | None = None
        self._open: set[str] = set()  # the moments of windows with new samples
        self._behind: dict[str, float] = {}
        self._is_store_lost = False
        sweep_temporaries(directory.sources)
        sweep_temporaries(directory.root, directory.clock_floor.name)
        self.store, mended = open_store(directory.store, clock.stamp, merit=merit(workload))
        self._start(mended is not None)
        clock.tell = lambda text: self._note("clock", text)
        self.field_steps = Scheduler(self._steps(), self._tell)
        self.link = (
            None if config.link is None else Link(directory, config, workload, self._time, config.link, monotonic)
        )

    def close(self) -> None:
        if self._page is not None:
            self._page.close()
        try:
            self.pipeline.close()
            self._clock.keep()
        except (FieldloopError, OSError) as error:
            _log.warning("%s", error)  # it is known again at the next start
        finally:
            self.store.close()

    def step(self) -> None:
        """Do everything of the field that is due."""
        self.field_steps.run_due(self._monotonic)

    @property
    def pipeline(self) -> Pipeline:
        assert self._pipeline is not None  # noqa: S101 - opened by `_start`
        return self._pipeline

    def state(self) -> Record:
        """What the service does and how it fares, for the status page. Safe to ask from another thread."""
        steps = [*self.field_steps.steps, *([] if self.link is None else self.link.steps)]
        now_s = self._monotonic()
        return {
            "time_utc": format_utc(self._time.now()),
            "is_time_trusted": self._clock.is_trusted,
            "clock_note": self._clock.note,
            "model_version": self.agent.model_version,
            "steps": [step.state(now_s) for step in steps],
            "link": None if self.link is None else self.link.state(),
        }

    # Steps of the field

    def look_at_clock(self) -> None:
        """Take the time for the other threads, and keep the floor."""
        self._time.take()
        self._clock.keep()

    def show_page(self) -> None:
        """Serve the status page, from now on."""
        if self._page is None and self._config.page.is_on:
            time_ = self._time
            self._page = page_server(self._directory, self._config, time_.now, self.state, time_.stamp).start()
            _log.info("page at %s", self._page.url)

    def take_samples(self, source: str) -> Taken:
        """Take in what a source has, and note which windows it touched."""
        taken = self.pipeline.take(source, self._clock.now())
        self._touch(taken.times)
        if taken.messages:
            self.agent.take_up(self._now())  # whatever episode they told of
        if not taken.has_more:
            self._behind.pop(source, None)
        else:
            self._behind.setdefault(source, self._monotonic())
        return taken

    def close_windows(self) -> None:
        """Sum up each window that is over and has new samples, in the episode that it is of."""
        is_somewhere = self._config.site is not None or not self._workload.needs_site
        if self.agent.context is None or not is_somewhere or self._is_catching_up():
            return
        now = self._clock.now()
        windows = [self._workload.windows.window(moment) for moment in sorted(self._open)]
        for window in (window for window in windows if window.is_over(now)):
            context = self.agent.take_up(window.moment)
            if context is not None:
                self._close(context, window)
            self._open.discard(window.moment)
        self.agent.take_up(self._now())

    def decide(self) -> None:
        """Make each decision that is due. One that cannot be made holds up no other.

        Raises:
            DataError: one could not be made, the last of those; it is tried again.
        """
        due = [] if self._is_catching_up() else self._due()
        context = self.agent.take_up(self._now()) if due else None
        if context is None or self.agent.is_over:
            return
        self.close_windows()
        fault: DataError | None = None
        for at in due:
            try:
                if self._config.decide.is_applied_unless_overridden:
                    self._apply(context, at)
                record = self.agent.decide(at)
            except DataError as error:
                fault = error
                continue
            self._decided = at
            _log.info("decided record_id=%s source=%s", record["record_id"], record["source"])
        if fault is not None:
            raise fault

    def look_for_model(self) -> None:
        """Decide with the model that is active now, whoever installed it."""
        try:
            active = Slots(self._directory.root).active()
        except ReleaseError as error:
            _log.error("%s", error)
            return
        if active is not None and active.bundle_sha256 != self._active_sha256:
            loaded, problem = load(self._directory, self._workload, self.store)
            self._use(loaded)
            self._active_sha256 = active.bundle_sha256
            self.store.add_event("model", _in_use(loaded, problem))

    def make_room(self) -> None:
        """Bring the store within its bounds; what must go then is chosen from before.

        Raises:
            StoreFailed: others fill the disk. What is not acknowledged stays; what comes is kept while it finds room.
        """
        bounds = self._config.store
        report = make_room(
            self.store,
            self._workload.contract,
            bounds,
            self._clock.now().date(),
            choose=self._choose_days,
            chosen_roles=chosen_roles(self._workload),
        )
        if report.missing_bytes and not report.over_bytes:
            raise StoreFailed(
                f"the disk has less than the {bounds.min_free_bytes / 1e6:.1f} MB free that are to be kept, and the "
                "store is within its bound: what it holds stays; make room: logs, packages, other programs' data"
            )

    def _choose_days(self) -> None:
        """Put the best of each past episode into the outbox, as a sync would."""
        from fieldedge.system.locks import exclusive
        from fieldedge.transfer.outbox import Outbox
        from fieldedge.transfer.packing import Packer

        with exclusive(self._directory.lock("sync"), ROOM_WAIT_S):  # a sync that hangs gives way
            packer = Packer(self._config, self._workload, self.store, *read_reference(self._directory, self._workload))
            outbox = Outbox(self._directory.outbox, self.store)
            for episode in self.store.past_episodes(self._workload.contract.tables_of(*chosen_roles(self._workload))):
                if packer.prepare(outbox, episode):
                    self.store.add_event("chosen", f"days of episode {episode} were chosen, for lack of room")

    def check_store(self) -> None:
        self.store.check()

    # How it is done

    def _is_catching_up(self) -> bool:
        """Whether a source is still being emptied: what it holds may be of yesterday. A flood holds up for a while."""
        now_s = self._monotonic()
        return any(now_s - since_s < CATCH_UP_S for since_s in self._behind.values())

    def _due(self) -> list[str]:
        """The moments that a decision is due for, as the workload's trigger says."""
        trigger, now = self._workload.trigger, self._clock.now()
        if isinstance(trigger, At):
            at = time_of_day.fromisoformat(self._config.decide.at_utc or trigger.utc)
            time_ = datetime.combine(now, at, UTC)
            moment = self._workload.contract.decided_at.at(time_)
            return [moment] if time_ <= now and moment != self._decided else []
        return self.agent.undecided() if isinstance(trigger, EveryWindow) else []

    def _steps(self) -> list[Step]:
        def sampling(name: str) -> Step:
            return Step(f"source {name}", POLL_S, self._mending(lambda: self.take_samples(name)), last_back_off_s=300.0)

        return [
            Step("time", LOOK_AT_CLOCK_S, self.look_at_clock),
            Step("page", PAGE_S, self.show_page, last_back_off_s=300.0),
            *(sampling(source.name) for source in self._config.sources),
            Step("windows", CLOSE_WINDOWS_S, self._mending(self.close_windows), last_back_off_s=300.0),
            Step("decision", DECIDE_S, self._mending(self.decide), last_back_off_s=300.0),
            Step("model", LOOK_FOR_MODEL_S, self._mending(self.look_for_model), last_back_off_s=300.0),
            Step("checkpoint", CHECKPOINT_S, self._mending(lambda: self.store.checkpoint())),
            Step("room", MAKE_ROOM_S, self._mending(self.make_room)),
            Step("store check", CHECK_STORE_S, self._mending(self.check_store), due_s=self._monotonic() + 3600.0),
        ]

    def _start(self, is_mended: bool) -> None:
        """Everything that stands on the store."""
        if is_mended:
            _log.error("the store was damaged and has been rebuilt: see `fieldedge status`")
        self._open = set()
        self._touch(self.store.sample_times(self._since()))
        self.agent = Agent(self._config, self._workload, self.store, None)
        self._use(load_model(self._directory, self._workload, self.store))
        if self._pipeline is None:
            self._pipeline = Pipeline.open(
                self._config,
                self._directory,
                self.store,
                self._workload.channels,
                self.agent.answer_line,
                self._clock,
                self._monotonic,
                self._clock.now,
            )
        else:
            self._pipeline.use(self.store, self.agent.answer_line)

    def _use(self, loaded: LoadedModel | None) -> None:
        self.agent.use_model(loaded)
        self._active_sha256 = None if loaded is None else loaded.installed.bundle_sha256

    def _mending(self, run: Callable[[], object]) -> Callable[[], None]:
        """A step that finds the store damaged has it rebuilt, and is repeated with what could be saved."""

        def step() -> None:
            if self._is_store_lost:
                self._reopen()
            try:
                run()
            except StoreDamaged as error:
                _log.error("%s", error)
                self._is_store_lost = True
                self.store.close()
                self._reopen()
                run()

        return step

    def _reopen(self) -> None:
        """Mend the store and go on with it. While that fails, every step that needs it tries again."""
        ask = merit(self._workload)
        self.store, mended = open_store(self._directory.store, self._clock.stamp, is_damaged=True, merit=ask)
        self._is_store_lost = False
        self._start(mended is not None)

    def _note(self, kind: str, text: str) -> None:
        """Keep an event, if the store lets us: what it tells of goes on in any case."""
        if self._is_store_lost:
            return
        try:
            self.store.add_event(kind, text)
        except FieldloopError as error:
            _log.warning("%s (and that could not be kept: %s)", text, error)

    def _since(self) -> str:
        """From when on samples may be in no observation yet: a while before the last one, or before now."""
        (table,) = self._workload.contract.tables_of("observation")
        day = self.store.newest_day_of(table)
        now = self._clock.now()
        last = now if day is None else datetime.fromisoformat(day).replace(tzinfo=UTC)
        return instant_utc(min(last, now) - LATE_WINDOWS * self._workload.windows.hop)

    def _touch(self, times_utc: Iterable[str]) -> None:
        for time_utc in times_utc:
            self._open.update(self._workload.windows.touched(time_utc))

    def _close(self, context: Record, window: Window) -> None:
        contract, moment = self._workload.contract, window.moment
        (table,) = contract.tables_of("observation")
        samples = [*self._before(window), *self._measured(window)]
        observed = self._workload.observe(samples, context, window, self._config.site)
        if observed.record is None:
            text = f"{moment} has no usable reading: {observed.reason}"
            self.store.add_event("day_unusable", text, {"moment": moment})
            return
        identity = observed.record["record_id"]
        known = self.store.get(identity)
        if known is None:
            self.agent.store_checked(table, observed.record, observed.flags)
            if observed.doubts:
                said = "; ".join(f"{channel} {doubt}" for channel, doubt in observed.doubts.items())
                self.store.add_event("doubt", f"{moment}: {said}", {"moment": moment})
        elif known != observed.record and identity in self.store.flags(contract.episode.kept_as(context), table):
            self._correct(table, observed, moment)

    def _before(self, window: Window) -> list[FlaggedSample]:
        """The samples ahead of a window that say what is usual, where its workload asks for them."""
        begin = window.after - self._workload.looks_back
        if begin == window.after:
            return []
        samples = self.store.samples(instant_utc(begin + RESOLUTION), instant_utc(window.after + RESOLUTION))
        return with_increments(samples, {}, self._workload.channels)

    def _measured(self, window: Window) -> list[FlaggedSample]:
        """The samples of a window, with what counters counted in it."""
        first, last = instant_utc(window.after + RESOLUTION), instant_utc(window.until + RESOLUTION)
        samples = self.store.samples(first, last)
        totals = {(one.sample.origin, name) for one in samples for name in running_totals(one.sample)}
        if not totals:
            return samples
        begin = window.after - TOTALS_BEFORE
        earlier = self.store.samples(instant_utc(begin + RESOLUTION), first)
        before: dict[tuple[str, str], float] = {}
        for origin, name in totals:
            earliest = instant_utc(begin - TOTALS_REACH)
            known = self.store.last_with(origin, name, earliest, instant_utc(begin))
            value = None if known is None else known.sample.values.get(name)
            if value is not None:
                before[origin, name] = value
        return with_increments([*earlier, *samples], before, self._workload.channels)[len(earlier) :]

    def _correct(self, table: str, observed: Observed, moment: str) -> None:
        assert observed.record is not None  # noqa: S101 - nothing else corrects
        try:
            self.store.replace(table, observed.record, f"samples of {moment} came late", observed.flags)
        except DataError as error:
            self.store.add_event("late_samples", f"samples of {moment} came too late for its reading: {error}")

    def _apply(self, context: Record, at: str) -> None:
        """What was recommended before a moment is assumed to be done where nobody said otherwise."""
        contract = self._workload.contract
        episode, decisions = contract.episode.kept_as(context), contract.decision_table.name
        first = (datetime.fromisoformat(at) - timedelta(days=APPLIED_WITHIN_D)).date().isoformat()
        for table in contract.tables_of("action"):
            known = {contract.moment(table, action) for action in self.store.records(episode, table)}
            for advice in self.store.records(episode, decisions):
                moment = contract.moment(decisions, advice)
                if not first <= moment < at or moment in known:
                    continue
                done = self._workload.assumed(advice)
                if done is not None:
                    column = contract.table(table).moment.name
                    self.agent.keep(table, {**contract.carried(context, table), column: moment, **done})

    def _now(self) -> str:
        return format_utc(self._clock.now())

    def _tell(self, step: Step, error: str | None) -> None:
        if error is None:
            _log.warning("step %s works again", step.name)
            self._note("step", f"{step.name} works again")
        elif step.failures == 1:
            _log.warning("step %s failed: %s", step.name, error)
            self._note("step", f"{step.name} failed: {error}")


class SharedTime:
    """The device's time for other threads: the clock itself belongs to the field's loop, which looks at it often."""

    def __init__(self, clock: Clock, monotonic: Callable[[], float]) -> None:
        self._clock, self._monotonic = clock, monotonic
        self.take()

    def take(self) -> None:
        """Look at the clock. Only the loop that owns it does."""
        self._taken = self._clock.reading(), self._monotonic(), self._clock.stamp()

    def now(self) -> datetime:
        return self.reading().now

    def reading(self) -> Reading:
        at, at_s, _ = self._taken
        ran = timedelta(seconds=self._monotonic() - at_s)
        return replace(at, now=at.now + ran, sure=at.sure + ran)

    def stamp(self) -> Stamp:
        return replace(self._taken[2], utc=format_utc(self.now()))


class Link:
    """The loop that talks to the gateway: sends what is due, and installs what is new."""

    def __init__(
        self,
        directory: DeviceDirectory,
        config: DeviceConfig,
        workload: Workload,
        time_: SharedTime,
        link: LinkConfig,
        monotonic: Callable[[], float],
    ) -> None:
        self._directory, self._config, self._workload = directory, config, workload
        self._time, self._link, self._monotonic = time_, link, monotonic
        self._last: dict[str, str] = {}
        self.steps = (
            Step("sync", 3600.0 * link.sync_every_h, self.sync),
            Step("update", 3600.0 * link.update_every_h, self.update),
        )
        self.loops = tuple(Scheduler([step], self._tell) for step in self.steps)

    def step(self) -> None:
        """Do everything of the link that is due, one after the other."""
        for loop in self.loops:
            self.run_due(loop)

    def run_due(self, loop: Scheduler) -> None:
        """Do what is due of one of its loops."""
        loop.run_due(self._monotonic)

    def state(self) -> Record:
        return {"gateway": self._link.gateway, **{f"last_{name}_utc": at for name, at in sorted(self._last.items())}}

    def update(self) -> None:
        from fieldedge.system.http import Patience
        from fieldedge.transfer.updates import update

        def tell(doing: str) -> None:
            self.steps[1].doing = doing

        result = update(
            self._directory,
            self._workload.contract,
            self._link.gateway,
            self._time.reading,
            within_s=self._link.update_within_s,
            patience=Patience(min_bytes_per_s=self._link.min_bytes_per_s),
            tell=tell,
        )
        what = f"release {result.version}" if result.changed else "nothing new"
        self._done("update", what if result.note is None else f"{what}; {result.note}")

    def sync(self) -> None:
        from fieldedge.transfer.sending import send_due

        self.steps[0].doing = f"sending to {self._link.gateway}"
        report = send_due(self._directory, self._config, self._workload, self._link, self._time)
        self._done("sync", f"{report['records_acknowledged']} records of episode {report[PERIOD_KEY]} are acknowledged")

    def _done(self, name: str, what: str) -> None:
        self._last[name] = format_utc(self._time.now())
        self._event(f"link_{name}", f"{name}: {what}")

    def _tell(self, step: Step, error: str | None) -> None:
        if error is not None and step.failures == 1:
            _log.warning("%s failed: %s", step.name, error)
            self._event("link", f"{step.name} failed: {error}")

    def _event(self, kind: str, text: str) -> None:
        try:
            with Store(self._directory.store, self._time.stamp, merit=merit(self._workload)) as store:
                store.add_event(kind, text)
        except FieldloopError as error:
            _log.warning("%s (and that could not be kept: %s)", text, error)


def _in_use(loaded: LoadedModel | None, problem: str | None) -> str:
    """What decides from now on, and why it is not what was installed last."""
    if loaded is None:
        what = "no model is in use: the workload's rule decides"
    else:
        what = f"model {loaded.installed.version} ({loaded.installed.precision}) is in use from now on"
    return what if problem is None else f"{what}; {problem}"


def serve(service: Service, stop: threading.Event, watchdog: Watchdog) -> None:
    """Step all loops until `stop` is set. The watchdog is answered by the field's loop alone.

    Sending and updating have a thread each: one that hangs does not hold up the other.
    """
    link = service.link
    threads = [
        threading.Thread(target=_link_loop, args=(link, loop, stop), name=loop.steps[0].name, daemon=True)
        for loop in (() if link is None else link.loops)
    ]
    for thread in threads:
        thread.start()
    watchdog.ready()
    try:
        while not stop.is_set():
            service.step()
            watchdog.alive()
            stop.wait(min(service.field_steps.wait_s(time.monotonic()), LONGEST_WAIT_S))
    finally:
        watchdog.stopping()
        stop.set()
        for thread in threads:
            thread.join(timeout=2.5)


def _link_loop(link: Link, loop: Scheduler, stop: threading.Event) -> None:
    while not stop.is_set():
        link.run_due(loop)
        stop.wait(min(loop.wait_s(time.monotonic()), LONGEST_WAIT_S))
