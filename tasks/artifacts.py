"""What the loop shows in Prefect's UI: tables, markdown and pictures that tell the same story as the report."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from fieldloop.stages.context import Loop, words_of
from fieldloop.stages.refs import AcceptedRef, CompressedRef, IngestedRef, RegisteredRef, SyncedRef


def show_validation(loop: Loop, accepted: AcceptedRef) -> None:
    """Rows per table, and the way to the Data Docs."""
    tables = json.loads(Path(accepted.report).read_text(encoding="utf-8"))["tables"]
    rows = [
        {
            "table": name,
            "rows": table["rows"],
            "accepted": table["accepted"],
            "quarantined": table["quarantined"],
            "broken expectations": "; ".join(f"{words}: {count}" for words, count in table["broken"].items()),
        }
        for name, table in tables.items()
    ]
    create_table_artifact(table=rows, key="validation", description="Great Expectations on the history")
    create_link_artifact(
        link=loop.settings.page_url(Path(accepted.docs_index)),
        link_text="Data Docs (while `make ui` runs)",
        key="data-docs",
    )


def show_verdict(registered: RegisteredRef) -> None:
    """Challenger beside champion, and the gate's reason."""
    verdict = json.loads(Path(registered.verdict).read_text(encoding="utf-8"))
    rows = [{"model": f"challenger (version {registered.version})", **verdict["challenger"]}]
    if verdict["champion"]:
        rows.append({"model": f"champion (version {verdict['champion_version']})", **verdict["champion"]})
    create_table_artifact(table=rows, key="evaluation", description=verdict["reason"])
    if verdict.get("floor"):
        floor = verdict["floor"]
        create_table_artifact(table=floor_rows(floor), key="floor", description=floor["reason"])
        if floor.get("slices"):
            words = "What the model is worth more than the rule, slice by slice; where it is worse, the rule decides"
            create_table_artifact(table=floor["slices"], key="slices", description=words)


def floor_rows(floor: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What following the model and each of the others was worth, by the names that a verdict stores with their unit."""
    unit = next(name for name in floor if name.startswith("model_")).removeprefix("model_")
    others = [name for name in floor if name.startswith("against_")]
    followed = ["model", *(name.removeprefix("against_").removesuffix(f"_{unit}") for name in others)]
    return [{"followed": name, unit: round(floor[f"{name}_{unit}"])} for name in followed]


def show_compression(compressed: CompressedRef) -> None:
    """Every file side by side, what ships to each class of devices, and the front as a picture."""
    from fieldloop.compression.table import compression_rows

    report = json.loads(Path(compressed.report).read_text(encoding="utf-8"))
    on = f"chosen on {report.get('chosen_on', '')}, judged on {report.get('judged_on', '')}"
    create_table_artifact(table=compression_rows(report), key="compression", description=f"{compressed.reason}; {on}")
    classes = [
        {"devices": name, **{key: choice[key] for key in ("ships", "bytes", "reason", "parity_on", "timed_on")}}
        for name, choice in report["by_class"].items()
    ]
    create_table_artifact(table=classes, key="device-classes", description="What ships to each class of devices")
    show_picture("compression front", Path(report["picture"]).read_bytes())


def show_ingest(ingested: IngestedRef) -> None:
    """What came out of the inbox, by table, and which batches were refused."""
    report = json.loads(Path(ingested.report).read_text(encoding="utf-8"))
    words = f"{ingested.batches} batches: {ingested.accepted} accepted, {ingested.quarantined} quarantined"
    create_table_artifact(table=_by_table(report), key="ingest", description=words)
    if report["refused"]:
        refused = [{"batch": batch_id, "reason": reason} for batch_id, reason in report["refused"].items()]
        create_table_artifact(table=refused, key="ingest-refused", description="Batches that were refused, and why")
    if report["waiting"]:
        waiting = [{"batch": batch_id, "reason": reason} for batch_id, reason in report["waiting"].items()]
        create_table_artifact(table=waiting, key="ingest-waiting", description="Batches that wait, and for what")


def show_sync(loop: Loop, synced: SyncedRef) -> None:
    """What came home, by table."""
    rows = _by_table(json.loads(Path(synced.report).read_text(encoding="utf-8"))["ingest"])
    words = f"{words_of(loop).period.capitalize()} {synced.period}: {synced.accepted} accepted, "
    words += f"{synced.quarantined} quarantined, {synced.lost} lost"
    words += f", {synced.waiting} waiting" if synced.waiting else ""
    create_table_artifact(table=rows, key=f"sync-{synced.period}", description=words)


def _by_table(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"table": name, **counts} for name, counts in report["tables"].items()]


def show_period(loop: Loop, period: int, markdown: str) -> None:
    """A period's figures."""
    word = words_of(loop).period.lower().replace("_", "-")  # a key is of small letters, digits and dashes
    create_markdown_artifact(markdown=markdown, key=f"{word}-{period}")


def show_picture(name: str, png: bytes) -> None:
    """One picture, inside the page."""
    create_markdown_artifact(
        markdown=f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})",
        key=f"picture-{name.replace(' ', '-').lower()}",
        description=name,
    )


def show_pictures(loop: Loop, pictures: Mapping[str, bytes], report: Path) -> None:
    """The report's pictures, inside the page, and the way to the report."""
    for name, png in pictures.items():
        show_picture(name.replace("_", " "), png)
    create_link_artifact(
        link=loop.settings.page_url(report),
        link_text=f"The {words_of(loop).period}'s report (while `make ui` runs)",
        key="report",
    )
