# A fresh machine needs python3 >= 3.11 with venv, and make. No root.
#
# TORCH_INDEX: where PyTorch comes from. On Linux the default is PyPI's CUDA build (several GB);
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu     takes the small CPU build.

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
PYTEST_ARGS ?=
BIN := $(VENV)/bin
PAGE := service/viewer/*.html service/viewer/css service/viewer/js
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: help install demo serve test test-fast coverage check types imports hooks format wheel wheel-check docs metrics \
	bench faults fleet hostile floods image-check load study weights lock clean
.DEFAULT_GOAL := help

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(VENV)/venv.stamp:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Two calls of pip: in one, hashes are demanded of all packages or of none.
# The editable install brings the browser page's libraries (hatch_build.py).
$(VENV)/runtime.stamp: $(VENV)/venv.stamp requirements.lock requirements-torch.lock pyproject.toml hatch_build.py package-lock.json
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install $(INDEX) -r requirements-torch.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/runtime.stamp requirements-dev.lock package-lock.json
	$(PIP) install --require-hashes -r requirements-dev.lock
	PATH="$(abspath $(BIN)):$$PATH" npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

$(VENV)/docs.stamp: $(VENV)/venv.stamp requirements-docs.lock
	$(PIP) install --require-hashes -r requirements-docs.lock
	@touch $@

install: $(VENV)/runtime.stamp  ## Virtual environment with the locked versions

demo: install  ## From nothing to an overlay of a phantom slide, with a picture, and stop; KEEP=1 goes on serving
	$(BIN)/darefine demo $(if $(KEEP),--keep)

serve: install  ## API, worker and embedded queue on http://127.0.0.1:8000
	$(BIN)/darefine serve

test: $(VENV)/dev.stamp  ## All tests, some 25 minutes on two cores
	$(BIN)/python -m pytest --durations=15 $(PYTEST_ARGS)

test-fast: $(VENV)/dev.stamp  ## Tests without the service as a whole and without the slow ones, in two processes
	$(BIN)/python -m pytest -m "not e2e and not slow" -n 2 --durations=5 $(PYTEST_ARGS)

coverage: PYTEST_ARGS += --cov
coverage: test  ## All tests, and the floor of covered lines (processes that tests start are not counted)

check: $(VENV)/dev.stamp types imports  ## Lint, types, import contract, spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/node node_modules/prettier/bin/prettier.cjs --log-level warn --check $(PAGE)
	$(BIN)/codespell

types: $(VENV)/dev.stamp  ## mypy --strict, and the types that the page's modules state
	$(BIN)/mypy
	$(BIN)/node node_modules/typescript/bin/tsc --project service/viewer

imports: $(VENV)/dev.stamp  ## The import contract
	$(BIN)/lint-imports

hooks: $(VENV)/dev.stamp  ## Run the checks at each commit
	$(BIN)/pre-commit install

format: $(VENV)/dev.stamp  ## Format and mend what can be mended by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/node node_modules/prettier/bin/prettier.cjs --log-level warn --write $(PAGE)

wheel: install  ## Build the wheel, with model cards and demo weights, into dist/
	rm -rf dist
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .

wheel-check: wheel  ## Install the wheel outside the checkout and run the demo there
	PYTHON="$(PYTHON)" TORCH_INDEX="$(TORCH_INDEX)" .ci/wheel-check dist/*.whl

docs: $(VENV)/docs.stamp  ## Documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(BIN)/python .ci/foreign_hosts.py site

metrics: $(VENV)/dev.stamp  ## Sizes and imports of the code
	$(BIN)/python -m benchmarks.code_metrics

bench: install  ## Measure this machine, about 25 minutes on two cores; writes benchmarks/results/
	$(BIN)/python -m benchmarks.jobs
	$(BIN)/python -m benchmarks.bound
	$(BIN)/python -m benchmarks.precision
	$(BIN)/python -m benchmarks.seams
	$(BIN)/python -m benchmarks.tiles

faults: install  ## Break a running service a thousand times and count what was lost (some 40 minutes)
	$(BIN)/python -m benchmarks.faults

hostile: install  ## Send a thousand damaged and malicious files to a running service (some 20 minutes)
	$(BIN)/python -m benchmarks.hostile

floods: install  ## Throw endless and slow requests at a running service (some 2 minutes)
	$(BIN)/python -m benchmarks.floods

fleet: install  ## Run three hosts, one of them wrong in each way there is, and count what the queue costs (some 10 minutes, as root)
	$(BIN)/python -m benchmarks.fleet

image-check: $(VENV)/dev.stamp  ## Run the Dockerfile's steps without Docker, as a user without rights (as root)
	PYTHON="$(PYTHON)" TORCH_INDEX="$(TORCH_INDEX)" $(BIN)/python .ci/image_check.py

load: install  ## Poll, listen and upload while a worker computes and 100 000 jobs are stored (some 5 minutes)
	$(BIN)/python -m benchmarks.load

study: install  ## The paper's comparison on phantom slides (some hours on two cores); may be killed and goes on
	$(BIN)/python -m benchmarks.study --work study-work

DEMO_PHANTOMS := train-work/demo-phantoms

weights: install  ## Train the demo weights again (an hour or more on two cores)
	$(BIN)/darefine prepare phantom $(DEMO_PHANTOMS) --slides 72 --test 4 --seed 101
	$(BIN)/darefine train weights/phantom-resnet18-centred --data $(DEMO_PHANTOMS)/index.json --steps 6000 \
		--second-input aligned --context centred --overwrite
	$(BIN)/darefine train weights/phantom-resnet18-single --data $(DEMO_PHANTOMS)/index.json --steps 6000 \
		--second-input single --overwrite

# Keeps the versions that the files hold, as far as pyproject.toml allows; UPGRADE=--upgrade takes the newest.
# The torch of requirements-torch.lock is set by hand. Extras stay in the names: of `coverage` alone pip tries the
# newest for who wants `coverage[toml]`, and then refuses it.
UPGRADE ?=
COMPILE = $(BIN)/uv --quiet pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-package torch --no-strip-extras --custom-compile-command "make lock" $(UPGRADE) --constraints requirements-torch.lock
lock: $(VENV)/venv.stamp  ## Renew the requirements*.lock files from pyproject.toml
	$(PIP) install uv==0.13.9
	$(COMPILE) pyproject.toml $(addprefix --extra ,train onnx openvino hub dicom zarr) --group build -o requirements.lock
	$(COMPILE) --group dev --constraints requirements.lock -o requirements-dev.lock
	$(COMPILE) --group docs --constraints requirements.lock --constraints requirements-dev.lock -o requirements-docs.lock

clean:  ## Remove the virtual environment, what was built and what the demo left
	rm -rf $(VENV) dist site demo-out train-work study-work node_modules service/viewer/vendor
