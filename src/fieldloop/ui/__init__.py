"""The pages that a person looks at: Prefect, MLflow, the report and Data Docs, served together on this machine."""

from fieldloop.ui.serve import serve_ui

__all__ = ["serve_ui"]
