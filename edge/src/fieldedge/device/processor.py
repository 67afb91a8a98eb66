"""What processor a device has, and so which file of a release is made for it.

Compression measures what ships to each class of devices (`compression.device_classes` in the cloud's parameters); a
device finds its class by itself, from its machine and the instruction sets that it says it has. Whatever was not
measured gets the file that computes in float32 alone: slower perhaps, and never wrong.
"""

import platform
import sys
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

CPU_FEATURES = ("avx2", "avx_vnni", "avx512_vnni", "avx512bw", "asimd", "asimddp", "i8mm")
FLOAT32_ONLY = "float32-only"


class DeviceClass(NamedTuple):
    """A class, the names under which its machine goes, and the instruction sets that it was measured with."""

    name: str
    machines: tuple[str, ...]
    needs: tuple[str, ...]


# A processor with VNNI is of the same class as one without: the file is made so that neither rounds it wrong.
CLASSES = (
    DeviceClass("x86-64", ("x86_64", "AMD64"), ("avx2",)),
    DeviceClass("aarch64", ("aarch64", "arm64"), ("asimd",)),
)


def class_of(machine: str, features: Collection[str], *, is_64_bit: bool) -> str:
    """The class of a machine with these instruction sets; one that nobody measured is `FLOAT32_ONLY`."""
    for one in CLASSES:
        if is_64_bit and machine in one.machines and all(feature in features for feature in one.needs):
            return one.name
    return FLOAT32_ONLY


def device_class() -> str:
    """The class of this device."""
    return class_of(platform.machine(), cpu_features(), is_64_bit=sys.maxsize > 2**32)


def cpu_features() -> list[str]:
    """What of `CPU_FEATURES` this processor says it has; nothing where it does not say."""
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return []
    return [name for name in CPU_FEATURES if name in words]
