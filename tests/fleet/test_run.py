"""Devices' periods pooled: a figure that nothing stands behind is none."""

from fieldloop.fleet.run import DeviceRun, FleetRun


def run_with(*latencies_ms: float) -> FleetRun:
    device = DeviceRun(2006, "dev-0", {}, len(latencies_ms), 9, 0, 900, "1", (), latencies_ms)
    return FleetRun.of([device])


def test_half_and_nearly_all_of_the_decisions_are_timed() -> None:
    pooled = run_with(1.0, 2.0, 3.0)
    assert (pooled.latency_p50_ms, round(pooled.latency_p99_ms or 0.0, 2)) == (2.0, 2.98)


def test_of_no_decision_there_is_no_time() -> None:
    pooled = run_with()
    assert (pooled.latency_p50_ms, pooled.latency_p99_ms) == (None, None)
