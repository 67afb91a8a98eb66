"""What of a version lies ready for the devices: a file for each class, and nothing of what was built before."""

from fieldloop.stages.context import Loop
from fieldloop.stages.released import FOR_ALL, bundle_files, write_bundles


def test_each_class_has_its_file_and_any_other_class_the_one_for_all(loop: Loop) -> None:
    made = {FOR_ALL: b"fleet", "x86-64": b"fleet", "aarch64": b"arm", "float32-only": b"plain"}
    written = write_bundles(loop, "2", made)
    assert {name: path.read_bytes() for name, path in written.items()} == made
    found = {name: path.read_bytes() for name, path in bundle_files(loop, "2", [*made, "riscv"]).items()}
    assert found == {"x86-64": b"fleet", "aarch64": b"arm", "float32-only": b"plain", "riscv": b"fleet"}
    assert bundle_files(loop, "3", made) == {}


def test_a_version_of_before_has_one_file_for_all_and_no_class_is_left_of_another_build(loop: Loop) -> None:
    write_bundles(loop, "2", {FOR_ALL: b"new", "aarch64": b"arm"})
    write_bundles(loop, "21", {FOR_ALL: b"other", "aarch64": b"other arm"})
    write_bundles(loop, "2", {FOR_ALL: b"stands"})
    found = {name: path.read_bytes() for name, path in bundle_files(loop, "2", ["aarch64"]).items()}
    assert found == {"aarch64": b"stands", "float32-only": b"stands"}
    assert bundle_files(loop, "21", ["aarch64"])["aarch64"].read_bytes() == b"other arm"
