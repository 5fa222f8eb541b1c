# Two commands do everything on a fresh machine: `make demo` and `make test`.
# setup builds .venv with all that is needed; lint, bench, sanitize and clean are for developers.

PYTHON ?= python3
TORCH ?= torch==2.13.0
EXTRAS ?= train,onnx,plots,dev

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEP517 := setuptools wheel Cython numpy
NATIVE := $(wildcard csrc/core/*.[ch]pp csrc/core/*/*.[ch]pp csrc/cuda/*.cu csrc/cuda/*.[ch]pp csrc/torch/*.[ch]pp csrc/fuzz/*.[ch]pp)
SYSTEM_PACKAGES := g++ python3-dev python3-venv libjpeg62-turbo-dev

.DEFAULT_GOAL := help
.PHONY: help system setup build demo test lint format bench sanitize tsan clean

help:
	@echo "make demo      set up, build, and walk the whole road on the sample dataset (about 6 minutes)"
	@echo "make test      set up, build, and run the tests"
	@echo "make lint      formatting, lint, types and layer rules"
	@echo "make bench     measure the kernels against OpenCV and rewrite the README table"
	@echo "make sanitize  run the kernel tests, fuzz targets and the engine under ASan and UBSan"
	@echo "make tsan      run the engine under ThreadSanitizer"
	@echo "make clean     remove everything that was built (not runs/)"

# The compiler and headers: installed by apt when we may, else named.
system:
	@if ! { command -v g++ && printf '#include <stdio.h>\n#include <jpeglib.h>\n' | g++ -E -x c++ - \
	    && $(PYTHON) -c 'import ensurepip, os, sysconfig, sys; \
	       sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'; } \
	    >/dev/null 2>&1; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(SYSTEM_PACKAGES); \
	  else \
	    echo "Missing system packages. Install: $(SYSTEM_PACKAGES)" >&2; exit 1; \
	  fi; \
	fi

# torch comes first and alone: what follows then accepts it and asks for no other build of it.
$(READY): pyproject.toml
	$(MAKE) --no-print-directory system
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip $(PEP517)
	$(BIN)/python -m pip install -q "$(TORCH)"
	$(BIN)/python -m pip install -q --no-build-isolation -e ".[$(EXTRAS)]"
	touch $@

setup: build

build: $(READY)
	@$(BIN)/python setup.py -q build_ext --inplace

demo: build
	$(BIN)/yolofast demo

test: build
	$(BIN)/python -m pytest -q -n auto --dist loadfile

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
CHECKED := -std=c++20 -O1 -g -fno-sanitize-recover=all -DYOLOFAST_NO_MULTIVERSION -Icsrc/core
SANITIZE := $(CHECKED) -fsanitize=address,undefined,float-cast-overflow
CORPUS ?= tests
FUZZ := csrc/fuzz
JPEG := $(wildcard csrc/core/jpeg/*.cpp)
PICTURE := csrc/core/picture.cpp $(wildcard csrc/core/render*.cpp) $(JPEG)
NMS := $(addprefix csrc/core/,nms.cpp soft_nms.cpp postprocess.cpp)
HEADERS := $(addprefix csrc/core/,image_header.cpp tiff_header.cpp jpeg/header.cpp)
ENGINE := csrc/core/engine.cpp csrc/core/staging.cpp $(PICTURE)
sanitize: $(READY)
	rm -rf build/sanitize && mkdir -p build/sanitize && cp -r setup.py pyproject.toml README.md LICENSE yolofast csrc tests build/sanitize
	rm -f build/sanitize/yolofast/*/*.so
	cd build/sanitize && YOLOFAST_SANITIZE=1 $(CURDIR)/$(BIN)/python setup.py -q build_ext --inplace
	cd build/sanitize && LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1 \
	  YOLOFAST_DATA="$${YOLOFAST_DATA:-$(CURDIR)/../shared/data}" $(CURDIR)/$(BIN)/python -m pytest -q -p no:cacheprovider tests/kernels \
	  tests/parity/test_hostile_jpeg.py tests/parity/test_evaluate_coco.py tests/evaluate/test_coco_files.py --ignore tests/kernels/test_fuzz_smoke.py \
	  --ignore tests/kernels/test_fuzz_bytes.py --ignore tests/kernels/test_import.py
	g++ $(SANITIZE) $(FUZZ)/fuzz_jpeg.cpp $(FUZZ)/replay_main.cpp $(JPEG) -ljpeg -o build/replay_jpeg
	g++ $(SANITIZE) $(FUZZ)/fuzz_jpeg_differential.cpp $(FUZZ)/replay_main.cpp $(JPEG) -ljpeg -o build/replay_jpeg_differential
	g++ $(SANITIZE) $(FUZZ)/fuzz_jpeg_kernels.cpp $(FUZZ)/replay_main.cpp $(JPEG) -ljpeg -o build/replay_jpeg_kernels
	g++ $(SANITIZE) $(FUZZ)/fuzz_jpeg_restart.cpp $(FUZZ)/replay_main.cpp $(JPEG) -ljpeg -o build/replay_jpeg_restart
	g++ $(SANITIZE) $(FUZZ)/fuzz_picture.cpp $(FUZZ)/replay_main.cpp $(PICTURE) -ljpeg -o build/replay_picture
	g++ $(SANITIZE) $(FUZZ)/fuzz_labels.cpp $(FUZZ)/replay_main.cpp csrc/core/labels.cpp -o build/replay_labels
	g++ $(SANITIZE) $(FUZZ)/fuzz_headers.cpp $(FUZZ)/replay_main.cpp $(HEADERS) -o build/replay_headers
	g++ $(SANITIZE) -ffp-contract=off $(FUZZ)/fuzz_nms.cpp $(FUZZ)/replay_main.cpp $(NMS) -o build/replay_nms
	g++ $(SANITIZE) $(FUZZ)/fuzz_coco.cpp $(FUZZ)/replay_main.cpp $(wildcard csrc/core/coco/*.cpp) -o build/replay_coco
	g++ $(SANITIZE) $(FUZZ)/stress_engine.cpp $(ENGINE) -ljpeg -pthread -o build/stress_engine
	build/replay_jpeg $(CORPUS)
	build/replay_jpeg_differential $(CORPUS)
	build/replay_jpeg_kernels $(CORPUS)
	build/replay_jpeg_restart $(CORPUS)
	build/replay_picture $(CORPUS)
	build/replay_labels $(CORPUS)
	build/replay_headers $(CORPUS)
	build/replay_nms $(CORPUS)
	build/replay_coco $(CORPUS)
	build/stress_engine build/stress

# The engine under load with ThreadSanitizer.
tsan:
	mkdir -p build
	g++ $(CHECKED) -fsanitize=thread $(FUZZ)/stress_engine.cpp $(ENGINE) -ljpeg -pthread -o build/stress_tsan
	build/stress_tsan build/stress

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	rm -f yolofast/*/*.so yolofast/*/_*.cpp
	find yolofast tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
