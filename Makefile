# `make demo` and `make test` each do all of their own set-up; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check package format clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo  ## install, then classify real photos with a pretrained network
	@$(BIN)/onebyone demo

test: $(VENV)/.test  ## install, then run the test suite
	@$(BIN)/python -m pytest -n 2

check: $(VENV)/.dev  ## install, then check formatting, lint and types
	@$(BIN)/ruff format --check --quiet . || { echo "run 'make format'"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/basedpyright
	@echo "make check: format, lint and types are clean"

package: $(VENV)/.dev  ## install, then build the wheel and try it where nothing else is installed
	@$(BIN)/python .ci/package.py

format: $(VENV)/.dev  ## put the code into the house's format
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

clean:  ## remove the virtual environment and the caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ..."; exit 2; }
	@echo "creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

# One stamp for each extra; a changed dependency list installs again.
$(VENV)/.%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing onebyone[$*] into $(VENV); the first time takes a minute or two (torch is large)"
	@$(PIP) --editable '.[$*]'
	@touch $@
