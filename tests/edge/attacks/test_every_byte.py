"""Every byte of every file of metadata that an update reads, turned once: nothing of it is believed, or kept."""

from pathlib import Path

import pytest

from tests.edge.attacks.conftest import Attacked
from tests.edge.attacks.keys import sign
from tests.edge.attacks.test_threats import running


def turned(whole: bytes, at: int) -> bytes:
    """The lowest bit of one byte: digits become other digits, letters others, blanks no blanks."""
    return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]


def attack_bytes(attacked: Attacked, trust: Path, stride: int) -> int:
    """Turn every so many-th byte of each file that an update asks for; how many were turned."""
    sign(attacked.repository, "root", [attacked.repository.signers["root"]], lambda _: None)
    attacked.keep(trust)
    names, done = metadata_names(attacked, trust), 0
    assert len(names) >= 4
    for name in names:
        honest = attacked.mirror.honest(name)
        assert honest is not None
        for at in range(done % stride, len(honest), stride):
            spoilt = turned(honest, at)
            attacked.mirror.instead = lambda path, other, name=name, spoilt=spoilt: spoilt if path == name else other
            attacked.go_back(trust)
            said = attacked.attack()
            assert "the old model stays" in said, (name, at, said)
            kept = {path.read_bytes() for path in attacked.device.trust.glob("*.json")}
            assert spoilt not in kept, (name, at)
            done += 1
    assert running(attacked) == "1"
    return done


def metadata_names(attacked: Attacked, trust: Path) -> list[str]:
    """What an update from here reads of the metadata; the device is as before."""
    attacked.mirror.instead = lambda path, honest: None if path.endswith(".zip") else honest
    attacked.attack()
    asked = [name for name in attacked.mirror.asked_of("metadata") if attacked.mirror.honest(name) is not None]
    attacked.go_back(trust)
    return list(dict.fromkeys(asked))


def test_some_bytes_of_every_small_metadata_file(attacked: Attacked, tmp_path: Path) -> None:
    assert attack_bytes(attacked, tmp_path / "trust", 97) > 30


@pytest.mark.heavy
def test_every_byte_of_every_small_metadata_file(attacked: Attacked, tmp_path: Path) -> None:
    assert attack_bytes(attacked, tmp_path / "trust", 1) > 3_000
