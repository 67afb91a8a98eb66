"""The field computer of Fieldloop. It imports nothing of the cloud side."""

__version__ = "0.1.0"
