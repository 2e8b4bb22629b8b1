# The two commands that matter: `make demo` and `make test`. Each makes what it needs.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed-$(shell cat pyproject.toml | cksum | cut -d' ' -f1)

.PHONY: demo test bench bench-peers bench-edge bench-serving soak lint clean help

help:
	@echo "make demo   train a small network on real digits, eagerly and compiled; save, reload, draw a picture"
	@echo "make test   linters, types, layers and all everyday tests"
	@echo "make bench  speed against PyTorch on this machine, as text and JSON (installs PyTorch)"
	@echo "make bench-peers  ten models on Fanal and six frameworks, as JSON and a page (installs them: 3 GB)"
	@echo "make bench-edge  native libraries beside ONNX Runtime, LiteRT and ExecuTorch, in the same environment"
	@echo "make bench-serving  fanal serve beside LitServe, TorchServe and Triton, as JSON and a page (installs them: 1.5 GB)"
	@echo "make soak   the server's behaviours at full counts: hours of load, reloads, kills"
	@echo "make lint   only the linters"
	@echo "make clean  remove environments and caches"

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[demo,test,lint]"
	@rm -f $(VENV)/.installed-*
	@touch $@

demo: $(STAMP)
	$(BIN)/python examples/digits.py

lint: $(STAMP)
	$(BIN)/ruff check fanal tests benchmarks examples tools
	$(BIN)/lint-imports
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2 -m "not slow"

bench: $(STAMP)
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install -q --disable-pip-version-check -e ".[peers]"
	$(BIN)/python -m benchmarks

# An environment of its own. A peer that cannot be installed is left out and reported as absent.
# What to measure: make bench-peers ARGS="--cases mlp,gpt --measure train" (see ARGS=--help).
PEERS_VENV  := .venv-peers
PEERS_LIST  := benchmarks/peers/packages.txt
PEERS_STAMP := $(PEERS_VENV)/.installed-$(shell cat pyproject.toml $(PEERS_LIST) | cksum | cut -d' ' -f1)

$(PEERS_STAMP): pyproject.toml $(PEERS_LIST)
	$(PYTHON) -m venv $(PEERS_VENV)
	$(PEERS_VENV)/bin/python -m pip install -q --disable-pip-version-check -e ".[build]" packaging
	@while read -r package; do \
		$(PEERS_VENV)/bin/python -m pip install -q --disable-pip-version-check "$$package" \
		|| echo "bench-peers: $$package cannot be installed here; it is reported as absent"; \
	done < $(PEERS_LIST)
	@rm -f $(PEERS_VENV)/.installed-*
	@touch $@

bench-edge: $(PEERS_STAMP)
	$(PEERS_VENV)/bin/python -m benchmarks.edge $(ARGS)

bench-peers: $(PEERS_STAMP)
	$(PEERS_VENV)/bin/python -m benchmarks.peers $(ARGS)

# The same for servers: what to measure: make bench-serving ARGS="--cases digits --rounds 5" (see ARGS=--help).
SERVING_VENV  := .venv-serving
SERVING_LIST  := benchmarks/serving/packages.txt
SERVING_STAMP := $(SERVING_VENV)/.installed-$(shell cat pyproject.toml $(SERVING_LIST) | cksum | cut -d' ' -f1)

$(SERVING_STAMP): pyproject.toml $(SERVING_LIST)
	$(PYTHON) -m venv $(SERVING_VENV)
	$(SERVING_VENV)/bin/python -m pip install -q --disable-pip-version-check -e ".[serve]"
	@while read -r package; do \
		$(SERVING_VENV)/bin/python -m pip install -q --disable-pip-version-check "$$package" \
		|| echo "bench-serving: $$package cannot be installed here; it is reported as absent"; \
	done < $(SERVING_LIST)
	@rm -f $(SERVING_VENV)/.installed-*
	@touch $@

bench-serving: $(SERVING_STAMP)
	$(SERVING_VENV)/bin/python -m benchmarks.serving $(ARGS)

soak: $(STAMP)
	$(BIN)/python -m tests.serve.soak $(ARGS)

clean:
	rm -rf $(VENV) $(PEERS_VENV) $(SERVING_VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache
