# Lumenstream. `make help` says what there is. ARGS are passed on: make demo ARGS="--help"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

ARGS ?=
SEEDS ?= 20
# Test processes: more than there are cores, because most tests wait for servers and time-outs.
PROCESSES ?= 4
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps

# The first Python from 3.11 to 3.13 that runs; name another with make PYTHON=...
PYTHON ?= $(shell for python in python3 python3.12 python3.11 python3.13 python; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1 && echo $$python && break; done)

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

.PHONY: help
help: ## this text
	@echo 'Lumenstream: a Stellar wallet backend that is a stream. Targets:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'ARGS are passed on, for example: make demo ARGS="--once --json --network pubnet --ledgers DIR"'

.PHONY: demo
demo: $(STAMPS)/package ## the whole pipeline on this machine, with a sandbox network and a live panel
	@$(BIN)/lumenstream demo $(ARGS)

.PHONY: test
test: $(STAMPS)/dev $(STAMPS)/package ## every test, on real servers where they can be had
	@$(BIN)/python -m pytest -n $(PROCESSES) $(ARGS)

.PHONY: lint
lint: $(STAMPS)/dev $(STAMPS)/package ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

.PHONY: format
format: $(STAMPS)/dev ## ruff: sort imports, mend what can be mended, format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: bench
bench: $(STAMPS)/dev $(STAMPS)/package ## every benchmark on servers of its own: lumenstream bench all
	@$(BIN)/python -m tests.servers run $(BIN)/lumenstream bench all $(ARGS)

.PHONY: chaos
chaos: $(STAMPS)/dev $(STAMPS)/package ## the crash tests with SEEDS seeds (20)
	@LUMENSTREAM_CHAOS_SEEDS=$(SEEDS) $(BIN)/python -m pytest -m chaos -n $(PROCESSES) $(ARGS)

.PHONY: servers-up
servers-up: $(STAMPS)/dev $(STAMPS)/package ## Kafka and TimescaleDB that stay up for the tests
	@$(BIN)/python -m tests.servers up $(ARGS)

.PHONY: servers-down
servers-down: $(STAMPS)/dev $(STAMPS)/package ## end them
	@$(BIN)/python -m tests.servers down

.PHONY: doctor
doctor: $(STAMPS)/package ## what is wrong with this installation and its servers, and how to mend it
	@$(BIN)/lumenstream doctor $(ARGS)

.PHONY: lock
lock: $(STAMPS)/dev ## both lock files again, from pyproject.toml (ARGS=--upgrade for the newest versions)
	@$(COMPILE) $(ARGS) --extra build --extra demo --extra sentry --extra otel --extra dev --output-file requirements-dev.lock pyproject.toml
	@$(COMPILE) --extra build --extra demo --extra sentry --extra otel --constraint requirements-dev.lock --output-file requirements.lock pyproject.toml

.PHONY: reference
reference: $(STAMPS)/package ## docs/reference.md again, from settings, commands and metrics
	@$(BIN)/python -m lumenstream.cli.reference > docs/reference.md

.PHONY: clean
clean: ## remove .venv, builds and caches (not the data of --data-dir)
	@rm -rf $(VENV) build dist native/target *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@rm -f lumenstream/_native*.so
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment: each stamp is made again only when what it depends on has changed ------------------------------

$(STAMPS)/venv:
	@test -n "$(PYTHON)" || { echo 'error: no Python from 3.11 to 3.13 found (install one, or name it: make PYTHON=...)' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/run: requirements.lock | $(STAMPS)/venv
	@echo 'installing from requirements.lock ...'
	@$(PIP) install --require-hashes -r requirements.lock
	@touch $@

$(STAMPS)/dev: requirements-dev.lock | $(STAMPS)/venv
	@echo 'installing from requirements-dev.lock ...'
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

$(STAMPS)/package: pyproject.toml $(wildcard native/Cargo.* native/src/*.rs) | $(STAMPS)/run
	@command -v cargo >/dev/null 2>&1 && echo 'building the native decoder with cargo ...' \
		|| echo 'no cargo: the pure-Python decoder will be used'
	@PYTHONWARNINGS=ignore $(PIP) install --no-build-isolation --no-deps --editable .
	@$(BIN)/python -c 'from lumenstream.xdr import DECODER; print("decoder:", DECODER)'
	@touch $@
