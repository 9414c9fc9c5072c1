# The contract of the project: every target makes .venv when it is missing or out of date.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
WORKERS ?= $(shell nproc)
# Extras of pyproject.toml that .venv has; with EXTRAS=dev,kernels the tests of kernels for a GPU run too.
EXTRAS ?= dev
# Which tests `make test` passes, by their marks; `make test TESTS=beside` only those that need more than a clone holds.
TESTS := not slow and not bench
BIN := .venv/bin
INSTALLED := .venv/.installed
# One thread a process: runs and tests go side by side instead, and sums keep their order.
export OMP_NUM_THREADS := 1

.PHONY: help smoke quick test test-slow check format bench clean

help:
	@echo "make smoke      a small sweep over all scenarios and algorithms, its figures and its report (minutes)"
	@echo "make test       the tests, slow ones left out (minutes)"
	@echo "make test-slow  the slow tests"
	@echo "make check      lint, format and types"
	@echo "make bench      speed of environments and learners"
	@echo "make quick      the quick suite: learns visibly on small numbers of agents (about half an hour on two cores)"
	@echo "make clean      remove what the targets made, results of smoke runs included"

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
