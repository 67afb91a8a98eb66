"""The boxes of the loop's diagram, a file each, as plain functions: each takes and returns small references, never rows
or tensors.

Prefect's tasks wrap them one by one; a notebook or a test can call them as they are. Every stage may be cut off and
called again: it continues, or finds its work done. Stages import at their top what they work with, and never one
another; what they hand on is in `refs.py`, who runs them in `context.py`, what they share in `access.py`,
`examples.py` and `devices.py`.
"""
