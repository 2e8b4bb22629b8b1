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

# What we are measured beside has environments of its own, whose packages a list names. One that cannot be installed is
# left out and reported as absent.
stamp = .venv-$(1)/.installed-$(shell cat pyproject.toml benchmarks/$(1)/packages.txt | cksum | cut -d' ' -f1)
PEERS_STAMP   := $(call stamp,peers)
SERVING_STAMP := $(call stamp,serving)

$(PEERS_STAMP): NEEDED = -e ".[build]" packaging
$(SERVING_STAMP): NEEDED = -e ".[serve]"
$(PEERS_STAMP): benchmarks/peers/packages.txt
$(SERVING_STAMP): benchmarks/serving/packages.txt
$(PEERS_STAMP) $(SERVING_STAMP): pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q --disable-pip-version-check $(NEEDED)
	@while read -r package; do \
		$(@D)/bin/python -m pip install -q --disable-pip-version-check "$$package" \
		|| echo "$(@D): $$package cannot be installed here; it is reported as absent"; \
	done < $(filter %.txt,$^)
	@rm -f $(@D)/.installed-*
	@touch $@

# What to measure: make bench-peers ARGS="--cases mlp,gpt --measure train" (see ARGS=--help).
bench-edge: $(PEERS_STAMP)
	.venv-peers/bin/python -m benchmarks.edge $(ARGS)

bench-peers: $(PEERS_STAMP)
	.venv-peers/bin/python -m benchmarks.peers $(ARGS)

# What to measure: make bench-serving ARGS="--cases digits --rounds 5" (see ARGS=--help).
bench-serving: $(SERVING_STAMP)
	.venv-serving/bin/python -m benchmarks.serving $(ARGS)

soak: $(STAMP)
	$(BIN)/python -m tests.serve.soak $(ARGS)

clean:
	rm -rf $(VENV) .venv-peers .venv-serving build *.egg-info .pytest_cache .ruff_cache .mypy_cache
