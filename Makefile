# Every target does its own set-up: a machine with Python 3.11+ and a shell is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# what is imported is compiled once: without this, some containers compile it in every process
unexport PYTHONDONTWRITEBYTECODE

.PHONY: venv demo test test-all test-quick test-lowest lint check docs notebooks figures clean

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or later is needed; {sys.executable} is {sys.version.split()[0]} (make PYTHON=... chooses another)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,docs,notebooks,peft,quantized]'
	@touch $(STAMP)

# the main job: sweep every layer of two shipped models, write records, figures and a table
demo: venv
	$(BIN)/python -m experiments.demo

# one thread a test, one worker a core; what the tests of a file share is made once
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# every call of the quick half is checked against its annotations
test: venv
	$(PYTEST) -m "not slow"
	INTERP_TYPE_CHECKS=off $(PYTEST) -m slow

# every combination of what the tests above thin out, and type checks on every call
test-all: venv
	$(PYTEST) --every-combination

lint: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

check: lint test

# the half of the tests that is quick
test-quick: venv
	$(PYTEST) -m "not slow"

# the lowest versions that pyproject.toml allows, in an environment of their own
test-lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt --editable '.' pytest pytest-xdist hypothesis beartype
	.venv-lowest/bin/python -m pytest --numprocesses auto -m "not slow"

# the documentation, as HTML in build/site; a broken link or an unknown name is an error
docs: venv
	DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --quiet

# run each notebook from top to bottom; a failing cell fails the target, the files stay as they are
notebooks: venv
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --nbmake --nbmake-timeout=900 -p no:warnings notebooks

# draw the figures of the demo again from its records; no model is loaded
figures: venv
	$(BIN)/python -m experiments.demo --figures-only

clean:
	rm -rf $(VENV) .venv-lowest build dist *.egg-info
