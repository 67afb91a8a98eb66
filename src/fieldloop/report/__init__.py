"""The report: what a run of the loop brought, in figures, pictures and words."""

from fieldloop.report.figures import build_report, season_figures
from fieldloop.report.improvement import read_improvement
from fieldloop.report.markdown import season_markdown
from fieldloop.report.page import WrittenReport, write_report
from fieldloop.report.pictures import season_pictures
from fieldloop.report.story import SeasonStory, season_trace
from fieldloop.report.terminal import terminal_summary

__all__ = [
    "SeasonStory",
    "WrittenReport",
    "build_report",
    "read_improvement",
    "season_figures",
    "season_markdown",
    "season_pictures",
    "season_trace",
    "terminal_summary",
    "write_report",
]
