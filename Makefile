# Two commands do everything on a fresh machine: `make demo` and `make test`.
# setup builds .venv with all that is needed; lint, bench, sanitize and clean are for developers.

PYTHON ?= python3
TORCH ?= torch==2.13.0
LOCKED_EXTRAS := train,onnx,plots,numba,dev
EXTRAS ?= $(LOCKED_EXTRAS)

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCK := requirements/lock.txt
NATIVE = $(shell find csrc tests -name '*.[ch]pp' -o -name '*.cu')
SYSTEM_PACKAGES := g++ python3-dev python3-venv libjpeg-dev

.DEFAULT_GOAL := help
.PHONY: help system setup build demo test test-deep test-all chaos lock audit lint format bench sanitize tsan \
  fuzz clean

help:
	@echo "make demo      set up, build, and run the whole pipeline on the sample dataset (about 4 minutes)"
	@echo "make test      set up, build, and run the tests (about 4 minutes)"
	@echo "make test-all  these, and the deep tests: sanitizers, fuzz targets, kills, the wheel, fresh seeds"
	@echo "make chaos     attack everything for about 20 minutes: kills, bombs, odd names, flipped bytes"
	@echo "make lock      choose the versions that setup installs anew, after a change of pyproject.toml"
	@echo "make audit     look these versions up in the database of known vulnerabilities"
	@echo "make lint      formatting, lint, types and layer rules"
	@echo "make bench     measure the kernels against OpenCV and rewrite the README table"
	@echo "make sanitize  run the kernel tests, fuzz targets and the engine under ASan and UBSan"
	@echo "make tsan      run the engine under ThreadSanitizer"
	@echo "make fuzz      search for inputs that break TARGET (fuzz_jpeg) for SECONDS (60); needs clang"
	@echo "make clean     remove everything that was built (not runs/)"

# The interpreter, then the compiler and headers: what is missing is named, and installed by apt when we may.
PYTHON_IS_RECENT = $(PYTHON) -c 'import sys; version = sys.version_info[:2]; version >= (3, 11) or sys.exit( \
  "$(PYTHON) is Python %d.%d, and yolofast needs 3.11 or newer. Install one and name it, such as: " \
  "make setup PYTHON=python3.12" % version)'
MISSING = \
  if ! command -v $(CXX) >/dev/null; then echo "  a C++ compiler ($(CXX))"; \
  elif ! printf '\#include <stdio.h>\n\#include <jpeglib.h>\n' | $(CXX) -E -x c++ - >/dev/null 2>&1; then \
    echo "  the headers of libjpeg"; fi; \
  $(PYTHON) -c 'import ensurepip' 2>/dev/null || echo "  Python with its venv module ($(PYTHON))"; \
  $(PYTHON) -c 'import os, sysconfig, sys; \
    sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null \
    || echo "  the headers of Python"
system:
	@! command -v $(PYTHON) >/dev/null || $(PYTHON_IS_RECENT)
	@missing=$$($(MISSING)); test -z "$$missing" || { \
	  printf 'Missing to build yolofast:\n%s\n' "$$missing" >&2; \
	  if ! command -v apt-get >/dev/null; then \
	    echo "Install what your system calls: $(SYSTEM_PACKAGES)" >&2; exit 1; \
	  elif [ "$$(id -u)" != 0 ] || [ "$(YOLOFAST_APT)" = 0 ]; then \
	    echo "Install it, then run make again:" >&2; \
	    echo "    sudo apt-get install -y $(SYSTEM_PACKAGES)" >&2; exit 1; \
	  fi; \
	  echo "Installing it as root (YOLOFAST_APT=0 forbids that): apt-get install -y $(SYSTEM_PACKAGES)" >&2; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(SYSTEM_PACKAGES); }
	@$(PYTHON_IS_RECENT)

# Everything comes from the lock file, with hashes and as wheels (nothing is built but our own kernels), except
# torch: see requirements/setup.in. Other EXTRAS than the locked get the locked versions as far as they go.
ifeq ($(EXTRAS),$(LOCKED_EXTRAS))
FROM_LOCK = --require-hashes --no-deps --only-binary :all: -r $(LOCK)
WITH_EXTRAS = --no-deps -e .
else
VERSIONS = build/versions.txt
FROM_LOCK = -c $(VERSIONS) --upgrade pip setuptools wheel Cython numpy
WITH_EXTRAS = -c $(VERSIONS) -e ".[$(EXTRAS)]"
endif
$(READY): pyproject.toml $(LOCK)
	$(MAKE) --no-print-directory system
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifdef VERSIONS
	mkdir -p $(@D) $(dir $(VERSIONS))
	grep == $(LOCK) | tr -d '\\' > $(VERSIONS)
endif
	@echo "downloading packages: a minute or more"
	$(BIN)/python -m pip install -q $(FROM_LOCK)
	$(BIN)/python -m pip install -q "$(TORCH)"
	@echo "building the kernels: about a minute (some minutes more where nvcc is)"
	$(BIN)/python -m pip install -q --no-build-isolation $(WITH_EXTRAS)
	touch $@

setup: build

build: $(READY)
	@$(BIN)/python setup.py -q build_ext --inplace

demo: build
	$(BIN)/yolofast demo

# What a change can break, in a few minutes.
test: build
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not deep and not chaos"

# What takes long: sanitized fuzz programs, CUDA in emulation, killed processes, the wheel, property tests with
# fresh seeds.
test-deep: build
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "(deep or hypothesis) and not chaos" --hypothesis-profile=deep

test-all: test test-deep

# Attacks by the hundred: random kills, hostile archives, odd names, byte flips, runs side by side. A minute each,
# or YOLOFAST_CHAOS_SECONDS (0: all tries); see tests/support/chaos.py and benchmarks/chaos_table.py.
chaos: build
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m chaos -rA tests

# One lock file for every Python and processor that has wheels. A version stays while it fits; LOCK_FLAGS=--upgrade
# takes the newest of each, LOCK_FLAGS="--upgrade-package NAME" of one. uv and pip-audit get environments of
# their own: neither is needed to build or test.
LOCK_FLAGS ?=
comma := ,
lock:
	test -x build/uv/bin/uv || { $(PYTHON) -m venv build/uv && build/uv/bin/pip install -q uv==0.13.9; }
	echo "torch ; python_version < '3'" > build/no-torch.txt
	build/uv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --only-binary :all: \
	  --override build/no-torch.txt -c requirements/floors.txt $(LOCK_FLAGS) \
	  --custom-compile-command "make lock" --no-emit-index-url \
	  pyproject.toml requirements/setup.in $(patsubst %,--extra %,$(subst $(comma), ,$(LOCKED_EXTRAS))) -o $(LOCK)

audit:
	test -x build/audit/bin/pip-audit || \
	  { $(PYTHON) -m venv build/audit && build/audit/bin/pip install -q pip-audit==2.10.1; }
	@build/audit/bin/python requirements/audit.py $(LOCK) "$(TORCH)"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH=$(BIN):$$PATH cython-lint yolofast
	$(BIN)/clang-format --dry-run --Werror $(NATIVE)
	$(BIN)/lint-imports --no-cache

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(NATIVE)

bench: build
	$(BIN)/python benchmarks/run_kernels.py
	$(BIN)/python benchmarks/readme_table.py

# The kernel tests on an ASan + UBSan build of the native modules, made apart in build/sanitize; then the
# fuzz targets, replayed over CORPUS, and the engine under load.
CORPUS ?= tests
CHECKED_TESTS := tests/kernels tests/parity/test_hostile_jpeg.py tests/parity/test_evaluate_coco.py \
  tests/evaluate/test_coco_files.py
PROGRAMS := build/native
sanitize: $(READY)
	YOLOFAST_SANITIZE=1 YOLOFAST_CUDA=0 $(BIN)/python setup.py -q build --build-lib build/sanitize
	PYTHONPATH=build/sanitize LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1 YOLOFAST_SANITIZE=1 \
	  $(BIN)/pytest -q -p no:cacheprovider $(CHECKED_TESTS) --ignore tests/kernels/test_fuzz_smoke.py \
	  --ignore tests/kernels/test_fuzz_bytes.py --ignore tests/kernels/test_import.py
	$(BIN)/python csrc/native.py programs --variant address
	set -e; for program in $(PROGRAMS)/address/programs/fuzz_*; do "$$program" $(CORPUS); done
	$(PROGRAMS)/address/programs/stress_engine build/stress

# The engine under load with ThreadSanitizer.
tsan: $(READY)
	$(BIN)/python csrc/native.py programs --variant thread stress_engine
	$(PROGRAMS)/thread/programs/stress_engine build/stress

# A fuzz target with libFuzzer. It begins with small files of ours and those in SEEDS (folders), and keeps what
# leads it on in build/fuzz/TARGET; an input that breaks it is written to build/fuzz.
TARGET ?= fuzz_jpeg
SECONDS ?= 60
SEEDS ?=
fuzz: $(READY)
	$(BIN)/python csrc/native.py programs --variant fuzzer $(TARGET)
	mkdir -p build/fuzz/$(TARGET)
	PYTHONPATH=.:tests $(BIN)/python -m support.fuzz_seeds build/fuzz/seeds
	$(PROGRAMS)/fuzzer/programs/$(TARGET) -max_total_time=$(SECONDS) -max_len=8192 -timeout=10 -rss_limit_mb=2048 \
	  -artifact_prefix=build/fuzz/ build/fuzz/$(TARGET) build/fuzz/seeds $(SEEDS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find yolofast -name '_*.cpp' -delete -o -name '*.so' -delete
	find yolofast tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
