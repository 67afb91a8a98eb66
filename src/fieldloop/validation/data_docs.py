"""Data Docs as a folder of pages that need nothing but themselves.

Great Expectations' pages load styles, scripts and a logo from the net. Here they keep their content, lose what is
remote, and get one embedded style; the index, which only scripts can fill, is written anew.
"""

import html
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fieldedge.system.errors import DataError
from fieldloop.validation.report import TableReport
from fieldloop.validation.suites import SuiteRun

_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:0 auto;padding:1rem 1.5rem}
nav.navbar{border-bottom:1px solid #8884;margin-bottom:1rem}
ol.breadcrumb{list-style:none;display:flex;gap:.4rem;padding:0}
ol.breadcrumb li+li::before{content:"/ ";opacity:.6}
ul.nav{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem .8rem;padding:0}
table{border-collapse:collapse;margin:.5rem 0;width:100%}
td,th{border-bottom:1px solid #8883;padding:.3rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}
.alert{background:#8882;border-radius:.4rem;padding:.5rem .8rem;margin:1rem 0 .4rem}
.cooltip .top,script,button,footer,.card:has(.btn-group){display:none}
.badge{background:#8883;border-radius:.3rem;padding:0 .3rem}
.text-danger,.broken{color:#c33}.text-success,.whole{color:#2a7d4f}
.fa-check-circle::before,.fa-check::before{content:"\\2713"}
.fa-times::before{content:"\\2717"}
.fa-exclamation-triangle::before{content:"!"}
"""
_REMOTE_URL = re.compile(r"(?i)\b(?:src|href|action)\s*=\s*[\"']?\s*(?:https?:)?//|url\(\s*[\"']?(?:https?:)?//")


def write_data_docs(run: SuiteRun, docs_dir: Path, reports: Mapping[str, TableReport]) -> Path:
    """Replace `docs_dir` with the pages of this run, and return its index."""
    docs_dir.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".data-docs-", dir=docs_dir.parent) as scratch,
        # Great Expectations takes a `$` in a path for a variable of its own: it never sees where the clone lies.
        tempfile.TemporaryDirectory(prefix="data-docs-") as elsewhere,
    ):
        raw, finished = Path(elsewhere), Path(scratch, "finished")
        run.build_docs(raw)
        for table in reports:
            _adopt(raw / "expectations" / f"{table}.html", finished / "expectations" / f"{table}.html")
            (page,) = (raw / "validations" / table).rglob("*.html")
            _adopt(page, finished / "validations" / f"{table}.html")
        (finished / "index.html").write_text(_index(reports), encoding="utf-8")
        if docs_dir.exists():
            docs_dir.rename(Path(scratch, "old"))
        finished.rename(docs_dir)
    return docs_dir / "index.html"


def self_contained(page: str) -> str:
    """The page without scripts and without anything that a browser would fetch from elsewhere.

    Raises:
        DataError: something remote is left, because the page's form is not the one that this was written for.
    """
    for remote in (
        r"(?is)<script\b.*?</script\s*>",
        r"(?i)<script\b[^>]*/>",
        r"(?i)<link\b[^>]*>",
        r"(?is)<style\b.*?</style\s*>",
        r"(?i)<img\b[^>]*>",
        r"(?is)<footer\b.*?</footer\s*>",
        r"(?is)<button\b.*?</button\s*>",
        r"(?i)\son[a-z]+\s*=\s*\"[^\"]*\"",
        r"(?i)\shref\s*=\s*\"(?:https?:)?//[^\"]*\"",
    ):
        page = re.sub(remote, "", page)
    page = re.sub(r'href="(?:\.\./)+(expectations/|validations/|index\.html)', r'href="../\1', page)
    page = page.replace("</head>", f"<style>{_STYLE}</style>\n</head>", 1)
    if found := _REMOTE_URL.search(page):
        raise DataError(f"Data Docs would load {page[found.start() : found.start() + 80]!r} from the net")
    return page


def _adopt(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    page = self_contained(source.read_text(encoding="utf-8"))
    navigation = '<p><a href="../index.html">Data Docs</a></p>'
    target.write_text(page.replace("<body>", f"<body>\n{navigation}", 1), encoding="utf-8")


def _index(reports: Mapping[str, TableReport]) -> str:
    rows = "\n".join(_index_row(table, report) for table, report in reports.items())
    broken = "\n".join(
        f'<tr><td>{html.escape(table)}</td><td>{html.escape(words)}</td><td class="number">{count:,}</td></tr>'
        for table, report in reports.items()
        for words, count in sorted(report.broken.items(), key=lambda item: -item[1])
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="UTF-8"><title>Data Docs</title>
<meta name="viewport" content="width=device-width, initial-scale=1.0"><style>{_STYLE}</style></head>
<body>
<h1>Data Docs</h1>
<table>
<thead><tr><th>table</th><th class="number">rows</th><th class="number">accepted</th>
<th class="number">quarantined</th><th>pages</th></tr></thead>
<tbody>
{rows}
</tbody></table>
<h2>What was broken</h2>
<table>
<thead><tr><th>table</th><th>expectation</th><th class="number">rows</th></tr></thead>
<tbody>
{broken or '<tr><td colspan="3" class="whole">nothing</td></tr>'}
</tbody></table>
</body></html>
"""


def _index_row(table: str, report: TableReport) -> str:
    state = "broken" if report.quarantined else "whole"
    name = html.escape(table)
    return (
        f'<tr><td>{name}</td><td class="number">{report.rows:,}</td><td class="number">{report.accepted:,}</td>'
        f'<td class="number {state}">{report.quarantined:,}</td>'
        f'<td><a href="validations/{name}.html">results</a> · '
        f'<a href="expectations/{name}.html">expectations</a></td></tr>'
    )
