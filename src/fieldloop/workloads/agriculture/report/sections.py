"""The report's sections, in the words of growers: profit by practice, yield and its error, irrigation and nitrogen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fieldedge.contract import MODEL, Record
from fieldedge.workloads.agriculture.tables import EPISODE
from fieldloop.core.words import Words
from fieldloop.report.words import amount, counted, signed
from fieldloop.workload import Card, Figures, Tables
from fieldloop.workloads.agriculture.card import CARD
from fieldloop.workloads.agriculture.metrics import YIELD_ERROR
from fieldloop.workloads.agriculture.report.figures import field_figures, others_of, practices_of
from fieldloop.workloads.agriculture.report.improvement import improvement_section, read_improvement
from fieldloop.workloads.agriculture.report.page import growers_section
from fieldloop.workloads.agriculture.report.pictures import DRAWINGS
from fieldloop.workloads.agriculture.report.words import NAMES, error_sentence, profit_sentence, threshold_sentence

_COLUMNS = {
    "profit_usd_ha": ("profit USD/ha", 0),
    "yield_t_ha": ("yield t/ha", 2),
    "irrigation_mm": ("water mm", 0),
    "nitrogen_kg_ha": ("nitrogen kg/ha", 0),
    "leached_kg_ha": ("leached N kg/ha", 0),
}
_NARROW = {"tuned_threshold": "tuned"}  # a terminal is
_ON_THE_PAGE_ALONE = ("calendar",)


class CropReport:
    """What the report shows of fields."""

    primary = YIELD_ERROR
    foreseen = "the harvest"
    examples = CARD.examples
    words = Words.of(EPISODE)
    about = "Simulated fields (AquaCrop on real climate records), real devices."
    drawings = DRAWINGS

    def figures(self, season: int, ours: Sequence[Record], others: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
        """The figures of a season's fields, by practice."""
        return field_figures(season, ours, others)

    def example(self, tables: Tables) -> Record | None:
        """The model's largest irrigation that came home (the first of equals), as stored, without features."""
        said = tables["recommendations"]
        said = said[said["source"] == MODEL].sort_values(["irrigation_mm", "record_id"], ascending=[False, True])
        if said.empty:
            return None
        row = said.iloc[0].to_dict()
        device_of = dict(zip(tables["fields"]["field_id"], tables["fields"]["device_id"], strict=True))
        plain = {str(name): value.item() if hasattr(value, "item") else value for name, value in row.items()}
        shown = {name: value for name, value in plain.items() if not name.startswith("x_")}
        return shown | {"date": str(shown["date"])[:10], "device_id": device_of.get(row["field_id"])}

    def measured(self, root: Path) -> dict[str, Any]:
        """What `benchmarks/improvement.py` measured, where it has been run."""
        improvement = read_improvement(root)
        return {} if improvement is None else {"improvement": improvement}

    def lead(self, seasons: Sequence[Figures]) -> str:
        """Who decided for whom, and whether it was worth it."""
        first = seasons[0]
        return (
            f"{first['devices']} devices decided offline, day by day, for {len(first['fields'])} fields over "
            f"{counted(len(seasons), 'season')}, and sent home what would teach the next model most. "
            + threshold_sentence(seasons)
        )

    def summary(self, seasons: Sequence[Figures]) -> str:
        """Whether the threshold was beaten."""
        return threshold_sentence(seasons)

    def cards(self, season: Figures) -> list[Card]:
        """The gain over each practice."""
        gains = {other: season["gain"][other]["mean_usd_ha"] for other in others_of([season])}
        return [
            Card(signed(gain), "USD/ha", f"profit against {_article(other)} in {season['season']}", gain < 0)
            for other, gain in gains.items()
        ]

    def sections(self, report: Figures, pictures: Mapping[str, str]) -> list[str]:
        """What the growers got; and how the loop improves, where that was measured."""
        improvement = [improvement_section(report["improvement"])] if "improvement" in report else []
        return [growers_section(report["seasons"], pictures), *improvement]

    def foresight(self, seasons: Sequence[Figures]) -> str:
        """How the error of the yield moved."""
        return error_sentence(seasons)

    def verdict(self, scores: Figures) -> dict[str, str]:
        """Error, bias and interval on held-out field-seasons."""
        return {
            "yield error<br>t/ha": amount(scores["yield_rmse_t_ha"], 2),
            "bias<br>t/ha": signed(scores["yield_bias_t_ha"], 2),
            "80 % interval<br>holds": f"{amount(scores['interval_coverage_pct'])} %",
            "field-<br>seasons": amount(scores["field_seasons"]),
        }

    def decision(self, example: Record) -> str:
        """What was recommended, and which harvest was foreseen with it."""
        foreseen = ""
        if example.get("yield_p50_t_ha") is not None:
            foreseen = (
                f"; harvest foreseen {amount(example['yield_p50_t_ha'], 1)} t/ha "
                f"({amount(example['yield_p10_t_ha'], 1)} to {amount(example['yield_p90_t_ha'], 1)})"
            )
        return (
            f"irrigate {amount(example['irrigation_mm'], 1)} mm, apply {amount(example['nitrogen_kg_ha'], 1)} kg/ha "
            f"nitrogen{foreseen}; by version {example['model_version']}, on data "
            f"{counted(example['data_age_days'], 'day')} old"
        )

    def terminal(self, season: Figures) -> dict[str, str]:
        """Profit by practice, and Fieldloop's water."""
        profits = {
            f"USD/ha\n{_NARROW.get(name, name)}": amount(season["profit_usd_ha"][name])
            for name in practices_of([season])
            if name not in _ON_THE_PAGE_ALONE
        }
        return {**profits, "water\nmm": amount(season["irrigation_mm"]["fieldloop"])}

    def markdown(self, season: Figures) -> list[str]:
        """A table by practice, and what it means for the growers' purse."""
        return [
            "| mean over the same fields | " + " | ".join(label for label, _ in _COLUMNS.values()) + " |",
            "| --- |" + " ---: |" * len(_COLUMNS),
            *(_row(season, practice) for practice in practices_of([season])),
            "",
            f"- {profit_sentence(season)}",
        ]


def _row(season: Figures, practice: str) -> str:
    figures = (amount(season[measure][practice], digits) for measure, (_, digits) in _COLUMNS.items())
    name = f"**{NAMES[practice]}**" if practice == "fieldloop" else NAMES[practice]
    return f"| {name} | " + " | ".join(figures) + " |"


def _article(practice: str) -> str:
    return "rainfed" if practice == "rainfed" else f"the {NAMES[practice]}"
