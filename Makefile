# One line a target, the same here and in CI. PYTHON chooses the interpreter of a new .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install start dev test test-slow test-root e2e check format lint types layers bench lock clean

install: .venv/.installed  ## .venv with the pinned dependencies and KECS, editable

.venv/.installed: requirements-dev.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt && $(BIN)/python -m pip install --quiet --no-deps --config-settings editable_mode=compat --editable .  # compat: a path, not an import hook that costs every start 25 ms
	$(BIN)/python -m compileall -q engine actors api k8s cli  # so that `kecs start` need not, also where PYTHONDONTWRITEBYTECODE is set
	touch $@

start: install  ## an instance in the foreground; Ctrl-C stops it
	$(BIN)/kecs start

dev: install  ## an instance in the background with the present source: the control plane restarts, tasks go on
	$(BIN)/kecs start --detach && $(BIN)/kecs restart

test: install  ## the quick tests (a few minutes)
	$(BIN)/python -m pytest -q -m "not slow and not root and not e2e"

test-slow: install  ## the slow tests
	$(BIN)/python -m pytest -q -m "slow and not e2e"

test-root: install  ## the tests that need root
	$(BIN)/python -m pytest -q -m "root and not slow and not e2e"

e2e: install  ## against instances started as a user starts them; E2E="FILE -k WORD" chooses
	$(BIN)/python -m pytest -q -m "e2e" $(or $(E2E),tests/e2e)

check: format lint types layers test  ## everything that must be green

format: install
	$(BIN)/ruff format --check .

lint: install
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

layers: install
	$(BIN)/lint-imports

bench: install  ## figures of this machine, with moto_server beside it
	$(BIN)/python -m bench

lock: pyproject.toml  ## pin the dependencies anew
	$(BIN)/uv pip compile --quiet --universal --no-header --no-emit-index-url --no-emit-find-links --output-file requirements.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --no-header --no-emit-index-url --no-emit-find-links --extra dev --extra bench --constraint requirements.txt --output-file requirements-dev.txt pyproject.toml

clean:  ## everything that make made
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
