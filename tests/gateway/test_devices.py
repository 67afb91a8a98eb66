"""Who may send is registered once; a key is never replaced silently."""

import json
import os
from pathlib import Path

import pytest

from fieldedge.system.errors import ConfigError
from fieldloop.cli import app
from fieldloop.gateway.devices import DeviceRegistry

ONE = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
OTHER = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"


def test_devices_are_added_and_the_same_again_changes_nothing(tmp_path: Path) -> None:
    registry = DeviceRegistry(tmp_path / "cloud" / "devices.json")
    assert registry.public_keys() == {}
    registry.register({"dev-00": ONE})
    registry.register({"dev-01": OTHER})
    written = registry.path.stat().st_mtime_ns
    registry.register({"dev-00": ONE})
    assert registry.public_keys() == {"dev-00": ONE, "dev-01": OTHER}
    assert registry.path.stat().st_mtime_ns == written


def test_another_key_for_a_known_device_is_refused_and_nothing_is_added(tmp_path: Path) -> None:
    registry = DeviceRegistry(tmp_path / "devices.json")
    registry.register({"dev-00": ONE})
    with pytest.raises(ConfigError, match="dev-00 is registered"):
        registry.register({"dev-01": OTHER, "dev-00": OTHER})
    assert registry.public_keys() == {"dev-00": ONE}


def test_the_file_is_parsed_again_only_when_it_is_another_one(tmp_path: Path) -> None:
    registry = DeviceRegistry(tmp_path / "devices.json")
    assert registry.key_of("dev-00") is None
    registry.register({"dev-00": ONE})
    assert registry.key_of("dev-00") == ONE
    kept = registry.path.stat()
    registry.path.write_bytes(b"x" * kept.st_size)
    os.utime(registry.path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert registry.key_of("dev-00") == ONE, "it was read although nothing says that it is another one"
    os.utime(registry.path, ns=(kept.st_atime_ns, kept.st_mtime_ns + 1))
    with pytest.raises(ConfigError, match="is not JSON"):
        registry.key_of("dev-00")


def test_what_another_process_does_to_the_registry_counts_at_once(tmp_path: Path) -> None:
    registry, other = DeviceRegistry(tmp_path / "devices.json"), DeviceRegistry(tmp_path / "devices.json")
    other.register({"dev-00": ONE})
    assert registry.key_of("dev-00") == ONE
    other.register({"dev-01": OTHER})
    assert registry.key_of("dev-01") == OTHER
    registry.path.write_text(json.dumps({"dev-01": OTHER}))
    assert registry.key_of("dev-00") is None
    registry.path.unlink()
    with pytest.raises(ConfigError, match="was made before"):
        registry.key_of("dev-01")


def test_what_a_caller_does_to_the_keys_stays_with_it(tmp_path: Path) -> None:
    registry = DeviceRegistry(tmp_path / "devices.json")
    registry.register({"dev-00": ONE})
    registry.public_keys().clear()
    assert registry.public_keys() == {"dev-00": ONE}


@pytest.mark.parametrize("key", ["", "abc", "zz" * 32, "00" * 31])
def test_what_is_no_key_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="the public key of dev-00"):
        DeviceRegistry(tmp_path / "devices.json").register({"dev-00": key})


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_a_damaged_registry_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "devices.json").write_text(content)
    with pytest.raises(ConfigError, match=r"devices\.json"):
        DeviceRegistry(tmp_path / "devices.json").public_keys()


def test_a_device_is_registered_by_hand_with_what_its_init_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FIELDLOOP_HOME", str(tmp_path))
    app(["register-device", "dev-77", ONE], standalone_mode=False)
    assert "dev-77 may send; 1 devices are registered in" in capsys.readouterr().out
    assert DeviceRegistry(tmp_path / "gateway" / "devices.json").public_keys() == {"dev-77": ONE}
    with pytest.raises(ConfigError, match="expected 64 hex digits"):
        app(["register-device", "dev-78", "no key"], standalone_mode=False)


def test_a_key_that_another_device_has_is_refused(tmp_path: Path) -> None:
    registry = DeviceRegistry(tmp_path / "devices.json")
    registry.register({"dev-00": ONE})
    with pytest.raises(ConfigError, match=r"the public key of dev-01 is that of dev-00 .* Make dev-01 anew"):
        registry.register({"dev-01": ONE.upper()})
    with pytest.raises(ConfigError, match="is that of dev-02"):
        registry.register({"dev-02": OTHER, "dev-03": OTHER})
    assert registry.public_keys() == {"dev-00": ONE}


@pytest.mark.parametrize(
    "key", ["00" * 32, "01" + "00" * 31, "00" * 31 + "80", "ec" + "ff" * 31, "ED" + "FF" * 30 + "7F"]
)
def test_a_key_under_which_anybody_can_sign_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="under which anybody can sign"):
        DeviceRegistry(tmp_path / "devices.json").register({"dev-00": key})
