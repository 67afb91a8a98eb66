"""Prefect flows: the loop from top to bottom. They only compose tasks.

How a flow begins, and is run by hand, is entrypoint.py's, with Prefect's server for it from local_server.py.

Prefect reads its environment when it is imported; whoever starts a flow fills that in before
(`fieldloop.core.process_setup`).
"""
