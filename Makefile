# Every target makes what it needs: on a fresh machine with Python >= 3.11 (venv and pip) and make, `make test` is enough.
# Another interpreter: `make test PYTHON=python3.13`.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; \
	done)
BIN := .venv/bin
WORKERS ?= 2
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test test-cluster check format bench conformance examples evaluation docs wheel sdist mcpb image pin clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 20

demo: .venv/ready ## watch an agent's errand on the real server
	$(BIN)/python -m tools.demo

test: .venv/ready ## run the test suite
	$(BIN)/python -m pytest -n $(WORKERS) $(TESTS)

test-cluster: .venv/ready ## the tests on a Kubernetes cluster: make test-cluster KUBECONFIG=FILE
	@test -n "$(KUBECONFIG)" || { echo "which cluster? make test-cluster KUBECONFIG=FILE" >&2; exit 1; }
	DEVBOX_MCP_TEST_KUBECONFIG="$(abspath $(KUBECONFIG))" $(BIN)/python -m pytest -m cluster $(or $(TESTS),tests/cluster)

check: .venv/ready ## linter, format, types, floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/ready ## let ruff mend and format what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/node ## compare with the official filesystem server
	$(BIN)/python -m tools.bench $(ARGS)

conformance: .venv/node ## the official conformance suite and the Inspector's strict check
	$(BIN)/python -m pytest -m conformance -s tests/mcp_conformance

examples: .cache/agents/ready .cache/agents-langchain/ready ## the examples for agents, with a scripted model
	$(BIN)/python -m pytest -n $(WORKERS) $(or $(TESTS),tests/examples)

evaluation: .cache/agents/ready ## what errands cost a model: calls, tokens, errors it recovered from
	PATH="$(abspath .cache/agents/bin):$$PATH" python examples/agents/scripted python examples/agents/evaluation $(ARGS)

# never --quiet: strictness counts the warnings that it would hide
docs: .cache/docs/ready ## build the documentation's site into site/
	NO_MKDOCS_2_WARNING=1 .cache/docs/bin/python -m mkdocs build --strict

wheel: .venv/ready ## build dist/*.whl
	rm -rf dist
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .

sdist: .venv/ready ## build dist/*.tar.gz
	$(BIN)/python -m hatchling build -t sdist -d dist

mcpb: .venv/node ## build and validate dist/*.mcpb, the bundle for clients that install with one click
	$(BIN)/python -m tools.mcpb dist --validate

ENGINE ?= docker
image: wheel ## build the gateway's image: make image ENGINE=podman BASE=python:3.13-slim
	$(ENGINE) build -f packaging/Containerfile $(if $(BASE),--build-arg BASE=$(BASE)) \
		--build-arg VERSION=$$($(BIN)/devbox-mcp --version | cut -d' ' -f2) -t devbox-mcp:latest .

# Dependencies come pinned and hashed; the project itself, which has no hash yet, without dependencies.
.venv/ready: pyproject.toml constraints/dev.txt
	@test -n "$(PYTHON)" || { echo "no Python >= 3.11 with venv and pip found; name one: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(PIP) install --require-hashes --only-binary :all: -r constraints/dev.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/node: .venv/ready constraints/node.txt
	$(PIP) install --require-hashes --only-binary :all: -r constraints/node.txt
	@touch $@

# The examples' frameworks, in environments of their own. Beside the first is devbox-mcp as users have it; the second,
# whose MCP SDK is older, starts it as a program of another environment.
.cache/agents/ready: constraints/agents.txt | .venv/ready
	$(BIN)/python -m venv --clear .cache/agents
	.cache/agents/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --only-binary :all: \
		-r constraints/agents.txt
	$(BIN)/python -c 'from hatchling.build import build_editable; build_editable(".cache/agents")'
	.cache/agents/bin/python -m pip --disable-pip-version-check --quiet install --no-deps .cache/agents/*.whl
	@touch $@

.cache/agents-langchain/ready: constraints/agents-langchain.txt | .venv/ready
	$(BIN)/python -m venv --clear .cache/agents-langchain
	.cache/agents-langchain/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes \
		--only-binary :all: -r constraints/agents-langchain.txt
	@touch $@

.cache/docs/ready: constraints/docs.txt
	$(PYTHON) -m venv --clear .cache/docs
	.cache/docs/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --only-binary :all: \
		-r constraints/docs.txt
	@touch $@

# Renew the pins: the newest releases that pyproject.toml admits, with the hashes of all their files.
UPGRADE ?= --upgrade
PIN = .cache/pin/bin/uv pip compile --quiet $(UPGRADE) --universal --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links
pin: ## renew constraints/*.txt
	$(PYTHON) -m venv .cache/pin
	.cache/pin/bin/python -m pip --quiet install uv
	$(PIN) pyproject.toml --group dev --all-extras --python-version 3.11 -o constraints/dev.txt
	$(PIN) pyproject.toml --python-version 3.11 --constraint constraints/dev.txt -o constraints/runtime.txt
	$(PIN) pyproject.toml --extra gateway --extra http --extra kubernetes --extra redis --python-version 3.11 \
		--constraint constraints/dev.txt -o constraints/gateway.txt
	$(PIN) --group pyproject.toml:node --python-version 3.11 -o constraints/node.txt
	$(PIN) --group pyproject.toml:docs --python-version 3.11 -o constraints/docs.txt
	$(PIN) pyproject.toml --group pyproject.toml:agents --python-version 3.11 -o constraints/agents.txt
	$(PIN) --group pyproject.toml:agents-langchain --python-version 3.11 -o constraints/agents-langchain.txt
	$(PIN) --group pyproject.toml:guest --python-version 3.8 -o constraints/guest.txt

clean: ## remove what make made
	rm -rf .venv .bench .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist site
