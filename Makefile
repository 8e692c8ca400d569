# The few commands of this repository. `make` alone lists them.
#
# Everything runs in .venv, made from the exact versions in requirements/lock.txt.
# Variables: PYTHON=python3.12, TEST=tests/core, WORKERS=4, NAME=gate QUICK=1, RECIPE=smoke.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
INSTALLED := $(VENV)/.installed
RECIPE ?= button-press
WORKSPACE ?= demo
WORKERS ?= 2
TOGETHER = --numprocesses $(WORKERS) --dist loadfile

# One thread: the work is many small operations, and two cores are shared by two processes.
export OMP_NUM_THREADS ?= 1
export LP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help
help: ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: demo
demo: $(INSTALLED) system ## Watch the loop turn: learn, judge, promote (about ten minutes)
	$(BIN)/loopwright run $(RECIPE) --workspace $(WORKSPACE)

.PHONY: test
test: $(INSTALLED) system ## Run the quick tests (TEST=tests/core for a part)
	$(BIN)/pytest $(TOGETHER) $(TEST)

# pytest exits with 5 when no test carries the mark; that is no failure here.
.PHONY: slow
slow: $(INSTALLED) system ## Run the tests that take longer
	$(BIN)/pytest $(TOGETHER) -m 'slow and not alone and not gpu' $(TEST) || [[ $$? -eq 5 ]]
	$(BIN)/pytest -m 'slow and alone and not gpu' $(TEST) || [[ $$? -eq 5 ]]

# What it finds stays in .hypothesis; the next one tries that first.
.PHONY: explore
explore: $(INSTALLED) system ## Try examples nobody has tried on every law (TEST=tests/robot)
	$(BIN)/pytest --hypothesis-profile=explore $$(grep -rl --include='test_*.py' hypothesis $(or $(TEST),tests))

# Ruff's cache remembers how an import was sorted before a module of ours appeared: not used.
.PHONY: check
check: $(INSTALLED) ## Lint, format, types, import directions, committed text, safety rules
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python tools/check_text.py
	$(BIN)/python tools/check_rules.py

.PHONY: bench
bench: $(INSTALLED) system ## Run one benchmark: make bench NAME=gate [QUICK=1]
	@if [[ ! -f "benchmarks/$(NAME).py" ]]; then \
	  echo "NAME=$(NAME) is no benchmark; there are:" >&2; \
	  grep -l __main__ benchmarks/*.py | sed 's|benchmarks/\(.*\)\.py|  make bench NAME=\1|' >&2; \
	  exit 2; \
	fi
	QUICK="$(QUICK)" $(BIN)/python -m benchmarks.$(NAME)

.PHONY: readme
readme: $(INSTALLED) ## Fill the numbers of README.md from benchmarks/results
	$(BIN)/python tools/fill_readme.py

.PHONY: results
results: $(INSTALLED) ## Write docs/results (tables and plots) from benchmarks/results
	$(BIN)/python tools/show_results.py

.PHONY: reference
reference: $(INSTALLED) ## Write docs/reference from the code
	$(BIN)/python tools/make_reference.py

# A judge of its own: LeRobot asks for another torch than ours, so it never enters $(VENV).
.PHONY: lerobot-venv
lerobot-venv: ## Install LeRobot beside ours, to judge our exports (then: make slow)
	tools/lerobot_venv.sh .lerobot-venv

.PHONY: install
install: $(INSTALLED) system ## Set up .venv and the system libraries, nothing else

.PHONY: system
system:
	@tools/system_packages.sh

.PHONY: lock
lock: $(INSTALLED) ## Pin what is installed in .venv now
	$(BIN)/python tools/freeze.py > requirements/lock.txt.new
	mv requirements/lock.txt.new requirements/lock.txt

.PHONY: clean
clean: ## Remove .venv and caches (never a workspace)
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(BIN)/python:
	@if [[ -z "$(PYTHON)" ]]; then echo "no python3 found; install Python 3.11" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is too old; Python 3.11 or newer: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  tools/system_packages.sh "$$($(PYTHON) -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')"
	@echo "==> 1/4 virtual environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)

# torch first and alone: with an exact version pip takes the build it is configured to prefer,
# and what depends on torch later finds it there (docs/guides/install.md).
$(LOCKED): requirements/lock.txt | $(BIN)/python
	@echo "==> 2/4 $$(grep '^torch==' requirements/lock.txt)"
	$(BIN)/python -m pip install "$$(grep '^torch==' requirements/lock.txt)"
	@echo "==> 3/4 the $$(grep -c == requirements/lock.txt) pinned packages of requirements/lock.txt"
	$(BIN)/python -m pip install --requirement requirements/lock.txt
	@touch $@

$(INSTALLED): $(LOCKED) pyproject.toml
	@echo "==> 4/4 loopwright, editable"
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	@touch $@
