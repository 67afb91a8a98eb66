"""Keys on a hardware token, by SoftHSM2: it signs what devices verify, and a PIN that fails leaves nothing behind."""

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fieldedge.system.errors import ReleaseError
from fieldloop.core.settings import KeySettings
from fieldloop.release import ReleaseRepository
from fieldloop.release.key_changes import KeyChanges
from fieldloop.release.keys import Secrets
from fieldloop.release.metadata_store import MetadataStore
from tests.release.test_key_changes import CONTRACT, MakeBundle, secret
from tests.release.test_repository import contents
from tests.release.test_rollouts import Device

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
LABEL = "fieldloop"
URI = f"hsm:2?label={LABEL}"

pytestmark = pytest.mark.skipif(
    not (MODULE.exists() and shutil.which("softhsm2-util")), reason="needs SoftHSM2: apt install softhsm2"
)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A token with an ECDSA key of id 2. A PKCS#11 module reads its settings once in a process."""
    pkcs11 = pytest.importorskip("pkcs11")
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"], os.environ["PYKCS11LIB"] = str(folder / "softhsm2.conf"), str(MODULE)
    made = ["softhsm2-util", "--init-token", "--free", "--label", "fieldloop", "--so-pin", "5678", "--pin", "1234"]
    subprocess.run(made, check=True, capture_output=True)
    from pkcs11.util.ec import encode_named_curve_parameters

    with pkcs11.lib(str(MODULE)).get_token(token_label=LABEL).open(user_pin="1234", rw=True) as session:
        curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
        parameters.generate_keypair(id=b"\x02", label="release", store=True)
    return folder


def test_a_token_signs_the_timestamp_and_a_workload_and_devices_verify_it(
    token: Path, tmp_path: Path, make_bundle: MakeBundle
) -> None:
    root, secrets = tmp_path / "tuf", Secrets(KeySettings(hsm_pin_file=secret(tmp_path / "pin", "1234")))
    ReleaseRepository(root, secrets=secrets).delegate_acknowledgements()
    old, new = make_bundle("1"), make_bundle("2", yield_t_ha=11.0)
    ReleaseRepository(root, secrets=secrets).publish(old, "agriculture", "1", CONTRACT.hash)
    device = Device(root, tmp_path / "device")
    assert device.content("agriculture/bundle.zip") == old.read_bytes()
    changes = KeyChanges(MetadataStore(root, lambda: datetime.now(UTC), secrets))
    for role in ("timestamp", "agriculture"):
        changes.rotate(role, URI)
        assert [kept.place for one in changes.status().roles if one.role == role for kept in one.keys.values()] == [URI]
    ReleaseRepository(root, secrets=secrets).publish(new, "agriculture", "2", CONTRACT.hash)
    assert device.content("agriculture/bundle.zip") == new.read_bytes()
    with pytest.raises(ReleaseError, match="ed25519 alone"):
        changes.rotate("acknowledgements", URI)
    before = contents(root)
    wrong = Secrets(KeySettings(hsm_pin_file=secret(tmp_path / "wrong", "9999")))
    with pytest.raises(ReleaseError, match="does not sign"):
        ReleaseRepository(root, secrets=wrong).withdraw("agriculture", "2")
    with pytest.raises(ReleaseError, match=r"cannot be read from its token|does not sign"):
        changes.rotate("snapshot", "hsm:7?label=fieldloop")
    assert contents(root) == before
