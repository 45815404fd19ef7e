# Targets of weir. Everything they need beyond Go, Python, Java, Maven, Node and gcc they install into .cache.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -X main.version=$(VERSION)
TOOL := go tool -modfile=hack/tools/go.mod
CACHE := $(CURDIR)/.cache
FUZZTIME ?= 8s
IMAGE ?= ghcr.io/weir-dev/weir:$(VERSION)
PLATFORMS ?= linux/amd64 linux/arm64
# Packages that several goroutines work in at once.
CONCURRENT := ./rsocket/... ./balancer/... ./client/... ./delta/... ./ingestor/...

export GOLANGCI_LINT_CACHE := $(CACHE)/golangci-lint

##@ Use

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' Makefile

.PHONY: build
build: ## Build bin/weir, one static file
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/weir ./cmd/weir

.PHONY: image
image: ## Write dist/weir-image.tar, an OCI archive for PLATFORMS, without a container engine; IMAGE is its name
	for platform in $(PLATFORMS); do \
		CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} go build -trimpath -buildvcs=false -ldflags '-s -w $(LDFLAGS)' \
			-o dist/image/$$platform/weir ./cmd/weir; \
	done
	go run ./hack/image -name $(IMAGE) -version $(VERSION) -revision "$$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
		-o dist/weir-image.tar $(foreach platform,$(PLATFORMS),$(platform)=dist/image/$(platform)/weir)

.PHONY: demo
demo: build ## Send real flights through an embedded pipeline and show the table
	bin/weir demo

##@ Test

.PHONY: test
test: export WEIR_REQUIRE_PEERS = 1
test: export WEIR_PYTHON = $(CACHE)/venv/bin/python
test: peers test-unit race fuzz-short test-system e2e ## Test everything that fits in 45 minutes on 2 cores

.PHONY: test-unit
test-unit: ## Test each package by itself
	go test -timeout 10m $$(go list ./... | grep -v /test/) ./test/arch ./test/data ./test/gen
	go -C hack/crd test ./...
	go -C test/peers/s3server test ./...

.PHONY: race
race: ## Test the concurrent packages under the race detector
	go test -race -timeout 15m $(CONCURRENT)

.PHONY: fuzz-short
fuzz-short: ## Fuzz every target for FUZZTIME (8s)
	hack/fuzz.sh $(FUZZTIME)

.PHONY: test-system
test-system: peers ## Test the running program: with foreign peers, and while something is broken
	WEIR_REQUIRE_PEERS=1 WEIR_REQUIRE_ENVTEST=1 KUBEBUILDER_ASSETS=$${KUBEBUILDER_ASSETS:-$$(hack/cluster/build.sh assets)} \
		WEIR_CLUSTER_BIN=$$(hack/cluster/build.sh charts) go test -p 1 -count=1 -timeout 25m ./test/...

.PHONY: interop
interop: peers ## Test against RSocket clients and Delta readers in other languages
	WEIR_REQUIRE_PEERS=1 WEIR_INTEROP_LONG=1 go test -v -p 1 -count=1 -timeout 25m ./test/interop/...

.PHONY: differential
differential: peers ## Test package delta in turns with deltalake (500 random sequences) and Spark (100), and at once
	WEIR_REQUIRE_PEERS=1 go test -v -count=1 -timeout 60m -run Differential ./test/conformance -deltalake 500 -spark 100

.PHONY: golden
golden: peers ## Read the golden tables of the Delta project beside deltalake and Spark, and print the pass rate
	WEIR_REQUIRE_PEERS=1 go test -v -count=1 -timeout 30m -run Golden ./test/conformance -long

.PHONY: conformance
conformance: peers ## Test package delta in full beside deltalake and Spark: tables of others, values, writers, kills
	WEIR_KILL_ROUNDS=10 WEIR_PYTHON=$(CACHE)/venv/bin/python go test -v -count=1 -timeout 30m -run KilledAtEveryStep ./delta
	WEIR_REQUIRE_PEERS=1 go test -v -count=1 -timeout 60m -skip Differential ./test/conformance -long

.PHONY: fault
fault: peers ## Test while something is broken, and show what happens
	WEIR_REQUIRE_PEERS=1 go test -v -count=1 -timeout 25m ./test/fault

.PHONY: e2e
e2e: peers ## Test with real pods: in a cluster made for it (needs root), or in that of KUBECONFIG (see hack/e2e.sh)
	hack/e2e.sh

.PHONY: test-chart
test-chart: ## Test what the Helm chart and the kustomize files render
	WEIR_REQUIRE_PEERS=1 WEIR_CLUSTER_BIN=$$(hack/cluster/build.sh charts) go test ./test/chart

.PHONY: envtest-assets
envtest-assets: ## Print the directory of kube-apiserver, etcd and kubectl (KUBEBUILDER_ASSETS); the first time builds them
	@hack/cluster/build.sh assets

.PHONY: envtest
envtest: ## Test the operator against a real API server, every case (KUBEBUILDER_ASSETS may name another)
	KUBEBUILDER_ASSETS=$${KUBEBUILDER_ASSETS:-$$(hack/cluster/build.sh assets)} WEIR_REQUIRE_ENVTEST=1 WEIR_ENVTEST_LONG=1 \
		go test -v -count=1 -timeout 20m ./test/envtest

.PHONY: test-short
test-short: ## Test in about a minute, without peers and long cases
	go test -short $$(go list ./... | grep -v -e /test/interop -e /test/fault)

.PHONY: peers
peers: ## Install the foreign clients and readers into .cache
	test/setup.sh

##@ Measure

.PHONY: bench
bench: ## Measure a stream against HTTP into the same writer, both in one run
	go run ./test/bench

.PHONY: bench-rsocket
bench-rsocket: peers ## Measure the RSocket core beside others doing the same work
	@mkdir -p bin
	go -C test/bench/rsocket build -o $(CURDIR)/bin/bench-rsocket .
	bin/bench-rsocket

.PHONY: bench-rsocket-limits
bench-rsocket-limits: ## Measure idle connections, a stream beside slow ones, a good client beside hostile ones; fail below the bars
	@mkdir -p bin
	go -C test/bench/rsocket build -o $(CURDIR)/bin/bench-rsocket .
	bin/bench-rsocket -idle 10000
	bin/bench-rsocket -isolation
	bin/bench-rsocket -hostile

.PHONY: bench-parquet
bench-parquet: ## Measure ways of writing and reading Parquet from columns
	go -C test/bench/parquet test -run '^$$' -bench . -benchtime 3x

.PHONY: bench-decode
bench-decode: peers ## Measure ways from payloads to columns beside libraries, and the cost of each step; fail below the bars
	@mkdir -p bin
	go -C test/bench/decode build -o $(CURDIR)/bin/bench-decode .
	WEIR_CACHE_DIR=$${WEIR_CACHE_DIR:-$(CACHE)} bin/bench-decode

.PHONY: bench-delta
bench-delta: peers ## Measure Delta tables beside delta-rs: appends, long logs, packing, merges, an hour of changes (half an hour; takes flags by hand)
	@mkdir -p bin
	go build -o bin/bench-delta ./test/bench/delta
	bin/bench-delta append
	bin/bench-delta log
	bin/bench-delta optimize
	bin/bench-delta merge
	bin/bench-delta stream

.PHONY: bench-go
bench-go: ## Run the Go benchmarks six times, summed up by benchstat
	@mkdir -p $(CACHE)
	go test -run '^$$' -bench . -benchmem -count 6 $(CONCURRENT) > $(CACHE)/bench.txt
	$(TOOL) benchstat $(CACHE)/bench.txt

##@ Change

.PHONY: generate
generate: ## Make the generated code, the CustomResourceDefinition, and the generated files of the chart
	$(TOOL) controller-gen object crd paths=./api/... output:crd:dir=config/crd/bases
	go run ./hack/chart charts/weir config/crd/bases/weir.dev_pipelines.yaml

.PHONY: verify-generated
verify-generated: ## Fail if generated files are not those that generate makes
	hack/verify-generated.sh

.PHONY: tidy-check
tidy-check: ## Fail if go.mod or go.sum of a module needs go mod tidy
	hack/tidy-check.sh

.PHONY: lint
lint: ## Run the linters
	$(TOOL) golangci-lint run ./...

.PHONY: fmt
fmt: ## Format the code
	$(TOOL) golangci-lint fmt ./...

.PHONY: clean
clean: ## Remove what was built; installed peers and tools stay
	rm -rf bin dist
