# SPDX-License-Identifier: MIT
# The commands people type; CMake (CMakePresets.json) builds, root/image/build.py makes the disk.
MAKEFLAGS += --no-print-directory
JOBS ?= $(shell nproc)
CTEST = ctest --test-dir build/all --output-on-failure

.PHONY: help run test bench soak check clean setup image
.DEFAULT_GOAL := help

help: ## show this list
	@echo "Partita: a hypervisor of the Hyper-V architecture. make ..."
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: image ## boot the platform and one guest in QEMU (ONCE=1: no terminal, transcript, exit status)
	@tools/run $(if $(filter-out 0,$(ONCE)),--once)

test: build-asan build-gcc image build/all/CTestTestfile.cmake ## every build, unit tests, checks, boots; CTest's summary
	$(CTEST) -j $(JOBS)

bench: image ## instruction counts beside bare Linux and KVM; the I/O runtime beside its peers
	@tests/boot/bench.py
	@tests/bench/runtime.py

soak: build-asan build-gcc image build/all/CTestTestfile.cmake ## everything of "test" and everything slow (hours)
	$(CTEST) -j $(JOBS) -C soak

check: build-release ## format, lint, dependencies, image: what must hold for every commit
	@tools/check

clean: ## remove everything that was built
	rm -rf build

setup: ## install what is missing from Debian's packages
	@tools/setup

image: build-release ## build the root partition's disk (build/image)
	@root/image/build.py

build-%: setup
	@mkdir -p build; test -f build/$*/build.ninja || cmake --preset $* -Wno-dev >build/$*.log 2>&1 || { cat build/$*.log; exit 1; }
	@echo "---- building: $*"
	@cmake --build build/$* -j $(JOBS)

# One CTest run over all builds, so that one summary counts everything.
build/all/CTestTestfile.cmake: Makefile
	@mkdir -p build/all
	@printf 'subdirs("%s")\n' ../asan ../gcc ../release >$@
