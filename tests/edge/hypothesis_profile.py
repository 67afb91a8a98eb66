"""Hypothesis measures by the wall clock unless it is told not to: a busy machine is not a slow test."""

from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
