#!/bin/sh
# Installs the field computer's agent on Debian or Raspberry Pi OS, and brings it up to date. Doing it again is safe.
#
#   sudo sh install.sh                        from the source folder that this script lies in
#   sudo sh install.sh --wheel FILE           from a wheel
#   sudo sh install.sh --wheels DIR           without a network: every package is in DIR
#   sudo sh install.sh --with-mqtt            with what reading from an MQTT broker needs
#   sudo sh install.sh --uninstall            removes the program; keeps the device's records, key and settings
#
#   --python PATH   which Python, 3.11 or later; python3 otherwise
#   --root DIR      put everything below DIR and touch nothing of the running system (for images and tests)
#   --no-start      do not start or restart the service
#
# Each version has an environment of its own in /opt/fieldedge/venvs. A new one becomes `current` only after it has
# loaded and used its runtime here; if the service then does not come up, the one before it is taken back.
set -eu

user=fieldedge
source_folder=$(cd "$(dirname "$0")" && pwd)
wheel='' wheels='' python=python3 root='' extras='' uninstall=false start=true

say() { echo "fieldedge: $*"; }
fail() { echo "fieldedge: $*" >&2; exit 1; }
usage() { sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"; }

while [ $# -gt 0 ]; do
    case $1 in
    --wheel) wheel=${2:?} && shift ;;
    --wheels) wheels=${2:?} && shift ;;
    --python) python=${2:?} && shift ;;
    --root) root=${2:?} && shift ;;
    --with-mqtt) extras='[mqtt]' ;;
    --uninstall) uninstall=true ;;
    --no-start) start=false ;;
    -h | --help) usage && exit 0 ;;
    *) fail "$1 is not an option; see: sh install.sh --help" ;;
    esac
    shift
done

if [ -n "$root" ]; then
    mkdir -p "$root"
    root=$(cd "$root" && pwd)
    start=false
elif [ "$(id -u)" != 0 ]; then
    fail "only root may install; run: sudo sh $0"
fi
program=$root/opt/fieldedge
unit=$root/etc/systemd/system/fieldedge.service
launcher=$root/usr/local/bin/fieldedge
data=$root/var/lib/fieldedge

has_systemd() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

# --- away with it

if $uninstall; then
    if has_systemd; then systemctl disable --now fieldedge.service 2>/dev/null || true; fi
    rm -rf "$program"
    rm -f "$unit" "$launcher"
    if has_systemd; then systemctl daemon-reload; fi
    say "removed. Records, key and settings stay in $data"
    exit 0
fi

# --- does it fit here

lock=$source_folder/requirements.lock
[ -f "$lock" ] || fail "$lock is missing; take it from the release that this script came with"
if [ -n "$wheel" ]; then
    [ -f "$wheel" ] || fail "$wheel is not there; name the wheel of fieldedge"
    wheel=$(cd "$(dirname "$wheel")" && pwd)/$(basename "$wheel")
else
    [ -f "$source_folder/pyproject.toml" ] || fail "$source_folder is not the source folder; name a wheel with --wheel"
fi
if [ -n "$wheels" ]; then
    [ -d "$wheels" ] || fail "$wheels is not a folder; name the folder with the wheels of requirements.lock"
    wheels=$(cd "$wheels" && pwd)
fi
command -v "$python" >/dev/null || fail "$python is not there; install it: apt install python3 python3-venv"
found=$("$python" -I -c 'import platform, struct, sys
print(*sys.version_info[:2], platform.machine(), 8 * struct.calcsize("P"))')
# shellcheck disable=SC2086  # four words
set -- $found
{ [ "$1" -eq 3 ] && [ "$2" -ge 11 ]; } || fail "$python is Python $1.$2; 3.11 or later is needed: name one with --python"
case $3 in
x86_64 | aarch64) ;;
*) fail "this processor is $3; the model's runtime is there for x86_64 and aarch64" ;;
esac
[ "$4" = 64 ] || fail "$python is a $4-bit program; install the 64-bit system: the model's runtime needs it"
"$python" -I -c 'import ensurepip, venv' 2>/dev/null || fail "$python has no venv; install it: apt install python3-venv"

# --- its environment, named by all that goes into it

contents() {
    cat "$lock"
    echo "$found $extras"
    if [ -n "$wheel" ]; then cat "$wheel"; else
        cat "$source_folder/pyproject.toml"
        find "$source_folder/src" -type f ! -name '*.pyc' | LC_ALL=C sort | while read -r file; do cat "$file"; done
    fi
}
name=$(contents | sha256sum | cut -c1-12)
environment=$program/venvs/$name

selftest() {
    said=$("$environment/bin/python" -I -m fieldedge.inference.selftest 2>&1) && code=0 || code=$?
    [ "$code" = 0 ] && "$environment/bin/python" -I -m fieldedge --help >/dev/null && return 0
    rm -rf "$environment"
    [ "$code" = 132 ] && said="illegal instruction: this processor lacks one that onnxruntime uses. $said"
    fail "the new environment does not run here, so nothing was changed: $said"
}

if [ -f "$environment/.passed" ]; then
    say "this version is installed already ($name)"
else
    say "making the environment $name (a few minutes on a small computer)"
    rm -rf "$environment"
    mkdir -p "$program/venvs"
    "$python" -I -m venv "$environment" || fail "the environment could not be made; is the disk full?"
    log=$program/install.log
    set -- --disable-pip-version-check --no-input --no-cache-dir --only-binary :all: --requirement "$lock"
    [ -z "$wheels" ] || set -- "$@" --no-index --find-links "$wheels"
    if ! "$environment/bin/python" -I -m pip install "$@" "${wheel:-$source_folder}$extras" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -rf "$environment"
        fail "pip could not install; nothing was changed. The whole log is $log"
    fi
    selftest
    "$environment/bin/python" -I -m pip uninstall --yes --quiet pip setuptools >/dev/null 2>&1 || true
    touch "$environment/.passed"
    rm -f "$log"
fi

# --- switch: one rename, and the way back is kept

former=$(readlink "$program/current" 2>/dev/null || true)
point_to() {
    ln -sfn "$1" "$program/.next"
    mv -T "$program/.next" "$program/current"
}
point_to "venvs/$name"
if [ -n "$former" ] && [ "$former" != "venvs/$name" ]; then ln -sfn "$former" "$program/previous"; fi
previous=$(readlink "$program/previous" 2>/dev/null || true)
for old in "$program"/venvs/*; do
    case venvs/${old##*/} in "venvs/$name" | "$previous") ;; *) rm -rf "$old" ;; esac
done
cp "$source_folder/device.example.toml" "$program/device.example.toml"

# --- the command, the unit, the user

mkdir -p "$(dirname "$launcher")" "$(dirname "$unit")" "$data"
cat >"$launcher.new" <<'LAUNCHER'
#!/bin/sh
# The field computer's command: in its own environment, as its own user, in its own directory unless another is named.
case $0 in */usr/local/bin/fieldedge) root=${0%/usr/local/bin/fieldedge} ;; *) root='' ;; esac
environment=$(readlink -f "$root/opt/fieldedge/current")
case "${1:--} $* " in -*) ;; *" --dir "* | *" --dir="*) ;; *) set -- "$@" --dir "$root/var/lib/fieldedge" ;; esac
# What the service has in its environment, such as a proxy, a command has too.
if [ -r "$root/etc/default/fieldedge" ]; then set -a; . "$root/etc/default/fieldedge"; set +a; fi
if [ -z "$root" ] && [ "$(id -u)" = 0 ]; then
    exec runuser -u fieldedge -- "$environment/bin/python" -I -m fieldedge "$@"
fi
exec "$environment/bin/python" -I -m fieldedge "$@"
LAUNCHER
chmod 755 "$launcher.new"
mv "$launcher.new" "$launcher"
cp "$source_folder/systemd/fieldedge.service" "$unit.new"
chmod 644 "$unit.new"
mv "$unit.new" "$unit"
chmod 700 "$data"
if [ -z "$root" ]; then
    if ! getent passwd "$user" >/dev/null; then
        useradd --system --user-group --home-dir /var/lib/fieldedge --no-create-home --shell /usr/sbin/nologin "$user"
    fi
    chown "$user:$user" "$data"
fi

# --- at work

if has_systemd; then
    systemctl daemon-reload
    systemctl enable --quiet fieldedge.service
fi
say "installed $name"
if [ ! -f "$data/device.toml" ]; then
    say "next: fieldedge init --device-id dev-07 --workload agriculture --root 1.root.json"
    say "then: systemctl start fieldedge; the settings are explained in $program/device.example.toml"
elif $start && has_systemd; then
    if systemctl restart fieldedge.service; then
        say "running: systemctl status fieldedge"
    elif [ -n "$former" ] && [ "$former" != "venvs/$name" ]; then
        point_to "$former"
        systemctl restart fieldedge.service || true
        fail "the new version did not come up; the one before it is back. See: journalctl -u fieldedge"
    else
        fail "the service did not come up. See: journalctl -u fieldedge; fieldedge doctor"
    fi
fi
