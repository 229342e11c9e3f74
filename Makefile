# Everything a newcomer needs, on a machine with Python 3.11+ and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Tests start hundreds of processes: without compiled files each would compile what it imports, and take thrice as long.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo run dev stop test test-slow test-all lint check audit constraints bench faults soak screenshots recording drawings deploy-check fuzz model-test upgrade-check js-client page-types prose docs clean

help: ## what can be made
	@grep -hE '^[a-z.-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

install: $(STAMP) ## create .venv and install everything into it

$(STAMP): pyproject.toml client/pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (the first time takes a minute or two)…"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e ./client -e '.[ml,embedded,dev,dev-ml]'
	@touch $@

demo: install ## the whole stack on this machine, the sample garden (or PHOTOS=folder), one search
	@$(BIN)/umbel demo $(if $(PHOTOS),'$(PHOTOS)')

run: install ## the stack in the foreground, until Ctrl-C
	@$(BIN)/umbel up

dev: install ## the stack, restarted where code changes, its logs in this terminal
	@$(BIN)/python -m stack.development

stop: ## stop what `make demo` or `umbel up` left running
	@if test -x $(BIN)/umbel; then $(BIN)/umbel down; else echo "Nothing is installed here, so nothing is running."; fi

# One process more than cores, as tests also wait. Without restarts: with them, xdist waits for ever for the files of a
# worker that has died.
PROCESSES = $(shell $(BIN)/python -c 'import os; print(min(4, len(os.sched_getaffinity(0)) + 1))')
PYTEST = $(BIN)/python -m pytest -n $(PROCESSES) --max-worker-restart 0 --dist loadfile --no-loadscope-reorder

test: install ## the tests, against a real Postgres and Redis that they start themselves
	@$(PYTEST) -m 'not slow' $(ARGS)

test-slow: install ## what takes longer: kills at each phase, storms, training resumed, three hosts, the browser
	@$(PYTEST) -m slow $(ARGS)

test-all: test test-slow ## all tests

lint: install ## ruff, mypy, import-linter, tsc over the page's scripts, spelling, words and sentences, the documentation and its links
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(MAKE) --no-print-directory page-types prose
	@$(BIN)/codespell
	@$(BIN)/python .ci/links.py
	@$(MAKE) --no-print-directory docs

check: test test-slow lint ## what CI runs

audit: install ## whether a package that we use is known to be vulnerable
	@$(BIN)/python .ci/audit.py

constraints: install ## constraints.txt anew, with the newest versions that pyproject.toml allows
	@$(BIN)/python .ci/constraints.py

bench: install ## the benchmarks, written to benchmarks/results/
	@$(BIN)/python -m benchmarks

faults: install ## storms of faults over the real stack, SEEDS=5 of them; figures to benchmarks/results/
	@$(BIN)/python -m tests.faults --seeds $(or $(SEEDS),5) --write $(ARGS)

soak: install ## half of the load that a stack bears for MINUTES=60, and whether all that it uses stays flat
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),60) --write $(ARGS)

model-test: install ## 10,000 random operations and restarts, each answer compared with a reference model; SEED=, LIVES=
	@$(BIN)/python -m tests.model $(if $(SEED),--seed $(SEED)) --lives $(or $(LIVES),1) $(ARGS)

upgrade-check: install ## FROM=COMMIT: a service upgraded while it is used, and back; no request may fail
	@$(BIN)/python -m tests.upgrade --from $(FROM) $(ARGS)

NODE = client-js/node_modules/.package-lock.json
TOOLS = client-js/node_modules/.bin
PROSE = README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md docs/*.md docs/*/*.md
RECORDS = docs/adr/% docs/experiments.md docs/performance-details.md

$(NODE): client-js/package-lock.json
	@cd client-js && npm ci --silent --no-fund --no-audit && touch node_modules/.package-lock.json

ifneq ($(shell command -v npm),)
page-types: $(NODE) ## the page's scripts under tsc, which says what names and arguments do not fit
	@$(TOOLS)/tsc --project api/web

prose: $(NODE) ## the documents under textlint: long sentences, words to avoid (.ci/textlint.json)
	@cd client-js && node_modules/.bin/textlint --config ../.ci/textlint.json \
	  $(addprefix ../,$(filter-out $(RECORDS),$(wildcard $(PROSE))))
else
page-types prose:
	@echo "No npm here: $@ is not checked."
endif

js-client: install ## the JavaScript client as a package in var/, its types made of the specification
	@mkdir -p var && $(BIN)/python -c "import json; from api import create_app; print(json.dumps(create_app().spec))" > var/openapi.json
	@cd client-js && npm ci --no-fund --no-audit && npm pack --pack-destination ../var

docs: install ## the documentation as a site, in var/site; fails on a broken link
	@PYTHONPATH=. NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

fuzz: install ## the API of a stack that has lived under schemathesis: thousands of requests, no 500, nothing unspecified
	@$(BIN)/python -m tests.fuzz $(ARGS)

deploy-check: install ## Compose, images and manifests without an engine: linted, built, run (as root)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[deploy]'
	@deploy/check.sh $(STEPS)

.env: deploy/env.example ## settings of the containers, with passwords drawn at random
	@test ! -e $@ || { echo "$@ is there already: compare it with deploy/env.example yourself."; touch $@; }
	@test -e $@ || (umask 077; while IFS= read -r line; do case $$line in \
	  *PASSWORD=|AWS_SECRET_ACCESS_KEY=) echo "$$line$$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')";; \
	  *) echo "$$line";; esac; done < deploy/env.example > $@)

recording: install ## docs/images/terminal.svg: commands of the README and what they print
	@$(BIN)/python -m tests.recording

drawings: install ## docs/images/architecture.svg, of docs/drawing.py
	@$(BIN)/python docs/drawing.py

screenshots: install ## every view of the page to docs/images/page/, by Chromium
	@$(BIN)/python -m tests.browser.screenshots

clean: stop ## remove .venv and var/
	@rm -rf $(VENV) var
