# Every target sets up what it needs. The first one takes a few minutes to install the environment
# into .venv; after that nothing here uses the network.
#
#   make run [CHAPTER=multi_pitch]   PYTHON=python3.12 chooses the interpreter (3.11 to 3.14)
#                                    VENV=/path/to/venv uses that environment as it is
#                                    TORCH_INDEX=URL installs torch from another package index
#   make test [WORKERS=2]            so many processes side by side; 0: one, in this process

CHAPTER ?= multi_pitch
PYTEST_ARGS ?=
WORKERS ?= 2
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c '$(SUPPORTED)' 2>/dev/null && { echo $$p; break; }; done)

ifdef VENV
READY :=
PEERS_READY :=
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
else
VENV := .venv
READY := $(VENV)/.ready
PEERS_READY := $(VENV)/.peers
endif
PY := $(VENV)/bin/python

export JUPYTER_PLATFORM_DIRS := 1

.PHONY: help run test test-fast book lab notebooks bench peers lint

help:
	@echo 'make run [CHAPTER=name|all]  run a chapter, build the book with its fresh outputs'
	@echo 'make test                    lint, unit tests, notebooks, the book in a browser'
	@echo 'make test-fast               what answers in three minutes: lint and quick tests'
	@echo 'make book                    build the book from the committed outputs'
	@echo 'make lab                     open the notebooks in JupyterLab'
	@echo 'make notebooks               execute the notebooks and write their outputs into them'
	@echo 'make bench                   measure the library against its baselines'
	@echo 'make peers                   measure our networks beside public ones (downloads these once)'
	@echo 'make lint                    check style and formatting'

run: $(READY)
	$(PY) -m tools.chapters run $(CHAPTER)

# One thread a worker: threads that wait for each other on busy cores are slower than none.
test: $(READY) lint
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --nbval-lax --nbval-current-env --nbval-cell-timeout=600 tests notebooks $(PYTEST_ARGS)

test-fast: $(READY) lint
	$(PY) -m pytest -m 'not slow and not browser and not notebook' tests $(PYTEST_ARGS)

book: $(READY)
	$(PY) -m tools.chapters book

lab: $(READY)
	$(PY) -m jupyterlab --LabApp.default_url=/lab/tree/notebooks \
		--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
		$(if $(filter 0,$(shell id -u)),--allow-root)

notebooks: CHAPTER = all
notebooks: $(READY)
	$(PY) -m tools.chapters refresh $(CHAPTER)

bench: $(READY)
	$(PY) -m benchmarks

peers: $(PEERS_READY)
	$(PY) -m benchmarks.peers

lint: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

# The stamp is written last: an installation that was killed is made again from the beginning.
.venv/.ready: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo 'dl101 needs Python 3.11 to 3.14: make PYTHON=/path/to/python'; exit 1; }
	@$(PYTHON) -c '$(SUPPORTED)' || { echo 'dl101 needs Python 3.11 to 3.14, got $(PYTHON)'; exit 1; }
	@echo 'Installing the environment into .venv (once; a few minutes)'
	$(PYTHON) -m venv --clear .venv
	$(if $(TORCH_INDEX),.venv/bin/python -m pip install --index-url $(TORCH_INDEX) \
		$$(grep '^torch==' requirements.txt))
	.venv/bin/python -m pip install -r requirements.txt
	.venv/bin/python -m pip install --no-deps --no-build-isolation --editable .
	@touch $@

# Public networks, for `make peers` alone. basic-pitch asks for TensorFlow, which its network in ONNX
# form does not need.
.venv/.peers: .venv/.ready
	.venv/bin/python -m pip install --constraint requirements.txt --no-build-isolation \
		--editable '.[peers]'
	.venv/bin/python -m pip install --no-deps 'basic-pitch==0.4.0'
	@touch $@
