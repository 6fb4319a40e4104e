# Two commands are enough on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-all test-memory test-latest coverage lint speed-check mutation docs train foreign clean

demo: $(READY)
	$(BIN)/cimsim run

# One BLAS thread for each of the two test workers.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu" -n 2 --dist worksteal

test-all: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# Tests of compiled code, with memory that is overwritten when it is freed and not 0 when it is new (glibc): code that reads
# either gives something else.
test-memory: $(READY)
	MALLOC_PERTURB_=165 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu" -n 2 --dist worksteal tests/kernels tests/engine tests/crossbar

# The tests of `make test`, and which share of each file's lines they run. Compiled kernels are not seen, benchmarks.mutation
# looks at those. make coverage ARGS=tests/chip
coverage: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu" -n 2 --dist worksteal --cov=cimsim --cov=frontends --cov-report=term:skip-covered $(ARGS)

# The same tests with the newest versions that setup.py allows, in an environment of its own; torch
# stays the one that cimsim is tested with. make test-latest ARGS=tests/kernels
LATEST := .latest
test-latest:
	test -x $(LATEST)/bin/python || $(PYTHON) -m venv $(LATEST)
	grep '^torch==' constraints.txt > $(LATEST)/torch.txt
	$(LATEST)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --upgrade-strategy eager -c $(LATEST)/torch.txt -e '.[test]'
	OMP_NUM_THREADS=1 $(LATEST)/bin/python -m pytest -m "not slow and not gpu" -n 2 --dist worksteal $(ARGS)

# Whether the engine reaches as much of this machine's peak as before; no test, for it takes a core that does nothing else.
speed-check: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.speed.check $(ARGS)

# Whether the tests notice a changed line of the kernels or of the crossbar; takes half an hour.
mutation: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.mutation $(ARGS)

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# The documentation as pages in site/, which open from disk; warnings are errors.
docs: $(READY)
	$(BIN)/python -c 'import mkdocstrings' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open site/index.html"

# Train the queue while the machine has nothing better to do: make train DATA=clips OUT=out/queue
train: $(READY)
	@test -n "$(DATA)" -a -n "$(OUT)" || { echo "make train: give DATA=<folder of clips> and OUT=<folder of results>" >&2; exit 2; }
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.paper.queue --data $(DATA) --out $(OUT) $(ARGS)

# Networks of torchvision, timm and transformers through all stages: docs/foreign.md. Goes on where
# it was.
# The packages stay out of the environment, and pip never touches torch.
FOREIGN := .foreign
OTHERS := torchvision==0.28.0 timm==1.0.31 transformers==5.24.0 huggingface-hub==2.4.0 tokenizers==0.23.3 \
	regex hf-xet httpx2==2.16.2 httpcore2==2.16.2 anyio truststore h11
foreign: $(READY)
	test -d $(FOREIGN)/transformers || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(FOREIGN) $(OTHERS)
	OMP_NUM_THREADS=1 PYTHONPATH=$(FOREIGN) $(BIN)/python -m benchmarks.foreign $(ARGS)

$(READY): setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cimsim needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@echo "compiling for this machine, once"
	folder=$$(mktemp -d) && $(BIN)/python -m cimsim run --quiet --no-cache --frames 1 --size 64x64 --out $$folder/run > /dev/null && rm -r $$folder
	touch $@

clean:
	rm -rf $(VENV) $(LATEST) $(FOREIGN) build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
