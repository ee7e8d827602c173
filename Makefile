# make demo, make test, ...: each target first makes a virtual environment in .venv and installs the project there, once.
# Another Python: make PYTHON=/usr/bin/python3.12 demo.  More options for a command: make bench ARGS="--threads 4".

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo app test lint bench weights further validate slicer-test slicer-bench clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ichhpinet-installed
ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
# Unless chosen: the first Python on the path that is 3.10 to 3.13.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	$$p -c '$(SUPPORTED)' >/dev/null 2>&1 && echo $$p && break; done)

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: $(STAMP)  ## make .venv and install the project into it (every target below does this when needed)

demo: $(STAMP)  ## five rounds on a real head CT with a synthetic haemorrhage; results in out/demo
	$(BIN)/ichhpinet demo --out out/demo $(ARGS)

app: $(STAMP)  ## the tool in a web page, on this computer alone; a CT of yours: make app ARGS=ct.nii.gz
	$(BIN)/ichhpinet app $(ARGS)

test: lint  ## ruff, mypy, then the whole test suite
	$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)  ## ruff and mypy alone
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP)  ## speed and memory, beside three other methods, and of the web page; tables and JSON in out/bench
	$(BIN)/ichhpinet bench --out out/bench $(ARGS)
	$(BIN)/ichhpinet bench-app --out out/bench || echo "The web page was not measured."

weights: $(STAMP)  ## train the compact network; resumes where it stopped; checkpoints in runs/compact
	$(BIN)/ichhpinet train --out runs/compact $(ARGS)

START ?= runs/compact/weights.pt
further: $(STAMP)  ## go on from START (what make weights made) on fresh heads; resumes; checkpoints in runs/further
	$(BIN)/ichhpinet train --recipe further --start $(START) --out runs/further $(ARGS)

validate: $(STAMP)  ## the validation tables, beside three other methods; results in out/validation
	$(BIN)/ichhpinet evaluate --out out/validation $(ARGS)

SLICER ?= Slicer
slicer-test:  ## the self-tests inside 3D Slicer: make slicer-test SLICER=/path/to/Slicer
	$(SLICER) --testing --no-splash --additional-module-paths "$(CURDIR)" --python-code \
		"import slicer.testing; from slicer.ScriptedLoadableModule import *; import ICHHPINet; \
		slicer.testing.runUnitTest(['$(CURDIR)'], 'ICHHPINet')"

slicer-bench:  ## rounds and scrolling inside 3D Slicer, beside the command line: make slicer-bench SLICER=/path/to/Slicer
	$(SLICER) --testing --no-splash --additional-module-paths "$(CURDIR)" --python-script "$(CURDIR)/Testing/slicer_bench.py"

clean:  ## delete what running left behind (keeps .venv and runs)
	rm -rf out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# The environment. A .venv that is there is used, not made again; one without pip gets it from PYTHON's pip (Debian's venv lacks it).
$(BIN)/python:
	@if [ -z "$(PYTHON)" ] || ! $(PYTHON) -c '$(SUPPORTED)' 2>/dev/null; then \
		echo "ichhpinet needs Python 3.10, 3.11, 3.12 or 3.13; $(or $(PYTHON),python3) is $$($(or $(PYTHON),python3) -V 2>/dev/null || echo not found)." \
			"Choose another with: make PYTHON=/path/to/python3.12" >&2; exit 1; fi
	$(PYTHON) -m venv $(VENV) 2>/dev/null || $(PYTHON) -m venv --clear --without-pip $(VENV)

$(STAMP): requirements-dev.txt pyproject.toml | $(BIN)/python
	@$(BIN)/python -c '$(SUPPORTED)' || { echo "$(VENV) is $$($(BIN)/python -V); ichhpinet needs Python 3.10 to 3.13." \
		"Delete $(VENV) and run make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m pip install pip \
		--target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	$(BIN)/python -m pip install --requirement requirements-dev.txt
	$(BIN)/python -m pip install --no-deps --no-build-isolation --editable .
	@touch $@
