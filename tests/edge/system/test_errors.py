"""Two families of errors: whoever decides between giving up and trying again catches one class."""

import importlib
import pkgutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import fieldedge
from fieldedge.storage.store import Store
from fieldedge.system.errors import (
    ConfigError,
    DataError,
    FieldloopError,
    LinkError,
    PermanentError,
    ReleaseError,
    StoreBusy,
    StoreDamaged,
    StoreFailed,
    TransientError,
)

OPTIONAL = {"paho"}  # a device that reads no broker does not install it


def exceptions_of_the_device() -> Iterator[type[BaseException]]:
    for module in pkgutil.walk_packages(fieldedge.__path__, "fieldedge."):
        try:
            found = vars(importlib.import_module(module.name))
        except ModuleNotFoundError as error:
            assert error.name in OPTIONAL, module.name
            continue
        for kind in found.values():
            if isinstance(kind, type) and issubclass(kind, BaseException) and kind.__module__ == module.name:
                yield kind


def test_every_error_of_the_device_is_of_exactly_one_family() -> None:
    ours = set(exceptions_of_the_device()) - {FieldloopError, PermanentError, TransientError}
    assert {DataError, ReleaseError, ConfigError, LinkError, StoreBusy, StoreFailed, StoreDamaged} <= ours
    torn = {kind for kind in ours if issubclass(kind, PermanentError) == issubclass(kind, TransientError)}
    assert torn == set()


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        (DataError, PermanentError),
        (ReleaseError, PermanentError),
        (ConfigError, PermanentError),
        (LinkError, TransientError),
        (StoreBusy, TransientError),
        (StoreFailed, TransientError),
        (StoreDamaged, TransientError),  # what is brought to it is sound, and is taken after the rebuild
    ],
)
def test_a_family_is_caught_by_its_name(kind: type[FieldloopError], family: type[FieldloopError]) -> None:
    with pytest.raises(family, match="told"):
        raise kind("told")


def test_whoever_finds_the_store_busy_full_or_damaged_catches_one_class(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with Store(path):
        pass
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TransientError) as busy, Store(path, busy_timeout_s=0.01) as store:
        store.add_event("link", "while another process holds it")
    holder.close()
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(TransientError) as damaged:
        Store(path)
    assert [type(busy.value), type(damaged.value)] == [StoreBusy, StoreDamaged]
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(TransientError) as failed:
        Store(folder / "nowhere" / "store.sqlite")
    with pytest.raises(StoreDamaged, match="is a folder"):
        Store(folder)
    assert type(failed.value) is StoreFailed
