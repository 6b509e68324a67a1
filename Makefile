# Everything one does with this repository. Start with `make demo`.

# The first of these that really runs (a pyenv shim may exist and fail), is new enough and has venv.
PYTHONS ?= python3.13 python3.12 python3.11 python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip
ARGS ?=
SIP ?=

# Continuous integration runs every suite, on these versions, and lets none of them skip in silence.
CI_VERSIONS := 3.11 3.13
COVERAGE_FILE ?= $(CURDIR)/build/coverage/.coverage
export COVERAGE_FILE
FULL ?=
export FULL

# Trust what this machine trusts: behind a company's proxy uv's own list of authorities is not enough.
UV_SYSTEM_CERTS ?= true
export UV_SYSTEM_CERTS

# Where Python is told to keep nothing that it compiled, each run and each child process compiles all of it anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install demo check test slow format fast ci coverage lock clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

# ---------------------------------------------------------------- what a person does

install: $(VENV)/.dev ## the command and what developers need, in .venv

demo: $(VENV)/$(if $(SIP),.dev,.runtime) ## one telephone call, heard and written to disk: no account, no key (SIP=1: by SIP; ARGS=--help)
	@$(BIN)/pickup demo $(if $(SIP),--sip) $(ARGS)

check: $(VENV)/.dev ## formatting, lint, types, import contracts, infrastructure files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if [ -f infra/Dockerfile ]; then $(BIN)/hadolint infra/Dockerfile infra/*/Dockerfile; fi
	@if [ -f docker-compose.yml ]; then \
	  $(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml infra/*/compose.yml && \
	  $(BIN)/yamllint --strict -d relaxed docker-compose.yml infra/*/compose.yml; fi

test: $(if $(CI),ci,fast) ## the fast suite; every suite where CI is set

slow: $(VENV)/.dev ## real servers and many runs (FULL=1: as long and as many as the figures in README)
	@$(if $(CI),$(APT))
	$(BIN)/pytest -m "slow and not measure and not network" --timeout=180 $(ARGS)
	$(BIN)/pytest -m "measure and not network" --timeout=600 $(ARGS)

format: $(VENV)/.dev ## put the code into its one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(VENV)/.uv ## write the lock files from pyproject.toml (ARGS=--upgrade for newer releases)
	$(LOCK) --group uv --output-file requirements-uv.lock
	$(LOCK) pyproject.toml --group build --output-file requirements.lock
	$(LOCK) pyproject.toml --group build --all-extras --constraints requirements.lock --output-file requirements-image.lock
	$(LOCK) pyproject.toml --group build --group dev --constraints requirements.lock --output-file requirements-dev.lock

clean: ## remove what make made
	rm -rf .venv .venv-* build

# ---------------------------------------------------------------- what make does for itself

# Two tests at a time where there are two cores (ARGS="-n0 --pdb" to look into one), so that arithmetic needs no threads of its own.
fast: $(VENV)/.dev
	OPENBLAS_NUM_THREADS=1 $(BIN)/$(if $(CI),coverage run -m pytest,pytest) -n logical --maxprocesses 4 --dist worksteal $(ARGS)

ci:
	rm -rf $(dir $(COVERAGE_FILE)) && mkdir -p $(dir $(COVERAGE_FILE))
	$(MAKE) check
	$(foreach version,$(CI_VERSIONS),$(MAKE) fast VENV=.venv-$(version) PYTHONS="$(call interpreter,$(version))" &&) true
	$(MAKE) coverage
	$(MAKE) slow

# By the fast suite alone: all branches of what is pure; nine tenths of everything, child processes counted. Slow tests keep time, and
# would not while they are counted.
PURE_CALL := barge_in conduct/* control dead_air downlink heard_truth hops keypad life local_voice machine memory metrics \
	model_leg options replay state tool_calls transcript turns uplink
PURE := agent/protocols/*,agent/audio/*,agent/events.py,agent/errors.py
comma := ,
empty :=
PURE := $(PURE)$(subst $(empty) $(empty),,$(foreach room,$(PURE_CALL),$(comma)agent/call/$(room).py))
coverage: $(VENV)/.dev
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=90
	$(BIN)/coverage report --fail-under=100 --include='$(PURE)'

# pyenv's own interpreters, not its shims: a shim runs only the versions that are switched on.
interpreter = $(or $(lastword $(sort $(wildcard $(shell pyenv root 2>/dev/null)/versions/$(1).*/bin/python3))),python$(1))

# node comes from somewhere else on many machines, and Debian's own would conflict with it.
APT = if command -v apt-get >/dev/null && [ -f .ci/apt.txt ]; then apt-get update -qq && \
	cat .ci/apt.txt $$(command -v npm >/dev/null || echo .ci/apt-node.txt) \
	| xargs apt-get install -y -qq --no-install-recommends >/dev/null; fi

LOCK = $(UV) compile --quiet --universal --generate-hashes --python-version 3.11 \
	--custom-compile-command 'make lock' $(ARGS)

# ---------------------------------------------------------------- installing: every file by its hash
# The stamps make a second run instant. pip installs uv, uv installs the rest, and the project is built by
# the locked hatchling.

$(BIN)/python:
	@for python in $(PYTHONS); do \
	  if $$python -c 'import ensurepip, sys, venv; ensurepip.version(); sys.exit(sys.version_info < (3, 11))' \
	    >/dev/null 2>&1; then echo "Using $$($$python --version) in $(VENV)" && exec $$python -m venv $(VENV); fi; \
	done; \
	echo "Pickup needs Python 3.11 or newer with venv: apt-get install python3-venv," \
	  "brew install python or pyenv install 3.13 (tried: $(PYTHONS))." >&2; exit 2

$(VENV)/.uv: requirements-uv.lock | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@touch $@

$(VENV)/.runtime: requirements.lock pyproject.toml agent/__init__.py $(VENV)/.uv
	@echo "Installing what pickup runs on"
	@$(UV) install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing what developers need"
	@$(UV) install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@touch $@
