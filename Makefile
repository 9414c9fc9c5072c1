# The entry points of the project. Every target creates .venv if it is missing or out of date.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
WORKERS ?= $(shell nproc)
# Extras of pyproject.toml to install into .venv; EXTRAS=dev,kernels also runs the tests of GPU kernels.
EXTRAS ?= dev
# Tests that `make test` runs, by their marks; `make test TESTS=beside` runs those that need files outside a clone.
TESTS := not slow and not bench
BIN := .venv/bin
INSTALLED := .venv/.installed
# One thread per process: runs and tests run in parallel instead, and sums keep their order.
export OMP_NUM_THREADS := 1

.PHONY: help smoke quick test test-slow check format bench clean

help:
	@echo "make smoke      run a small sweep over all platforms and algorithms, with figures and a report (minutes)"
	@echo "make test       run the tests except slow ones (minutes)"
	@echo "make test-slow  run the slow tests"
	@echo "make check      check lint, format and types"
	@echo "make bench      measure the speed of environments and learners"
	@echo "make quick      run the quick suite: learning with few agents (about half an hour on two cores)"
	@echo "make clean      remove everything that the targets made, including results of smoke runs"

.venv: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer not found: install it or give PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "error: $(PYTHON) cannot make virtual environments: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@touch $(INSTALLED)

smoke: $(INSTALLED)
	$(BIN)/python -m benchmark.sweep --suite smoke --workers $(WORKERS) --results results/smoke
	$(BIN)/python -m benchmark.record --suite smoke --algorithms ip
	$(BIN)/python -m figures --results results/smoke --output figures/output/smoke
	@echo "The smoke suite needs no real road maps; other suites do:"
	@$(BIN)/python -m envs.traffic.data list

quick: $(INSTALLED)
	$(BIN)/python -m benchmark.sweep --suite quick --workers $(WORKERS) --results results/quick
	$(BIN)/python -m benchmark.record --suite quick
	$(BIN)/python -m figures --results results/quick --output figures/output/quick

test: $(INSTALLED)
	$(BIN)/python -m pytest -m "$(TESTS)" --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)
	$(BIN)/python -m pytest tests/benchmarks -m "not slow" --benchmark-enable --benchmark-columns=median,iqr,ops -s

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .benchmarks .hypothesis results/smoke figures/output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
