# Everything that builds, checks or generates. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# When the commit was made, in seconds since 1970.
CREATED  ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

# The version is stamped here and not by go build, which fails in a checkout
# that belongs to somebody else, as those of CI often do.
export GOFLAGS += -buildvcs=false

MODULES := . image lab tools
TOOLS   := $(CURDIR)/.cache/tools

# Where `make generate` writes.
GENERATED := api config/crd config/rbac/role.yaml docs/reference

##@ Build

# Where programs and the image go.
BIN ?= $(CURDIR)/bin

# The same bytes for the same commit and Go, in whatever folder.
BUILD := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION) -X main.revision=$(REVISION)'

.PHONY: build
build: ## Build bin/tgc, and bin/tgc-wait, which it puts into pods
	$(BUILD) -o $(BIN)/ ./cmd/tgc ./cmd/tgc-wait

ARCHITECTURES := amd64 arm64

.PHONY: image
image: ## Build the container image for all architectures, as the OCI layout bin/image
	rm -rf $(BIN)/image
	for arch in $(ARCHITECTURES); do GOOS=linux GOARCH=$$arch $(BUILD) -o $(BIN)/linux/$$arch/ ./cmd/tgc ./cmd/tgc-wait; done
	cd image && go run ./cmd/tgc-image -version '$(VERSION)' -revision '$(REVISION)' -created '$(CREATED)' \
		-output $(BIN)/image -push '$(IMAGE)' $(ARCHITECTURES:%=$(BIN)/linux/%)

.PHONY: push
push: ## Build the image and push it: make push IMAGE=registry.example/tgc:v1
	@[ -n '$(IMAGE)' ] || { echo "name the image: make push IMAGE=registry.example/tgc:v1"; exit 1; }
	@$(MAKE) --no-print-directory image IMAGE='$(IMAGE)'

# The lab is run by no `go run`, which would stay between it and Ctrl-C. An
# interrupted go build leaves its temporary files, so they get a place of our own.
.PHONY: demo
demo: ## Run a whole cluster, the simulator and the controller on this machine
	@mkdir -p .cache/bin; temp=$$(mktemp -d); ticker=; \
	trap 'kill $$ticker 2>/dev/null || true; rm -rf "$$temp"' EXIT; \
	( for ((s = 1;; s++)); do sleep 1; if ((s == 2 || s % 10 == 0)); then \
		echo "building the lab (the first time takes minutes) ... $${s} s"; fi; done ) & ticker=$$!; \
	(cd lab && GOTMPDIR="$$temp" go build -o ../.cache/bin/lab ./cmd/lab); \
	trap - EXIT; kill $$ticker; wait $$ticker 2>/dev/null || true; rm -rf "$$temp"; \
	cd lab && exec ../.cache/bin/lab demo $(ARGS)

.PHONY: demo-once
demo-once: ## Run the demo once through, and fail if an act does not end as it should
	@$(MAKE) --no-print-directory demo ARGS=--once

.PHONY: clean
clean: ## Remove what was built, tools included
	rm -rf bin .cache

##@ Check

.PHONY: test
test: test-main test-lab ## Run all tests. The first run builds a Kubernetes control plane: minutes

.PHONY: test-main
test-main: ## Run the tests that need no cluster: seconds
	go test -race -timeout 30m ./...
	cd image && go test -race -timeout 30m ./...

.PHONY: test-lab
test-lab: test-cluster test-load ## Run the tests against a real control plane, built from source on first use

# Suites that send requests, of which none may be lost, or run whole nodes. Each
# has the machine for itself.
LOAD := ./losses ./realnode

.PHONY: test-cluster
test-cluster: ## Run those of them that can share the machine
	cd lab && go test -timeout 30m $$(go list ./... | grep -v $(LOAD:./%=-e '/%$$'))

.PHONY: test-load
test-load: ## Run those of them that need it for themselves
	cd lab && go test -p 1 -timeout 30m $(LOAD)

.PHONY: lint
lint: $(TOOLS)/golangci-lint ## Run the linters on all modules with code
	@status=0; for module in . image lab; do \
		echo "golangci-lint: $$module"; (cd $$module && $(TOOLS)/golangci-lint run ./...) || status=1; \
	done; exit $$status

.PHONY: format
format: $(TOOLS)/golangci-lint ## Format the code and sort its imports
	for module in . image lab; do (cd $$module && $(TOOLS)/golangci-lint fmt ./...); done

.PHONY: verify
verify: verify-generated verify-modules verify-vulnerabilities ## Check that what is committed is complete, tidy and not known to be vulnerable

.PHONY: verify-generated
verify-generated: generate ## Check that the generated files are committed
	@changed="$$(git status --porcelain -- $(GENERATED))"; \
	if [ -n "$$changed" ]; then \
		git --no-pager diff -- $(GENERATED); \
		echo "These files differ from what is committed. Commit them:"; echo "$$changed"; exit 1; \
	fi

.PHONY: verify-modules
verify-modules: ## Check that each go.mod and go.sum is tidy
	for module in $(MODULES); do (cd $$module && go mod tidy -diff) || { echo "run: cd $$module && go mod tidy"; exit 1; }; done

# The database of known vulnerabilities is on the internet. Without it nothing
# can be said, and a build machine without internet should not fail for that.
.PHONY: verify-vulnerabilities
verify-vulnerabilities: $(TOOLS)/govulncheck ## Look for known vulnerabilities that the code can reach
	@status=0; report="$$($(TOOLS)/govulncheck ./... 2>&1)" || status=$$?; echo "$$report"; \
	if [[ $$status != 0 && $$report == *"fetching vulnerabilities"* ]]; then \
		echo "SKIPPED: the vulnerability database cannot be reached, so nothing was checked"; \
	else exit $$status; fi

##@ Generate

.PHONY: generate
generate: $(TOOLS)/controller-gen ## Write deep copies, CRDs, RBAC and reference docs from the code
	$(TOOLS)/controller-gen object crd paths=./api/... output:crd:dir=config/crd
	$(TOOLS)/controller-gen rbac:roleName=tgc paths=./internal/... output:rbac:dir=config/rbac
	go generate ./...

.PHONY: help
help:
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  %-24s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Tools are built once, at the versions of tools/go.mod.
$(TOOLS)/golangci-lint: PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(TOOLS)/controller-gen: PACKAGE := sigs.k8s.io/controller-tools/cmd/controller-gen
$(TOOLS)/govulncheck: PACKAGE := golang.org/x/vuln/cmd/govulncheck

$(TOOLS)/%: tools/go.mod tools/go.sum
	@mkdir -p $(@D)
	cd tools && go build -o $@ $(PACKAGE)
	@touch $@
