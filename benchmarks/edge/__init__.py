"""The parts of the device's benchmarks.

`device_side.py` runs under the device's own Python and imports nothing but `fieldedge`; the other modules prepare what
it works on, and measure what a user would run instead.
"""
