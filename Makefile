# The façade; everything real is in CMake and in tests/run.
BUILD ?= build
JOBS ?= $(shell nproc)
STORY ?= healthy

.PHONY: all deps build demo test test-quick fuzz e2e bench lint format clean

all: build

# Debian packages that are missing, from packages.txt.
deps:
	@tools/deps packages.txt

$(BUILD)/dev/build.ninja: CMakeLists.txt CMakePresets.json
	@cmake --preset dev >/dev/null

build: deps $(BUILD)/dev/build.ninja
	@cmake --build $(BUILD)/dev -j $(JOBS)

demo: build
	@python3 tests/sim/demo.py --story $(STORY) --build $(BUILD)/dev

# Checks, unit, scenario and integration tests; plain, ASan+UBSan and TSan.
test: deps
	@python3 tests/run --presets dev,asan,tsan

# The same without the sanitizer builds.
test-quick: deps
	@python3 tests/run --presets dev

# The readers of what others write, one minute each (FUZZ_SECONDS) from the corpus that is kept here.
fuzz: deps
	@tools/deps tests/fuzz/packages.txt
	@tests/fuzz/run

e2e: build
	@tests/e2e/run

bench: deps
	@cmake --preset release >/dev/null && cmake --build $(BUILD)/release -j $(JOBS) && python3 tests/bench/run --build $(BUILD)/release

lint: deps
	@tools/lint

format:
	@git ls-files '*.c' '*.h' | xargs clang-format-14 -i

clean:
	rm -rf $(BUILD)
