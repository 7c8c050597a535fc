# Every target sets up .venv when it has to: once, and again when pyproject.toml or constraints.txt change.
PYTHON ?= python3
EXTRAS := dev,docs,bench,openvino,data,hf,rtl
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Hypothesis prints nothing without a failure, so the seed stands in the command: repeat with `make test SEED=...`.
SEED ?= 0
WORKERS ?= 2

.PHONY: setup run test test-long test-docs check format bench docs build clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps --target $(VENV)/hubs --upgrade timm torchvision
	touch $@

run: $(READY)  ## the main job on the embedded LeNet-5: runs/lenet5/report.html and lenet5.onnx
	$(BIN)/mlcnn run lenet5

test: $(READY)  ## all tests but the long ones
	$(BIN)/python -m pytest -n $(WORKERS) --hypothesis-seed=$(SEED)

test-long: $(READY)  ## all tests, the long ones too, with thousands of random examples
	$(BIN)/python -m pytest -n $(WORKERS) -m 'long or not long' --hypothesis-profile=long --hypothesis-seed=$(SEED)

test-docs: $(READY)  ## every command of README and docs runs, the long ones cut short; half an hour
	$(BIN)/python -m pytest -m long --log-cli-level=INFO tests/documented

check: $(READY)  ## lint, format, types, import contract
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)  ## the speed table, with spread
	$(BIN)/python -m benchmarks

docs: $(READY)  ## docs/_build/html/index.html
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --fresh-env docs docs/_build/html

build: $(READY)  ## dist/: source distribution and wheel
	$(BIN)/python -m build --no-isolation

clean:
	rm -rf build dist docs/_build
