"""A period as Markdown, for an artifact beside its run."""

from collections.abc import Sequence

from fieldloop.core.stored_names import PERIOD
from fieldloop.report.figures import period_figures
from fieldloop.report.story import PeriodStory
from fieldloop.report.words import latency_sentence, rollout_sentence, transfer_sentence, version_sentence
from fieldloop.workload import ReportSections

EARLIER = "of an earlier run"


def period_markdown(story: PeriodStory, sections: ReportSections, stories: Sequence[PeriodStory] = ()) -> str:
    """What the period brought, then what came of it for the loop, then where it comes from.

    Args:
        story: the period.
        sections: the workload's.
        stories: all of the run, which know the versions that were trained before earlier periods.

    Raises:
        DataError: its outcomes cannot be compared.
    """
    period = period_figures(story, sections, stories)
    lineage, called = period["lineage"], sections.words.period
    return "\n".join(
        [
            f"## {called.capitalize()} {period[PERIOD]}",
            "",
            *sections.markdown(period),
            *(
                f"- {sentence}"
                for sentence in (
                    transfer_sentence(period, sections.examples),
                    sections.foresight([period]),
                    latency_sentence(period),
                    version_sentence(lineage, sections.words),
                    *(rollout_sentence(rollout, sections.words) for rollout in period["rollouts"]),
                    f"Gate: {period['gate']['reason']}.",
                    f"Shipping: {period['shipping']['reason']}.",
                )
            ),
            "",
            f"Bundle `{lineage['bundle_sha256'][:12]}`, MLflow run `{lineage['mlflow_run_id'] or EARLIER}`, "
            f"data `{period['data_hash_before']}` before and `{period['data_hash_after']}` after the {called}.",
        ]
    )
