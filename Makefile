# One entry per need. `make` alone lists them.
#
# Works on a fresh machine with Python 3.11 or newer and make; uses uv when it is there, else venv
# and pip. Everything is installed into $(VENV) from the hashed locks in requirements/.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

VENV ?= .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
# Tests start hundreds of processes: without compiled files each would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE
# Arguments for the program behind a target, e.g. make test ARGS="tests/unit -k money".
ARGS ?=

# --- Use it --------------------------------------------------------------------------------------

.PHONY: help
help: ## List what make can do
	@awk 'BEGIN { FS = ":.*## " } \
		/^# --- / { gsub(/^# --- | -+$$/, ""); printf "\n%s\n", $$0 } \
		/^[a-z][a-z-]*:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.base ## A year or two of a made-up business, its MRR, and the HTTP API (ARGS="--no-serve")
	$(BIN)/tidemill demo $(ARGS)

# --- Work on it ----------------------------------------------------------------------------------

.PHONY: dev
dev: $(VENV)/.dev ## Create or refresh the environment, then say how to use it
	@echo "Ready. Run '. $(BIN)/activate', or put $(BIN)/ before a command."

.PHONY: fmt
fmt: $(VENV)/.dev ## Format the code and mend what ruff can mend by itself
	$(BIN)/ruff check --fix-only --exit-zero .
	$(BIN)/ruff format .

.PHONY: check
check: $(VENV)/.dev ## Lint, formatting, types, docstrings and architecture rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/interrogate --quiet tidemill
	$(BIN)/pytest -q tests/architecture

.PHONY: test
test: $(VENV)/.dev ## The tests, without the slow ones (ARGS="tests/unit -k money" picks some)
	$(BIN)/pytest -q -m "not slow" $(PARALLEL) $(ARGS)

.PHONY: test-all
test-all: $(VENV)/.dev ## Every test
	TIDEMILL_TEST_ALL=1 $(BIN)/pytest -q $(PARALLEL) $(ARGS)

.PHONY: test-faults
test-faults: $(VENV)/.dev ## Runs under fire: processes, database, broker killed at random (RUNS=100)
	$(BIN)/python -m tests.faults.campaign --runs $(or $(RUNS),100) $(ARGS)

.PHONY: bench
bench: $(VENV)/.dev ## Timings on generated data (ARGS="--customers 2000"), saved in benchmarks/results/
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: kafka
kafka: $(VENV)/.dev ## A Kafka broker on this machine until Ctrl-C (needs Java and Maven)
	$(BIN)/python -m tests.support.broker

.PHONY: snap
snap: $(VENV)/.dev ## Rebuild every generated file; commit the difference
	$(BIN)/python -m docs.generate

.PHONY: docs
docs: $(VENV)/.dev snap ## Rebuild the reference pages and run the examples in the docs
	$(BIN)/pytest -q tests/docs

.PHONY: migration
migration: $(VENV)/.dev ## Start a migration: make migration NAME="add segments"
	@test -n "$(NAME)" || { echo 'Give it a name: make migration NAME="add segments"' >&2; exit 2; }
	$(BIN)/python -m tidemill.migrations "$(NAME)"

.PHONY: change
change: $(VENV)/.dev ## A news fragment: make change TYPE=added NAME=quick-ratio TEXT="What users get."
	@test -n "$(TEXT)" || { echo 'Say what users get: make change TYPE=added NAME=topic TEXT="..."' >&2; exit 2; }
	$(BIN)/towncrier create --content "$(TEXT)" "+$(NAME).$(or $(TYPE),added).md"

.PHONY: lock
lock: ## Renew the hashed locks in requirements/ (needs uv; ARGS="--upgrade" takes the newest)
	@test -n "$(UV)" || { echo 'The locks are made with uv; please install it.' >&2; exit 2; }
	$(COMPILE) requirements/build.in -o requirements/build.txt $(ARGS)
	$(COMPILE) pyproject.toml -o requirements/base.txt $(ARGS)
	$(COMPILE) pyproject.toml --extra dev -c requirements/base.txt -o requirements/dev.txt $(ARGS)

.PHONY: clean
clean: ## Remove the environment, caches and builds (never your data)
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find tidemill tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

# === How it works ===============================================================================

COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --quiet --universal \
	--python-version 3.11 --generate-hashes --no-emit-index-url

# As many test processes as there are processors, when there is more than one. The tests of a file
# stay together: they share what is dear to make, and the examples of a page build on one another.
# Files come in the order of their folders, so that short ones (unit) end the run: by the number of
# their tests, one file of one long test would be run last, by one process alone.
PARALLEL ?= -n auto --dist loadfile --no-loadscope-reorder

# The first Python that is new enough; a shim may be on PATH without the version behind it.
FIND_PYTHON = for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { command -v "$$python"; exit 0; }; done; \
	echo 'Tidemill needs Python 3.11 or newer, and none was found on PATH.' >&2; exit 1

ifneq ($(UV),)
MAKE_VENV = $(UV) venv --quiet --allow-existing --python "$$python" $(VENV)
INSTALL = $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python
else
MAKE_VENV = "$$python" -m venv $(VENV)
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

# The stamps make the environment a file: it is renewed when a lock changes, and only then.
$(BIN)/python:
	@python="$$($(FIND_PYTHON))" && echo "Creating $(VENV) with $$python" && $(MAKE_VENV)

$(VENV)/.base: requirements/base.txt requirements/build.txt pyproject.toml | $(BIN)/python
	@echo "Installing Tidemill into $(VENV)"
	@$(INSTALL) --require-hashes -r requirements/base.txt -r requirements/build.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.base
	@echo "Installing the tools for development"
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@
