# The front door: each target is one or two commands of CMake, CTest or a script.
# `make help` lists them. The real build is in CMakeLists.txt and CMakePresets.json.
#
#   JOBS=n    how many compilers and tests run at once (default: the cores)
#   PREFIX=d  where `make install` puts things (default: /usr/local)

JOBS ?= $(shell nproc)
PREFIX ?= /usr/local

PACKAGES = scripts/install_packages.sh
BUILD = cmake --build --parallel $(JOBS) --preset
TEST = ctest --parallel $(JOBS) --preset
# ThreadSanitizer's shadow memory collides with strong address randomisation on
# some kernels; where we may, we turn that off for the run.
NO_ASLR = $(shell setarch -R true 2>/dev/null && echo setarch -R)

.PHONY: help run test build debug bench bench-threads bench-engine bench-kernels \
        count-instructions format format-check \
        lint tsan asan fuzz helgrind perturb soak coverage arm64 check install clean

help: ## list the targets
	@echo 'make run              set up, build and run the shipped model on sixteen prompts'
	@echo 'make test             set up, build and run all tests'
	@echo
	@echo 'make build            the release build: library, program, examples, tests'
	@echo 'make debug            the tests with assertions on'
	@echo 'make asan             the tests under AddressSanitizer and UBSan'
	@echo 'make tsan             the tests under ThreadSanitizer'
	@echo 'make helgrind         the thread tests under helgrind'
	@echo 'make perturb          thread stress tests under PERTURB_SEEDS disturbed schedules'
	@echo 'make soak             64 callers on one engine for SOAK_SECONDS (default 600)'
	@echo 'make fuzz             each fuzz target for FUZZ_SECONDS (default 10)'
	@echo 'make arm64            cross-compiles for 64-bit ARM, and runs the tests in qemu'
	@echo 'make coverage         the tests with gcov; prints lines covered per file'
	@echo 'make bench            the benchmarks'
	@echo 'make bench-threads    our threads beside other pools, within five minutes'
	@echo 'make bench-engine     one caller and many, shipped model and one of the 2B shape'
	@echo 'make bench-kernels    each operation and whole steps beside the limits of the machine'
	@echo 'make count-instructions  what each operation takes, under callgrind'
	@echo 'make lint             clang: thread-safety analysis and clang-tidy'
	@echo 'make format           clang-format over all sources; format-check only tells'
	@echo 'make check            include rules, forbidden names, exports, headers'
	@echo 'make install          into PREFIX (default /usr/local); DESTDIR is honoured'
	@echo 'make clean            remove build/'

# A tree that was configured for the tests stays so; both share the objects.
run: ## set up, build and run the main job
	@$(PACKAGES) build
	@test -f build/release/build.ninja || cmake --preset release -DBITNET_TESTS=OFF
	@$(BUILD) release --target bitnet_cli
	build/release/bin/bitnet run --verify --file models/prompts.txt

build: ## the release build with tests
	@$(PACKAGES) build test
	@cmake --preset release -DBITNET_TESTS=ON
	@$(BUILD) release

test: build ## set up, build and run all tests
	$(TEST) release

debug: ## tests with assertions
	@$(PACKAGES) build test
	@cmake --preset debug && $(BUILD) debug
	$(TEST) debug

asan: ## AddressSanitizer and UndefinedBehaviorSanitizer
	@$(PACKAGES) build test
	@cmake --preset asan-ubsan && $(BUILD) asan-ubsan
	$(TEST) asan-ubsan

tsan: ## ThreadSanitizer
	@$(PACKAGES) build test
	@cmake --preset tsan && $(BUILD) tsan
	$(NO_ASLR) $(TEST) tsan

helgrind: ## helgrind on the thread pool's tests
	@$(PACKAGES) build test valgrind
	@cmake --preset debug && $(BUILD) debug
	scripts/run_valgrind.sh build/debug

perturb: ## stress tests with the threads held up here and there, for many seeds
	@$(PACKAGES) build test
	@cmake --preset perturb && $(BUILD) perturb --target test_thread_stress test_team_stress
	scripts/run_perturb.sh build/perturb $(or $(PERTURB_SEEDS),20)

soak: ## one engine for ten minutes, with callers that cancel, come late and leave
	@$(PACKAGES) build test
	@cmake --preset release -DBITNET_TESTS=ON && $(BUILD) release --target test_soak
	build/release/tests/test_soak 64 $(or $(SOAK_SECONDS),600)

fuzz: ## a short run of every fuzz target
	@$(PACKAGES) build test clang
	@cmake --preset fuzz && $(BUILD) fuzz --target tests/fuzz/all
	scripts/run_fuzz.sh build/fuzz $(or $(FUZZ_SECONDS),10)

coverage: ## which lines the tests reach
	@$(PACKAGES) build test coverage
	@cmake --preset coverage && $(BUILD) coverage
	@find build/coverage -name '*.gcda' -delete
	$(TEST) coverage
	gcovr --root . --filter src/ --filter apps/ build/coverage

arm64: ## the library, the program and the tests for 64-bit ARM, run in an emulator
	@$(PACKAGES) build test arm64
	@cmake --preset arm64 && $(BUILD) arm64
	$(TEST) arm64

bench: build ## the benchmarks
	@$(BUILD) release --target bench

bench-threads: ## the job queue and the compute team beside others
	@$(PACKAGES) build test bench
	@cmake --preset release -DBITNET_TESTS=ON
	@$(BUILD) release --target bench-threads

bench-engine: build ## one caller and many; makes a model of 1.2 GB the first time
	@$(BUILD) release --target bench-engine

bench-kernels: ## each operation; makes a model of 1.2 GB the first time
	@$(PACKAGES) build test
	@cmake --preset release -DBITNET_TESTS=ON
	@$(BUILD) release --target bench-kernels

count-instructions: ## of the kernels' hot loops, as docs/performance.md has them
	@$(PACKAGES) build test valgrind
	@cmake --preset release -DBITNET_TESTS=ON
	@$(BUILD) release --target bench_kernels
	scripts/count_instructions.py build/release/bench/kernels/bench_kernels

lint: ## what clang's analyses find
	@$(PACKAGES) build test clang
	@cmake --preset lint && $(BUILD) lint
	@run-clang-tidy-14 -quiet -j $(JOBS) -p build/lint '/(src|apps|examples)/'

format: ## rewrite the sources in the project's format
	@$(PACKAGES) clang
	scripts/format.sh

format-check: ## fail where `make format` would change something
	@$(PACKAGES) clang
	scripts/format.sh --check

check: build ## the rules that scripts can hold
	$(TEST) release --label-regex checks

install: ## library, headers, program and model
	@$(PACKAGES) build
	@test -f build/release/build.ninja || cmake --preset release -DBITNET_TESTS=OFF
	@$(BUILD) release --target bitnet bitnet_static bitnet_cli
	@cmake --install build/release --prefix $(PREFIX)

clean: ## forget everything built
	rm -rf build
