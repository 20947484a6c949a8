# Each target works as the first command on a fresh clone with Python 3.11, make and a C compiler.
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT ?= runs/quickstart

SHARED := $(realpath ../shared)
ifneq ($(SHARED),)
export REFERENCE_DIR ?= $(SHARED)/reference/runs
export DATA_DIR ?= $(SHARED)/data
export TIKTOKEN_CACHE_DIR ?= $(SHARED)/data/tiktoken_cache
endif

# One thread a process: every parallel thing here (trials, test workers) is a process. Bytecode is
# kept, also where a container's image says not to: tests start a thousand processes.
TEST_ENV := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_OFFLINE=1
# nproc heeds OMP_NUM_THREADS, which says nothing of processes.
# Two more than the cores: ranks, Slurm and kills wait for half of their time.
WORKERS ?= $(shell echo $$(($$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2>/dev/null || echo 2) + 2)))

.PHONY: quickstart test test-all soak lint check format gpu-check install clean

quickstart: $(STAMP)
	$(BIN)/python sweep.py experiment=quickstart out=$(OUT)

test: $(STAMP)
	$(TEST_ENV) $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not slow" $(PYTEST)

test-all: $(STAMP)
	$(TEST_ENV) $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --timeout 3600 $(PYTEST)

# The full run of docs/reliability.md, half an hour on two cores; stopped, it goes on where it was.
soak: $(STAMP)
	$(TEST_ENV) $(BIN)/python -m tests.soak $(SOAK)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Where there is no package index: python3 -m benchmarks.gpu_check (docs/gpu.md says with what).
gpu-check: $(STAMP)
	$(BIN)/python -m benchmarks.gpu_check $(GPU_CHECK)

install: $(STAMP)

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is $$($(PYTHON) -V), expected Python 3.11 or later; make PYTHON=..."; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c $(CONSTRAINTS) -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
