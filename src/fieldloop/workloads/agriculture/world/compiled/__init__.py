"""AquaCrop and the nitrogen layer, compiled: the installed package's own source, translated and given to numba.

translation.py rewrites the source, day.py puts the steps in order, store.py keeps the compiled code, extraction.py
turns an initialised package model into arrays, batch.py steps many of them. Only AquaCrop 3.1.0 is proven equal to
its translation (`test_field_batch.py`); with any other, `why_not` says so and the package itself runs.
"""
