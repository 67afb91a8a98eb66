"""Small files on disk: written whole or not at all, one process at a time, the key private, the settings named."""

import errno
from pathlib import Path

import pytest

from fieldedge.device.config import DeviceConfig, read_config, write_config
from fieldedge.inference.slots import Installed, Slots
from fieldedge.system.durable import sweep_temporaries, write_durably
from fieldedge.system.errors import ConfigError, StoreBusy
from fieldedge.system.keys import is_signed_by, load_key, load_or_create_key, public_key_hex, sign
from fieldedge.system.locks import exclusive


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old")
    with pytest.raises(TypeError):
        write_durably(path, "text is not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_in_the_making_is_swept_and_nothing_else(tmp_path: Path) -> None:
    write_durably(tmp_path / "clock.json", b"kept")
    (tmp_path / ".hidden.tmp").write_bytes(b"a person's own")
    left = tmp_path / ".clock.json.0123abcd.tmp"
    left.write_bytes(b"half")
    assert sweep_temporaries(tmp_path) == [left]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden.tmp", "clock.json"]
    assert sweep_temporaries(tmp_path / "never made") == []


def test_a_job_runs_in_one_process_at_a_time(tmp_path: Path) -> None:
    with exclusive(tmp_path / "run"), pytest.raises(StoreBusy, match="another fieldedge"), exclusive(tmp_path / "run"):
        pass
    with exclusive(tmp_path / "run"):
        pass


def test_the_key_is_made_once_kept_private_and_signs(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "device.pem"
    key = load_or_create_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    again = load_or_create_key(path)
    assert public_key_hex(again) == public_key_hex(key)
    signature = sign(again, b"body")
    assert is_signed_by(public_key_hex(key), b"body", signature)
    assert not is_signed_by(public_key_hex(key), b"bodY", signature)
    assert not is_signed_by("00", b"body", signature)
    assert not is_signed_by(public_key_hex(key), b"body", "not base64!")


@pytest.mark.parametrize(("damage", "said"), [(b"junk", "damaged"), (None, "missing")])
def test_a_lost_or_damaged_key_is_named(tmp_path: Path, damage: bytes | None, said: str) -> None:
    path = tmp_path / "device.pem"
    if damage is not None:
        path.write_bytes(damage)
    with pytest.raises(ConfigError, match=said):
        load_key(path)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "device.pem"
    load_or_create_key(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_key(path)


def test_settings_are_read_as_they_were_written(tmp_path: Path) -> None:
    config = DeviceConfig("dev-07", "agriculture", 12_345, 0.25)
    write_config(tmp_path / "device.toml", config)
    assert read_config(tmp_path / "device.toml") == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('workload = "agriculture"', "has no device_id"),
        ('device_id = "dev-00"', "has no workload"),
        ('device_id = 7\nworkload = "agriculture"', "device_id is 7; expected text"),
        ('device_id = "../up"\nworkload = "agriculture"', "device_id is '../up'"),
        ('device_id = "d"\nworkload = "agriculture"\naudit_fraction = 3', "expected between 0 and 1"),
        ('device_id = "d"\nworkload = "agriculture"\nupload_budget_bytes = -1', "upload_budget_bytes is -1"),
        ('device_id = "d"\nworkload = "agriculture"\nupload_budget_bytes = "x"', "expected a whole number"),
        ("device_id =", "not readable TOML"),
    ],
)
def test_a_broken_setting_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "device.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_config(tmp_path / "device.toml")


def test_a_pointer_that_cannot_be_read_is_not_taken_for_no_model_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = Slots(tmp_path)
    slots.write("a", {"model.onnx": b"x"})
    slots.activate(Installed("a", "1", "float32", "0", "0"))

    def failing(path: Path, _max_bytes: int) -> bytes:  # as a disk does for a moment
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr("fieldedge.inference.slots.read_own", failing)
    with pytest.raises(OSError, match="Input/output"):
        slots.free_slot()
    with pytest.raises(OSError, match="Input/output"):
        slots.write("a", {"model.onnx": b"y"})
    assert (tmp_path / "slots" / "a" / "model.onnx").read_bytes() == b"x"
    assert slots.first_sound() is None
