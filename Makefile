# Two commands matter: `make demo` and `make test`. Both work on a fresh clone with Python 3.11 or newer.
PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || echo 2)
# One more: the worker with the tests on SLURM mostly waits.
WORKERS ?= $(shell expr $(CORES) + 1)
BIN := .venv/bin
DEMO := demo
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
# All cores at a time, which pip can't; some packages hold files of other Pythons.
COMPILE := $(BIN)/python -m compileall -qq -j $(CORES) .venv/lib || true
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test coverage check style types imports accuracy reliability documents lock clean

help:
	@echo "make setup   .venv with locked dependencies"
	@echo "make demo    a simulated plate through the whole pipeline to the report"
	@echo "make test    the checks and the whole test suite"

setup: .venv/ready

# torch first and alone: the same pin takes the build that fits the machine (CPU or CUDA).
.venv/ready: envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11; set PYTHON=python3.11 or newer"; exit 2; }
	$(PYTHON) -m venv .venv || { echo "error: no venv module; on Debian: apt-get install python3-venv"; exit 2; }
	$(INSTALL) torch==2.13.0
	$(INSTALL) --requirement envs/requirements.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@$(COMPILE)
	@touch $@

# Viewers without their dependencies: see envs/viewers.txt.
.venv/ready-dev: .venv/ready envs/requirements-dev.lock envs/viewers.txt
	$(INSTALL) --requirement envs/requirements-dev.lock
	$(INSTALL) --no-deps --requirement envs/viewers.txt
	@$(COMPILE)
	@touch $@

demo: setup
	@test -f $(DEMO)/sim_plate/truth/settings.json || { rm -rf $(DEMO)/sim_plate; $(BIN)/lysoquant simulate plate $(DEMO)/sim_plate --wells 8 --fields 1 --seed 1; }
	@test -f $(DEMO)/project/config/config.yaml || $(BIN)/lysoquant init $(DEMO)/sim_plate --output $(DEMO)/project --plate-map $(DEMO)/sim_plate/plate_map.csv
	@$(BIN)/lysoquant run $(DEMO)/project --cores $(CORES)
	@$(BIN)/lysoquant simulate compare $(DEMO)/sim_plate $(DEMO)/project

test: .venv/ready-dev check
	$(PYTEST) $(PYTEST_ARGS)

# The same tests, and which lines they run: a quarter longer.
coverage: .venv/ready-dev
	$(PYTEST) --cov --cov-report= $(PYTEST_ARGS)
	$(BIN)/python -m coverage report --fail-under=90

check: .venv/ready-dev
	@$(MAKE) --no-print-directory --jobs=$(CORES) --output-sync style types imports

style:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

imports:
	$(BIN)/lint-imports

# Every figure of docs/accuracy.md; about an hour on two cores.
accuracy: setup
	$(BIN)/lysoquant evaluate --data simulated --output accuracy/simulated
	$(BIN)/lysoquant evaluate --data outside --output accuracy/outside
	$(BIN)/lysoquant evaluate --data wide --output accuracy/wide
	$(BIN)/lysoquant evaluate --data rescaled --images 12 --output accuracy/rescaled
	$(BIN)/lysoquant benchmark accuracy --output accuracy/baselines
	$(BIN)/lysoquant benchmark adaptation --output accuracy/adaptation
	$(BIN)/python -m lysoquant.benchmark.page

# The table of docs/reliability.md: every fault, 30 kills of a whole run; half an hour on two cores. Root can mount the small disks.
FAULTS := tests/faults $(wildcard tests/fuzz tests/integration/test_slurm*.py) tests/workflow/test_benchmark_workflow.py \
	tests/workflow/test_doors.py::test_a_second_run_is_told_so_and_changes_nothing \
	tests/unit/test_segment_step.py::test_a_batch_that_was_halved_is_in_the_record_and_the_labels_are_those_of_the_smaller_one
reliability: .venv/ready-dev
	-LYSOQUANT_KILLS=30 LYSOQUANT_SLOW=1 $(BIN)/python -m pytest -q -o junit_family=legacy --junitxml=.faults.xml $(FAULTS)
	$(BIN)/python tests/faults/page.py .faults.xml

documents: .venv/ready
	$(BIN)/python -m lysoquant.config.document

clean:
	rm -rf .venv .faults.xml $(DEMO) accuracy .mypy_cache .ruff_cache .pytest_cache
