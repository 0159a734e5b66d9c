# The recipes that CI calls. PYTHON=… chooses the interpreter.
PYTHON ?= python3

.PHONY: check lint format types floors test core docs

check: lint types floors test docs  ## everything that CI checks

lint:  ## format and lint
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

format:  ## rewrite what can be rewritten
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

types:  ## strict types of the package
	$(PYTHON) -m mypy

floors:  ## imports go down only
	$(PYTHON) -c "from importlinter.cli import lint_imports_command as lint; lint()"

test:  ## all tests
	$(PYTHON) -m pytest

core:  ## the tests that start no kernel, no build of their own and no browser: seconds
	$(PYTHON) -m pytest -m "not kernel and not process and not browser"

docs:  ## the site, warnings as errors
	$(PYTHON) -m sphinx -W --keep-going -q -b html docs docs/_build/html
