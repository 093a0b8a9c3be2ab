# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Each sets up what it needs itself and says what it is doing; a second run is quick.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

FUNCTIONS := test-gate canary-shift health-check rollback-trigger announce
TOOLS := .venv/installed
# The functions for the laptop: built like the tests, so that one build serves all.
BOOTSTRAPS := target/bootstraps

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0
# cfn-lint and sam validate ask for a region, and nothing else, of AWS.
export AWS_DEFAULT_REGION ?= us-east-1

.PHONY: help setup bootstraps demo test sim explore check build sizes bench-start bench-calls bench-sweep bench-rollback bench-gate bench-judge chaos fuzz clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(TOOLS) ## Put the pinned Python tools into .venv

$(TOOLS): requirements.txt
	@echo '== setting up .venv: the emulator, sam, cargo-lambda, cfn-lint and pytest, as requirements.txt pins them'
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@

bootstraps:
	@echo '== building penstock and the functions'
	cargo build --locked --workspace --bins
	@for f in $(FUNCTIONS); do \
	  mkdir -p $(BOOTSTRAPS)/$$f; \
	  if [ target/debug/$$f -nt $(BOOTSTRAPS)/$$f/bootstrap ]; then \
	    strip -o $(BOOTSTRAPS)/$$f/bootstrap target/debug/$$f; \
	  fi; \
	done

demo: $(TOOLS) bootstraps ## Release a good version, a bad one, and one that meets an alarm
	@echo '== releasing the shop three times'
	target/debug/penstock demo --functions $(BOOTSTRAPS)

# Random tests are the same ones on every run, so that what fails here fails there. Others: SEED=n.
SEED ?= 20261123

test: export PROPTEST_RNG_SEED := $(SEED)
test: export PENSTOCK_SEED := $(SEED)
test: $(TOOLS) bootstraps ## Every test: unit, property, end to end, stack, architecture
	@echo '== testing'
	python3 -m pytest --quiet -p no:cacheprovider tests/aws_requests
	cargo test --locked --workspace

# Long histories of the protocol in memory. One that breaks a law is shown as short as it can be found.
SCENARIOS ?= 2000
sim: ## Random histories of releases from SEED=n on, SCENARIOS of them
	PENSTOCK_SIM_SEED=$(SEED) PENSTOCK_SIM_SCENARIOS=$(SCENARIOS) cargo test --locked --quiet --workspace \
	  --test proof -- nobody_has_seen --nocapture

# Faults in each history: 1 takes a few minutes, 2 more than an hour. SCENARIO=.. is a part of a name.
FAULTS ?= 2
SCENARIO ?=
explore: ## Every order of port calls of a few runs, with up to FAULTS faults
	PENSTOCK_EXPLORE_FAULTS=$(FAULTS) PENSTOCK_EXPLORE_SCENARIO='$(SCENARIO)' \
	  cargo test --locked --quiet --workspace --profile explore \
	  --test proof -- every_order --nocapture

# Everything takes hours; SHARE=n does so many percent, SCENARIO=.. the faults and deaths of
# some releases by a part of their names. `make test` runs a small part of it.
SHARE ?= 100
chaos: export PENSTOCK_CHAOS := $(SHARE)
chaos: export PENSTOCK_CHAOS_SCENARIO := $(SCENARIO)
chaos: export PENSTOCK_SEED := $(SEED)
chaos: $(TOOLS) bootstraps ## AWS calls that fail, functions that are killed, 200 releases at once, late events
	ulimit -S -n 8192; cargo test --locked --quiet --workspace --test chaos # 200 releases need 1 200 files

check: $(TOOLS) ## Format, lints, templates and architecture
	@echo '== checking format and lints'
	cargo fmt --all -- --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	@echo '== checking templates'
	cfn-lint template.yaml demo/pipeline.yaml docs/examples/*.yaml
	sam validate --lint
	@echo '== checking the architecture'
	cargo test --locked --quiet --workspace --test architecture

build: $(TOOLS) ## Build the functions as they are shipped, into target/lambda
	cargo lambda build --locked --release --compiler cargo $(addprefix --package ,$(FUNCTIONS))

sizes: build ## The shipped functions: sizes of binary and zip in bytes
	@for f in $(FUNCTIONS); do \
	  printf '%-18s %9d %9d\n' $$f $$(stat -c %s target/lambda/$$f/bootstrap) \
	    $$(python3 -c 'import sys, zlib; print(len(zlib.compress(open(sys.argv[1], "rb").read(), 6)))' target/lambda/$$f/bootstrap); \
	done

bench-start: build ## Cold starts, against the bare runtime and Python in the same run
	cargo lambda build --locked --release --compiler cargo --package penstock-bench --bin runtime-only
	cargo run --locked --quiet --package penstock-bench --bin bench-start -- --functions target/lambda

# What a round trip takes at least while they are counted: so long that requests which a function
# sends side by side are under way together.
ROUND_TRIP_MS ?= 30

bench-calls: demo ## AWS calls and round trips of each job, and of a whole release of each target
	PENSTOCK_ROUND_TRIP_MS=$(ROUND_TRIP_MS) cargo test --locked --quiet --workspace --test end_to_end -- promoted --test-threads 1
	cargo run --locked --quiet --bin bench-calls -- --requests target/end-to-end-requests.jsonl

# How many releases are active while the sweep is timed, and how many of them nobody looks after.
ACTIVE ?= 0,100,10000
DUE ?= 0,1,20,100

bench-sweep: $(TOOLS) bootstraps ## What the sweep costs with 0, 100 and 10 000 active releases
	PENSTOCK_ACTIVE=$(ACTIVE) PENSTOCK_DUE=$(DUE) cargo test --locked --quiet --workspace --test end_to_end -- a_sweep_ --test-threads 1

bench-rollback: $(TOOLS) bootstraps ## From an alarm to the stable weight live, 200 times, and its AWS calls
	PENSTOCK_CHAOS=timed cargo test --locked --quiet --workspace --test chaos
	cargo run --locked --quiet --package penstock-bench --bin bench-rollback

bench-gate: $(TOOLS) ## Reading reports, against merely inflating them and against Python
	python3 -m pip install --quiet --disable-pip-version-check --requirement bench/requirements.txt
	cargo build --locked --release --package penstock-bench --bin bench-gate
	target/release/bench-gate

bench-judge: ## The judge and its rivals in simulated releases: docs/img/judge.svg and its table
	cargo build --locked --profile bench-judge --package penstock-bench --bin bench-judge
	target/bench-judge/bench-judge

# Seconds for each target.
FUZZ_SECONDS ?= 20
CARGO_FUZZ := .tools/bin/cargo-fuzz
# Begun with the minimised inputs in fuzz/corpus, a zip for each target; it grows here.
FUZZ_CORPUS := target/fuzz-corpus

$(CARGO_FUZZ):
	@echo '== building cargo-fuzz into .tools'
	cargo install --quiet --locked --root .tools --version 0.13.2 cargo-fuzz

# The sanitizer and the coverage are unstable flags, which the pinned toolchain takes when told so.
fuzz: export RUSTC_BOOTSTRAP := 1
fuzz: $(CARGO_FUZZ) ## Every format, the zip reader, the diff reader and the configuration, FUZZ_SECONDS each
	@$(CARGO_FUZZ) build
	@for target in $$($(CARGO_FUZZ) list); do \
	  echo "== fuzzing $$target for $(FUZZ_SECONDS) s"; \
	  mkdir -p $(FUZZ_CORPUS)/$$target; \
	  python3 -m zipfile -e fuzz/corpus/$$target.zip $(FUZZ_CORPUS)/$$target; \
	  $(CARGO_FUZZ) run $$target $(FUZZ_CORPUS)/$$target -- -max_total_time=$(FUZZ_SECONDS) \
	    -max_len=16384 -rss_limit_mb=1024 -timeout=10 2>&1 | tail -n 1; \
	done

clean: ## Remove everything that was built or written, but not .venv
	cargo clean
	rm -rf .penstock .aws-sam
