# Two commands are enough on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-all lint docs train foreign clean

demo: $(READY)
	$(BIN)/cimsim run

# One BLAS thread for each of the two test workers.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu" -n 2 --dist worksteal

test-all: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

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

# Sixty networks of torchvision and timm through all stages: docs/foreign.md. Goes on where it was.
# The packages stay out of the environment, and pip never touches torch.
FOREIGN := .foreign
foreign: $(READY)
	test -d $(FOREIGN)/timm || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(FOREIGN) torchvision==0.28.0 timm==1.0.31
	OMP_NUM_THREADS=1 PYTHONPATH=$(FOREIGN) $(BIN)/python -m benchmarks.foreign $(ARGS)

$(READY): setup.py constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cimsim needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@echo "compiling for this machine, once"
	folder=$$(mktemp -d) && $(BIN)/python -m cimsim run --quiet --no-cache --frames 1 --size 64x64 --out $$folder/run > /dev/null && rm -r $$folder
	touch $@

clean:
	rm -rf $(VENV) $(FOREIGN) build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
