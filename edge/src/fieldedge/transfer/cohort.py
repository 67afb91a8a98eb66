"""Who of a fleet is in a rollout: pure arithmetic on the device's own id, so that any static host serves a stage.

A device's share is a number of [0, 100) that its id and the rollout's salt say, evenly spread over a fleet; it is in
while its share is below the percentage. A percentage only grows within a rollout, so whoever is in at 1 % is in at
10 %, and a device that joins late is in or out as if it had always been there. Another salt draws another canary.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fieldedge.system.errors import ReleaseError

_SALT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DECIMAL = re.compile(r"[0-9]{1,3}(\.[0-9]{1,20})?(e-[0-9]{1,3})?")
_EXPECTED = 'expected {"percentage": "0" to "100", "salt": "...", "not_before": "2027-04-01T00:00:00+00:00"}'
_MAX_TIME_CHARACTERS = 40


@dataclass(frozen=True)
class Rollout:
    """What the signed metadata of a candidate says of its rollout.

    Raises:
        ReleaseError: the percentage is none of (0, 100], the salt is no plain word, or the time says no offset.
    """

    percentage: float
    salt: str
    not_before: datetime

    def __post_init__(self) -> None:
        if not (math.isfinite(self.percentage) and 0.0 < self.percentage <= 100.0):
            raise ReleaseError(f"a rollout to {self.percentage!r} % is none; expected above 0 and at most 100")
        if not _SALT.fullmatch(self.salt):
            raise ReleaseError(f"the salt {self.salt!r:.80} of a rollout is no word of 1 to 64 letters, digits, _ . -")
        if self.not_before.utcoffset() is None:
            raise ReleaseError(
                f"a rollout begins at {self.not_before.isoformat()}, of which no offset from UTC is said"
            )

    @classmethod
    def from_custom(cls, found: Any) -> "Rollout":
        """What stands under `rollout` in a target's custom metadata.

        Raises:
            ReleaseError: it is none.
        """
        if not isinstance(found, Mapping) or set(found) != {"percentage", "salt", "not_before"}:
            raise ReleaseError(f"the rollout in the signed metadata is {str(found)!r:.120}; {_EXPECTED}")
        percentage, salt, not_before = found["percentage"], found["salt"], found["not_before"]
        is_number = isinstance(percentage, int | float) and not isinstance(percentage, bool)
        is_number = is_number or (isinstance(percentage, str) and _DECIMAL.fullmatch(percentage) is not None)
        if not (is_number and isinstance(salt, str) and isinstance(not_before, str)):
            raise ReleaseError(f"the rollout in the signed metadata is {str(found)!r:.120}; {_EXPECTED}")
        try:
            moment = datetime.fromisoformat(not_before[:_MAX_TIME_CHARACTERS])
            return cls(float(percentage), salt, moment)
        except (ValueError, OverflowError) as error:
            raise ReleaseError(f"the rollout in the signed metadata cannot be read: {error}; {_EXPECTED}") from None

    def as_custom(self) -> dict[str, Any]:
        """What `from_custom` reads. The percentage is text: canonical JSON, which is signed, has no fractions."""
        return {"percentage": str(self.percentage), "salt": self.salt, "not_before": self.not_before.isoformat()}


def cohort_share(device_id: str, salt: str) -> float:
    """Where a device stands in a rollout's order, of [0, 100)."""
    digest = hashlib.sha256(
        f"{salt}/{device_id}".encode()
    ).digest()  # no salt has a slash, so no two pairs are one text
    return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53 * 100.0  # 53 bits: more would round up to 100


def is_in(device_id: str, rollout: Rollout, now: datetime) -> bool:
    """Whether the device takes the candidate at this time."""
    has_begun = now - rollout.not_before >= timedelta(0)
    return has_begun and cohort_share(device_id, rollout.salt) < rollout.percentage
