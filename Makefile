# `make demo` and `make test` need Python 3.11 or newer and make; everything else is set up here.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 9010
ROUNDS ?= 20
# One more than there are cores: some tests wait.
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo serve test check format bench-actors bench-orders bench-payments bench-fanout bench-latency bench-pos crash \
	chaos-payments storm fuzz docs clean

$(VENV)/.runtime: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(VENV)/.runtime
	@exec $(BIN)/python -m tabletap demo --port $(PORT)

serve: $(VENV)/.runtime
	@exec $(BIN)/python -m tabletap serve --port $(PORT)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Whole files side by side: what a file's tests share (a server, a cafe) they go on sharing. The order is that of
# tests/conftest.py: the longest first, not those with the most tests.
test: check
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-actors: $(VENV)/.dev
	$(BIN)/python -m tests.load.bench_actors

bench-orders: $(VENV)/.dev
	$(BIN)/python -m tests.load.bench_orders

bench-payments: $(VENV)/.dev
	$(BIN)/python -m tests.load.bench_payments

bench-fanout: $(VENV)/.dev
	@$(BIN)/python -m tests.load.bench_fanout

bench-latency: $(VENV)/.dev
	@$(BIN)/python -m tests.load.bench_latency

bench-pos: $(VENV)/.dev
	@$(BIN)/python -m tests.load.bench_pos

crash: $(VENV)/.dev
	$(BIN)/python -m tests.load.crash --rounds $(ROUNDS)

chaos-payments: $(VENV)/.dev
	$(BIN)/python -m tests.load.chaos_payments

storm: $(VENV)/.dev
	$(BIN)/python -m tests.load.storm

fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.load.fuzz

docs: $(VENV)/.runtime
	$(BIN)/python -m tabletap.domain.picture

clean:
	rm -rf $(VENV) .tabletap
