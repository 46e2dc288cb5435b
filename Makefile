# make demo   build, find the ceiling of a lab appliance, write report.html
# make test   install what the tests need and pass them all
# make test-kernel   pass the tests that need kernel ESP, WireGuard, GRE, in a VM
# make soak   pass the checks of our ESP that take hours
GO      ?= go
PREFIX  ?= /usr/local
# A clone knows its version; a tarball or a dirty tool chain does not need to.
BUILD    = CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=auto
LINT     = $(GO) tool -modfile=.ci/lint.mod golangci-lint
PROTO    = $(GO) tool -modfile=.ci/proto.mod buf

.PHONY: build demo test test-kernel soak lint generate bench bench-generator bench-dataplane install clean

build:
	$(BUILD) -o bin/ ./cmd/tunnelmark ./cmd/tunnelmark-agent

demo: build
	bin/tunnelmark lab run srx-350 --html report.html

# The data plane is measured without the race detector; all else runs under it.
# As root, a test that cannot run fails instead of skipping.
test: build
	scripts/install-test-tools
	GO=$(GO) scripts/test

# Boots Debian's kernel under QEMU; see the top of the script for one test alone.
test-kernel:
	GO=$(GO) scripts/test-kernel

# Hours. For instance: make soak FLAGS="memory fuzz" SOAK_MEMORY=10m; see scripts/soak --help.
soak:
	scripts/install-test-tools
	GO=$(GO) scripts/soak $(FLAGS)

lint:
	$(LINT) run ./...
	$(LINT) run --build-tags kernel ./tunnel/... ./lab/...
	$(GO) vet -tags kernel ./tunnel/... ./lab/...
	GOOS=darwin $(GO) vet ./cmd/tunnelmark ./cmd/internal/cli ./cmd/internal/controller ./analysis/...

generate:
	cd cmd/internal/control && $(GO) generate ./...

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./tunnel/... ./probe/... ./analysis/...

# Needs root and iperf3. For instance: make bench-generator FLAGS="-only udp/1400 -rounds 1"
bench-generator:
	$(BUILD) -o bin/ ./scripts/bench-generator
	bin/bench-generator $(FLAGS)

# Needs root and iperf3, and strongSwan for its part. wireguard-go is built from its
# module. For instance: make bench-dataplane FLAGS="-only tcp -rounds 3"
bench-dataplane:
	$(BUILD) -o bin/ ./scripts/bench-dataplane
	$(BUILD) -o bin/wireguard-go golang.zx2c4.com/wireguard
	bin/bench-dataplane $(FLAGS)

install: build
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin bin/tunnelmark bin/tunnelmark-agent
	bin/tunnelmark man $(DESTDIR)$(PREFIX)/share/man/man1
	bin/tunnelmark-agent man $(DESTDIR)$(PREFIX)/share/man/man8

clean:
	rm -rf bin report.html
