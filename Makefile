# Each target first makes its own environment in .venv; that needs a Python >= 3.11 and a package registry, nothing more.
# `make clean` starts over, for instance with another interpreter: make clean test PYTHON=python3.12
PYTHON ?= $(shell scripts/find-python)
EXTRAS ?= dev$(shell nvidia-smi >/dev/null 2>&1 && echo ,cuda)
TASK ?= push
ARGS ?=

BIN := .venv/bin
READY := .venv/ready

.DEFAULT_GOAL := help
.PHONY: help train test lint bench docs constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

train: $(READY) ## train the NDP: make train TASK=push ARGS="--seed 1"
	@$(BIN)/ndp train $(TASK) $(ARGS)

test: $(READY) ## run the tests: make test ARGS="-m slow tests/train"
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(READY) ## ruff and pyright
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

bench: $(READY) ## measure speed
	@$(BIN)/ndp bench $(ARGS)

docs: $(READY) ## build the site: site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

constraints: $(READY) ## resolve every pinned version anew, for all Pythons and extras
	@$(BIN)/python -m pip install -qq uv
	@$(BIN)/uv pip compile --quiet --no-python-downloads --upgrade --universal --python-version 3.11 --all-extras --no-annotate \
		--custom-compile-command "make constraints" pyproject.toml -o constraints.txt

clean: ## remove the environment and the caches; runs/ stays
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An interrupted install leaves no mark and is made anew; a changed requirement updates in place.
$(READY): pyproject.toml constraints.txt
	@if test -f $@; then echo "Updating .venv ..."; else \
		python="$(PYTHON)"; test -n "$$python" || exit 1; \
		echo "Making .venv with $$("$$python" --version) ($$python), extras $(EXTRAS); a minute or two ..."; \
		"$$python" -m venv --clear .venv; \
	fi
	@rm -f $@
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e ".[$(EXTRAS)]" -c constraints.txt
	@touch $@
