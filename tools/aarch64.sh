#!/bin/sh
# The aarch64 device class's Python and packages under qemu-user, in .venv-aarch64: they say whether numbers agree, never
# how long they take. Needs Debian or Ubuntu with qemu-user; touches nothing outside the folder.
#     sh tools/aarch64.sh [PIP_PYTHON]
set -eu
cd "$(dirname "$0")/.."
PIP_PYTHON=${1:-.venv/bin/python}
HOME_DIR=.venv-aarch64
command -v qemu-aarch64 > /dev/null || { echo "qemu-aarch64 is missing: apt-get install qemu-user" >&2; exit 1; }
command -v dpkg-deb > /dev/null || { echo "dpkg-deb is missing: this needs Debian or Ubuntu" >&2; exit 1; }
rm -rf "$HOME_DIR"
mkdir -p "$HOME_DIR"
HERE=$(cd "$HOME_DIR" && pwd)

# A Debian of its own: package lists and files of arm64, beside the system's and without its database.
APT=$HERE/apt
mkdir -p "$APT/state/lists/partial" "$APT/cache/archives/partial"
: > "$APT/status"
apt_arm64() {
    apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State=$APT/state" \
        -o "Dir::State::status=$APT/status" -o "Dir::Cache=$APT/cache" -o Debug::NoLocking=1 "$@"
}
apt_arm64 update
(cd "$APT/cache/archives" && apt_arm64 download libc6 libgcc-s1 libstdc++6 python3.11-minimal libpython3.11-minimal \
    libpython3.11-stdlib libexpat1 zlib1g libssl3 libffi8 libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 libcrypt1)
mkdir -p "$HERE/root"
for package in "$APT"/cache/archives/*.deb; do dpkg-deb -x "$package" "$HERE/root"; done
rm -rf "$APT"

# The device's own pins, as wheels of that machine.
"$PIP_PYTHON" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 --implementation cp \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 \
    -d "$HERE/wheels" -r edge/requirements.lock
for wheel in "$HERE"/wheels/*.whl; do "$PIP_PYTHON" -m zipfile -e "$wheel" "$HERE/site"; done
rm -rf "$HERE/wheels"
# The device's own code is read where it stands; what its workloads are called is known of an installed package alone.
"$PIP_PYTHON" - "$HERE/site" << 'EOF'
import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("edge/pyproject.toml").read_text())["project"]
info = Path(sys.argv[1]) / f"{project['name']}-{project['version']}.dist-info"
info.mkdir()
(info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
with (info / "entry_points.txt").open("w") as file:
    for group, entries in project["entry-points"].items():
        file.write(f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items()))
EOF

# ONNX Runtime reads what processor it is on; without this it would read the host's, and crash. Cortex-A72: a Pi 4.
mkdir -p "$HERE/root/proc"
printf '%s\n' 'processor	: 0' 'BogoMIPS	: 108.00' 'Features	: fp asimd evtstrm crc32 cpuid' 'CPU implementer	: 0x41' \
    'CPU architecture: 8' 'CPU variant	: 0x0' 'CPU part	: 0xd08' 'CPU revision	: 3' '' > "$HERE/root/proc/cpuinfo"

# Its own name is this script's: so the children that it starts are emulated as well.
cat > "$HERE/python" << EOF
#!/bin/sh
export PYTHONHOME=$HERE/root/usr PYTHONPATH=$(pwd)/edge/src:$HERE/site
exec qemu-aarch64 -0 $HERE/python -cpu cortex-a72 -L $HERE/root $HERE/root/usr/bin/python3.11 -S "\$@"
EOF
chmod +x "$HERE/python"
"$HERE/python" -c 'import platform, onnxruntime; print("ready:", platform.machine(), "onnxruntime", onnxruntime.__version__)'
