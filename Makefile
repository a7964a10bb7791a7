SHELL := bash
.DEFAULT_GOAL := help

BIN := .venv/bin
INSTALLED := .venv/installed
CHEAP := tests/unit tests/conformance tests/golden tests/architecture
COSTLY := tests/integration tests/e2e
FUZZ_SECONDS ?= 60

# Every process of the tests would compile all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

# The newest Python that really runs: pyenv leaves shims for versions that are not active.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)

.PHONY: help setup demo test test-fast check bench bench-quick fuzz lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## make .venv with the locked dependencies and this project

# --no-deps: the lock is whole, and pip 23 stumbles over sqlalchemy[asyncio] when it looks for itself.
$(INSTALLED): constraints.txt pyproject.toml
	@set -e; \
	if command -v uv >/dev/null; then \
		test -x $(BIN)/python || uv venv --quiet --clear --python '$(or $(PYTHON),>=3.11,<3.14)' .venv; \
		uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r constraints.txt; \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
		touch $@; exit; \
	fi; \
	if [ -z '$(PYTHON)' ]; then \
		echo "Tidegate needs Python 3.11 or newer, and none on PATH is ($$(python3 --version 2>&1))." >&2; \
		echo "Install one, or name yours: make setup PYTHON=/path/to/python3.12" >&2; exit 1; \
	fi; \
	test -x $(BIN)/pip || '$(PYTHON)' -m venv --clear .venv || \
		{ echo "$(PYTHON) can't make a venv. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; \
	$(BIN)/pip install --quiet --no-deps --require-hashes -r constraints.txt; \
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .; \
	touch $@

demo: setup ## start everything, drop a week of real flights, show where each row went
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/demo.sh

test: test-fast ## every test: the fast ones, the slow ones, then those that start servers
	$(BIN)/pytest $(CHEAP) -m "slow or integration or e2e" -n 2 --dist loadfile
	$(BIN)/pytest $(COSTLY) -n 2 --dist loadfile

test-fast: setup ## the tests that need no server and take no time
	$(BIN)/pytest $(CHEAP) -m "not (slow or integration or e2e)" -n 2

check: setup ## format, lint, types, imports, dependencies, spelling, data contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .
	$(BIN)/codespell
	$(BIN)/tidegate contracts check

bench: setup ## measure everything beside what one would use instead; takes hours
	$(BIN)/python -m benchmarks

bench-quick: setup ## the same in small sizes, in three minutes
	$(BIN)/python -m benchmarks --quick

# Atheris is built for few Pythons, so it is no test dependency: it gets an environment of its own, beside .venv.
fuzz: setup ## feed the reader random bytes for FUZZ_SECONDS (60)
	@test -x .fuzz/venv/bin/pip || $(BIN)/python -m venv --clear .fuzz/venv
	.fuzz/venv/bin/pip install --quiet atheris
	PYTHONPATH="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
		.fuzz/venv/bin/python tests/fuzz/fuzz_reading.py .fuzz/corpus -max_total_time=$(FUZZ_SECONDS)

lock: ## write constraints.txt again from pyproject.toml; newest versions with LOCK=--upgrade (needs uv)
	UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --all-extras --group dev $(LOCK) --output-file constraints.txt pyproject.toml

clean: ## remove caches and build output; keeps .venv and .tidegate
	rm -rf build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
