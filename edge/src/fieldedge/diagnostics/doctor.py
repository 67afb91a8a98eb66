"""What ails the device, as a list of findings: each is ok, a warning or a failure, with what to do about it.

Examining changes nothing, holds no lock and never takes long, so that it can be done beside a running service; a check
that itself breaks is a finding, not an end. So a check imports what it alone needs (keys, TUF, HTTP) when it is made:
a library that is broken or missing is its finding. The checks stand in a module a subject; what an illegal instruction
would end is tried in `selftest.py`'s child process; showing the findings is `commands/doctor.py`'s.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from fieldedge.device.config import DeviceDirectory, read_config
from fieldedge.diagnostics import acquisition, device, records, release, service
from fieldedge.diagnostics.finding import Finding, Subject
from fieldedge.presentation.text import counted
from fieldedge.system.clock import Clock
from fieldedge.system.errors import ConfigError, FieldloopError
from fieldedge.workloads import known_workload

Check = Callable[[Subject], Iterator[Finding]]

_OF_ANOTHER_USER = "run it as the user that owns the device's directory: sudo -u USER fieldedge doctor"

CHECKS: dict[str, Check] = {
    "key": device.key,
    "files": device.files,
    "disk": device.disk,
    "clock": device.clock,
    "trust": release.trust,
    "model": release.model,
    "runtime": release.runtime,
    "store": records.store,
    "sources": acquisition.sources,
    "sensors": acquisition.sensors,
    "service": service.service,
    "page": service.page,
    "link": service.link,
}


def examine(directory: DeviceDirectory, clock: Clock) -> list[Finding]:
    """Everything that can be found out about the device, in the order in which to mend it."""
    subject = Subject(directory, clock)
    findings: list[Finding] = []
    try:
        config = read_config(directory.settings)
        subject = replace(subject, config=config, workload=known_workload(config.workload))
        sources = counted(len(config.sources), "source")
        findings.append(Finding("settings", "ok", f"{config.device_id}, {config.workload}, {sources}"))
    except PermissionError as error:
        findings.append(Finding("settings", "fail", str(error), _OF_ANOTHER_USER))
    except (ConfigError, OSError) as error:
        findings.append(Finding("settings", "fail", str(error), f"mend {directory.settings}"))
    for name, check in CHECKS.items():
        try:
            findings.extend(check(subject))
        except PermissionError as error:
            findings.append(Finding(name, "fail", str(error), _OF_ANOTHER_USER))
        except (FieldloopError, OSError) as error:
            findings.append(Finding(name, "fail", str(error)))
        except Exception as error:  # noqa: BLE001  (an examination ends for no single check)
            findings.append(Finding(name, "fail", f"the check broke ({error!r})", "report it with this line"))
    return findings
