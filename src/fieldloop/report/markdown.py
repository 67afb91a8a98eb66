"""A season as Markdown, for an artifact beside its run."""

from collections.abc import Sequence

from fieldloop.report.figures import season_figures
from fieldloop.report.story import SeasonStory
from fieldloop.report.words import latency_sentence, transfer_sentence, version_sentence
from fieldloop.workload import ReportSections

EARLIER = "of an earlier run"


def season_markdown(story: SeasonStory, sections: ReportSections, stories: Sequence[SeasonStory] = ()) -> str:
    """What the season brought, then what came of it for the loop, then where it comes from.

    Args:
        story: the season.
        sections: the workload's.
        stories: all of the run, which know the versions that were trained before earlier seasons.

    Raises:
        DataError: its outcomes cannot be compared.
    """
    season = season_figures(story, sections, stories)
    lineage = season["lineage"]
    return "\n".join(
        [
            f"## Season {season['season']}",
            "",
            *sections.markdown(season),
            *(
                f"- {sentence}"
                for sentence in (
                    transfer_sentence(season, sections.examples),
                    sections.foresight([season]),
                    latency_sentence(season),
                    version_sentence(lineage),
                    f"Gate: {season['gate']['reason']}.",
                    f"Shipping: {season['shipping']['reason']}.",
                )
            ),
            "",
            f"Bundle `{lineage['bundle_sha256'][:12]}`, MLflow run `{lineage['mlflow_run_id'] or EARLIER}`, "
            f"data `{season['data_hash_before']}` before and `{season['data_hash_after']}` after the season.",
        ]
    )
