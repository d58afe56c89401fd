# Everything needs `make deps`; the other targets run it themselves.

# The Node from npm takes precedence over the machine's own. Node runs TypeScript directly from 22.19 on.
node := PATH="$(CURDIR)/node_modules/.bin:$$PATH" node
modules := node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help root deps demo test soak corpus conformance bench dist lab-up lab-down

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

# Checked first: otherwise the error would appear only after a build of ten minutes.
root:
	@[ "$$(id -u)" -eq 0 ] || { echo 'This needs root (network namespaces, containers): use sudo.' >&2; exit 1; }

deps: $(modules) ## install missing parts: Node packages, Debian packages, the lab's Kubernetes (as root)
	@$(node) lab/cli.ts prepare

demo: root deps dist ## a Service, from <pending> to served to deleted, on a real Kubernetes (as root; KEEP=1 keeps it running)
	@$(node) demo/demo.ts

test: $(modules) ## all checks and tests; without root only those that need none
	@[ "$$(id -u)" -ne 0 ] || $(node) lab/cli.ts prepare
	@$(node) tools/test.ts

soak: $(modules) ## 100,000 hostile Services in a simulated cluster, ten minutes (SEED=N repeats a run; SERVICES=N)
	@PATH="$(CURDIR)/node_modules/.bin:$$PATH" SEED=$(SEED) SERVICES=$(SERVICES) vitest run --project soak

corpus: root $(modules) ## judge how the Services of test/corpus are served (as root; ARGS='NAME…', ARGS=--help)
	@$(node) test/corpus/run.ts $(ARGS)

conformance: root $(modules) ## Kubernetes' own load-balancer cases, continued where the last run ended (as root; FRESH=1 repeats all; ARGS='TEXT…')
	@$(node) test/conformance/run.ts $(ARGS)

bench: root deps ## run the benchmarks (as root)
	@$(node) bench/run.ts

dist: $(modules) ## build the bundled program in dist/
	@$(node) tools/build.ts

lab-up: root deps ## start a lab and keep it running (as root)
	@$(node) lab/cli.ts up

lab-down: root $(modules) ## remove that lab (as root)
	@$(node) lab/cli.ts down

# Not `npm ci`: it fails if a registry lacks the binaries of a package for other platforms, although they are not installed. npm
# would also warn about an old Node that runs it; the Node for everything else is one of the packages.
$(modules): package-lock.json
	@echo 'Installing the Node packages that package-lock.json names.'
	@npm install --no-save --ignore-scripts --no-fund --no-audit --loglevel=error
