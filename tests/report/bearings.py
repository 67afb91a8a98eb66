"""A run of another workload, told by hand: bearings whose wear is foreseen, and that are replaced in time.

`BearingReport` is the whole of what such a workload says in the report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fieldedge.contract import Record
from fieldedge.system.errors import DataError
from fieldloop.core.words import Words
from fieldloop.report import PeriodStory
from fieldloop.report.html import row_of, section, split, table_of
from fieldloop.report.pictures import COLOURS, settle
from fieldloop.report.words import amount, counted
from fieldloop.workload import Card, Drawing, Figures, Metric, Tables

ENVIRONMENT = {"machine": "2 cores, x86_64", "python": "3.11.9"}
VIBRATION = Metric("vibration error", "mm/s", "vibration_rmse_mm_s", lower_is_better=True, is_root=True)


def _draw_hours(figure: Any, seasons: Sequence[Figures]) -> str:
    axes = figure.subplots()
    settle(axes, "", [str(season["season"]) for season in seasons])
    for row, season in enumerate(seasons):
        axes.barh(row, season["hours_run"]["fieldloop"], color=COLOURS["blue"])
    return ", ".join(f"{season['season']} {amount(season['hours_run']['fieldloop'])} h" for season in seasons)


class BearingReport:
    """Hours that bearings ran before they were replaced."""

    primary = VIBRATION
    foreseen = "the wear"
    words = Words("month", "bearing", "hall")
    examples = "windows"
    about = "Bearings on a test stand."
    drawings: Mapping[str, Drawing] = {"hours": Drawing("Hours run", _draw_hours)}

    def figures(self, season: int, ours: Sequence[Record], others: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
        if not ours:
            raise DataError(f"{season} has no bearing")
        hours = {name: sum(one["hours"] for one in ran) for name, ran in {"fieldloop": ours, **others}.items()}
        return {"hours_run": hours, "bearings": len(ours)}

    def example(self, tables: Tables) -> Record | None:
        return None if tables["decisions"].empty else dict(tables["decisions"].iloc[0])

    def measured(self, root: Path) -> dict[str, Any]:
        return {"stand": str(root)}

    def lead(self, seasons: Sequence[Figures]) -> str:
        return f"{counted(seasons[0]['bearings'], 'bearing')} ran. {self.summary(seasons)}"

    def summary(self, seasons: Sequence[Figures]) -> str:
        return f"Bearings <of any kind> ran {amount(seasons[-1]['hours_run']['fieldloop'])} hours."

    def cards(self, season: Figures) -> list[Card]:
        hours = season["hours_run"]
        return [Card(amount(hours["fieldloop"]), "h", "run before <replacement>", hours["fieldloop"] < hours["fixed"])]

    def sections(self, report: Figures, pictures: Mapping[str, str]) -> list[str]:
        rows = [row_of((str(season["season"]), amount(season["hours_run"]["fixed"]))) for season in report["seasons"]]
        return [
            section("What the bearings ran", split(pictures["hours"], "Fixed", table_of(("", "hours"), rows))),
            section("What else was measured"),
        ]

    def foresight(self, seasons: Sequence[Figures]) -> str:
        return f"Wear was foreseen to {amount(seasons[-1][VIBRATION.key], 2)} {VIBRATION.unit}."

    def verdict(self, scores: Figures) -> dict[str, str]:
        return {"vibration<br>mm/s": amount(scores[VIBRATION.key], 2)}

    def decision(self, example: Record) -> str:
        return f"replace after {example['hours']} hours"

    def terminal(self, season: Figures) -> dict[str, str]:
        return {"hours\nrun": amount(season["hours_run"]["fieldloop"])}

    def markdown(self, season: Figures) -> list[str]:
        return ["| bearings | hours |", "| ---: | ---: |", f"| {season['bearings']} | 1 |", "", "- They ran."]


SECTIONS = BearingReport()


def registered(version: str) -> dict[str, Any]:
    """The model's version, as the registry describes it."""
    return {
        "name": "bearings",
        "version": version,
        "mlflow_run_id": version * 32,
        "data_hash": f"{version * 32}.dir",
        "git_commit": "fe514c9" * 5,
        "contract_hash": "ab" * 32,
    }


def story(season: int = 2006, version: str = "1") -> PeriodStory:
    """A season of four devices that lost nothing."""
    sent = {"records_selected": 40, "records_acknowledged": 40, "bytes_sent": 4_000, "batches": 4}
    return PeriodStory(
        fleet={
            "season": season,
            **{"devices": 4, "recommendations": 200, "records_collected": 400, "bytes_collected": 90_000, **sent},
            **{VIBRATION.key: 0.31, "latency_p50_ms": 1.2, "latency_p99_ms": 3.4, "model_version": version},
            "outcomes": [{"bearing": number, "hours": 900 + number} for number in range(4)],
        },
        baselines={"fixed": [{"bearing": number, "hours": 1000} for number in range(4)]},
        ingest={"records_received": 40, "records_accepted": 40, "records_quarantined": 0, "batches": [], "refused": {}},
        account={"received": 40, "accepted": 40, "quarantined": 0, "missing": []},
        registered=registered(version),
        verdict={
            "reason": "promoted: held-out vibration error -3.0 % against version 1",
            "challenger": {VIBRATION.key: 0.28, "groups": 12},
            "champion": None,
        },
        compressed={
            **{"shipped": "int8", "reason": "int8 ships: 27 % of the bytes", "bytes": 27_000, "int8_bytes": 27_000},
            **{"float32_bytes": 100_000, "error_increase_pct": 0.4, "int8_latency_us": 20.0, "batch": 2},
            "float32_latency_us": 25.0,
        },
        released={"version": version, "sha256": version * 64, "bytes": 50_000},
        data_hash=f"{version * 32}.dir",
        data_hash_after="f" * 32,
        validation={"tables": {"windows": {"rows": 400, "quarantined": 2, "broken": {"rms is positive": 2}}}},
        snapshot_note="left uncommitted",
        trace={
            "recommendation": {"record_id": f"{season}/b-0/1", "device_id": "dev-0", "hours": 900},
            **{"batch_id": "ab" * 32, "batches": {"ab" * 32: {"device_id": "dev-0", "records": {"windows": 40}}}},
        },
    )


def losing(told: PeriodStory, unacknowledged: int, missing: tuple[str, ...]) -> PeriodStory:
    """The same season, with records that never got home."""
    acknowledged = int(told.fleet["records_selected"]) - unacknowledged
    return replace(
        told,
        fleet={**told.fleet, "records_acknowledged": acknowledged},
        account={**told.account, "missing": list(missing)},
    )
