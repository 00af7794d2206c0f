# Each target sets up what it needs in .venv, or reuses what is there. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help quickstart test test-slow notebooks lab check doctor clean clean-venv

# Which Python makes .venv: make test PYTHON=/path/to/python3.12
PYTHON ?=
# Where PyTorch comes from; for its CPU wheels: make test TORCH_ARGS="--index-url ADDRESS-ON-PYTORCH'S-INSTALL-PAGE"
TORCH_ARGS ?=
# What a command is given: make quickstart ARGS="--seed 1"
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
LISTS := pyproject.toml constraints.txt
TORCH := $(shell grep -E '^torch==' constraints.txt)
# Two busy OpenMP pools on two cores cost up to seven times; tests use processes instead of threads.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
# The planner's build calls `python`, which a system may have as python3 only; the one in .venv has both names.
# Compiling every module beforehand is three quarters of an installation's work; Python compiles what is imported.
INSTALL = PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -m pip install --no-compile -c constraints.txt
PYTEST := $(ONE_THREAD) $(PY) -m pytest

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

quickstart: $(VENV)/.core ## the main job: diagnose, train both stages, compare, report (runs/quickstart)
	$(PY) -m actre quickstart $(ARGS)

test: $(VENV)/.full ## the tests but for the slow ones
	$(PYTEST) -m "not slow" -n 2 $(ARGS)

test-slow: $(VENV)/.full ## the slow tests
	$(PYTEST) -m slow $(ARGS)

notebooks: $(VENV)/.full ## run every notebook again and save its outputs; ARGS="--budget small --check" only tries them
	$(ONE_THREAD) $(PY) -m actre notebooks $(ARGS)

lab: $(VENV)/.lab ## JupyterLab with the notebooks
	$(PY) -m jupyterlab notebooks $(ARGS)

check: $(VENV)/.full ## lint, format, types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy actre

doctor: $(VENV)/.core ## what is installed, what is missing, what to type
	$(PY) -m actre doctor $(ARGS)

clean: ## remove caches and build leftovers; keeps .venv and runs/
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

clean-venv: ## remove .venv
	rm -rf $(VENV)

# A stamp is as new as the last installation that came through; changed lists install again. torch comes first:
# TORCH_ARGS are for it alone, and the pin then holds for the rest.
$(VENV)/.lab: EXTRAS := [lab]
$(VENV)/.full: EXTRAS := [lab,test]
$(VENV)/.lab: COVERS := $(VENV)/.core
$(VENV)/.full: COVERS := $(VENV)/.core $(VENV)/.lab
$(VENV)/.core $(VENV)/.lab $(VENV)/.full: $(PY) $(LISTS)
	@$(PY) -c '$(FITS)' || { echo "error: $(VENV) holds $$($(PY) --version), not Python 3.11-3.13" >&2; \
	  echo "  mend it: make clean-venv" >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip
	$(INSTALL) $(TORCH_ARGS) "$(TORCH)"
	$(INSTALL) -e ".$(EXTRAS)"
	@touch $@ $(COVERS)

# Everything that would fail late and obscurely is asked for here, before anything is made.
$(PY):
	@mend() { echo "error: $$1" >&2; echo "  mend it: $$2" >&2; exit 1; }; \
	fits() { "$$1" -c '$(FITS)' 2>/dev/null; }; \
	command -v cmake >/dev/null || \
	  mend "cmake is missing (textworld's planner is compiled)" "sudo apt-get install cmake  (macOS: brew install cmake)"; \
	command -v c++ >/dev/null || command -v g++ >/dev/null || \
	  mend "no C++ compiler (textworld's planner is compiled)" "sudo apt-get install g++  (macOS: xcode-select --install)"; \
	python=""; \
	for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python); do \
	  if fits "$$candidate"; then python="$$candidate"; break; fi; \
	done; \
	[ -n "$$python" ] || mend "no Python 3.11-3.13 with its venv module was found$(if $(PYTHON), at $(PYTHON))" \
	  "sudo apt-get install python3 python3-venv, or: make PYTHON=/path/to/python3.12 ..."; \
	echo "making $(VENV) with $$($$python --version)"; \
	"$$python" -m venv $(VENV) || { rm -rf $(VENV); \
	  mend "$$python could not make a virtual environment" "sudo apt-get install python3-venv"; }
