# Two commands do all the set-up in .venv: `make compare` (the main job) and `make test`.
# Nothing but Python >= 3.11 and make is needed; repeat calls reuse .venv.

PYTHON ?= python3#          the Python that .venv is made from
PIP_ARGS ?=#                additional arguments for pip, for instance --extra-index-url with a CPU wheel index
PYTEST_ARGS ?=#             additional arguments for pytest, for instance -k attach -x
TEST_WORKERS ?= 2#           processes that the tests run in, one thread each
UV ?= uv#                    the program that `make lock` uses (https://docs.astral.sh/uv)
LOCK_ARGS ?=#               additional arguments for uv, for instance --upgrade

VENV := .venv
BIN := $(VENV)/bin
RUN := runs/compare-fashion-small
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS)
LOCK = UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --quiet --universal --python-version 3.11 \
  --generate-hashes --no-annotate --no-emit-package torch --no-emit-package torchvision \
  --group build $(LOCK_ARGS) pyproject.toml requirements/torch.txt

.DEFAULT_GOAL := help
.PHONY: help compare compare-again test test-all lint format notebooks docs lock clean
.DELETE_ON_ERROR:

help: ## Show this list
	@echo "BeyondProp. Commands:"
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22
	@echo "Settings: PYTHON=$(PYTHON), PIP_ARGS (e.g. a CPU wheel index), PYTEST_ARGS (e.g. '-k attach')"

compare: $(VENV)/.compare ## Compare four rules and two baselines on real images (14x14 clothing) and print the path of the report
	$(BIN)/python -m beyondprop compare --task fashion-small --output $(RUN) --resume
	@echo "Open in a browser:  $(RUN)/report.html"
	@echo "Finished results are reused; 'make compare-again' starts over."

compare-again: ## Delete that comparison and run it again
	rm -rf $(RUN)
	@$(MAKE) --no-print-directory compare

test: $(VENV)/.test lint ## Check style and types, run the tests (at most 10 minutes on two cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile -m "not slow and not foreign" $(PYTEST_ARGS)

test-all: $(VENV)/.test-all lint ## The same with slow and foreign cases (at most 90 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.test ## Check style and types only
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

format: $(VENV)/.test ## Fix style errors automatically
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

notebooks: $(VENV)/.docs ## Run all tutorials and write their pages for the site
	OMP_NUM_THREADS=1 $(BIN)/python docs/notebooks.py

docs: $(VENV)/.docs ## Build the documentation site into build/site; a warning is an error
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q -c docs . build/site
	@echo "Open in a browser:  build/site/index.html"

# The largest lock comes first; the others take their versions from it.
lock: ## Write requirements/*.lock again from pyproject.toml (LOCK_ARGS=--upgrade renews the versions)
	$(LOCK) --all-extras --group foreign -o requirements/test-all.lock
	$(LOCK) --extra all -c requirements/test-all.lock -o requirements/all.lock
	$(LOCK) --extra dev -c requirements/test-all.lock -o requirements/test.lock
	$(LOCK) --extra docs -c requirements/test-all.lock -o requirements/docs.lock
	$(LOCK) --extra report -c requirements/test-all.lock -o requirements/compare.lock

clean: ## Delete .venv and all caches; recorded runs stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps say which lock is installed in .venv; they age when the requirements change. PyTorch has a
# version alone, because its builds for CPU and CUDA differ; all else has hashes, the build back-end too.
$(VENV)/.%: requirements/%.lock requirements/torch.txt pyproject.toml | $(BIN)/pip
	$(INSTALL) --require-hashes --no-deps --only-binary :all: -r $<
	$(INSTALL) -r requirements/torch.txt
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# pip is the last thing that venv writes, so a set-up killed half-way starts again.
$(BIN)/pip:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "Python is missing: install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$$($(PYTHON) --version) is too old: install Python 3.11 or newer and name it: make PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$$($(PYTHON) --version) lacks the venv module: install it (Debian and Ubuntu: the package python3-venv)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
