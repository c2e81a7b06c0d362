# fastrec: two commands are enough: `make run` and `make test`.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.installed
METADATA := "metadata.papermill cell.metadata.papermill cell.metadata.execution metadata.widgets"

.DEFAULT_GOAL := help
.PHONY: help run test check lab serve bench notebooks clean

help:  ## show what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/python -m uv pip install --quiet --constraint constraints.txt --editable '.[serve,quality,track,dev,e2e]'
	@touch $(READY)

run: $(READY)  ## execute the seven notebooks on the built-in digits and print the report's path
	@$(BIN)/fastrec run

test: $(READY)  ## run all tests, the notebooks under nbval among them
	$(BIN)/python -m pytest -n 2 --dist loadfile
	@rm -rf .cache/nbval
	FASTREC_HOME=$(CURDIR)/.cache/nbval $(BIN)/python -m pytest --nbval-lax notebooks

check: $(READY)  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

lab: $(READY)  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

serve: $(READY)  ## serve the model of RUN (default digits) at http://127.0.0.1:8000
	$(BIN)/fastrec serve $(or $(RUN),digits)

bench: $(READY) run  ## run every benchmark of minutes beside its peer
	$(BIN)/python benchmarks/loaders.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/predict.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/cache.py
	$(BIN)/python -m uv pip install --quiet --constraint constraints.txt --editable '.[peers]'
	$(BIN)/python benchmarks/collect.py

notebooks: $(READY)  ## execute the notebooks on the built-in data and keep their outputs in the repository
	@rm -rf .cache/notebooks
	FASTREC_HOME=$(CURDIR)/.cache/notebooks $(BIN)/jupyter nbconvert --to notebook --execute --inplace notebooks/*.ipynb
	$(BIN)/nbstripout --keep-output --keep-count --extra-keys $(METADATA) notebooks/*.ipynb

clean:  ## remove the environment; runs, data and reports stay
	rm -rf .venv
