# The menu. Every target makes the virtual environment it needs; nothing else is required than Python, make and a C compiler.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=

.PHONY: help demo test lint format bench docs verify picture clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 12

demo: $(VENV)/.installed  ## cluster and map handwritten digits without labels, and say where the report is
	$(BIN)/torchicon demo -o demo --force

test: $(VENV)/.dev  ## the whole test suite, lint and types included
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

lint: $(VENV)/.dev  ## ruff, mypy, import-linter
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

format: $(VENV)/.dev  ## let ruff rewrite
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

verify: $(VENV)/.installed  ## every method's claim against its oracle
	$(BIN)/torchicon verify

bench: $(VENV)/.bench  ## ours against the peers, side by side
	$(BIN)/python benchmarks/run.py $(ARGS)

docs: $(VENV)/.docs  ## the documentation as a site
	$(BIN)/mkdocs build --strict

picture: demo  ## the README's pictures of the demo's report and of the table (needs a chromium)
	chromium --headless --no-sandbox --disable-gpu --no-first-run --user-data-dir=$(VENV)/chromium \
	  --virtual-time-budget=5000 --hide-scrollbars --window-size=1280,1400 \
	  --screenshot=docs/images/report.png demo/report.html
	$(BIN)/torchicon table -o demo/table.html --force
	chromium --headless --no-sandbox --disable-gpu --no-first-run --user-data-dir=$(VENV)/chromium \
	  --virtual-time-budget=5000 --hide-scrollbars --window-size=1440,2060 \
	  --screenshot=docs/images/table.png demo/table.html

clean:  ## remove what make made
	rm -rf $(VENV) demo site

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip -c constraints.txt

# torch first and pinned: left to itself pip may choose a CUDA build of several gigabytes.
$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev,train]'
	touch $@

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]'
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@
