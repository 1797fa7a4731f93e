# The two commands of the README: `make demo` and `make test`. Each sets up what it needs in .venv.
# `make test-long` adds the slow tests: whole networks, large pictures, many kills, a Ray cluster;
# `make quick` is for while one works.

PYTHON ?= python3
BIN := .venv/bin
SOURCES := $(shell find spairc models matchme_train leaderboard -type f -not -name '*.pyc') README.md

.PHONY: demo test test-long quick lint develop clean

demo: .venv/.wheel
	$(BIN)/spairc demo

# The built wheel is what gets tested, not the checkout.
test: .venv/.wheel lint
	$(BIN)/pytest -m "not slow"

test-long: .venv/.wheel lint
	$(BIN)/pytest

quick: .venv/.wheel
	$(BIN)/pytest -m "not slow and not whole"

lint: .venv/.requirements
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# For work on spairc itself: the checkout is installed, so a change counts at once.
develop: .venv/.requirements
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	rm -f .venv/.wheel

.venv/.requirements: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt '.[test]'
	touch $@

.venv/.wheel: .venv/.requirements $(SOURCES)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --force-reinstall .
	touch $@

clean:
	rm -rf .venv dist build
