"""The running device: what it does each day, and the service that keeps it at it."""
