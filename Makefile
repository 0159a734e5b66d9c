# The recipes that CI calls. PYTHON=… chooses the interpreter.
PYTHON ?= python3
PEER ?= $(HOME)/.cache/nbpipe-peer

.PHONY: check lint format types floors test core engines podman airflow databases r peer pythons kernels docs benchmarks syscalls machine fuzz

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

airflow:  ## exported DAGs in real Airflows, installed once; AIRFLOWS='3 2.11 2.10' says which: minutes
	NBPIPE_AIRFLOW="$(or $(AIRFLOWS),3)" $(PYTHON) -m pytest tests/test_airflow_runs.py

databases:  ## tables of DuckDB and of a PostgreSQL server; needs Debian's package postgresql
	NBPIPE_DATABASES=1 $(PYTHON) -m pytest tests/test_kinds_postgres.py tests/test_kinds_builds.py -k "real or fails or tables"

r:  ## R and R Markdown in a real R kernel; needs r-base-core and r-cran-irkernel, or the like
	NBPIPE_REQUIRE_R=1 $(PYTHON) -m pytest tests/test_kinds_kernels.py

peer:  ## the projects of tests/pipelines/compat built with Ploomber too; PEER=… says where that is
	test -x $(PEER)/bin/ploomber || ( $(PYTHON) -m venv $(PEER) && $(PEER)/bin/pip install -q \
		"ploomber==0.23.3" ipykernel "ipython<9" "setuptools<80" pandas sqlalchemy )
	NBPIPE_PEER=$(PEER) $(PYTHON) -m pytest tests/test_peer.py

podman:  ## the image, and tasks in containers: Argo's pods, AWS Batch's jobs; Debian's podman, root: minutes
	NBPIPE_PODMAN=1 $(PYTHON) -m pytest -m process tests/test_image.py tests/test_argo_walk.py \
		tests/test_batch_containers.py

pythons:  ## the core suite, kernels and parity on other Pythons of the PATH; PYTHONS='3.12 3.13': minutes
	set -e; for version in $(or $(PYTHONS),3.12 3.13); do \
		environment=$$(mktemp -d); trap 'rm -rf "$$environment"' EXIT; \
		"python$$version" -m venv "$$environment"; \
		"$$environment/bin/pip" install -q --disable-pip-version-check -e '.[test]'; \
		$(MAKE) core kernels PYTHON="$$environment/bin/python"; \
		rm -rf "$$environment"; \
	done

kernels:  ## forked kernels, and that they do as cold ones; part of test
	$(PYTHON) -m pytest tests/test_kernels.py tests/test_parity.py

docs:  ## the site, warnings as errors
	$(PYTHON) -m sphinx -W --keep-going -q -b html docs docs/_build/html

benchmarks:  ## nbpipe beside its peers, for the page of the docs: an hour or more, on a quiet machine
	$(PYTHON) tests/benchmarks --docs

syscalls:  ## kill -9, a full and a broken disk at every call that changes the disk: minutes
	NBPIPE_SYSCALLS_ALL=1 NBPIPE_REQUIRE_STRACE=1 $(PYTHON) -m pytest -s tests/faults/test_syscalls.py

machine:  ## the life of a project, at random; LIVES=… says how many
	NBPIPE_MACHINE_EXAMPLES=$(or $(LIVES),500) $(PYTHON) -m pytest -s tests/faults/test_machine.py -k "not few"

fuzz:  ## every reader on broken files, at random; INPUTS=… says how many for each
	NBPIPE_FUZZ_EXAMPLES=$(or $(INPUTS),5000) $(PYTHON) -m pytest -s tests/faults/test_fuzz.py
