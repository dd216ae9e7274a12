# `make help` lists what there is. Every environment is made from nothing, by
# pip's own settings (index, proxy), and again only if its requirements change.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
VENV_CLASSIC ?= .venv-classic
VENV_ONEDL ?= .venv-onedl
# A folder that may hold a compiled mmcv 2.1.0 wheel for the classic stack.
WHEELS ?= ../shared/wheels
# More options for every `pip install`, and for every pytest.
PIP_FLAGS ?=
PYTEST_FLAGS ?=
# Tests run in this many processes of one thread each; 2 GB of memory for each.
TEST_PROCESSES ?= 2
# Changed files and command lines of `make fuzz`; called again, it goes on.
FUZZ_CASES ?= 12000

R := requirements
# -qq: errors only; the warnings are about indexes and build back ends, not about us.
PIP_INSTALL := -m pip install -qq --no-compile --disable-pip-version-check $(PIP_FLAGS)
# Gigabytes come over networks that drop connections. pip takes a broken download up
# where it stopped (from 25.1 on; an older one passes over the name), and where that is
# not enough all of it is tried three times: $(call pip,VENV,ARGUMENTS).
export PIP_RESUME_RETRIES ?= 20
define pip
for attempt in 1 2 3; do \
  $(1)/bin/python $(PIP_INSTALL) $(2) && break; \
  test $$attempt -lt 3 || { echo "pip has failed three times; its last message above says why" >&2; exit 1; }; \
  echo "  pip failed; once more in $${attempt}0 s" >&2; sleep $${attempt}0; \
done
endef
# A file's tests share its trained model or export, so a file is not divided; the long
# files come first (tests/conftest.py), which xdist's own order by number would undo.
PYTEST = -m pytest -q -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS)
EDITABLE := --no-deps --no-build-isolation --editable .
STAMP := .mmyolonas-stamp
# Python 3.10 has pins of its own: scipy, onnxruntime and others have left it.
CONSTRAINTS := $(R)/constraints$(shell $(PYTHON) -c 'import sys; print("-3.10" * (sys.version_info < (3, 11)))' 2>/dev/null).txt

# Packages are installed without bytecode (it is slow); the first start of each
# writes what it needs, and every later one is 20 seconds shorter.
unexport PYTHONDONTWRITEBYTECODE

# Two test processes with two threads each would wait for each other.
test test-fast test-slow fuzz test-classic test-onedl: export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help env env-classic env-onedl quickstart quickstart-pose test test-fast test-slow fuzz \
        test-classic test-onedl lint docs lock doctor

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | \
	  awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

env: $(VENV)/$(STAMP)  ## Make .venv with everything (about two minutes)

$(VENV)/$(STAMP): pyproject.toml $(R)/default.in $(R)/docs.in $(R)/nodeps.txt $(CONSTRAINTS)
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(call pip,$(VENV),--upgrade pip)
	@echo "  torch, MMDetection, runtimes, quantiser (the long one)"
	@$(call pip,$(VENV),-c $(CONSTRAINTS) -r $(R)/default.in)
	@echo "  MMPose, MMDeploy, mmyolonas"
	@$(call pip,$(VENV),--no-deps --no-build-isolation -r $(R)/nodeps.txt)
	@$(call pip,$(VENV),$(EDITABLE))
	@touch $@
	@echo "Done: $(VENV)/bin/python -m mmyolonas.doctor tells what is in it"

env-classic: $(VENV_CLASSIC)/$(STAMP)  ## Make .venv-classic: torch 2.1.2, numpy 1.26, compiled mmcv

$(VENV_CLASSIC)/$(STAMP): pyproject.toml $(R)/classic.in $(R)/classic-constraints.txt
	@echo "Making $(VENV_CLASSIC) with $$($(PYTHON) --version)"
	@test -x $(VENV_CLASSIC)/bin/python || $(PYTHON) -m venv $(VENV_CLASSIC)
	@$(call pip,$(VENV_CLASSIC),--upgrade pip)
	@$(call pip,$(VENV_CLASSIC),-c $(R)/classic-constraints.txt \
	  torch torchvision numpy setuptools wheel ninja)
	@export MMCV_WITH_OPS=1; $(call pip,$(VENV_CLASSIC),--find-links $(WHEELS) \
	  --no-build-isolation -c $(R)/classic-constraints.txt -r $(R)/classic.in)
	@$(call pip,$(VENV_CLASSIC),--no-deps mmpose==1.3.2 mmdeploy==1.3.1 xtcocotools==1.14.3)
	@$(call pip,$(VENV_CLASSIC),$(EDITABLE))
	@touch $@

env-onedl: $(VENV_ONEDL)/$(STAMP)  ## Make .venv-onedl: the OneDL forks with mmcv-lite

$(VENV_ONEDL)/$(STAMP): pyproject.toml $(R)/onedl.in $(CONSTRAINTS)
	@echo "Making $(VENV_ONEDL) with $$($(PYTHON) --version)"
	@test -x $(VENV_ONEDL)/bin/python || $(PYTHON) -m venv $(VENV_ONEDL)
	@$(call pip,$(VENV_ONEDL),--upgrade pip)
	@$(call pip,$(VENV_ONEDL),-c $(CONSTRAINTS) -r $(R)/onedl.in)
	@$(call pip,$(VENV_ONEDL),--no-deps mmcv-lite==2.2.0)
	@$(call pip,$(VENV_ONEDL),$(EDITABLE))
	@touch $@

quickstart: env  ## Sample data, training, evaluation, pictures: the whole road
	@$(VENV)/bin/python tools/quickstart.py

quickstart-pose: env  ## The same for poses, on generated figures
	@$(VENV)/bin/python tools/quickstart_pose.py

test: env  ## The fast tests in the default environment
	@$(VENV)/bin/python $(PYTEST)

# Without trainings, exports through MMDeploy and tools run as programs (marked `long`).
test-fast: env  ## The inner loop: what takes no seconds by itself
	@$(VENV)/bin/python $(PYTEST) -m "not slow and not long"

test-slow: env  ## The tests that take minutes
	@$(VENV)/bin/python $(PYTEST) -m slow

fuzz: env  ## Whatever goes in: 12,000 changed files and command lines, with figures (an hour)
	@$(VENV)/bin/python -m tests.fuzz.run --cases $(FUZZ_CASES)

test-classic: env-classic  ## The tests on torch 2.1.2, numpy 1.26, compiled mmcv 2.1.0
	@$(VENV_CLASSIC)/bin/python $(PYTEST)

test-onedl: env-onedl  ## The tests on the OneDL forks (no mmpose, no mmdeploy there)
	@$(VENV_ONEDL)/bin/python $(PYTEST)

lint: env  ## Style, types, and the floors of the house (pyproject.toml)
	@$(VENV)/bin/python -m ruff check .
	@$(VENV)/bin/python -m mypy
	@$(VENV)/bin/lint-imports --no-cache

docs: env  ## The documentation site, in site/index.html; a broken link stops it
	@$(VENV)/bin/python -c 'import mkdocs, mkdocstrings' 2>/dev/null || \
	  { echo "the site needs mkdocs-material and mkdocstrings, and these Python 3.11 (requirements/docs.in)" >&2; exit 1; }
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict 2>&1 | { grep -v ^INFO || true; }
	@echo "Done: site/index.html"

doctor: env  ## What is installed, repaired and missing
	@$(VENV)/bin/python -m mmyolonas.doctor

lock: env  ## Write requirements/constraints.txt from what .venv has
	@{ sed -n '/^#/p' $(CONSTRAINTS); \
	   $(VENV)/bin/python -m pip freeze --all --exclude-editable --exclude pip \
	     --exclude mmpose --exclude mmdeploy --exclude mmdeploy-runtime --exclude xtcocotools \
	 ; } > $(CONSTRAINTS).tmp && mv $(CONSTRAINTS).tmp $(CONSTRAINTS)
