# Fieldloop's commands. Each works on its own and in any order; set-up is done once and then costs nothing.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
EDGE   := .venv-edge
BIN    := $(VENV)/bin
# One more than there are cores: the cloud's tests wait for processes and servers of their own.
WORKERS = $(shell $(PYTHON) -c 'import os; print(len(os.sched_getaffinity(0)) + 1)')
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: season test test-slow test-edge ui bench check setup lock clean reset-sample reset help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

season: setup ## run the whole loop: two seasons on two dozen devices
	@$(BIN)/python -m flows

test: setup test-edge ## the fast tests: the device's where only the device is, then the cloud's
	@$(BIN)/python -m pytest -n $(WORKERS) --ignore tests/edge

test-slow: setup ## whole loops, real servers, a browser, other processors; what is cut off, killed and fuzzed
	@$(BIN)/python -m pytest -m "slow or heavy" -n $(WORKERS) --dist loadgroup --durations=25

test-edge: setup ## the device's fast tests alone, where nothing of the cloud side is installed
	@test -x $(EDGE)-test/bin/python || $(PYTHON) -m venv --without-pip $(EDGE)-test
	@for flag in "-c requirements.lock" "--force-reinstall --no-deps"; do \
		$(BIN)/python -m pip --python $(EDGE)-test/bin/python install --quiet --quiet $$flag "$$(ls $(EDGE)/wheels/fieldedge-*.whl)[mqtt,test]" || exit 1; done
	@$(EDGE)-test/bin/python -m pytest -n auto --confcutdir tests/edge tests/edge

ui: setup ## open Prefect, MLflow, Data Docs and the report
	@$(BIN)/fieldloop ui

bench: setup ## the benchmarks; tables here, JSON in benchmarks/results/
	@for f in benchmarks/*.py; do $(BIN)/python $$f || exit 1; done

check: setup ## linters, types, the import arrow
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLW1514 --quiet benchmarks edge/src flows src tasks tools  # no file in the machine's own encoding
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/house.py --check

setup: $(VENV)/.ready $(EDGE)/.ready ## both environments; nothing to do the second time

$(VENV)/.ready: requirements.lock pyproject.toml edge/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Fieldloop needs Python 3.11, found " + sys.version.split()[0] + " at $(PYTHON). Say which one: make PYTHON=/path/to/python3.11")'
	@echo "Setting up the cloud environment in $(VENV) (once, a few minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@sh tools/install.sh $(BIN)/python $(BIN)/python requirements.lock --no-compile
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e ./edge -e .
	@$(BIN)/fieldloop compile
	@$(BIN)/python -m flows.server_template
	@$(BIN)/python -c 'from pathlib import Path; from fieldloop.versioning.site_cache import site_cache; site_cache(Path("."))'
	@touch $@

$(EDGE)/.ready: $(VENV)/.ready edge/requirements.lock edge/pyproject.toml $(shell find edge/src -name '*.py' -o -name '*.css')
	@echo "Setting up the device environment in $(EDGE) ..."
	@test -x $(EDGE)/bin/python || $(PYTHON) -m venv --without-pip $(EDGE)
	@sh tools/install.sh $(BIN)/python $(EDGE)/bin/python edge/requirements.lock
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $(EDGE)/wheels ./edge
	@$(BIN)/python -m pip --python $(EDGE)/bin/python install --quiet --no-deps --no-index --force-reinstall $(EDGE)/wheels/fieldedge-*.whl
	@touch $@

lock: ## resolve requirements.lock anew from pyproject.toml
	@sh tools/lock.sh

clean: ## delete what the next run makes again; keep data, devices, keys, models
	@test ! -x $(BIN)/fieldloop || $(BIN)/fieldloop clean

reset-sample: ## begin the sample world anew, with other devices on the same fields
	@$(BIN)/fieldloop reset-sample

reset: ## set all that this clone has made aside, after a question
	@$(BIN)/fieldloop reset
