"""The device's status page: what a person sees with a phone beside the field.

`facts.py` names what is shown, `view.py` reads it, `chart.py` and `render.py` make one HTML text of it, and `server.py`
answers with that. Nothing here decides or changes anything: the page only reads. What a workload's numbers mean is said
by its presenter.
"""
