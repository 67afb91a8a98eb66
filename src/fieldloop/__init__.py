"""The logic of Fieldloop, without Prefect: each module is one room of the loop. See docs/architecture.md."""

__version__ = "0.1.0"
