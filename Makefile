# Everything a person or a CI runs. Needs make and Python 3.11 or newer; each target installs what it needs into .venv.
.DEFAULT_GOAL := help
.PHONY: help demo test check bench torture fuzz clean

# The newest that runs: a name on the PATH may be a shim of a version manager without that version behind it.
PYTHON ?= $(shell for name in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$name -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && exit; done)
BIN := .venv/bin
PACKAGES := malamute cluster actors ingest query storage core
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s  %s\n", $$1, $$2 }' Makefile

demo: .venv/.installed ## start a local deployment, send it events and query them
	$(BIN)/malamute demo

test: .venv/.installed-dev ## run all tests
	$(BIN)/python -m pytest --numprocesses 2

check: .venv/.installed-dev ## lint, format, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.installed-dev ## measure; results go to benchmarks/results
	$(BIN)/python -m benchmarks

torture: .venv/.installed-dev ## seeded crash and fault campaigns, planted bugs; their table (MINUTES=4)
	$(BIN)/python -m tests.torture --minutes $(or $(MINUTES),4)

fuzz: .venv/.installed-dev ## look for JSON and msgpack that the shredders get wrong (MINUTES=2)
	$(BIN)/python -m tests.fuzz

clean: ## remove what make has made here, not the data of a deployment
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(PACKAGES) tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer with its venv module is on the PATH:" \
		"install one (Debian: python3 and python3-venv), or name it with make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# The stamps make a second run instant; the development set holds all of the plain one.
.venv/.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP_INSTALL) -e .
	@echo 'compiling the shredder for this CPU: once, about 20 seconds'
	$(BIN)/python -m ingest.compiled.warm_up
	$(BIN)/python -m storage.warm_up
	@touch $@

.venv/.installed-dev: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP_INSTALL) -e '.[dev]'
	@echo 'compiling the shredder for this CPU: once, about 20 seconds'
	$(BIN)/python -m ingest.compiled.warm_up
	$(BIN)/python -m storage.warm_up
	@touch .venv/.installed $@
