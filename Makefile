# kvnode: `make serve` runs a node, `make test` runs all tests. Both build what is missing.

PORT ?= 6379
DATA_DIR ?= ./data
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := $(wildcard kvnode/_core/*.pyx kvnode/_core/*.pxd kvnode/_core/*.pxi kvnode/_core/*.hpp) setup.py pyproject.toml

SEEDS ?= 300

.PHONY: build serve test test-debug test-asan sim bench bench-latency bench-big bench-start bench-idle
.PHONY: bench-big-collections bench-micro bench-twins bench-holdup bench-contention bench-quick
.PHONY: bench-failover bench-longscript bench-group perf-gate lint record clean check-tools

build: $(VENV)/.built

check-tools:
	@ci/check_tools $(PYTHON)

$(VENV)/.installed: pyproject.toml | check-tools
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check "setuptools>=77" wheel "Cython>=3.1,<4"
	@touch $@

$(VENV)/.built: $(VENV)/.installed $(SOURCES)
	@echo "building the native core"
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[test]'
	@touch $@

serve: build
	@$(BIN)/kvnode serve --port $(PORT) --data-dir $(DATA_DIR)

test: build
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal tests

lint: build
	@$(BIN)/ruff check kvnode tests bench ci setup.py

sim: build
	@$(BIN)/python -m tests.sim --seeds $(SEEDS)

test-debug:
	@ci/variant debug

test-asan:
	@ci/variant asan

bench: build
	@$(BIN)/python -m bench.ratio

bench-latency: build
	@$(BIN)/python -m bench.openloop

bench-big: build
	@$(BIN)/python -m bench.big

bench-big-collections: build
	@$(BIN)/python -m bench.big_collections

bench-start: build
	@$(BIN)/python -m bench.start

bench-idle: build
	@$(BIN)/python -m bench.idle

bench-micro: build
	@$(BIN)/python -m bench.micro.callgrind

bench-twins: build
	@$(BIN)/python -m bench.micro.twins

bench-holdup: build
	@$(BIN)/python -m bench.holdup

bench-contention: build
	@$(BIN)/python -m bench.contention

bench-longscript: build
	@$(BIN)/python -m bench.longscript

bench-failover: build
	@$(BIN)/python -m bench.failover

bench-group: build
	@$(BIN)/python -m bench.group

bench-quick: build
	@$(BIN)/python -m bench.ratio --quick
	@$(BIN)/python -m bench.openloop --quick
	@$(BIN)/python -m bench.big --keys 300000 --read-seconds 1
	@$(BIN)/python -m bench.big_collections --elements 100000 --maxmemory 32mb --seconds 0.3
	@$(BIN)/python -m bench.start --megabytes 20 --rounds 1
	@$(BIN)/python -m bench.idle --connections 500
	@$(BIN)/python -m bench.group --quick
	@$(BIN)/python -m bench.contention --pipelines 20 --rounds 2
	@$(BIN)/python -m bench.holdup --scale 0.03 --seconds 1
	@$(BIN)/python -m bench.longscript --quick --picture bench/out/long-script.svg
	@$(BIN)/python -m bench.failover --kills 2 --transfers 2

perf-gate: build
	@$(BIN)/python -m ci.perf_gate

record: build
	@$(BIN)/python -m tests.conformance.record
	@$(BIN)/python -m tests.conformance.record_calls

clean:
	rm -rf $(VENV) build kvnode/_core/*.so kvnode/_core/*.cpp
