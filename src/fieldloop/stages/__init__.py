"""The boxes of the loop's diagram, a file each, as plain functions: each takes and returns small references, never rows
or tensors.

source, validate, version, train, evaluate, compress, release, deliver, run, ingest and report are the boxes. Prefect's
tasks wrap them one by one; a notebook or a test can call them as they are. Every stage may be cut off and called again:
it continues, or finds its work done. None imports another. What they hand on is in `refs.py`, who runs them in
`context.py` and `workload.py`; what they share in `access.py`, `examples.py`, `devices.py` and `released.py`. How a run
opens the clone is in `opening.py`, what must be there before any of them runs in `kept.py`, which periods are done in
`turns.py`, and what earlier versions left in `former_layout.py`. Stages import at their top what they work with; only
torch waits until something is learned.
"""
