"""Whose batches are read now: who waits for itself alone holds up nobody else."""

import asyncio
from contextlib import AsyncExitStack, suppress

from fieldloop.gateway.admission import Admission, AdmissionLimits, Busy


def test_a_proven_device_that_waits_for_its_own_turns_keeps_no_other_out() -> None:
    async def old_device_comes() -> str:
        admission = Admission(AdmissionLimits(per_device=2))
        async with AsyncExitStack() as turns:
            for batch in ("one", "two"):
                await turns.enter_async_context(admission.turn("slow", 1_000, batch))
            third = asyncio.create_task(turns.enter_async_context(admission.turn("slow", 1_000, "three")))
            await asyncio.sleep(0)  # it waits now
            try:
                async with asyncio.timeout(0), admission.turn("old", 1_000):
                    return "read"
            except (Busy, TimeoutError):
                return "kept out"
            finally:
                third.cancel()
                with suppress(asyncio.CancelledError):
                    await third

    assert asyncio.run(old_device_comes()) == "read"
