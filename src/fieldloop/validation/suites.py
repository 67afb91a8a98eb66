"""One Great Expectations run: a suite per table, complete results, Data Docs at the end.

The context lives in memory, sends nothing, and shows no progress bars of its own. Great Expectations keeps one
current project per process, so runs in one process take turns.
"""

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from fieldedge.system.errors import DataError
from fieldloop.validation.expectations import Rule

_ONE_AT_A_TIME = threading.Lock()
_DOCS_SITE = "data_docs"
_VALUES_SHOWN_IN_DOCS = 10


class SuiteRun:
    """A Great Expectations context for one validation. Made by `suite_run`."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def check(self, table: str, rules: Sequence[Rule], frame: pd.DataFrame) -> dict[int, list[Any]]:
        """The index labels of the rows that break each rule, by the rule's position in `rules`.

        Raises:
            DataError: an expectation could not be evaluated.
        """
        import great_expectations as gx

        for number, rule in enumerate(rules):
            rule.expectation.meta = {"rule": number}
            rule.expectation.notes = rule.words
        batch = (
            self._context.data_sources.add_pandas(table)
            .add_dataframe_asset(table)
            .add_batch_definition_whole_dataframe(table)
        )
        suite = self._context.suites.add(gx.ExpectationSuite(name=table, expectations=[r.expectation for r in rules]))
        validation = self._context.validation_definitions.add(
            gx.ValidationDefinition(name=table, data=batch, suite=suite)
        )
        outcome = validation.run(
            batch_parameters={"dataframe": frame},
            result_format={
                "result_format": "COMPLETE",
                "partial_unexpected_count": _VALUES_SHOWN_IN_DOCS,
                "return_unexpected_index_query": False,
            },
        )
        return {result.expectation_config.meta["rule"]: _broken_rows(table, result) for result in outcome.results}

    def build_docs(self, directory: Path) -> None:
        """Write Great Expectations' own pages to `directory`, without an index: `data_docs.py` writes its own."""
        self._context.add_data_docs_site(
            _DOCS_SITE,
            {
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
                "store_backend": {
                    "class_name": "TupleFilesystemStoreBackend",
                    "base_directory": str(directory),
                },
            },
        )
        self._context.build_data_docs(site_names=[_DOCS_SITE], build_index=False)


@contextmanager
def suite_run() -> Iterator[SuiteRun]:
    """A fresh context, alone in this process while it is open."""
    # Read when the package is imported; without it, every run reports to its makers.
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with _ONE_AT_A_TIME:
        import great_expectations as gx
        from great_expectations.data_context.types.base import (
            DataContextConfig,
            InMemoryStoreBackendDefaults,
            ProgressBarsConfig,
        )

        logging.getLogger("great_expectations").setLevel(logging.ERROR)
        config = DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            progress_bars=ProgressBarsConfig(globally=False),
            analytics_enabled=False,
        )
        yield SuiteRun(gx.get_context(mode="ephemeral", project_config=config))


def _broken_rows(table: str, result: Any) -> list[Any]:
    if result.success:
        return []
    if failure := _exception_message(result.exception_info):
        raise DataError(f"{table}: the expectation {result.expectation_config.type} could not be evaluated: {failure}")
    return list(result.result.get("unexpected_index_list") or [])


def _exception_message(info: Any) -> str:
    if not isinstance(info, Mapping):
        return ""
    if info.get("raised_exception"):
        return str(info.get("exception_message") or "unknown")
    return next((message for nested in info.values() if (message := _exception_message(nested))), "")
