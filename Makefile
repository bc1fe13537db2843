# Every target is a command that works by itself; `make` lists them.
.DEFAULT_GOAL := help
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help check demo test-unit test-integration test-acceptance test-faults test-deploy test-containers bench stand-ins lint types docs format compose clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: ## everything that CI runs: ruff, mypy, import-linter, mkdocs and pytest
	./run test

demo: ## the main job on the data set that is shipped, with nothing configured
	./run demo

test-unit: ## the tests that need nothing but Python
	./run test tests/unit

test-integration: ## the tests on a private RabbitMQ and Redis
	./run test tests/integration

test-acceptance: ## the tests that drive real worker processes
	./run test tests/acceptance

test-faults: ## kill parts and servers at every point; goes on where it was ended (BROKER=redis, MINUTES=5)
	./run test tests/faults --every-point --broker $(or $(BROKER),rabbitmq) \
		--results build/crash-points.jsonl $(if $(MINUTES),--minutes $(MINUTES))

test-deploy: ## bring docker-compose.yml up, and kill parts of it (needs a Docker engine)
	./run test tests/deploy

test-containers: ## the tests that run through pytest-celery, on its container nodes (needs a Docker engine)
	./run test tests/acceptance/test_setup.py --containers

bench: ## every figure that is claimed, measured beside plain Celery; goes on where it was ended
	$(BIN)/pip install --quiet -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks --missing
	$(BIN)/python -m benchmarks.page

stand-ins: ## images for these two where no registry is reached: Debian 12, root and debootstrap
	tests/deploy/stand_ins/build.sh

lint: ## ruff and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: ## mypy
	$(BIN)/mypy

docs: ## build the documents, strictly, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

format: ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

compose: ## check docker-compose.yml, with passwords that are used for nothing
	RABBITMQ_PASSWORD=x REDIS_PASSWORD=x FLOWER_PASSWORD=x COORDINATOR_API_TOKENS=x docker compose config --quiet

clean: ## remove the virtual environment, caches and the embedded server's folder
	rm -rf $(VENV) site .batuta .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
