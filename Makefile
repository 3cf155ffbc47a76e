# Only Python 3.11+, git and make are needed: everything else is installed into .venv from requirements.lock.
PYTHON ?= python3
PARAMS ?= params/sample.yaml
ARGS   ?=
COMPILE ?= --compile-bytecode
BIN    := .venv/bin
STAMP  := .venv/.installed
SPARK4 := 4.3.0
SPARK3 := 3.5.9
SPARKS := .venv/.spark-$(SPARK4)-$(SPARK3)
PROPHET := 1.5.0
TORCH  := 2.15.0
MINISTACK := 1.5.33
MINI   := .venv/ministack/.installed-$(MINISTACK)
DEEP   := .venv/.deep-$(PROPHET)-$(TORCH)

.DEFAULT_GOAL := help
.PHONY: help run test spark deep ministack lab bench lint lock clean setup

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make run ARGS=\"-p symbols='[IBM,MSFT]' -p source=folder:/my/csvs\"    your own data"

run: setup ## Run the whole chain on the sample and write the HTML report
	@$(BIN)/stockkit run $(PARAMS) $(ARGS)

# Three workers on two cores, as tests wait for kernels, brokers and Java a third of their time. One thread a process:
# workers that start a thread a core each wait for one another. The plugins of pytest that other packages bring would be
# imported with each worker, which takes seconds
test: setup ## Run all tests
	@OMP_NUM_THREADS=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(BIN)/python -m pytest \
		-p xdist.plugin -p _hypothesis_pytestplugin -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

spark: setup $(SPARKS) ## Install Spark 4 and, for the tests, Spark 3.5 (900 MB; needs Java 17; nothing else needs them)

deep: setup $(DEEP) ## Install Prophet and torch (5 GB on Linux; nothing else needs them)

ministack: setup $(MINI) ## Install MiniStack, which runs the Lambda functions in the tests (50 MB; nothing else needs it)

lab: setup ## Open the notebooks in JupyterLab
	@JUPYTER_DEFAULT_PROVISIONER_NAME=stockkit-warm $(BIN)/jupyter lab --notebook-dir=notebooks

bench: setup ## Measure against other libraries, printed as ratios
	@$(BIN)/python -m benchmarks $(ARGS)

lint: setup ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/nbstripout --keep-id --verify notebooks/*.ipynb

lock: setup ## Resolve the newest dependencies into requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --upgrade --no-emit-index-url \
		--no-annotate --no-header pyproject.toml -o requirements.lock

clean: ## Remove reports, the local lake, caches and .venv; raw data fetched into the lake goes too
	@find reports -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
	@rm -rf data/lake .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "stockkit needs Python 3.11 or newer; found $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	@echo "Installing into .venv (once; a few minutes on a slow line) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements.lock)"
	@$(BIN)/uv pip install --quiet $(COMPILE) --python $(BIN)/python -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# Spark 3.5, which Glue 5 and EMR 7 run, in a folder of its own beside the one that a user gets
$(SPARKS): | $(STAMP)
	@echo "Installing Spark $(SPARK4) and $(SPARK3) into .venv (once; 900 MB) ..."
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.lock \
		"pyspark==$(SPARK4)"
	@rm -rf .venv/spark-3.5
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --target .venv/spark-3.5 "pyspark==$(SPARK3)" "py4j<0.10.10"
	@touch $@

# On Linux torch brings CUDA; with UV_TORCH_BACKEND=cpu in the environment uv takes PyTorch's small build without it
$(DEEP): | $(STAMP)
	@echo "Installing Prophet $(PROPHET) and torch $(TORCH) into .venv (once; 5 GB on Linux) ..."
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.lock \
		"prophet==$(PROPHET)" "torch==$(TORCH)"
	@touch $@

# In an environment of its own, as it needs one version of botocore; boto3 is what Lambda's runtime has
$(MINI): | $(STAMP)
	@echo "Installing MiniStack $(MINISTACK) into .venv (once; 50 MB) ..."
	@rm -rf .venv/ministack
	@$(BIN)/uv venv --quiet --python $(BIN)/python .venv/ministack
	@$(BIN)/uv pip install --quiet --python .venv/ministack/bin/python "ministack==$(MINISTACK)" boto3
	@touch $@
