# make demo: train an avatar on the built-in head. make test: the whole suite. Both install into .venv first, once.

VENV := .venv
BIN := $(VENV)/bin
PYTHONS := $(PYTHON) python3.11 python3.12 python3.13 python3
DEMO_TIME ?= 00:08:00
TYPED := build/typed

.PHONY: help install demo test lint format docs wheel clean
help:
	@echo "make install make .venv and install AvatarZoo into it"
	@echo "make demo    train a small Pixel Codec Avatar on the built-in synthetic head (about 10 minutes on two cores)"
	@echo "make test    run the tests"
	@echo "make lint    ruff and mypy          make docs   build the documentation into site/"
	@echo "make wheel   build dist/*.whl       make clean  remove what was built (not .venv, not runs)"
	@echo "PYTHON=python3.12 picks an interpreter; DEMO_TIME=00:03:00 shortens the demo."

# An existing .venv is kept; otherwise the first interpreter that is Python 3.11 to 3.13 makes one.
$(BIN)/python:
	@for candidate in $(PYTHONS); do \
	  if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	    echo "Making $(VENV) with $$candidate ($$("$$candidate" --version))"; \
	    rm -rf $(VENV); "$$candidate" -m venv $(VENV) && exit 0; \
	    echo "$$candidate cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; \
	  fi; \
	done; \
	echo "AvatarZoo needs Python 3.11, 3.12 or 3.13, and none is on PATH. Install one, or name it: make demo PYTHON=/path/to/python3.12" >&2; \
	exit 1

$(VENV)/.installed: pyproject.toml setup.py | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[dev,docs]'
	@touch $@

install: $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/avatarzoo fit recipe=pica_full scale=small trainer.max_time=$(DEMO_TIME)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@rm -rf $(TYPED) && mkdir -p $(TYPED)/avatarzoo
	@ln -s "$(CURDIR)"/avatarzoo/* "$(CURDIR)"/datamodules "$(CURDIR)"/recipes $(TYPED)/avatarzoo/
	cd $(TYPED) && "$(CURDIR)/$(BIN)/mypy" --config-file "$(CURDIR)/pyproject.toml"

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

wheel: $(VENV)/.installed-dev
	rm -rf build/lib build/bdist.*
	$(BIN)/python -m build

clean:
	rm -rf build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache
