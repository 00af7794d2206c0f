# Each target installs what it needs in .venv, or reuses it. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help quickstart test test-slow gpu-check notebooks lab check doctor clean clean-venv

# The Python that makes .venv: make test PYTHON=/path/to/python3.12
PYTHON ?=
# Where PyTorch comes from; for its CPU wheels: make test TORCH_ARGS="--index-url ADDRESS-ON-PYTORCH'S-INSTALL-PAGE"
TORCH_ARGS ?=
# Arguments for the command: make quickstart ARGS="--seed 1"
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
LISTS := pyproject.toml setup.py constraints.txt
TORCH := $(shell grep -E '^torch==' constraints.txt)
# Two busy OpenMP pools on two cores are up to seven times slower; tests use processes instead of threads.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
# The planner's build calls `python`, which some systems have only as python3; .venv has both names.
# Compiling every module takes three quarters of an installation; Python compiles what is imported anyway.
INSTALL = PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -m pip install --no-compile -c constraints.txt
# What is compiled on import must be kept, or each process compiles torch and transformers anew (16 seconds).
export PYTHONDONTWRITEBYTECODE :=
PYTEST := $(ONE_THREAD) $(PY) -m pytest

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

quickstart: $(VENV)/.core ## the main job, 5 to 8 minutes: diagnose, train both ways, compare, report (runs/quickstart)
	$(PY) -m actre quickstart $(ARGS)

test: $(VENV)/.full ## all tests except the slow ones
	$(PYTEST) -m "not slow" -n 2 $(ARGS)

test-slow: $(VENV)/.full ## the slow tests, over a minute each
	$(PYTEST) -m slow -n 2 $(ARGS)

gpu-check: $(VENV)/.core ## what a GPU would be asked to do, on the CPU; on a GPU: ARGS="--device gpu"
	$(PY) -m actre gpu-check --device cpu $(ARGS)

notebooks: $(VENV)/.full ## run the notebooks again and save their outputs; ARGS="--budget small --check" only tries them
	$(ONE_THREAD) $(PY) -m actre notebooks $(ARGS)

lab: $(VENV)/.lab ## open the notebooks in JupyterLab
	$(PY) -m jupyterlab notebooks $(ARGS)

check: $(VENV)/.full ## lint, format, types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy actre

doctor: $(VENV)/.core ## list what is installed, what is missing, and the command that fixes it
	$(PY) -m actre doctor $(ARGS)

clean: ## remove caches and build leftovers; keeps .venv and runs/
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

clean-venv: ## remove .venv
	rm -rf $(VENV)

# A stamp has the time of the last successful installation; changed lists install again. torch comes first: TORCH_ARGS are
# for it alone, and the pin then holds for the rest.
$(VENV)/.core: EXTRAS := train
$(VENV)/.lab: EXTRAS := train,lab
$(VENV)/.full: EXTRAS := train,lab,test
$(VENV)/.lab: COVERS := $(VENV)/.core
$(VENV)/.full: COVERS := $(VENV)/.core $(VENV)/.lab
$(VENV)/.core $(VENV)/.lab $(VENV)/.full: $(PY) $(LISTS)
	@$(PY) -c '$(FITS)' || { echo "error: $(VENV) holds $$($(PY) --version), not Python 3.11-3.13" >&2; \
	  echo "  fix: make clean-venv" >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip
	$(INSTALL) $(TORCH_ARGS) "$(TORCH)"
	$(INSTALL) -e ".[$(EXTRAS)]"
	@touch $@ $(COVERS)

# Checks for everything that would fail late and obscurely, before anything is made.
$(PY):
	@fail() { echo "error: $$1" >&2; echo "  fix: $$2" >&2; exit 1; }; \
	fits() { "$$1" -c '$(FITS)' 2>/dev/null; }; \
	command -v cmake >/dev/null || \
	  fail "cmake is missing (textworld's planner is compiled)" "sudo apt-get install cmake  (macOS: brew install cmake)"; \
	command -v c++ >/dev/null || command -v g++ >/dev/null || \
	  fail "no C++ compiler (textworld's planner is compiled)" "sudo apt-get install g++  (macOS: xcode-select --install)"; \
	python=""; \
	for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python); do \
	  if fits "$$candidate"; then python="$$candidate"; break; fi; \
	done; \
	[ -n "$$python" ] || fail "no Python 3.11-3.13 with its venv module was found$(if $(PYTHON), at $(PYTHON))" \
	  "sudo apt-get install python3 python3-venv, or: make PYTHON=/path/to/python3.12 ..."; \
	echo "making $(VENV) with $$($$python --version)"; \
	"$$python" -m venv $(VENV) || { rm -rf $(VENV); \
	  fail "$$python could not make a virtual environment" "sudo apt-get install python3-venv"; }
