"""Importing any module of ours changes nothing in the process: entry points set up what a run needs, and say so."""

import os
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from fieldloop.core.process_setup import QUIET_ENVIRONMENT

ROOT = Path(__file__).resolve().parents[1]

# Libraries set things up when they are imported. So everything is imported once, the process is put back to how it
# began, and then our modules alone are executed again.
PROGRAM = """
import importlib, logging, os, pkgutil, signal, sys, warnings

PACKAGES = ("fieldedge", "fieldloop", "tasks", "flows")

def import_ours():
    names = []
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        names += [package, *(found.name for found in pkgutil.walk_packages(path, package + "."))]
    for name in names:
        importlib.import_module(name)
    return names

def surroundings():
    loggers = {name: logging.getLogger(name) for name in sorted(logging.root.manager.loggerDict)}
    return {
        "os.environ": dict(os.environ),
        "working directory": os.getcwd(),
        "warnings.filters": list(warnings.filters),
        "warnings.showwarning": warnings.showwarning,
        "sys.dont_write_bytecode": sys.dont_write_bytecode,
        "sys.path": list(sys.path),
        "logging.disable": logging.root.manager.disable,
        "root logger": (logging.root.level, list(logging.root.handlers)),
        "logging levels": {name: logger.level for name, logger in loggers.items()},
        "handlers": {name: list(logger.handlers) for name, logger in loggers.items()},
        "Ctrl-C": signal.getsignal(signal.SIGINT),
    }

environment, bytecode = dict(os.environ), sys.dont_write_bytecode
names = import_ours()
for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
    del sys.modules[name]
os.environ.clear()
os.environ.update(environment)
sys.dont_write_bytecode = bytecode
before = surroundings()
assert names == import_ours()
after = surroundings()
for what, found in after.items():
    if what == "logging levels":  # a new logger of ours inherits
        found = {name: level for name, level in found.items() if name in before[what] or level}
    if what == "handlers":
        found = {name: handlers for name, handlers in found.items() if name in before[what] or handlers}
    assert found == before[what], (what, before[what], found)
print(len(names))
"""


@pytest.mark.slow
def test_importing_every_module_changes_neither_environment_nor_warnings_nor_logging() -> None:
    plain = {name: value for name, value in os.environ.items() if name not in QUIET_ENVIRONMENT}
    plain["PYTHONDONTWRITEBYTECODE"] = "1"  # somebody's wish, which is theirs to undo
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, env=plain, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 150


HEAVY = ("great_expectations", "lightning", "mlflow", "onnxruntime", "pandas", "pyarrow", "torch")
LARGEST_FLOW_MB = 200


def test_reading_a_flow_loads_no_heavy_library() -> None:
    program = f"""
import re, sys
import flows.season, flows.retrain
print(*(name for name in {HEAVY!r} if name in sys.modules))
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded, resident_mb = done.stdout.splitlines()
    assert not loaded
    assert int(resident_mb) <= LARGEST_FLOW_MB


@pytest.mark.parametrize(
    ("package", "folder", "forbidden"),
    [
        ("fieldloop", ROOT / "src", "fieldloop.workloads.*"),
        ("fieldedge", ROOT / "edge" / "src", "fieldedge.workloads.agriculture"),
    ],
)
def test_every_room_of_both_cores_is_forbidden_to_know_a_workload_by_name(
    package: str, folder: Path, forbidden: str
) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (core,) = (one for one in contracts if one.get("forbidden_modules") == [forbidden])
    rooms = {found.name for found in pkgutil.iter_modules([str(folder / package)], f"{package}.")}
    assert set(core["source_modules"]) == rooms - {f"{package}.workloads", f"{package}.__main__"}


def test_a_run_by_a_worker_gets_the_same_quiet_environment_from_its_deployment() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert deployments
    for deployment in deployments:
        given = deployment["work_pool"]["job_variables"]["env"]
        assert {name: given.get(name) for name in QUIET_ENVIRONMENT} == QUIET_ENVIRONMENT
        assert set(given) - set(QUIET_ENVIRONMENT) == {"FIELDLOOP_IS_DEPLOYMENT"}


def test_the_child_that_runs_a_stage_imports_no_tables_and_no_models() -> None:
    program = "import sys, fieldloop.versioning.stage_process; print(*{'pandas', 'torch', 'mlflow'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
