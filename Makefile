# Everything here runs from a fresh clone: the environment is made when it is missing.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check

# Small matrices on busy cores: BLAS threads that wait for each other would take most of the time.
export OPENBLAS_NUM_THREADS := 1

.PHONY: help demo test test-quick test-trl check docs bench wheel clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

# PyTorch first and by its exact version: whatever needs it afterwards is satisfied, and nothing pulls another build.
$(VENV)/.base: constraints.txt pyproject.toml
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet "$$(grep '^torch==' constraints.txt)"
	$(PIP) install --quiet --constraint constraints.txt --editable '.[demo]'
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(VENV)/.base  ## tune the shipped GRPO job on this machine: about 3 minutes on 2 cores
	$(PY) -m rltune demo

test: $(VENV)/.dev check  ## every test
	$(PY) -m pytest -n auto --dist loadgroup

test-quick: $(VENV)/.dev  ## the tests that take under a few seconds each
	$(PY) -m pytest -m "not slow" -n auto --dist loadgroup

test-trl: $(VENV)/.dev  ## install TRL and tune its GRPOTrainer: about five minutes on 2 cores
	$(PIP) install --quiet --constraint constraints.txt --editable '.[trl]'
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -m pytest -m trl

check: $(VENV)/.dev  ## style, types, floors
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

docs: $(VENV)/.dev  ## build the documentation, site/index.html, and check every link in it
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

bench: $(VENV)/.dev  ## the figures of benchmarks/README.md, peers beside ours
	$(PIP) install --quiet --constraint constraints.txt --requirement benchmarks/requirements.txt
	$(PY) -m benchmarks.speed
	$(PY) -m benchmarks.folds
	$(PY) -m benchmarks.trust
	$(PY) -m benchmarks.search
	$(PY) -m benchmarks.search.forecast

wheel: $(VENV)/.dev  ## build the wheel and run it in an empty environment
	rm -rf dist && $(PY) -m build --wheel --outdir dist .

clean:  ## what the targets above made
	rm -rf $(VENV) dist build site .mypy_cache .ruff_cache .pytest_cache .hypothesis
