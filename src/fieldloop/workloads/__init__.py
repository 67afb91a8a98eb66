"""The workloads that the loop can turn. A new one is a folder here and one line in `WORKLOADS`."""

from fieldloop.workloads.agriculture import AGRICULTURE_IN_CLOUD, AgricultureInCloud

WORKLOADS: dict[str, AgricultureInCloud] = {"agriculture": AGRICULTURE_IN_CLOUD}
