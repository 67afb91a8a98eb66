"""The report: what a run of the loop brought, in figures, pictures and words.

This is the frame: the devices, what they sent, the gate, what ships, and where each number comes from. What came of the
decisions is shown by the workload's own sections.
"""

from fieldloop.report.figures import build_report, period_figures
from fieldloop.report.markdown import period_markdown
from fieldloop.report.page import WrittenReport, write_report
from fieldloop.report.pictures import period_pictures
from fieldloop.report.story import PeriodStory, period_trace
from fieldloop.report.terminal import terminal_summary

__all__ = [
    "PeriodStory",
    "WrittenReport",
    "build_report",
    "period_figures",
    "period_markdown",
    "period_pictures",
    "period_trace",
    "terminal_summary",
    "write_report",
]
