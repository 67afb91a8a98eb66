#!/bin/sh
# Resolves requirements.lock and edge/requirements.lock anew, from the two pyproject.toml files, in throw-away environments.
set -eu
python=${PYTHON:-python3.11}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
freeze() { "$1/bin/python" -m pip freeze --all --exclude pip --exclude fieldloop --exclude fieldedge | sed 's/+cpu$//' | sort -f; }

"$python" -m venv "$scratch/edge"
"$scratch/edge/bin/python" -m pip install --quiet ./edge
{ echo "# What a device installs, and nothing else. Made by \`make lock\`."; freeze "$scratch/edge" | grep -v '^setuptools=='; } > edge/requirements.lock

"$python" -m venv "$scratch/cloud"
"$scratch/cloud/bin/python" -m pip install --quiet hatchling ./edge '.[dev]'
{
    echo "# Every pin that a fresh machine installs. Made by \`make lock\`; torch carries no local version, so that the"
    echo "# platform's own build (CPU or CUDA) satisfies it."
    freeze "$scratch/cloud" | sed 's/^atheris==.*/&; sys_platform == "linux" and platform_machine == "x86_64"/'
} > requirements.lock
