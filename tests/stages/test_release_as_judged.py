"""What was released of a version stands, until the version is judged again and other slices are the rule's."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fieldedge.inference.bundles import CARD, open_bundle
from fieldedge.inference.slices import Condition, Slice
from fieldloop.core.settings import Settings
from fieldloop.stages.context import Loop
from fieldloop.stages.release import _as_judged
from fieldloop.workloads import load_params
from tests.conftest import CONTRACT

PROJECT = Path(__file__).parents[2]
DRY = Slice("start=dry", "dry at planting", (Condition("context", "initial_water_pct", below=60.0),))


def test_a_bundle_that_stands_gets_the_slices_of_its_version_and_is_itself_where_it_has_them(
    make_bundle: Callable[..., Path],
) -> None:
    loop = Loop(Settings(root=PROJECT), "agriculture", load_params(PROJECT, "agriculture"))
    told: Any = SimpleNamespace(slices=lambda _version: (DRY,), bundle_card=lambda _version: "# Judged again\n")
    data = make_bundle("7").read_bytes()
    judged = _as_judged(loop, data, told, "7")
    bundle = open_bundle(judged, CONTRACT)
    assert (bundle.manifest.slices, bundle.files[CARD]) == ((DRY,), b"# Judged again\n")
    assert _as_judged(loop, judged, told, "7") == judged
    told.slices = lambda _version: ()  # a version from before slices were judged
    assert _as_judged(loop, data, told, "7") == data
