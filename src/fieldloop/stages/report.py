"""Report: what the periods brought, and where each number comes from."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from fieldloop.core.git import git_commit
from fieldloop.registry.model_registry import ModelRegistry
from fieldloop.report import (
    PeriodStory,
    build_report,
    period_markdown,
    period_pictures,
    period_trace,
    terminal_summary,
    write_report,
)
from fieldloop.stages.access import open_accepted, read_tables
from fieldloop.stages.context import Loop
from fieldloop.stages.refs import PeriodRefs, ReportShown, SnapshotRef
from fieldloop.stages.workload import workload_of


def write_period_report(
    loop: Loop, periods: Sequence[PeriodRefs], after: SnapshotRef, started: str, wall_s: float
) -> ReportShown:
    """report.json and report.html under `.fieldloop/`, from the steps' own reports."""
    sections = workload_of(loop).report
    hashes = [refs.data.data_hash for refs in periods[1:]] + [after.data_hash]
    stories = [_story(loop, refs, data_hash) for refs, data_hash in zip(periods, hashes, strict=True)]
    environment = {
        "started_utc": started,
        "git_commit": git_commit(loop.settings.root),
        "sample_world": loop.paths.sample.number,
        "processes": loop.settings.worker_count,
    }
    report = build_report(stories, sections, wall_s, environment) | sections.measured(loop.settings.root)
    home = loop.paths.home
    links = {"Report": str(home / "report.html"), "Figures": str(home / "report.json")}
    written = write_report(report, stories, sections, home, {"Data Docs": str(loop.paths.data_docs)})
    return ReportShown(
        written.html,
        written.json,
        terminal_summary(report, sections, links),
        period_pictures(report, sections, stories),
        {story.period: period_markdown(story, sections, stories) for story in stories},
    )


def _story(loop: Loop, refs: PeriodRefs, data_hash_after: str) -> PeriodStory:
    workload, period = workload_of(loop), refs.lived.period
    registry = ModelRegistry(loop.settings.tracking_uri, workload)
    verdict = json.loads(Path(refs.registered.verdict).read_text(encoding="utf-8"))
    synced = json.loads(Path(refs.synced.report).read_text(encoding="utf-8"))
    return PeriodStory(
        fleet=json.loads(Path(refs.lived.report).read_text(encoding="utf-8")),
        baselines=json.loads(Path(refs.compared).read_text(encoding="utf-8")),
        ingest=synced["ingest"],
        account=synced["account"],
        registered=verdict.pop("registered"),
        verdict=verdict,
        compressed=json.loads(Path(refs.compressed.report).read_text(encoding="utf-8")),
        released=asdict(refs.released),
        data_hash=refs.data.data_hash,
        data_hash_after=data_hash_after,
        validation=json.loads((loop.paths.home / "validation" / "history.json").read_text()),
        snapshot_note=refs.data.note,
        deployed=asdict(registry.describe(refs.released.version)),
        trace=period_trace(open_accepted(loop), period, workload.report.example(read_tables(loop, [period]))),
    )
