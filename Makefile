# make study   the digits study: some minutes on two cores, after the first installation
# make test    the test-suite        make test-slow   the slow tests        make lint        style, types, floors
# make docs    the documentation, into docs/_build/html; warnings are errors
# make bench   the benchmarks        make clean       removes the environment, keeps mlruns/
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DOCS := .venv/.docs
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: study test test-slow lint docs bench clean

study: $(READY)
	@$(BIN)/study run configs/digits.yaml --workers 2

test: $(READY)
	@$(BIN)/python -m pytest -n 2 tests

test-slow: $(READY)
	@$(BIN)/python -m pytest -m slow tests

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(DOCS)
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

bench: $(READY)
	@for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is wanted, $(PYTHON) is $$($(PYTHON) --version 2>&1); give another by make PYTHON=python3.12"; exit 1; }
	@echo "Installing into .venv (some minutes the first time) …"
	@$(PYTHON) -m venv .venv
	@$(PIP) -e '.[dev]'
	@touch $@

$(DOCS): $(READY)
	@$(PIP) -e '.[docs]'
	@touch $@

clean:
	rm -rf .venv
