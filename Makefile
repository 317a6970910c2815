# Everything a person or a CI runs here. `make` lists it.
# Each target prepares what it needs (lab/prepare) and costs seconds when nothing changed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

MUSL := x86_64-unknown-linux-musl
LAB := target/$(MUSL)/release/lab
TIERS ?= lint unit cluster

.PHONY: help demo demo-kpack test build images lint bench lab-up lab-down clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## roll three apps to new images under load, then lose requests with kubectl for comparison
	@if [[ -z "$${KUBECONFIG:-}" || -z "$${ROLLWAY_REGISTRY:-}" ]]; then lab/prepare machine; fi
	@$(MAKE) --no-print-directory build
	@if [[ -z "$${KUBECONFIG:-}" || -z "$${ROLLWAY_REGISTRY:-}" ]]; then lab/prepare lab; $(LAB) up; fi
	@$(LAB) demo

demo-kpack: ## let kpack patch three apps, and their pipelines roll them, under load
	@lab/prepare machine
	@$(MAKE) --no-print-directory build
	@lab/prepare lab
	@$(LAB) up --with kpack
	@$(LAB) demo-kpack

test: ## run every test tier that this machine can run, and say which it skipped (TIERS="lint unit" picks some)
	@tests/run $(TIERS)

build: ## build every binary: static musl, fat LTO, stripped
	@lab/prepare build
	cargo build --release --locked --target $(MUSL) --workspace --bins

images: build ## build the resource images as OCI archives in dist/ and check what is in them
	@lab/prepare images
	@resource/images

lint: ## check format, lints, documentation and dependencies
	@tests/run lint

bench: ## measure a check, a get and many versions beside crane and skopeo, and, as root on Linux, a rollout and the builds of kpack on the lab beside kubectl
	@lab/prepare machine
	@$(MAKE) --no-print-directory build
	@lab/prepare bench lab
	@bench/peers/build
	@bench/run
	@bench/get
	@bench/versions
	@bench/rollout/run
	@bench/kpack/run

lab-up: ## start the local cluster and registries and print how to use them (WITH=kpack starts kpack too)
	@lab/prepare machine
	@$(MAKE) --no-print-directory build
	@lab/prepare lab
	@$(LAB) up $(if $(WITH),--with $(WITH))

lab-down: ## stop the local cluster and leave nothing behind
	@if [[ -x $(LAB) ]]; then $(LAB) down; else echo "the lab was never built here, so there is nothing to stop"; fi

clean: lab-down ## stop the lab and delete what was built
	cargo clean
	rm -rf dist
