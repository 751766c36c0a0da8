# make demo | make test | make lint | make bench
# A fresh machine needs Python 3.11 and make; everything else is installed into .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
RUN ?= runs/demo

.PHONY: demo test lint bench clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all,dev]"
	touch $@

demo: $(VENV)/installed
	rm -rf $(RUN)
	$(BIN)/biocl pretrain configs/demo.yaml --out $(RUN)/pretrain
	$(BIN)/biocl evaluate configs/demo.yaml --from $(RUN)/pretrain --out $(RUN)/evaluate

test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/gather.py
	$(BIN)/python benchmarks/prepare_mitdb.py
	$(BIN)/python benchmarks/prepare_memory.py
	$(BIN)/python benchmarks/prepare_parallel.py
	$(BIN)/python benchmarks/store_size.py

clean:
	rm -rf $(VENV) runs
