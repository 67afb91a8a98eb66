"""The logic of Fieldloop, without Prefect: each folder is one room. See docs/architecture.md."""

__version__ = "0.1.0"
