"""The figures of `report.json`, from the stories of the periods.

Pure functions of plain data. What came of the decisions stands there as the workload figures it; the rest is the
loop's own. Numbers that are none become null, so the file is JSON for every reader.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fieldedge.system.errors import DataError
from fieldloop.core.stored_names import FIRST_RUN, PERIOD, PERIODS
from fieldloop.report.story import PeriodStory
from fieldloop.workload import ReportSections

FORMAT = 1
DIGITS = 4


def build_report(
    stories: Sequence[PeriodStory], sections: ReportSections, wall_s: float, environment: Mapping[str, Any]
) -> dict[str, Any]:
    """All figures of the periods, in their order, and of the bundle that the last one shipped.

    Args:
        stories: one per period, oldest first.
        wall_s: how long the whole run took.
        environment: facts about the machine and the code, for the reader.

    Raises:
        DataError: there is no period, or one whose outcomes cannot be compared.
    """
    if not stories:
        raise DataError(
            f"a report needs at least one {sections.words.period}; found none. Run the loop first: {FIRST_RUN}"
        )
    report = {
        "format": FORMAT,
        "wall_s": wall_s,
        PERIODS: [period_figures(story, sections, stories) for story in stories],
        "bundle": _bundle(stories[-1]),
        "environment": dict(environment),
    }
    plain: dict[str, Any] = as_json_value(report)
    return plain


def period_figures(story: PeriodStory, sections: ReportSections, stories: Sequence[PeriodStory] = ()) -> dict[str, Any]:
    """The figures of one period; `stories` tell of versions that were trained before earlier ones.

    Raises:
        DataError: its outcomes cannot be compared.
    """
    fleet, error = story.fleet, sections.primary.key
    lineage = _lineage(story, stories or [story])
    counts = ("devices", "recommendations", "records_collected", "records_selected", "records_acknowledged")
    figures = {
        PERIOD: story.period,
        **{name: int(fleet[name]) for name in counts},
        "records_rejected": int(fleet.get("records_rejected", 0)),
        "records_lost": records_lost(story),
        "records_waiting": int(story.account.get("records_waiting", 0)),
        "bytes_collected": int(fleet["bytes_collected"]),
        "bytes_sent": int(fleet["bytes_sent"]),
        "batches": int(fleet.get("batches", 0)),
        "model_version": str(fleet["model_version"]),
        # What the model that decided was trained on; newer data may stand before a period whose model was kept back.
        "data_hash": lineage["data_hash"] or story.data_hash,
        "data_hash_before": story.data_hash,
        "data_hash_after": story.data_hash_after,
        error: fleet[error],
        "latency_p50_ms": fleet["latency_p50_ms"],
        "latency_p99_ms": fleet["latency_p99_ms"],
        **sections.figures(story.period, fleet["outcomes"], story.baselines),
        "held_out": dict(story.verdict["challenger"]),
        "held_out_champion": story.verdict["champion"],
        "gate": {name: value for name, value in story.verdict.items() if name not in ("challenger", "champion")},
        "shipping": {"shipped": story.compressed["shipped"], "reason": story.compressed["reason"]},
        "sync": _sync(story),
        "validation": _validation(story),
        "lineage": lineage,
        "decided_by": dict(fleet.get("decided_by", {})),
        "rollouts": list(fleet.get("rollouts", ())),
    }
    plain: dict[str, Any] = as_json_value(figures)
    return plain


def records_lost(story: PeriodStory) -> int:
    """Records that a device selected and got no acknowledgement for, and acknowledged ones that are not home.

    Those of a refused batch are not home until a person decides; those that wait for their contract are not lost.
    """
    unacknowledged = int(story.fleet["records_selected"]) - int(story.fleet["records_acknowledged"])
    return max(0, unacknowledged) + len(story.account["missing"])


def as_json_value(value: Any) -> Any:
    """The value as JSON can hold it: floats rounded, those that are no number null, other types as text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): as_json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json_value(item) for item in value]
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _sync(story: PeriodStory) -> dict[str, Any]:
    counts = ("records_received", "records_accepted", "records_duplicate", "records_quarantined")
    names = (*counts, "refused", "waiting", "tables")
    return {
        **{name: story.ingest[name] for name in names if name in story.ingest},
        "account": {**story.account, "missing": list(story.account["missing"])},
        "docs_index": story.ingest.get("docs_index"),
    }


def _validation(story: PeriodStory) -> dict[str, Any]:
    tables = story.validation.get("tables", {})
    return {
        "rows": sum(int(table["rows"]) for table in tables.values()),
        "quarantined": sum(int(table["quarantined"]) for table in tables.values()),
        "tables": tables,
        "docs_index": story.validation.get("docs_index"),
    }


def _lineage(story: PeriodStory, stories: Sequence[PeriodStory]) -> dict[str, Any]:
    """The chain behind the period's recommendations. Devices run the champion, which may be an older version."""
    version = str(story.fleet["model_version"])
    told = [one for story_told in stories for one in (story_told.registered, story_told.deployed) if one]
    registered = next((known for known in told if str(known["version"]) == version), {})
    batches = story.trace.get("batches") or {batch: {} for batch in story.ingest.get("batches", ())}
    return {
        "model": story.registered["name"],
        "model_version": version,
        "trained_version": str(story.registered["version"]),
        "bundle_version": str(story.released["version"]),
        "bundle_sha256": story.released["sha256"],
        **{name: registered.get(name) for name in ("mlflow_run_id", "data_hash", "git_commit", "contract_hash")},
        "snapshot_note": story.snapshot_note,
        "recommendation": story.trace.get("recommendation"),
        "batch_id": story.trace.get("batch_id"),
        "batches": batches,
    }


def _bundle(story: PeriodStory) -> dict[str, Any]:
    """The model file that ships and what was measured on it; `p50_ms` and `p99_ms` are whole decisions on devices."""
    compressed = story.compressed
    names = ("reason", "int8_bytes", "float32_bytes", "error_increase_pct", "int8_latency_us", "float32_latency_us")
    return {
        "version": str(story.released["version"]),
        "bytes": compressed["bytes"],
        "shipped": compressed["shipped"],
        "p50_ms": story.fleet["latency_p50_ms"],
        "p99_ms": story.fleet["latency_p99_ms"],
        **{name: compressed[name] for name in names},
        "latency_rows": compressed.get("batch"),
        "signed_bytes": story.released["bytes"],
        "sha256": story.released["sha256"],
    }
