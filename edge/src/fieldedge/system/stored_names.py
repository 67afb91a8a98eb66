"""A name in stores, in batches, on sticks and in tags that says what the first workload called its periods.

What was stored under it stays readable, whatever a workload calls its own. Device and cloud have it from here.
"""

PERIOD = "season"
