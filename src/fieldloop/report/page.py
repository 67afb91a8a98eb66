"""`report.html` and `report.json`: one page that carries everything it shows, and the same figures for machines.

The page loads nothing: styles and pictures are in it, and a content policy forbids the rest. Sections are functions
from figures to HTML; whatever comes from data is escaped. What the loop's own figures mean is said in `words.py`, and
what came of the decisions by the workload's sections.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from fieldedge.presentation.text import plural
from fieldedge.system.durable import write_durably
from fieldloop.core.stored_names import PERIOD, PERIODS
from fieldloop.report.figures import as_json_value
from fieldloop.report.html import (
    code,
    docs_link,
    figure_of,
    link_to,
    row_of,
    section,
    sentence,
    split,
    table_of,
)
from fieldloop.report.pictures import draw_pictures
from fieldloop.report.story import PeriodStory
from fieldloop.report.words import (
    amount,
    counted,
    duration,
    latency_sentence,
    listed,
    rollout_sentence,
    share_pct,
    shipping_sentence,
    signed,
    size,
    transfer_sentence,
    version_sentence,
)
from fieldloop.workload import Card, Figures, Metric, ReportSections

MARK = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.9" stroke-linecap="round" '
    'stroke-linejoin="round" aria-hidden="true"><path d="M19.5 8A8.5 8.5 0 1 0 20.5 12"/>'
    '<path d="M20.6 3.6 19.6 8.1 15.1 7.2"/><path d="M12 17v-5"/><path d="M12 12c0-2.4 1.4-3.8 4-4 0 2.6-1.5 4-4 4Z"/>'
    '<path d="M12 14c0-1.8-1.1-2.9-3.2-3 0 2 1.2 3 3.2 3Z"/></svg>'
)
EARLIER = "of a run before this one"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class WrittenReport(NamedTuple):
    """Where the report is."""

    html: Path
    json: Path


def write_report(
    report: Figures,
    stories: Sequence[PeriodStory],
    sections: ReportSections,
    home_dir: Path,
    links: Mapping[str, str],
) -> WrittenReport:
    """Put both forms of the report into `home_dir`, each wholly or not at all.

    Args:
        report: what `build_report` made.
        stories: the periods it was made of. They go into the JSON too, so that every figure can be made again.
        home_dir: gets `report.html` and `report.json`.
        links: label: path or address to show on the page; a path becomes relative to the page.
    """
    home_dir.mkdir(parents=True, exist_ok=True)
    written = WrittenReport(home_dir / "report.html", home_dir / "report.json")
    write_durably(written.html, page(report, sections, home_dir, links).encode())
    told = {**report, "stories": [as_json_value(story.as_dict()) for story in stories]}
    write_durably(written.json, json.dumps(told, indent=1, allow_nan=False).encode() + b"\n")
    return written


def page(report: Figures, sections: ReportSections, home_dir: Path, links: Mapping[str, str]) -> str:
    """The report as HTML, to stand in `home_dir`."""
    periods: list[Figures] = list(report[PERIODS])
    pictures = {name: figure_of(picture) for name, picture in draw_pictures(report, sections).items()}
    years = listed([str(period[PERIOD]) for period in periods])
    style = files("fieldloop.report").joinpath("page.css").read_text(encoding="utf-8")
    brought, *further = sections.sections(report, pictures)
    parts = (
        brought,
        _foresight(periods, sections, pictures),
        *further,
        _rollouts(periods, sections),
        _transfer(periods, sections, pictures),
        _device(report["bundle"], periods, sections, pictures),
        _refused(periods, home_dir),
        _lineages(periods, sections),
    )
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>Fieldloop: {plural(sections.words.period, len(periods))} {escape(years)}</title>",
            f"<style>\n{style}</style></head><body>",
            _header(report, sections, years, links, home_dir),
            "<main>",
            *parts,
            "</main>",
            _footer(report, sections),
            "</body></html>",
            "",
        ]
    )


def _header(report: Figures, sections: ReportSections, years: str, links: Mapping[str, str], home_dir: Path) -> str:
    periods = report[PERIODS]
    cards = [*sections.cards(periods[-1]), *_cards(report, sections.primary)]
    places = [link_to(label, place, home_dir) for label, place in links.items()]
    return "\n".join(
        [
            f'<header><div class="brand">{MARK} Fieldloop</div>',
            f"<h1>{plural(sections.words.period.capitalize(), len(periods))} {escape(years)}</h1>",
            f'<p class="lead">{escape(sections.lead(periods))}</p>',
            f"<nav>{''.join(places)}</nav>" if places else "",
            f'<div class="cards">{"".join(map(_card_html, cards))}</div></header>',
        ]
    )


def _cards(report: Figures, primary: Metric) -> Iterator[Card]:
    last = report[PERIODS][-1]
    year = last[PERIOD]
    if last[primary.key] is not None:
        yield Card(amount(last[primary.key], 2), primary.unit, f"{primary.name} on devices in {year}")
    lost = sum(period["records_lost"] for period in report[PERIODS])
    yield Card(amount(lost), plural("record", lost), "lost on the way home", is_behind=lost > 0)
    sent = share_pct(last["bytes_sent"], last["bytes_collected"])
    yield Card(f"{sent:.1f}", "%", f"of the collected bytes were sent in {year}")
    yield Card(amount(last["latency_p50_ms"], 1), "ms", "median time of a decision on a device")
    bundle = report["bundle"]
    part = share_pct(bundle["bytes"], bundle["float32_bytes"])
    yield Card(f"{part:.0f}", "%", f"of the float32 file ships, as {bundle['shipped']}")


def _card_html(card: Card) -> str:
    kind = "card behind" if card.is_behind else "card"
    return (
        f'<div class="{kind}"><b>{escape(card.value)} <small>{escape(card.unit)}</small></b>'
        f"<span>{escape(card.label)}</span></div>"
    )


def _foresight(periods: Sequence[Figures], sections: ReportSections, pictures: Mapping[str, str]) -> str:
    verdicts = [sections.verdict(period["held_out"]) for period in periods]
    rows = [
        row_of((f"{period[PERIOD]}, version {escape(period['lineage']['trained_version'])}", *verdict.values()))
        for period, verdict in zip(periods, verdicts, strict=True)
    ]
    said = "".join(
        f"<dt>{period[PERIOD]}</dt><dd>{escape(sentence(period['gate']['reason']))}</dd>" for period in periods
    )
    return section(
        f"How well the model foresees {escape(sections.foreseen)}",
        f"<p>{escape(sections.foresight(periods))}</p>",
        split(
            pictures["error"],
            f"The gate, on {sections.words.periods} that are never trained on",
            f'{table_of(("trained before", *verdicts[0]), rows)}<dl class="note">{said}</dl>',
        ),
    )


def _rollouts(periods: Sequence[Figures], sections: ReportSections) -> str:
    """How each version went out in stages; nothing where none did."""
    out = [(period, rollout) for period in periods for rollout in period.get("rollouts", ())]
    if not out:
        return ""
    rows = [
        row_of(
            (
                str(period[PERIOD]),
                escape(rollout["version"]),
                f"{stage['percentage']:g} %",
                escape(f"{stage['since']} – {stage['until']}"),
                *(amount(stage[name]) for name in ("cohort", "confirmed", "failed")),
                escape(sentence(stage["why"])),
            ),
            words=7,
        )
        for period, rollout in out
        for stage in rollout["stages"]
    ]
    heads = (sections.words.period, "version", "devices", "days", "in it", "confirmed", "failed")
    return section(
        "How the new model went out",
        "".join(f"<p>{escape(rollout_sentence(rollout, sections.words))}</p>" for _, rollout in out),
        f'<div class="panel">{table_of(heads, rows, "what was decided, and by which numbers")}<p class="note">Days are '
        "the sample world's. Devices that were not online since the stage began count for nothing.</p></div>",
    )


def _transfer(periods: Sequence[Figures], sections: ReportSections, pictures: Mapping[str, str]) -> str:
    counts = ("selected", "acknow-<br>ledged", "in the<br>store", "quaran-<br>tined", "waiting", "lost")
    rows = [
        row_of(
            (
                str(period[PERIOD]),
                *(amount(period[f"records_{name}"]) for name in ("selected", "acknowledged")),
                *(amount(period["sync"]["account"][name]) for name in ("accepted", "quarantined")),
                amount(period.get("records_waiting", 0)),
                amount(period["records_lost"]),
            )
        )
        for period in periods
    ]
    return section(
        "What came home",
        "".join(f"<p>{escape(transfer_sentence(period, sections.examples))}</p>" for period in periods),
        split(
            pictures["bytes"],
            "Every record accounted for",
            f'{table_of((sections.words.period, *counts), rows)}<p class="note">Lost: selected and never acknowledged, '
            "or acknowledged and neither in the store nor in quarantine, or in a batch that was refused and that "
            "nobody has decided about. Waiting: of a contract that this version does not know.</p>",
        ),
    )


def _device(bundle: Figures, periods: Sequence[Figures], sections: ReportSections, pictures: Mapping[str, str]) -> str:
    rows = [
        row_of(
            (
                label,
                size(bundle[f"{name}_bytes"]),
                f"{share_pct(bundle[f'{name}_bytes'], bundle['float32_bytes']):.0f} %",
                f"{amount(bundle[f'{name}_latency_us'])} µs",
                signed(bundle["error_increase_pct"], 2) + " %" if name == "int8" else "–",
            ),
            "ours" if bundle["shipped"] == name else "",
        )
        for name, label in (("float32", "float32"), ("int8", "INT8"))
    ]
    heads = (
        "model file",
        "size",
        "of float32",
        f"{bundle['latency_rows']} actions<br>scored in",
        "error<br>added",
    )
    reason = bundle["reason"].replace("int8", "INT8", 1)
    return section(
        "On the device",
        f"<p>{escape(latency_sentence(periods[-1]))} {escape(shipping_sentence(bundle, sections.primary))}</p>",
        split(
            pictures["latency"],
            "Which file ships",
            f'{table_of(heads, rows)}<p class="note">{escape(sentence(reason))} The signed bundle, with golden '
            f"vectors, reference statistics and model card, has {size(bundle['signed_bytes'])}.</p>",
        ),
    )


def _refused(periods: Sequence[Figures], home_dir: Path) -> str:
    rows: list[str] = []
    for period in periods:
        validated = _validated_row(period, home_dir)
        # The same validation stands before every period that brought no new history.
        rows += [] if period["validation"] == periods[0]["validation"] and rows else [validated]
        rows.append(_synced_row(period, home_dir))
    return section(
        "What was refused",
        "<p>A row that breaks an expectation goes to <code>data/quarantine/</code> with the expectation that it broke. "
        "Nothing is dropped in silence.</p>",
        f'<div class="panel">{table_of(("data", "rows", "quarantined", "Data Docs"), rows, "what was broken")}</div>',
    )


def _validated_row(period: Figures, home_dir: Path) -> str:
    validation = period["validation"]
    broken = [
        f"{escape(table)}: {escape(rule)} ({amount(count)})"
        for table, figures in validation["tables"].items()
        for rule, count in figures["broken"].items()
    ]
    cells = (f"history before {period[PERIOD]}", amount(validation["rows"]), amount(validation["quarantined"]))
    return row_of((*cells, docs_link(validation["docs_index"], home_dir), _broken(broken)), words=4)


def _synced_row(period: Figures, home_dir: Path) -> str:
    sync = period["sync"]
    refused = [f"batch {escape(batch[:12])}: {escape(reason)}" for batch, reason in sync.get("refused", {}).items()]
    told = [
        f"{escape(table)}: {amount(counts['quarantined'])} quarantined"
        for table, counts in sync.get("tables", {}).items()
        if counts["quarantined"]
    ]
    counts = (amount(sync.get("records_received")), amount(sync.get("records_quarantined")))
    cells = (f"sent home, {period[PERIOD]}", *counts, docs_link(sync["docs_index"], home_dir))
    return row_of((*cells, _broken([*refused, *told])), words=4)


def _broken(reasons: Sequence[str]) -> str:
    return "<br>".join(reasons) or "nothing"


def _lineages(periods: Sequence[Figures], sections: ReportSections) -> str:
    called = sections.words.period
    chains = "".join(
        f'<div class="panel"><h3>{called.capitalize()} {period[PERIOD]}</h3>{_chain(period, sections)}</div>'
        for period in periods
    )
    return section(
        "Where each number comes from",
        "<p>Followed back from one recommendation to the data its model was trained on, and on to the batches and "
        f"devices that brought the {called} home.</p>",
        f'<div class="pictures">{chains}</div>',
    )


def _chain(period: Figures, sections: ReportSections) -> str:
    lineage = period["lineage"]
    example = lineage["recommendation"]
    if example is None:
        recommendation = "no model recommended anything that came home"
    else:
        recommendation = f"{code(example['record_id'])}<br>{escape(sections.decision(example))}"
    name = f"{escape(lineage['model'])}, version {escape(lineage['model_version'])}"
    verdict = f"{escape(version_sentence(lineage, sections.words))} {escape(sentence(period['gate']['reason']))}"
    bundle = f"{code(lineage['bundle_sha256'])}<br>version {escape(lineage['bundle_version'])}, signed with TUF"
    before = f"{code(period['data_hash_before'])}<br>{escape(sentence(lineage['snapshot_note']))}"
    steps = (
        ("Recommendation", recommendation),
        ("Bundle", bundle),
        ("Model version", f"{name}<br>{verdict}"),
        ("MLflow run", code(lineage["mlflow_run_id"], EARLIER)),
        ("Code", code(lineage["git_commit"], EARLIER)),
        ("Contract", code(lineage["contract_hash"], EARLIER)),
        ("Training data (DVC)", code(lineage["data_hash"], EARLIER)),
        (f"Data before the {sections.words.period} (DVC)", before),
        (f"Data after the {sections.words.period} (DVC)", code(period["data_hash_after"])),
        ("Batches and their devices", _batches(lineage)),
    )
    return '<ol class="chain">' + "".join(f"<li><b>{label}</b>{text}</li>" for label, text in steps) + "</ol>"


def _batches(lineage: Figures) -> str:
    batches = lineage["batches"]
    if not batches:
        return "none came home"
    devices = {note["device_id"] for note in batches.values() if note.get("device_id")}
    rows = [
        row_of(
            (
                code(batch[:16]),
                escape(str(note.get("device_id", "–"))),
                amount(sum((note.get("records") or {}).values())),
            )
        )
        for batch, note in sorted(batches.items(), key=lambda item: (str(item[1].get("device_id")), item[0]))
    ]
    mine = f"The recommendation above came in {code(lineage['batch_id'])}.<br>" if lineage["batch_id"] else ""
    told = f"{counted(len(batches), 'batch', 'batches')} of {counted(len(devices), 'device')}"
    return f"{mine}<details><summary>{told}</summary>{table_of(('batch', 'device', 'records'), rows)}</details>"


def _footer(report: Figures, sections: ReportSections) -> str:
    facts = {"whole run": duration(report["wall_s"]), **report["environment"]}
    rows = "".join(f"<dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
    return (
        f'<footer><div class="panel"><dl>{rows}</dl></div><p>{escape(sections.about)} All figures stand in '
        "<code>report.json</code> beside this page.</p></footer>"
    )
