"""A season as Markdown, for an artifact beside its run."""

from collections.abc import Sequence

from fieldloop.report.figures import PRACTICES, season_figures
from fieldloop.report.story import SeasonStory
from fieldloop.report.words import (
    NAMES,
    amount,
    error_sentence,
    latency_sentence,
    profit_sentence,
    transfer_sentence,
    version_sentence,
)

_COLUMNS = {
    "profit_usd_ha": ("profit USD/ha", 0),
    "yield_t_ha": ("yield t/ha", 2),
    "irrigation_mm": ("water mm", 0),
    "nitrogen_kg_ha": ("nitrogen kg/ha", 0),
    "leached_kg_ha": ("leached N kg/ha", 0),
}
EARLIER = "of an earlier run"


def season_markdown(story: SeasonStory, stories: Sequence[SeasonStory] = ()) -> str:
    """The season's table by practice, then what it means, then where it comes from.

    Args:
        story: the season.
        stories: all of the run, which know the versions that were trained before earlier seasons.

    Raises:
        DataError: a practice does not cover the fleet's fields.
    """
    season = season_figures(story, stories)
    lineage = season["lineage"]
    return "\n".join(
        [
            f"## Season {season['season']}",
            "",
            "| mean over the same fields | " + " | ".join(label for label, _ in _COLUMNS.values()) + " |",
            "| --- |" + " ---: |" * len(_COLUMNS),
            *(_row(season, practice) for practice in PRACTICES),
            "",
            *(
                f"- {sentence}"
                for sentence in (
                    profit_sentence(season),
                    transfer_sentence(season),
                    error_sentence([season]),
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


def _row(season: dict[str, dict[str, float]], practice: str) -> str:
    figures = (amount(season[measure][practice], digits) for measure, (_, digits) in _COLUMNS.items())
    name = f"**{NAMES[practice]}**" if practice == "fieldloop" else NAMES[practice]
    return f"| {name} | " + " | ".join(figures) + " |"
