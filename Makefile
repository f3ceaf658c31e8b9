# `make run` runs the main job, `make test` the tests; each sets up .venv first when it is missing or out of date.
PYTHON ?= python3
# what make test runs; all tests by default
TESTS ?=
CORES ?= all
UV_VERSION := $(shell sed -n 's/^uv==\([0-9.]*\).*/\1/p' requirements.txt)
STAMP := .venv/.up-to-date

.PHONY: run test setup lint format lock docs clean-env
.DELETE_ON_ERROR:

run: $(STAMP)
	.venv/bin/lacuna run --profile profiles/local --cores $(CORES)

test: $(STAMP)
	.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadgroup --no-loadscope-reorder $(TESTS)

setup: $(STAMP)

# uv comes into the environment with pip once and then installs everything else, hash by hash. Compiled at once: hundreds
# of short jobs import it, and where Python may not write bytecode each would compile torch anew.
$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else f"lacuna: Python 3.11, 3.12 or 3.13 is needed, this is {v[0]}.{v[1]}; choose one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	.venv/bin/uv pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes requirements.txt
	.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

lint: $(STAMP)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/snakefmt --check Snakefile workflow
	.venv/bin/mypy
	.venv/bin/snakemake --lint
	.venv/bin/python -m lacuna.commands.docs --check
	PYTHONPATH=workflow/lib .venv/bin/python -m lacuna_workflow.environment --check

format: $(STAMP)
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
	.venv/bin/snakefmt Snakefile workflow

# Pins every dependency again from pyproject.toml, here and in workflow/envs/lacuna.yaml; the address of the package
# index is not recorded.
lock: $(STAMP)
	.venv/bin/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --python-version 3.11 --extra dev pyproject.toml --output-file requirements.txt
	PYTHONPATH=workflow/lib .venv/bin/python -m lacuna_workflow.environment

# The pages that are generated from the sources.
docs: $(STAMP)
	.venv/bin/python -m lacuna.commands.docs

clean-env:
	rm -rf .venv
