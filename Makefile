# Everything a person types. Each target makes the virtual environment first when it is missing.
PYTHON3 ?= $(shell command -v python3.11 || command -v python3)
PYTHON := .venv/bin/python
CONFIG ?= tune_configs/masking/quickstart.yaml
RUN ?=

# Without an NVIDIA card on Linux the CPU wheel of torch is enough, and a tenth of the size. With a card, or on
# macOS (MPS), the wheel on PyPI is the right one. The same version in every case.
TORCH := $(shell grep '^torch==' constraints.txt)
ifeq ($(shell uname -s)-$(shell command -v nvidia-smi),Linux-)
TORCH_INDEX := --extra-index-url https://download.pytorch.org/whl/cpu
endif

.PHONY: setup lint format test test-slow demo clean status data train eval report wheel

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	test -x $(PYTHON) || $(PYTHON3) -m venv .venv
	$(PYTHON) -m pip install --quiet --retries 2 --no-deps -c constraints.txt $(TORCH_INDEX) '$(TORCH)'
	$(PYTHON) -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(PYTHON) -m rlcompress doctor
	touch $@

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

format: setup
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Unit tests first: they say within minutes what is wrong. Two at a time, each with a Ray of its own where it needs one:
# most of such a test is waiting for processes to start.
test: setup
	$(PYTHON) -m pytest -q -n 2 --dist loadscope -m "not slow and not ray and not learning"
	$(PYTHON) -m pytest -q -n 2 --dist loadfile -m "not slow and (ray or learning)"

test-slow: setup
	$(PYTHON) -m pytest -q -n 2 --dist loadfile -m slow

# Trains, evaluates and writes the report of a small run on this machine, without a network.
demo: setup
	$(PYTHON) -m rlcompress train tune_configs/masking/quickstart.yaml --overwrite

data: setup
	$(PYTHON) -m rlcompress data $(CONFIG)

train: setup
	$(PYTHON) -m rlcompress train $(CONFIG)

eval: setup
	$(PYTHON) -m rlcompress evaluate $(or $(RUN),$(error give RUN=runs/NAME))

report: setup
	$(PYTHON) -m rlcompress report $(or $(RUN),$(error give RUN=runs/NAME))

status: setup
	$(PYTHON) -m rlcompress status $(RUN)

# One study with several seeds; its results are committed under tests/benchmarks/results/.
study-%: setup
	$(PYTHON) -m tests.benchmarks.$*

# One timed comparison; its figures are ratios against a named baseline in the same run.
bench-%: setup
	$(PYTHON) -m tests.benchmarks.$*

wheel: setup
	$(PYTHON) -m build --wheel

# Runs are results and stay.
clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
