"""Prefect flows: the loop from top to bottom. They only compose tasks.

Prefect reads its environment when it is imported; whoever starts a flow fills that in before
(`fieldloop.core.environment`).
"""
