# A fresh machine needs python3 >= 3.11 with venv, and make. No root.
#
# TORCH_INDEX: where PyTorch comes from. On Linux the default is PyPI's CUDA build (several GB);
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu     takes the small CPU build.

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: help install demo serve test check format bench study weights clean
.DEFAULT_GOAL := help

help:  ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(VENV)/runtime.stamp: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(INDEX) -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/runtime.stamp requirements-dev.lock
	$(PIP) -r requirements-dev.lock
	@touch $@

install: $(VENV)/runtime.stamp  ## Virtual environment with the locked versions

demo: install  ## From nothing to an overlay of a phantom slide, with a picture, and stop
	$(BIN)/darefine demo

serve: install  ## API, worker and embedded queue on http://127.0.0.1:8000
	$(BIN)/darefine serve

test: $(VENV)/dev.stamp  ## All tests
	$(BIN)/python -m pytest

check: $(VENV)/dev.stamp  ## Lint, types, import contract, spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(VENV)/dev.stamp  ## Format and mend what can be mended by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: install  ## Measure this machine, about 25 minutes on two cores; writes benchmarks/results/
	$(BIN)/python -m benchmarks.jobs
	$(BIN)/python -m benchmarks.bound
	$(BIN)/python -m benchmarks.precision
	$(BIN)/python -m benchmarks.seams

study: install  ## The paper's comparison on phantom slides (some hours on two cores); may be killed and goes on
	$(BIN)/python -m benchmarks.study --work study-work

weights: install  ## Train the demo weights again (about 40 minutes on two cores)
	$(BIN)/darefine train weights/phantom-resnet18-aligned --second-input aligned --overwrite
	$(BIN)/darefine train weights/phantom-resnet18-single --second-input single --overwrite

clean:  ## Remove the virtual environment and what the demo left
	rm -rf $(VENV) demo-out train-work study-work
