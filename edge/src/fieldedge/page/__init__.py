"""The device's status page: what a person sees with a phone beside the unit, and may confirm there.

`view.py` reads what is shown, `render.py` makes one HTML text of it, `answers.py` keeps what a person says, and
`server.py` serves both. Facts and charts are `presentation`'s; what a workload's numbers mean is said by its presenter.
"""
