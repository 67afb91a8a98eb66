"""The bundle that devices get, as they have it: the model of the shipped parameters, its doubt, and its slices.

Where none is named it is made once, in a clone of HEAD, by the loop's own steps (`python -m flows retrain`): the past
is simulated, a model is trained, judged, made small and signed, for the first season that devices would live. It is
kept under `.fieldloop/benchmarks/` by the hash of the code and parameters that made it.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.clone import cloned, commit_of, environment_of, python_of
from fieldedge.contract import Record
from fieldedge.inference.bundles import MODEL, REFERENCE, open_bundle, parse_reference
from fieldedge.inference.model import Model
from fieldedge.inference.ood import OodDetector
from fieldedge.inference.slices import doubt_in
from fieldedge.workload import Doubt, Predict, opening_kind
from fieldedge.workloads.agriculture import AGRICULTURE

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".fieldloop" / "benchmarks"
DoubtOf = Callable[[Record], Doubt]
_MADE_BY = ("src", "edge/src", "flows", "tasks", "params.yaml", "requirements.lock")


@dataclass(frozen=True)
class Decider:
    """Who decides on a device: the model of a bundle with its doubt, or the rule in the box where there is none.

    `doubt` is that of a field, by its record.
    """

    name: str
    predict: Predict | None = None
    doubt: DoubtOf | None = None


@dataclass(frozen=True)
class Shipped:
    """A bundle and what it says of itself."""

    decider: Decider
    version: str
    precision: str
    sha256: str

    def as_json(self) -> dict[str, str]:
        """Which bundle that was."""
        return {"version": self.version, "precision": self.precision, "sha256": self.sha256}


def shipped(name: str, bundle: Path | None = None, checkout: Path | None = None) -> Shipped:
    """That bundle, or the newest of a checkout in which `make season` has run, or the one that is made here.

    Raises:
        ReleaseError: a device would refuse it.
    """
    if bundle is None:
        bundle = made_here() if checkout is None else released_in(checkout)
    contract = AGRICULTURE.contract
    opened = open_bundle(bundle.read_bytes(), contract)
    model = Model(opened.files[MODEL], contract)
    strange = OodDetector(parse_reference(opened.files[REFERENCE], contract), contract, AGRICULTURE.extrapolated).doubt
    manifest = opened.manifest

    def doubt(record: Record) -> Doubt:
        return doubt_in(manifest.slices, record, contract, opening_kind(AGRICULTURE), strange)

    return Shipped(Decider(name, model.predict, doubt), manifest.version, manifest.precision, opened.sha256)


def released_in(checkout: Path) -> Path:
    """The bundle that a checkout released last."""
    found = sorted(checkout.glob(".fieldloop/bundles/agriculture-*.zip"), key=lambda path: path.stat().st_mtime)
    if not found:
        sys.exit(f"there is no bundle in {checkout / '.fieldloop'}: run `make season` there first")
    return found[-1]


def made_here() -> Path:
    """The bundle of this commit's code and parameters, made where it is not kept."""
    made_by = ", ".join(commit_of(ROOT, f"HEAD:{one}") for one in _MADE_BY)
    folder = KEPT / f"shipped-{hashlib.sha256(made_by.encode()).hexdigest()[:12]}"
    kept = folder / "bundle.zip"
    if not kept.is_file():
        print(f"  training as shipped, in {folder.relative_to(ROOT)} (some minutes, once)", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        clone = cloned(ROOT, folder / "clone")
        done = subprocess.run(
            [python_of(ROOT), "-m", "flows", "retrain"],
            cwd=clone,
            env=environment_of(clone, ROOT),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"the loop's own steps failed:\n{done.stdout}\n{done.stderr}")
        shutil.copy(released_in(clone), kept)
        shutil.rmtree(clone)
    return kept
