# Needs python3.11 with venv, git and make; everything else is installed below .venv and node_modules.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := $(CURDIR)/.venv/bin
RUN := $(BIN)/python
export PATH := $(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONDONTWRITEBYTECODE ?= 1
# The cache of npm stays inside: HOME may be empty or read-only.
export NPM_CONFIG_CACHE := $(CURDIR)/.venv/cache/npm

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "Evenreach needs Python 3.11; found: $$($(PYTHON) --version)" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.runtime: requirements.txt constraints.txt | .venv/bin/python
	@echo "Installing packages…"
	@$(BIN)/pip install --quiet --require-virtualenv -r requirements.txt
	@touch $@

.venv/.dev: requirements-dev.txt .venv/.runtime
	@$(BIN)/pip install --quiet --require-virtualenv -r requirements-dev.txt
	@touch $@

.venv/.demo: requirements-demo.txt .venv/.runtime
	@$(BIN)/pip install --quiet --require-virtualenv -r requirements-demo.txt
	@touch $@

node_modules/.installed: package.json package-lock.json | .venv/.runtime
	@echo "Installing style sheets and scripts…"
	@$(BIN)/npm ci --ignore-scripts --silent
	@touch $@

# Programs of others that tests talk to; the product never needs them.
PEERS := tests/peers/twilio
$(PEERS)/node_modules/.installed: $(PEERS)/package.json $(PEERS)/package-lock.json | .venv/.runtime
	@echo "Installing foreign peers for tests…"
	@$(BIN)/npm ci --prefix $(PEERS) --ignore-scripts --silent
	@touch $@

.PHONY: assets dev
assets: node_modules/.installed ## install style sheets and scripts of the screens
dev: .venv/.dev assets $(PEERS)/node_modules/.installed ## install what tests and linters need

.PHONY: up
up: .venv/.runtime assets ## run everything on this machine (make up ARGS="--port 9000")
	@exec $(RUN) manage.py up $(ARGS)

.PHONY: test torture bench demo-real
test: dev ## run the tests (make test ARGS="-k frequency")
	$(BIN)/pytest -n $(or $(WORKERS),2) $(ARGS)

torture: dev ## kill everything at random under load and count what was sent
	$(RUN) manage.py torture --json $(ARGS)

bench: dev ## measure (make bench NAME=plan)
	$(RUN) manage.py bench $(NAME) --json $(ARGS)

demo-real: .venv/.demo assets ## load a public data set of real campaigns
	@$(RUN) manage.py migrate --skip-checks -v0
	$(RUN) manage.py demo_real $(ARGS)

TEMPLATES = $(shell find templates -name '*.html' 2>/dev/null)

.PHONY: lint
lint: dev ## every check that does not run the product
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	EVENREACH_OFFLINE=1 $(RUN) manage.py makemigrations --check --dry-run
	$(if $(TEMPLATES),$(BIN)/djade --check --target-version 5.2 $(TEMPLATES))
	$(BIN)/pip check

.PHONY: messages
messages: dev ## collect texts, add their Chinese from locale-src/, compile (needs gettext)
	$(RUN) manage.py messages

.PHONY: constraints
constraints: dev ## write down the versions of all installed packages
	@{ echo "# Every package of the development environment; written by: make constraints"; $(BIN)/pip freeze; } > constraints.txt

.PHONY: clean
clean: ## remove what was installed (never data)
	rm -rf .venv node_modules $(PEERS)/node_modules
