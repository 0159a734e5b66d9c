# The recipes that CI calls. PYTHON=… chooses the interpreter.
PYTHON ?= python3

.PHONY: check lint format types floors test core engines docs benchmarks syscalls machine fuzz

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
	$(PYTHON) -m pytest -n auto -m "not kernel and not process and not browser"

engines:  ## tasks on real Dask and SLURM clusters; part of test
	$(PYTHON) -m pytest tests/test_dask.py tests/test_slurm.py

docs:  ## the site, warnings as errors
	$(PYTHON) -m sphinx -W --keep-going -q -b html docs docs/_build/html

benchmarks:  ## nbpipe beside its peers, for the page of the docs: an hour or more, on a quiet machine
	$(PYTHON) tests/benchmarks --docs

syscalls:  ## kill -9, a full and a broken disk at every call that changes the disk: minutes
	NBPIPE_SYSCALLS_EVERY=1 NBPIPE_REQUIRE_STRACE=1 $(PYTHON) -m pytest -s tests/faults/test_syscalls.py

machine:  ## the life of a project, at random; LIVES=… says how many
	NBPIPE_MACHINE_EXAMPLES=$(or $(LIVES),500) $(PYTHON) -m pytest -s tests/faults/test_machine.py -k thousands

fuzz:  ## every reader on broken files, at random; INPUTS=… says how many for each
	NBPIPE_FUZZ_EXAMPLES=$(or $(INPUTS),5000) $(PYTHON) -m pytest -s tests/faults/test_fuzz.py
