# Everything starts with `make deps`; the other targets see to it themselves.

# The Node that npm installs comes before the machine's own; TypeScript runs as it is from Node 22.19 on.
node := PATH="$(CURDIR)/node_modules/.bin:$$PATH" node
modules := node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help root deps demo test bench dist lab-up lab-down

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

# Before anything is built: what needs it would say so only after ten minutes.
root:
	@[ "$$(id -u)" -eq 0 ] || { echo 'This needs root (network namespaces, containers): use sudo.' >&2; exit 1; }

deps: $(modules) ## install what is missing: Node packages, Debian packages, the lab's Kubernetes (as root)
	@$(node) lab/cli.ts prepare

demo: root deps dist ## a Service, from <pending> to served and gone again, on a real Kubernetes (as root; KEEP=1 leaves it up)
	@$(node) demo/demo.ts

test: $(modules) ## all checks and tests; without root all but the end-to-end ones
	@[ "$$(id -u)" -ne 0 ] || $(node) lab/cli.ts prepare
	@$(node) tools/test.ts

bench: root deps ## measure (as root)
	@$(node) bench/run.ts

dist: $(modules) ## the bundled program, in dist/
	@$(node) tools/build.ts

lab-up: root deps ## start a lab and leave it up (as root)
	@$(node) lab/cli.ts up

lab-down: root $(modules) ## take that lab away (as root)
	@$(node) lab/cli.ts down

# Not `npm ci`: it fails where a registry lacks the binaries of a package for other machines, which nobody installs. Of warnings
# there would be only that the Node which runs npm is old: the one that we use comes with the packages.
$(modules): package-lock.json
	@echo 'Installing the Node packages that package-lock.json names.'
	@npm install --no-save --ignore-scripts --no-fund --no-audit --loglevel=error
