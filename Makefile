# `make setup` once; then `make demo`, `make test`. Every target may be called again at any time.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
# Kernel tests, the demo and the benchmarks make network namespaces and load eBPF: that takes root.
ROOT := $(shell [ "$$(id -u)" -eq 0 ] || echo sudo)
PYTEST := $(ROOT) $(BIN)/python -m pytest
WORKERS ?= 2

.PHONY: help setup demo demo-api test unit lint types check format docs captures bench figures property protocols policies judge judged exact atomic sdk isolation storm fleet schema fuzz test-long clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: $(VENV)/.installed  ## what the machine lacks (Debian packages) and the Python side in .venv; a second when nothing is missing
	@scripts/mount-bpffs

.PHONY: system
system:
	@scripts/system-packages

$(VENV)/.installed: pyproject.toml | system
	@[ -x $(BIN)/python ] || "$$(scripts/find-python)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[api,dev]'
	@touch $@

demo: setup  ## a capture replayed through rules in the kernel: frames, verdicts, rule names
	$(ROOT) $(BIN)/mantlet replay examples/dns-resolver.rules examples/dns-resolver.pcap --engine kernel

demo-api: setup  ## the REST API with a tenant, a token, and a network namespace for its rules to guard; Ctrl-C takes it all away
	$(ROOT) $(BIN)/mantlet serve --demo

test: setup  ## the whole test suite (minutes)
	$(PYTEST) -n $(WORKERS) -m "not long"

unit: setup  ## the tests without those that enforce for real or ask tshark (a minute or two)
	$(PYTEST) -n $(WORKERS) -m "not long and not kernel" --ignore tests/judge

lint: setup  ## form and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup  ## strict types
	$(BIN)/mypy

check: lint types unit  ## what to run before a commit: form, lint, types, unit tests

format: setup  ## write the form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup  ## the generated pages of docs/reference
	$(BIN)/python -m firewall.cli.reference docs/reference
	$(BIN)/python -m api.reference docs/reference

captures: setup  ## the captures of examples/
	$(BIN)/python examples/make_captures.py

bench: setup  ## cost a packet and frames a second, beside nft and iptables; early drop; how fast the API enforces, reads and starts
	$(ROOT) $(BIN)/mantlet bench
	$(ROOT) $(BIN)/mantlet bench --classbench $(if $(FILTERS),--filters $(FILTERS))
	$(ROOT) $(BIN)/mantlet bench --early-drop
	$(ROOT) $(BIN)/mantlet bench-api

figures: setup  ## docs/reference/performance.md and its plots, measured here (an hour; FILTERS=folder of ClassBench's .cb files)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(ROOT) $(BIN)/mantlet bench --classbench --rounds 3 $(if $(FILTERS),--filters $(FILTERS)) --write docs/reference

property: setup  ## kernel = reference: a million random expression-packet pairs (MANTLET_PAIRS=N), and random rule files
	$(PYTEST) -s tests/bpf/test_lower_random.py tests/firewall/test_plan_random.py

protocols: setup  ## kernel = reference: a million pairs on the messages of each protocol (an hour; MANTLET_PAIRS=N)
	$(PYTEST) -n $(WORKERS) tests/bpf/test_dissectors.py

policies: setup  ## no program of 10,000 random policies is refused, and their evaluators are the reference (MANTLET_POLICIES=N, MANTLET_PAIRS=N)
	$(PYTEST) -s -n $(WORKERS) tests/bpf/test_evaluate.py tests/bpf/test_pattern_set.py

judge: setup  ## every field against tshark over a corpus of captures, by both engines
	$(PYTEST) -n $(WORKERS) tests/judge

judged: setup  ## docs/reference/judged-fields.md: for each field the frames compared with tshark, and the equal ones
	PYTHONPATH=.:tests $(BIN)/python -m judge.table docs/reference

exact: setup  ## 10 million packets at the borders of random rules: all passes, none and each alone, plain nft, the reference (MANTLET_PACKETS=N)
	MANTLET_WORKERS=$(WORKERS) $(PYTEST) -s tests/firewall/test_exact.py

atomic: setup  ## a million packets through a hundred swaps, of ten thousand rules too, and kill -9 at every step of a change
	$(PYTEST) -s tests/firewall/test_atomic.py tests/firewall/test_swap_of_many.py tests/firewall/test_kill.py

sdk: setup  ## the API spoken by Cloudflare's own SDK, at a node whose rules meet real packets; and what the pages of docs/howto show
	$(PYTEST) tests/api/test_sdk.py tests/api/test_replay_api.py tests/api/test_howto.py tests/api/test_demo.py

isolation: setup  ## who may do what: each route with no token, another tenant's, and each scope; no rule reaches another's packets
	$(PYTEST) tests/api/test_access.py tests/api/test_sdk.py tests/api/test_reads.py -k "access or another or account or tenant or nobody or revoked"

storm: setup  ## fifty clients write the same ruleset at one node and at two; kill -9 of either process a hundred times meanwhile
	$(PYTEST) -s tests/api/test_concurrent.py tests/api/test_kill_storm.py

fleet: setup  ## nodes on one store: an etcd of three that loses servers, nodes killed and halted; what writers that were killed leave
	$(PYTEST) -n $(WORKERS) tests/api/test_node.py tests/api/store
	$(PYTEST) -s tests/api/test_fleet.py

schema: setup  ## the API answers as its OpenAPI document says: 20,000 requests of schemathesis (MANTLET_REQUESTS=N)
	$(PYTEST) -s tests/api/test_schema.py

fuzz: setup  ## bad input: the golden cases, and 100,000 random texts (MANTLET_FUZZ=N)
	$(PYTEST) tests/test_cases.py tests/rules_dsl/test_language_fuzz.py

test-long: property protocols policies judge exact atomic sdk isolation storm fleet schema fuzz  ## all of these: three hours

clean:  ## caches and the virtual environment
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build ./*.egg-info
