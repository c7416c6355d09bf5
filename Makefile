# Two targets are all that a newcomer needs, `make demo` and `make test`. Each makes .venv and installs what is missing.

PYTHON_VENV := .venv/bin/python
# Two workers: the suite is bound by the processor, and each worker holds about a gigabyte.
PYTEST_ARGS ?= -n 2 --dist worksteal

.PHONY: help demo test lint bench setup clean

help:
	@echo 'make demo    audit two reference models on phantom data and write their reports to demo-output/'
	@echo 'make test    run the tests'
	@echo 'For work on the code: make lint (ruff, mypy), make bench (speed), make setup (only make .venv), make clean (remove what these targets made).'

demo: setup
	@tools/demo.sh

test: setup
	$(PYTHON_VENV) -m pytest $(PYTEST_ARGS)

lint: setup
	$(PYTHON_VENV) -m ruff check .
	$(PYTHON_VENV) -m ruff format --check .
	$(PYTHON_VENV) -m mypy

setup:
	@tools/setup.sh

bench: setup
	$(PYTHON_VENV) benchmarks/run.py

clean:
	rm -rf .venv demo-output build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
