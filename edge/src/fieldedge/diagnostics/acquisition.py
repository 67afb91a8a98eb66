"""Where samples come from, and the loggers that send them."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fieldedge.contract.samples import is_of_a_whole_day, name_of
from fieldedge.diagnostics.finding import Finding, Subject
from fieldedge.presentation.facts import ChannelHealth, LoggerHealth
from fieldedge.presentation.text import age, counted, span
from fieldedge.storage.store import Store
from fieldedge.system.clock import parse_utc
from fieldedge.system.errors import ConfigError, TransientError
from fieldedge.system.instants import in_order, instant_utc
from fieldedge.workload import merit

if TYPE_CHECKING:
    from fieldedge.acquisition.known_loggers import KnownLogger
    from fieldedge.acquisition.mapping import Mapper

BAD_SHARE = 0.2  # of a channel's latest values
NEWS = timedelta(days=2)  # what the service told of is looked at for so long
A_MONTH_H = 27 * 24.0  # by which times are wrong whose day was read as the month
LATEST_EVENTS = 200
SHOWN_NAMES = 8
HIGH_M, FEET_A_M = 4000.0, 3.2808
SILENCE = timedelta(days=30)  # is looked back for what a logger sent


def sources(subject: Subject) -> Iterator[Finding]:
    """Each `[[source]]`: its mapping, and what its kind finds where it takes from."""
    from fieldedge.acquisition.sources import look_at_source

    config, workload = subject.config, subject.workload
    if config is None or workload is None or not config.sources:
        return
    if config.site is None and workload.needs_site:
        yield Finding("site", "fail", "there are sources but no [site]", "say latitude_deg and elevation_m in [site]")
    if config.site is not None and config.site.elevation_m > HIGH_M:
        said = f"elevation_m is {config.site.elevation_m:g}, and few fields lie above {HIGH_M:g} m"
        yield Finding(
            "site", "warn", said, f"say metres in [site]: {config.site.elevation_m / FEET_A_M:.0f} if it is in feet"
        )
    for source in config.sources:
        name = f"source {source.name}"
        try:
            _mapper(subject, source.name)
            seen = look_at_source(source, subject.directory, config.device_id, subject.clock.now)
            yield Finding(name, seen.state, seen.found, seen.todo)
        except (ConfigError, OSError) as error:
            yield Finding(name, "fail", str(error), f"mend [[source]] {source.name} in {subject.directory.settings}")


def _mapper(subject: Subject, name: str) -> "Mapper":
    """The mapping of a source.

    Raises:
        ConfigError: it is broken.
    """
    from fieldedge.acquisition.mapping import Mapper

    assert subject.config is not None  # noqa: S101 - the checks ask before
    assert subject.workload is not None  # noqa: S101 - as above
    site, channels = subject.config.site, subject.workload.channels
    source = next(source for source in subject.config.sources if source.name == name)
    offset_h, zone = (0.0, None) if site is None else (site.utc_offset_h, site.zone)
    return Mapper.from_config(source.fields, channels, offset_h, "[source.fields]", zone)


def sensors(subject: Subject) -> Iterator[Finding]:
    from fieldedge.acquisition.known_loggers import KnownLoggers
    from fieldedge.page.loggers import read_loggers

    if subject.workload is None or not subject.directory.store.exists():
        return
    presenter = subject.workload.presenter
    try:
        with Store(subject.directory.store, subject.clock.stamp, merit=merit(subject.workload)) as store:
            loggers = read_loggers(store, None, subject.workload, presenter, subject.clock.now()).shown
            known = KnownLoggers(subject.directory.loggers).by_origin
            shifts = _shifts(store, subject)
            silent = {logger.name: _silent(store, subject, logger, known.get(logger.name)) for logger in loggers}
            never = [*_never_sent(store, subject, known), *_asked(store, subject)]
            yield from _days(store, subject)
    except TransientError:
        return  # the store's own finding says it
    if not loggers and subject.config is not None and subject.config.sources:
        yield Finding(
            "sensors",
            "warn",
            "no sample has come yet",
            "see what the sources find, and check the loggers; fieldedge check FILE shows how a file of theirs is read",
        )
    yield from never
    namesakes = _namesakes(known, {logger.name for logger in loggers if not logger.is_silent})
    for logger in loggers:
        name = f"sensors {logger.name}"
        wrong = [
            *_ahead(logger, shifts.get(logger.name), known.get(logger.name), subject),
            *_bad(logger),
            *silent[logger.name],
            *namesakes.get(logger.name, ()),
        ]
        if logger.is_silent:
            found, todo = f"silent for {span(logger.age_s)}", "check the logger, its battery and its cable"
            if abs(shifts.get(logger.name, 0.0)) >= A_MONTH_H:
                found += ", by times that it sent of late"
                todo = 'see its clock, and format in [source.fields] time: may "%d" and "%m" stand in the other order?'
            yield Finding(name, "warn", found, todo)
        elif wrong:
            found = "; ".join(found for found, _ in wrong)
            yield Finding(name, "warn", found, "; ".join(dict.fromkeys(todo for _, todo in wrong)))
        else:
            channels = counted(len(logger.channels), "channel")
            yield Finding(name, "ok", f"{channels}, the last sample {age(logger.age_s)}")


def _bad(logger: LoggerHealth) -> Iterator[tuple[str, str]]:
    """The channels of which much is bad, and what to do."""
    for channel in logger.channels:
        if channel.samples and channel.samples - channel.good > BAD_SHARE * channel.samples:
            found = f"{channel.name} {channel.samples - channel.good} of {channel.samples} bad ({channel.last_flag})"
            yield found, _todo(channel)


def _todo(channel: ChannelHealth) -> str:
    if channel.last_flag == "fault" and channel.unit == "%" and 0.0 < (channel.value or 0.0) <= 1.0:
        return f'is {channel.name} a fraction? then say so: unit = "fraction" in [source.fields]'
    return "check these sensors; what is bad does not count meanwhile"


def _ahead(
    logger: LoggerHealth, shift: float | None, known: "KnownLogger | None", subject: Subject
) -> Iterator[tuple[str, str]]:
    """Whether a logger's times are from the future, or steadily behind: its zone is not what is set."""
    from fieldedge.acquisition.shifts import AHEAD, Shift, in_quarters_h

    ahead_s = 0.0 if logger.age_s is None else -logger.age_s
    if ahead_s > AHEAD.total_seconds() and not is_of_a_whole_day(logger.last_utc or ""):
        shift = in_quarters_h(timedelta(seconds=ahead_s))
        said = f"the last sample is {Shift(shift).said}, and no logger measures the future"
    elif shift is not None:
        said = f"its samples are steadily {Shift(shift).said}"
    else:
        return
    unsure = "" if subject.clock.is_trusted else "; nobody confirmed this device's own: see what is said of the clock"
    source = "its source" if known is None else f"[[source]] {known.source}"
    yield (
        said,
        f"say in which zone the logger writes its times: in [source.fields] of {source}, time = {{ utc_offset_h = … }} "
        f'({shift:+g} h from what is set now) or zone = "…", or set the logger\'s clock{unsure}',
    )


def _shifts(store: Store, subject: Subject) -> dict[str, float]:
    """By logger, how many hours ahead the service found it of late."""
    found: dict[str, float] = {}
    for event in store.events(LATEST_EVENTS, "shift"):
        if subject.clock.now() - parse_utc(event["last_utc"]) <= NEWS / 4:
            found.setdefault(str(event.get("origin")), float(event.get("ahead_h", 0.0)))
    return found


def _namesakes(known: "Mapping[str, KnownLogger]", heard: set[str]) -> dict[str, list[tuple[str, str]]]:
    """Loggers of one name that both go on sending."""
    found: dict[str, list[tuple[str, str]]] = {}
    for origin in sorted(heard):
        name = name_of(origin)
        if origin != name and name in heard and name in known and origin in known:
            said = f"loggers {known[name].serial} and {known[origin].serial} both call themselves {name}"
            found[origin] = [(said, "give each logger a name of its own")]
    return found


def _silent(store: Store, subject: Subject, logger: LoggerHealth, known: "KnownLogger | None") -> list[tuple[str, str]]:
    """The mapped channels that a logger sent and does not send any more, though it goes on, and what is new since."""
    config = subject.config
    source = None if known is None or config is None else {one.name: one for one in config.sources}.get(known.source)
    if known is None or source is None or subject.workload is None or logger.last_utc is None:
        return []
    try:
        mapper = _mapper(subject, source.name)
    except ConfigError:
        return []  # the source's own finding says it
    newest, found = parse_utc(logger.last_utc), []
    for mapped in mapper.mapped:
        if mapped.channel.how == "last" or not (mapped.is_choice or mapped.field in known.fields):
            continue
        since = _last_utc(store, logger.name, mapped.kept_as, newest)
        if since is None and mapped.is_choice:
            continue  # nobody knows whether this logger ever sent it
        if since is not None and newest - parse_utc(since) <= timedelta(hours=source.silent_after_h):
            continue
        ours = {one.field for one in mapper.mapped}
        new = [
            name
            for name, first_utc in known.fields.items()
            if in_order(first_utc) > in_order(since or "") and name not in ours
        ]
        named = ", ".join(new[:SHOWN_NAMES])
        silence = f"is silent since {since}" if since is not None else f"was not sent for {SILENCE.days} days"
        said = f"{mapped.channel.name} (its field {mapped.field}) {silence}"
        found.append(
            (
                f"{said}; new since then: {named}" if new else said,
                "if the logger's field has another name now, say it in [source.fields]; else check the sensor",
            )
        )
    return found


def _last_utc(store: Store, logger: str, name: str, newest: datetime) -> str | None:
    """When a logger last sent a number of that name, as far as is looked back."""
    first = instant_utc(newest - SILENCE)
    last = store.last_with(logger, name, first, instant_utc(newest))
    return None if last is None else last.sample.time_utc


def _never_sent(store: Store, subject: Subject, known: "Mapping[str, KnownLogger]") -> Iterator[Finding]:
    """What a mapping names and no logger of its source ever sent: a name may be misspelt."""
    assert subject.config is not None  # noqa: S101 - there is a workload
    for source in subject.config.sources:
        loggers = {origin: one for origin, one in known.items() if one.source == source.name and one.fields}
        first = min((utc for one in loggers.values() for utc in one.fields.values()), default=None, key=in_order)
        is_early = first is None or subject.clock.now() - parse_utc(first) <= timedelta(hours=source.silent_after_h)
        if is_early or not source.fields:
            continue
        try:
            mapped = _mapper(subject, source.name).mapped
        except ConfigError:
            continue  # the source's own finding says it
        now, names = subject.clock.now(), {name for one in loggers.values() for name in one.fields}
        missing = [
            one.field
            for one in mapped
            if one.channel.how != "last"
            and one.field not in names
            and not (one.is_choice and any(_last_utc(store, origin, one.kept_as, now) for origin in loggers))
        ]
        if missing:
            sent = sorted(names - {one.field for one in mapped})
            said = f"no logger sends {', '.join(missing)}; what they send beside the rest is "
            yield Finding(
                f"mapping {source.name}",
                "warn",
                said + (", ".join(sent[:SHOWN_NAMES]) or "nothing"),
                f"see how the fields are spelt in [source.fields] of [[source]] {source.name}",
            )


def _asked(store: Store, subject: Subject) -> Iterator[Finding]:
    """What was taken for granted of late of what loggers send, and the settings have not answered since."""
    from fieldedge.acquisition.assumptions import ASKED, is_still_asked

    assert subject.config is not None  # noqa: S101 - there is a workload
    sources = {source.name for source in subject.config.sources}
    found: dict[str, dict[str, str]] = {}
    for event in store.events(LATEST_EVENTS, ASKED):
        source, channel, field = event.get("source"), str(event.get("channel")), event.get("field")
        if source not in sources or subject.clock.now() - parse_utc(event["last_utc"]) > NEWS:
            continue
        with suppress(ConfigError):  # the source's own finding says it
            if is_still_asked(channel, field, _mapper(subject, source)):
                found.setdefault(source, {}).setdefault(str(event.get("said")), str(event.get("todo")))
    for source, asked in found.items():
        said, todo = "; ".join([*asked][:SHOWN_NAMES]), "; ".join([*dict.fromkeys(asked.values())][:SHOWN_NAMES])
        yield Finding(f"settings {source}", "warn", said, todo)


def _days(store: Store, subject: Subject) -> Iterator[Finding]:
    """What of the latest day was doubted, or why it has no reading."""
    assert subject.workload is not None  # noqa: S101 - the check asks before
    tables = subject.workload.contract.tables_of("observation")
    measured = max((store.newest_day_of(table) or "" for table in tables), default="")  # by then there are readings
    for kind in ("doubt", "day_unusable", "loggers"):
        latest = [
            event["text"]
            for event in store.events(SHOWN_NAMES, kind)
            if subject.clock.now() - parse_utc(event["last_utc"]) <= NEWS
            and not (kind == "day_unusable" and str(event.get("moment", ""))[:10] <= measured)
        ]
        if latest:
            yield Finding(_NEWS_OF[kind], "warn", latest[0], _NEWS_TODO[kind])


_NEWS_OF = {"doubt": "reading", "day_unusable": "reading", "loggers": "loggers"}
_NEWS_TODO = {
    "doubt": "see whether it can be true; what was refused does not count",
    "day_unusable": "see what the sensors and sources find",
    "loggers": "if one took the other's place, nothing is to be done",
}
