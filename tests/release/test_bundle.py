"""A bundle is a function of its parts, and one that a device would refuse is not built."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fieldedge.inference.bundles import CARD, FILES, MANIFEST, Golden, open_bundle, parse_golden, parse_manifest
from fieldedge.inference.slices import Condition, Slice
from fieldedge.system.errors import ReleaseError
from fieldedge.workloads import known_workload
from fieldloop.release import Lineage, build_bundle, try_bundle, with_slices

CONTRACT = known_workload("agriculture").contract


def test_the_same_parts_give_the_same_bytes(make_bundle: Callable[..., Path]) -> None:
    assert make_bundle(name="once").read_bytes() == make_bundle(name="twice").read_bytes()
    assert make_bundle(name="once").read_bytes() != make_bundle(yield_t_ha=11.0).read_bytes()


def test_a_bundle_holds_the_five_files_uncompressed_and_says_where_it_comes_from(
    make_bundle: Callable[..., Path],
) -> None:
    with zipfile.ZipFile(make_bundle("7")) as archive:
        assert sorted(archive.namelist()) == sorted(FILES)
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["version"] == "7"
    assert manifest["contract_hash"] == CONTRACT.hash
    assert manifest["data_hash"] == "d" * 32


def test_a_bundle_says_by_which_data_and_parameters_it_was_made_small(make_bundle: Callable[..., Path]) -> None:
    manifest = try_bundle(make_bundle("7").read_bytes(), CONTRACT)
    assert (manifest.data_hash, manifest.compression_data_hash, manifest.compression_key) == (
        "d" * 32,
        "e" * 32,
        "k" * 12,
    )


def test_a_former_device_finds_the_keys_of_run_and_time_that_it_asks_for(make_bundle: Callable[..., Path]) -> None:
    with zipfile.ZipFile(make_bundle("7")) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert (manifest["mlflow_run_id"], manifest["created_utc"]) == ("", "")


def test_a_device_reads_the_manifest_of_a_release_from_before_and_needs_all_that_it_had(
    make_bundle: Callable[..., Path],
) -> None:
    with zipfile.ZipFile(make_bundle("7")) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    former = {name: value for name, value in manifest.items() if not name.startswith("compression_")}
    former |= {"mlflow_run_id": "r" * 32, "created_utc": "2026-01-01T00:00:00+00:00"}
    read = parse_manifest(json.dumps(former).encode())
    assert (read.mlflow_run_id, read.created_utc) == ("r" * 32, "2026-01-01T00:00:00+00:00")
    assert (read.version, read.compression_data_hash, read.compression_key) == ("7", "", "")
    for name in former.keys() - {"mlflow_run_id", "created_utc"}:
        less = {other: value for other, value in former.items() if other != name}
        with pytest.raises(ReleaseError, match=f"{name} is None; expected"):
            parse_manifest(json.dumps(less).encode())
    with pytest.raises(ReleaseError, match="compression_key is 7; expected str"):
        parse_manifest(json.dumps({**former, "compression_key": 7}).encode())


def test_a_device_accepts_what_is_built(make_bundle: Callable[..., Path]) -> None:
    assert try_bundle(make_bundle("7").read_bytes(), CONTRACT).version == "7"


def test_a_bundle_without_a_lineage_is_refused_and_not_written(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(ReleaseError, match="no version"):
        make_bundle("", name="nameless")
    assert not (tmp_path / "bundles" / "nameless.zip").exists()


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    nothing = np.zeros((1, 1), dtype=np.float32)
    with pytest.raises(ReleaseError, match=r"absent\.onnx cannot be read"):
        build_bundle(
            tmp_path / "bundle.zip",
            tmp_path / "absent.onnx",
            contract=CONTRACT,
            lineage=Lineage("1", "int8", "d", "e", "k", "c"),
            golden=Golden(nothing, nothing),
            golden_tolerance=0.01,
            reference={},
            card="",
        )


def test_a_model_that_does_not_repeat_its_golden_vectors_is_not_built(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    with zipfile.ZipFile(make_bundle()) as archive:
        (tmp_path / "model.onnx").write_bytes(archive.read("model.onnx"))
        golden = parse_golden(archive.read("golden.npz"), CONTRACT)
        reference = json.loads(archive.read("reference.json"))
    with pytest.raises(ReleaseError, match="misses its golden vectors"):
        build_bundle(
            tmp_path / "bundle.zip",
            tmp_path / "model.onnx",
            contract=CONTRACT,
            lineage=Lineage("1", "int8", "d", "e", "k", "c"),
            golden=Golden(golden.features, golden.outputs + 1),
            golden_tolerance=0.01,
            reference=reference,
            card="",
        )
    assert not (tmp_path / "bundle.zip").exists()


def test_a_bundle_can_leave_other_slices_to_the_rule_and_is_the_same_in_all_else(
    make_bundle: Callable[..., Path],
) -> None:
    data = make_bundle("7").read_bytes()
    dry = Slice("start=dry", "dry at planting", (Condition("context", "initial_water_pct", below=60.0),))
    changed = with_slices(data, [dry], "# Judged again\n", CONTRACT)
    before, after = open_bundle(data, CONTRACT), open_bundle(changed, CONTRACT)
    assert (before.manifest.slices, after.manifest.slices) == ((), (dry,))
    assert {name for name in FILES if before.files[name] != after.files[name]} == {MANIFEST, CARD}
    assert with_slices(changed, [], before.files[CARD].decode(), CONTRACT) == data
    with pytest.raises(ReleaseError, match="'no_such' is none of this contract's"):
        with_slices(data, [Slice("a", "b", (Condition("context", "no_such", minimum=1.0),))], "", CONTRACT)
