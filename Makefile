# Every task of this project, one command each. CI (.ci/run) calls the same commands.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME   ?= 20s
SOAK       ?= 20m

# Systems that lint compiles for, tests too, beside the one it runs on: all but the cluster, whose engine takes a minute to compile for each.
OTHERS = linux/386 linux/arm64 darwin/arm64 freebsd/amd64

.PHONY: help start test simulate race narrow conformance faults soak fuzz lint bench browser pebble centrifuge-js pusher-js ci

help: ## list the commands (the default)
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

start: ## run the server in the foreground
	go run . start

test: ## all tests
	go test ./...

simulate: ## the simulations with assertions; the race detector, which finds nothing in them, sees a few alone
	go test -tags invariants -run Simulated ./loop ./loop/order

race: ## tests under the race detector, with assertions; those in which it sees nothing say so, and are left out
	go test -race -tags invariants -timeout 20m ./test ./... # the longest first, beside all others

narrow: ## tests as a 32-bit program; says so where the kernel runs none
	@set -e; try=$$(mktemp); trap 'rm -f $$try' EXIT; GOARCH=386 go test -c -o $$try ./wsproto; \
	if $$try -test.run '^$$' >/dev/null 2>&1; \
	then GOARCH=386 go test ./loop/... ./wsproto ./dialect ./bus; \
	else echo "skipped: this kernel runs no 32-bit programs (linux/386)"; fi

conformance: ## RFC 6455 case by case, up to the largest messages
	CONFORMANCE=full go test -count=1 -run 'Conformance|OpeningHandshake' ./test

faults: ## the faults at full size, one after another; as root also those of the network
	FAULTS=full go test -count=1 -timeout 30m -v -run TestFault ./test

soak: ## a server under every kind of client for SOAK (20m); fails on drift
	SOAK=$(SOAK) go test -count=1 -timeout 0 -v -run TestSoak ./test

# A target that fails without leaving an input in testdata has met a race in Go's fuzzer at the end of its time
# (golang/go#75804, "context deadline exceeded"), and is run again, three times at most: a busy machine meets it more than once.
fuzz: ## every fuzz target for FUZZTIME (20s)
	@set -e; began=$$(mktemp); trap 'rm -f $$began' EXIT; \
	for target in wsproto:FuzzHandshake wsproto:FuzzOffers wsproto:FuzzProxy wsproto:FuzzReader wsproto:FuzzInflate dialect:FuzzCommand dialect:FuzzCentrifuge dialect:FuzzPusher \
		loop:FuzzShard loop/secure:FuzzKindOf loop/door:FuzzToken loop/door:FuzzAppRequest bus:FuzzFrame bus:FuzzValue api:FuzzOldForm api:FuzzPusherHTTP cluster:FuzzNews cli/settings:FuzzConfigFile bench/client:FuzzShapes bench/client:FuzzPusherShapes; do \
		folder=$${target%%:*}; name=$${target##*:}; \
		run() { go test ./$$folder -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME); }; \
		found() { test -n "$$(find $$folder -path "*/testdata/fuzz/$$name/*" -newer $$began)"; }; \
		echo "== $$target for $(FUZZTIME)"; touch $$began; \
		for try in 1 2 3 4; do \
			run && break; \
			if found || test $$try = 4; then exit 1; fi; \
			echo "== $$target found nothing: once more"; \
		done; \
	done

lint: ## formatting, vet, staticcheck
	@out=$$(gofmt -l .); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }
	go vet ./...
	go vet -tags invariants ./loop/... # where the tag makes a difference
	@set -e; for system in $(OTHERS); do \
		echo "go vet for $$system"; \
		GOOS=$${system%/*} GOARCH=$${system#*/} go vet -tags nocluster . ./cli/... ./loop/... ./bus ./api ./certs ./dialect ./wsproto; \
	done
	go run $(STATICCHECK) ./...

browser: ## the tests in a real browser; fails without one
	RINGCAST_BROWSER=require go test -count=1 -run Browser ./test

pebble: ## the tests with Let's Encrypt's ACME server for tests, which is fetched and built; fails without it
	RINGCAST_PEBBLE=require go test -count=1 -run ACME ./test

centrifuge-js: ## install what the tests with the library centrifuge-js need, from npm
	cd test/centrifuge && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error

pusher-js: ## install what the tests with pusher-js, laravel-echo and pusher need, from npm
	cd test/pusher && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error

bench: ## Go benchmarks of packages; the whole server is measured by `go run ./bench`
	go test -run '^$$' -bench . ./loop/... ./dialect ./wsproto

ci: ## what CI does
	.ci/run
