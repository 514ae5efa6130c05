# Every task of a developer and of CI. `make` alone lists the targets.

GO       ?= go
PKG      ?= ./...
RUN      ?= .
TIMEOUT  ?= 10m
FUZZTIME ?= 10s
# Where goroutines decide what is covered, Go would spend all its time on making inputs smaller.
FUZZMIN  ?= 20x
AGAINST  ?= main
HOURS    ?= 1
COUNT    ?= 6
BENCHPKG ?= ./fsm ./fsm/store ./scheduler ./transport
# It sends a large state for ten seconds each time; it is for those who change that.
BENCHSKIP ?= ^BenchmarkApplyWhileTheStateIsSent$$
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Where build and deb put what they make.
BIN      ?= bin

# The race detector needs a C compiler; Go answers 0 here when it finds none.
RACE = $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)

BUF           := .tools/buf
NFPM          := .tools/nfpm
GOLANGCI_LINT := .tools/golangci-lint
BENCHSTAT     := .tools/benchstat
GOVULNCHECK   := .tools/govulncheck

# The folders that hold .proto files and the code generated from them.
PROTO_DIRS := api fsm transport

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  PKG=./fsm/... RUN=TestName narrow test and unit; FUZZTIME=1m lengthens fuzz;"
	@echo "  AGAINST=v1.0.0 compares breaking and benchstat with another commit; -j2 runs steps side by side."

.PHONY: build
build: ## Build bin/rota
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o $(BIN)/rota ./cmd/rota

# A Debian version begins with a digit. What has no tag sorts before all that has one, and by its time.
.PHONY: deb
deb: build $(NFPM) ## Build the Debian package, bin/rota_VERSION_ARCH.deb
	@set -e; rm -f $(BIN)/rota_*.deb; mkdir -p $(BIN)/completions; \
	for shell in bash zsh fish; do $(BIN)/rota completion $$shell >$(BIN)/completions/$$shell; done; \
	case '$(VERSION)' in \
	v[0-9]*) version='$(VERSION:v%=%)' ;; \
	*) version="0.0.0~$$(git log -1 --format=%cd --date=format:%Y%m%d%H%M%S 2>/dev/null || echo 0).$(VERSION)" ;; \
	esac; \
	BIN=$(BIN) VERSION=$$(echo "$$version" | tr - +) ARCH=$$($(GO) env GOARCH) \
		$(NFPM) package --config deploy/debian/nfpm.yaml --packager deb --target $(BIN)/

.PHONY: demo
demo: build ## Build, then take the tour: three servers, the leader killed mid-job
	bin/rota demo

.PHONY: test
test: check-fmt check-mod check-imports check-proto vet lint check-portable check-vuln unit full unit-chaos unit-bench chaos-short ## Everything CI checks
# With the same faults each time; other seeds are for those who look for something.
test: SEED := 1

.PHONY: check-fmt
check-fmt: ## Fail on files that gofmt would change
	@files=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .) || exit 1; \
	if [ -n "$$files" ]; then echo "not formatted; run gofmt -w on:"; echo "$$files"; exit 1; fi

.PHONY: check-imports
check-imports: ## Fail on imports against the house rules (internal/archtest)
	$(GO) test ./internal/archtest

.PHONY: vet
vet: ## Run go vet on PKG
	$(GO) vet $(PKG)
	$(GO) vet -tags rotanext ./task ./fsm ./wire ./node ./internal/sim/... # the next build of the test of two builds

.PHONY: check-portable
check-portable: ## Fail where client and worker do not build without Linux
	GOOS=darwin $(GO) build ./worker ./client
	GOOS=darwin $(GO) vet ./worker/... ./client

.PHONY: unit
unit: ## Run the tests of PKG that match RUN, with the race detector
	$(if $(RACE),,@echo "no C compiler found: the tests run without the race detector" >&2)
	$(GO) test $(RACE) -vet=off -timeout $(TIMEOUT) -run '$(RUN)' $(PKG)

.PHONY: full
full: ## Run what is too much under the race detector, or trips over it: all seeds, a million tasks, the whole source tree of Go, the build before
	ROTA_E2E_FULL=1 $(GO) test -vet=off -timeout $(TIMEOUT) -run '^(TestClustersKeepTheirPromises|TestSeedsKeepThePromises|TestLargeArraysCostLittleMemory|TestMapGivesWhatXargsGivesThroughTwoLeaderKills|TestTheBuildBeforeIsUpgraded|TestServersThatAllMovedGoOn)$$' \
		./internal/sim/cluster ./internal/sim/deterministic ./cmd/rota/e2e
	ROTA_SIM_SEEDS=10 $(GO) test -tags rotanext -vet=off -timeout $(TIMEOUT) -run '^(TestClustersKeepTheirPromises|TestSeedsKeepThePromises)$$' \
		./internal/sim/cluster ./internal/sim/deterministic

.PHONY: unit-chaos
unit-chaos: ## Run the tests of the chaos suite itself, which harm nobody
	$(GO) -C jepsen-tests vet ./...
	$(GO) -C jepsen-tests test -timeout $(TIMEOUT) ./...

.PHONY: unit-bench
unit-bench: ## Run the tests of the benchmarks, which measure no more than a moment
	$(GO) -C bench vet ./...
	$(GO) -C bench test -timeout $(TIMEOUT) ./...

# SEED is that of the faults; none: another one each time. SEEDS is how many there are, one
# after the other, PARALLEL how many tests run at once. Every run of these leaves its report in
# jepsen-tests/store, and all of them a summary there.
SEEDS    ?= 1
PARALLEL ?= 1
CHAOS = mkdir -p jepsen-tests/store && $(GO) -C jepsen-tests run . test-all --spread --summary store/summary.md \
	--test-count $(SEEDS) --parallel $(PARALLEL) $(if $(SEED),--seed $(SEED))

.PHONY: chaos
chaos: build ## Harm clusters of three and five servers in every way, with every workload: half an hour
	$(CHAOS) --nodes 3,5 --log-store boltdb,wal --time-limit 12s --nemesis-interval 2s

.PHONY: chaos-short
chaos-short: build ## The most telling faults, on three servers: under four minutes
	$(CHAOS) --log-store boltdb,wal --time-limit 9s --nemesis-interval 1500ms --workload queue,register,idempotent,stream,serial \
		--nemesis kill,power-torn,pause:primaries,partition:majority,power,partition:oneway,wipe,disk:eio,conn-reset,disk:bitflip,partition:ring,leader-transfer,worker-kill

.PHONY: chaos-soak
chaos-soak: build ## Harm clusters for HOURS, with new seeds all the time
	$(CHAOS) --nodes 3,5 --log-store boltdb,wal --time-limit 20s --nemesis-interval 2s --for $(HOURS)h

.PHONY: check-mod
check-mod: ## Fail where go mod tidy would change something
	$(GO) mod tidy -diff

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME
	@set -e; \
	for file in $$(grep -rl --include='*_test.go' '^func Fuzz' .); do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file"); do \
			echo "$$file $$name"; \
			$(GO) test -C "$$(dirname "$$file")" -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime $(FUZZMIN) .; \
		done; \
	done

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run golangci-lint on PKG, on the chaos suite and on the benchmarks
	$(GOLANGCI_LINT) run --allow-parallel-runners $(PKG)
	cd jepsen-tests && ../$(GOLANGCI_LINT) run --allow-parallel-runners
	cd bench && ../$(GOLANGCI_LINT) run --allow-parallel-runners

# The database is elsewhere: where it cannot be reached nothing is known, and nothing is built for it.
VULNDB ?= https://vuln.go.dev
.PHONY: check-vuln
check-vuln: ## Fail if the code calls what is known to be vulnerable, where the database of that can be reached
	@if curl -sf --max-time 10 -o /dev/null '$(VULNDB)/index/db.json'; then $(MAKE) --no-print-directory vuln; \
	else echo "known vulnerabilities are not looked for: $(VULNDB) cannot be reached" >&2; fi

.PHONY: vuln
vuln: $(GOVULNCHECK)
	$(GOVULNCHECK) -db '$(VULNDB)' ./...

.PHONY: proto
proto: $(BUF) ## Generate code from the .proto files
	$(BUF) generate

.PHONY: check-proto
check-proto: $(BUF) ## Fail if the .proto files do not lint or the generated code is not theirs
	@$(BUF) lint
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	mkdir "$$tmp/committed" "$$tmp/generated" && \
	find $(PROTO_DIRS) -name '*.pb.go' | while read -r file; do \
		mkdir -p "$$tmp/committed/$$(dirname "$$file")" && cp "$$file" "$$tmp/committed/$$file" || exit 1; \
	done && \
	$(BUF) generate --output "$$tmp/generated" && \
	(cd "$$tmp" && diff -ru committed generated) || \
	{ echo "the generated code is not that of the .proto files; run: make proto" >&2; exit 1; }

.PHONY: breaking
breaking: $(BUF) ## Fail if a .proto file breaks what commit AGAINST promised
	@if ! git cat-file -e '$(AGAINST):buf.yaml' 2>/dev/null; then \
		echo "nothing to compare with: no .proto files in commit $(AGAINST)"; exit 0; \
	fi; \
	tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	git archive --output "$$tmp/old.tar" '$(AGAINST)' && \
	mkdir "$$tmp/old" && tar -xf "$$tmp/old.tar" -C "$$tmp/old" && \
	$(BUF) breaking --against "$$tmp/old"

.PHONY: benchstat
benchstat: $(BENCHSTAT) ## Compare the benchmarks of BENCHPKG that match RUN with those of commit AGAINST, COUNT times in turns
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && mkdir "$$tmp/old" && \
	git archive --output "$$tmp/old.tar" '$(AGAINST)' && tar -xf "$$tmp/old.tar" -C "$$tmp/old" && \
	for round in $$(seq $(COUNT)); do \
		(cd "$$tmp/old" && $(GO) test -run '^$$' -bench '$(RUN)' -skip '$(BENCHSKIP)' -benchmem $(BENCHPKG)) >>"$$tmp/old.txt" && \
		$(GO) test -run '^$$' -bench '$(RUN)' -skip '$(BENCHSKIP)' -benchmem $(BENCHPKG) >>"$$tmp/new.txt" || exit 1; \
	done && \
	$(BENCHSTAT) old="$$tmp/old.txt" new="$$tmp/new.txt"

.PHONY: clean
clean: ## Remove what was built, and the tools
	rm -rf bin .tools

# Tools are built once, from the versions their own go.mod pins, under another name
# first: two runs of make in one checkout must not see each other's half of a file.
$(BUF): tools/go.mod tools/go.sum
	$(call build-tool,tools,github.com/bufbuild/buf/cmd/buf)

$(GOLANGCI_LINT): tools/lint/go.mod tools/lint/go.sum
	$(call build-tool,tools/lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint)

$(NFPM): tools/nfpm/go.mod tools/nfpm/go.sum
	$(call build-tool,tools/nfpm,github.com/goreleaser/nfpm/v2/cmd/nfpm)

$(BENCHSTAT): tools/benchstat/go.mod tools/benchstat/go.sum
	$(call build-tool,tools/benchstat,golang.org/x/perf/cmd/benchstat)

$(GOVULNCHECK): tools/vuln/go.mod tools/vuln/go.sum
	$(call build-tool,tools/vuln,golang.org/x/vuln/cmd/govulncheck)

define build-tool
@mkdir -p $(@D)
@echo "building $@ (a minute or two, once)"
@CGO_ENABLED=0 GOFLAGS=-buildvcs=false $(GO) build -C $(1) -o '$(CURDIR)/$@.'$$$$ $(2) && mv $@.$$$$ $@
endef
