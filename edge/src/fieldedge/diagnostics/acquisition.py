"""Where samples come from, and the loggers that send them."""

from collections.abc import Iterator

from fieldedge.diagnostics.finding import Finding, Subject
from fieldedge.presentation.text import age, counted, span
from fieldedge.storage.store import Store
from fieldedge.system.errors import ConfigError, TransientError
from fieldedge.workload import merit

BAD_SHARE = 0.2  # of a channel's latest values


def sources(subject: Subject) -> Iterator[Finding]:
    """Each `[[source]]`: its mapping, and what its kind finds where it takes from."""
    from fieldedge.acquisition.mapping import Mapper
    from fieldedge.acquisition.sources import look_at_source

    config, workload = subject.config, subject.workload
    if config is None or workload is None or not config.sources:
        return
    if config.site is None and workload.needs_site:
        yield Finding("site", "fail", "there are sources but no [site]", "say latitude_deg and elevation_m in [site]")
    offset_h = 0.0 if config.site is None else config.site.utc_offset_h
    for source in config.sources:
        name = f"source {source.name}"
        try:
            Mapper.from_config(source.fields, workload.channels, offset_h, "[source.fields]")
            seen = look_at_source(source, subject.directory, config.device_id, subject.clock.now)
            yield Finding(name, seen.state, seen.found, seen.todo)
        except (ConfigError, OSError) as error:
            yield Finding(name, "fail", str(error), f"mend [[source]] {source.name} in {subject.directory.settings}")


def sensors(subject: Subject) -> Iterator[Finding]:
    from fieldedge.page.loggers import read_loggers

    if subject.workload is None or not subject.directory.store.exists():
        return
    presenter = subject.workload.presenter
    try:
        with Store(subject.directory.store, subject.clock.stamp, merit=merit(subject.workload)) as store:
            loggers = read_loggers(store, None, subject.workload, presenter, subject.clock.now()).shown
    except TransientError:
        return  # the store's own finding says it
    if not loggers and subject.config is not None and subject.config.sources:
        yield Finding("sensors", "warn", "no sample has come yet", "see what the sources find, and check the loggers")
    for logger in loggers:
        name = f"sensors {logger.name}"
        bad = [
            f"{channel.name} {channel.samples - channel.good} of {channel.samples} bad ({channel.last_flag})"
            for channel in logger.channels
            if channel.samples and channel.samples - channel.good > BAD_SHARE * channel.samples
        ]
        if logger.is_silent:
            found = f"silent for {span(logger.age_s)}"
            yield Finding(name, "warn", found, "check the logger, its battery and its cable")
        elif bad:
            yield Finding(name, "warn", "; ".join(bad), "check these sensors; what is bad does not count meanwhile")
        else:
            channels = counted(len(logger.channels), "channel")
            yield Finding(name, "ok", f"{channels}, the last sample {age(logger.age_s)}")
