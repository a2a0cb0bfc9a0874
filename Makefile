# One Smart Trade. `make help` lists what can be made; `make run` on a fresh clone does everything itself.

PYTHON ?= python3
VENV ?= .venv
DATA ?=
ARGS ?=
export PYTHON VENV
# Compiled byte code is kept: without it every start pays seconds for compiling.
unexport PYTHONDONTWRITEBYTECODE

BIN := $(VENV)/bin
ENVIRONMENT := sh requirements/environment.sh
# Hashes and versions come from the public index alone; no address is written into the locked files.
LOCK := UV_NO_CONFIG=1 UV_FIND_LINKS= $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

# What torch's CUDA build names and does not load where it only computes on the CPU.
UNUSED_OF_TORCH := triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cusolver nvidia-nvtx nvidia-cuda-cccl

FUNCTIONS := $(notdir $(patsubst %/main.py,%,$(wildcard functions/*/main.py)))

.DEFAULT_GOAL := help
.PHONY: help run test lint format bench simulate agent agent-demo kill-demo up dist infra plan deploy destroy-staging lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  PYTHON=python3.12 chooses the interpreter (3.11 to 3.13), VENV=folder the environment.'

run: ## the loop over market data, with a report: make run [DATA=dir] [ARGS="--days 30 --symbols BTCUSDT"]
	@$(ENVIRONMENT) run
	@# While the loop runs, research is compiled in the background, once: no later command waits for it.
	@nice $(BIN)/ost backtest --warm >/dev/null 2>&1 & \
	$(BIN)/ost run $(if $(DATA),--data "$(DATA)") $(ARGS); status=$$?; wait; exit $$status

test: ## all tests: make test [ARGS="tests/unit -k regime"]
	@$(ENVIRONMENT) dev
	@$(BIN)/python -m pytest --benchmark-disable $(ARGS)

lint: ## ruff, mypy --strict, import-linter
	@$(ENVIRONMENT) dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: ## let ruff mend and format the code
	@$(ENVIRONMENT) dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: ## benchmarks with figures, beside their peers: make bench [ARGS="-k regime"]
	@$(ENVIRONMENT) bench
	@$(BIN)/python -m pytest tests/benchmarks --benchmark-columns=min,median,ops -s $(ARGS)

simulate: ## the live session against the paper exchange with faults, from seeds: make simulate [SEEDS=1000]
	@$(ENVIRONMENT) run
	@$(BIN)/ost simulate $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

agent: ## the extra of the RL agent's training: gymnasium, stable-baselines3, torch (about 4 GB)
	@$(ENVIRONMENT) agent

agent-demo: agent ## the RL agent's whole path on a small budget: train, export, judge, trade
	@$(BIN)/ost agent demo

kill-demo: ## record docs/kill.svg: ost live killed with -9 in the middle of an entry, and continued
	@$(ENVIRONMENT) dev
	@$(BIN)/python docs/make_kill_demo.py

up: ## the cloud on this computer, from the scheduler to the fill, until Ctrl-C: make up [ARGS="--speed 360"]
	@$(ENVIRONMENT) dev
	@$(BIN)/python -m cloudrun.laptop $(ARGS)

dist: ## the archives of the functions, named after their content: dist/functions/NAME-HASH.zip
	@$(ENVIRONMENT) run
	@$(BIN)/python -m functions.dist

infra: dist ## the configuration of the cloud, both environments: terraform offline, checkov
	@VENV=.venv-infra $(ENVIRONMENT) infra
	@PATH="$(CURDIR)/.venv-infra/bin:$$PATH" infra/check.sh

plan: dist ## what a deployment would change: make plan ENV=staging PROJECT=my-project
	@sh infra/terraform.sh plan "$(ENV)" "$(PROJECT)"

deploy: dist ## make or change the cloud, after it was shown and confirmed: make deploy ENV=staging PROJECT=my-project
	@sh infra/terraform.sh apply "$(ENV)" "$(PROJECT)"

destroy-staging: ## remove all of staging, after it was shown and confirmed: make destroy-staging PROJECT=my-project
	@sh infra/terraform.sh destroy staging "$(PROJECT)"

lock: ## lock the newest versions into requirements/*.txt and the requirements of each deployable
	@$(ENVIRONMENT) dev
	$(LOCK) --upgrade requirements/run.in --output-file requirements/run.txt
	$(LOCK) --upgrade requirements/dev.in --output-file requirements/dev.txt
	$(LOCK) --upgrade requirements/bench.in --output-file requirements/bench.txt
	$(LOCK) --upgrade requirements/infra.in --output-file requirements/infra.txt
	$(LOCK) --upgrade $(foreach package,$(UNUSED_OF_TORCH),--no-emit-package $(package)) requirements/agent.in --output-file requirements/agent.txt
	$(LOCK) --upgrade cloudrun/bot/requirements.in --output-file cloudrun/bot/requirements.txt
	$(LOCK) --upgrade cloudrun/campaign/requirements.in --output-file cloudrun/campaign/requirements.txt
	$(LOCK) --upgrade cloudrun/exchange/requirements.in --output-file cloudrun/exchange/requirements.txt
	for name in $(FUNCTIONS); do \
		$(LOCK) --upgrade functions/$$name/requirements.in --output-file functions/$$name/requirements.txt || exit; done

clean: ## remove the environment and caches; market data, ledger and reports in var/ stay
	rm -rf "$(VENV)" .venv-infra dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
