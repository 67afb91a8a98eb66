"""The task that tells the story: report.json, report.html, and the same pictures in Prefect's UI."""

from fieldloop.stages.context import Loop
from fieldloop.stages.refs import PeriodRefs, ReportRef, SnapshotRef
from tasks import artifacts
from tasks.caching import step


@step("report", lambda ref: ref.html, is_cached=False, timeout_s=600)
def write_report(
    loop: Loop, periods: list[PeriodRefs], after: SnapshotRef, started_utc: str, wall_s: float
) -> ReportRef:
    """Figures and pictures of every period, and where each number comes from."""
    from fieldloop.stages import report

    made = report.write_period_report(loop, periods, after, started_utc, wall_s)
    for period, markdown in made.period_markdown.items():
        artifacts.show_period(loop, period, markdown)
    artifacts.show_pictures(loop, made.pictures, made.html)
    return ReportRef(str(made.html), str(made.json), made.summary)
