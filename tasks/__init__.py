"""Prefect tasks: one thin wrapper per step of the loop, with its retries, caching, timeout and artifacts."""
