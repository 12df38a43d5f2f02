# All commands. They need Python 3.11 or newer, make and a package index; `make setup` installs the rest.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.14 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
PY := .venv/bin/python
READY := .venv/.ready
BENCH := .venv/.bench-ready
PROCESSES ?= 2
IMAGE_GROUPS := tables service ingest status worker notifier migrate

.DEFAULT_GOAL := help
.PHONY: help setup run start demo stop status secret key keys check test test-fast browser-pictures browser-test chaos chaos-short overload throughput bench bench-quick compose-test compose-short release-check lock clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-16s %s\n", $$1, $$2 }'

setup: $(READY) ## install everything into .venv (the other targets do it when needed)

$(READY): requirements-dev.lock client/pyproject.toml
	@test -n "$(PYTHON)" || { echo "Halftone needs Python 3.11 or newer; found only: $$(python3 --version 2>&1). Try make setup PYTHON=/path/to/python" >&2; exit 1; }
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable client
	@touch $@

$(BENCH): $(READY) requirements-bench.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@

run: $(READY) ## run the whole stack in the foreground at http://127.0.0.1:8080; Ctrl-C ends it
	@exec $(PY) -m deploy.local run

start: $(READY) ## start the whole stack in the background
	@$(PY) -m deploy.local start

demo: $(READY) ## send a catalogue through the stack, which is started if necessary
	@$(PY) -m deploy.demo

stop: ## stop the stack
	@if test -x $(PY); then $(PY) -m deploy.local stop; else echo "halftone: not running"; fi

status: $(READY) ## list the running processes
	@$(PY) -m deploy.local status

secret: $(READY) ## print the secret that signs the webhooks [NAME=shop]
	@$(PY) -m deploy.local secret $(if $(NAME),--account "$(NAME)")

key: $(READY) ## make an API key: NAME=shop [SCOPES=read,write,admin] [EXPIRES=90d]; the last line is the key alone
	@test -n "$(NAME)" || { echo "halftone: say whose key it is, as in make key NAME=shop" >&2; exit 2; }
	@$(PY) -m deploy.local keys create "$(NAME)" $(if $(SCOPES),--scopes "$(SCOPES)") $(if $(EXPIRES),--expires "$(EXPIRES)")

keys: $(READY) ## list the API keys
	@$(PY) -m deploy.local keys list

check: $(READY) ## run ruff, mypy, the import rules, the size limits, the schemas of Kubernetes and the audit of packages
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports
	$(PY) -m pytest -q tests/contracts/test_sizes.py tests/contracts/kubernetes
	@$(PY) -m tests.audit

test: $(BENCH) ## run all tests except browser, chaos, bench and compose [PROCESSES=2]
	$(PY) -m pytest -n $(PROCESSES) --dist loadgroup

test-fast: $(READY) ## run the tests that start no server
	$(PY) -m pytest -q -n 2 tests/unit tests/contracts

browser-pictures: $(READY) ## make the README's pictures of the web page anew
	@$(PY) -m tests.programs chromium
	$(PY) -m tests.browser.pictures

browser-test: $(READY) ## drive the web page with the system's Chromium; screenshots go to .test/browser
	@$(PY) -m tests.programs chromium
	$(PY) -m pytest -n 2 --dist loadfile -m browser tests/browser

chaos: $(READY) ## break one part after the other and check that nothing is lost
	$(PY) -m tests.chaos run --minutes 15 --seeds 20
	$(PY) -m pytest -q -m chaos tests/chaos

chaos-short: $(READY) ## the same for three minutes
	$(PY) -m tests.chaos run --short

overload: $(READY) ## send ten times what the stack can take for five minutes, and check what was promised
	$(PY) -m tests.chaos overload

throughput: $(READY) ## measure what images that need retries cost a large request
	$(PY) -m pytest -s -m bench tests/bench/test_retries.py

bench: $(BENCH) ## measure speed, cost and memory on a quiet machine, and write docs/performance.md (20 to 25 minutes)
	$(PY) -m tests.bench

bench-quick: $(BENCH) ## check in some minutes that each figure can be measured; the page goes to .test/bench/quick
	$(PY) -m tests.bench --quick

compose-test: $(READY) ## build the containers, run the end-to-end tests through them, scale them, break every part (50 minutes)
	$(PY) -m tests.compose

compose-short: $(READY) ## in four minutes: one request, then every part scaled or broken once under load
	$(PY) -m tests.compose short

release-check: $(READY) ## check what a release ships: version, changelog, the client's wheel, images and compose-test
	$(PY) -m tests.release

# uv does not read pip's settings, so its index is passed on; no host name may appear in the lock. Further indexes and
# folders of pip's are left out: one that has only some files of a version would leave the hashes of the others out.
lock: $(READY) ## pin the dependencies in pyproject.toml: requirements*.lock and deploy/locks
	$(PY) -m pip install --quiet --disable-pip-version-check uv
	@index=$$({ $(PY) -m pip config get ":env:.index-url" || $(PY) -m pip config get global.index-url; } 2>/dev/null); \
	compile() { env $${index:+"UV_DEFAULT_INDEX=$$index"} \
		.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-header --index-strategy unsafe-best-match "$$@"; }; \
	compile --group all -o requirements.lock && \
	for group in $(IMAGE_GROUPS); do compile --group $$group -c requirements.lock -o deploy/locks/$$group.lock || exit 1; done && \
	compile --group sbom -o deploy/locks/sbom.lock && \
	compile client/pyproject.toml --group dev -o requirements-dev.lock && \
	compile client/pyproject.toml --group bench -c requirements-dev.lock -o requirements-bench.lock

clean: ## remove everything that was created in this folder, including data
	@test ! -x $(PY) || $(PY) -m deploy.local stop
	rm -rf .venv .local .test .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache demo-output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
