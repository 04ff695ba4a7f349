# `make demo` and `make test` set up everything they need; both can be run again at any time.
PYTHON ?= python3
CORES ?= $(shell $(PYTHON) -c 'import os; print(os.cpu_count())')
BIN := .venv/bin
# Names are UTF-8 whatever the locale says.
export PYTHONUTF8 := 1
# Snakemake keeps a cache at home; where that cannot be written, here.
CACHE := "$${XDG_CACHE_HOME:-$$HOME/.cache}"
ifneq ($(shell mkdir -p $(CACHE) 2>&1 && test -w $(CACHE) || echo no),)
export XDG_CACHE_HOME := $(CURDIR)/.cache
endif
# A module's tests stay in one process, which makes their fixtures once.
PARALLEL := --numprocesses auto --maxprocesses 8 --dist loadscope --no-loadscope-reorder
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)

.PHONY: demo test test-media lint format clean

demo: .venv/ready
	$(SNAKEMAKE) demo_corpus
	$(SNAKEMAKE) all

test: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/mkdocs build --strict --quiet
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest $(PARALLEL)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered --fail-under=85

# The tests that touch media, with another ffmpeg than the bundled one.
FFMPEG ?= ffmpeg
test-media: .venv/ready-dev
	LIPSYNC_FFMPEG='$(FFMPEG)' $(BIN)/python -m pytest $(PARALLEL) -m media

lint: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/snakemake --lint

format: .venv/ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

# The virtual environment is made again when the pinned dependencies change.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train]'
	touch $@

.venv/ready-dev: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .snakemake results site
