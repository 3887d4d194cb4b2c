# Two commands for a newcomer: `make demo` and `make test`. Both make their own environment in .venv first.

PYTHON ?= python3
# The CPU build of torch. For an NVIDIA GPU: make demo TORCH_INDEX=https://download.pytorch.org/whl/cu128
TORCH ?= torch==2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
JOBS ?= 2

MODULES := SuperResolve ArtefactReduction TemporalInterpolation
IN_SLICER = "$(SLICER)" --testing --no-splash --additional-module-paths $(foreach m,$(MODULES),"$(CURDIR)/STEnhance/$(m)")

.PHONY: demo test slicer-test lint benchmark clean

demo: .venv/ready
	.venv/bin/stenhance demo --out demo

# One thread for each test process: with more, they wait for each other.
test: .venv/ready lint
	@.venv/bin/python -c "from PySide6 import QtSvg, QtUiTools, QtWidgets" || { echo "Qt lacks system libraries; on Debian" \
	  "or Ubuntu: apt-get install libegl1 libgl1 libglib2.0-0 libxkbcommon0 libfontconfig1 fonts-dejavu-core"; exit 1; }
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest --numprocesses=$(JOBS) --dist=loadfile

# The self tests in a real Slicer, each module as its ctest does, then all of them once without a main window.
slicer-test:
	@test -x "$(SLICER)" || { echo "Name a 3D Slicer: make slicer-test SLICER=/path/to/Slicer"; exit 1; }
	@failed=; \
	for module in $(MODULES); do \
	  $(IN_SLICER) --python-code "import slicer.testing; \
	    slicer.testing.runUnitTest(['$(CURDIR)/STEnhance/$$module'], '$$module')" || failed="$$failed $$module"; \
	done; \
	$(IN_SLICER) --no-main-window --python-code "import slicer; \
	  [slicer.util.getModuleWidget(name).panel for name in '$(MODULES)'.split()]" || failed="$$failed no-main-window"; \
	if test -n "$$failed"; then echo "Failed:$$failed"; exit 1; fi; echo "All self tests passed."

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

benchmark: .venv/ready
	@test -n "$(STENHANCE_DATA)" || { echo "Set STENHANCE_DATA to a folder with cine/*.nii.gz first."; exit 1; }
	.venv/bin/stenhance benchmark s2,s4,k10,k6,k4,z4,t2,t4,t6,r13 --data $(STENHANCE_DATA)/cine --methods all \
	  --json benchmark.json --curves benchmark-curves

clean:
	rm -rf .venv demo Testing/output benchmark.json benchmark-curves

.venv/ready: pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" || \
	  { echo "Python 3.10 or newer is needed; name one with: make demo PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c "import ensurepip, venv" || \
	  { echo "Python's venv module is missing; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --upgrade pip
	.venv/bin/pip install --quiet --retries 1 --extra-index-url $(TORCH_INDEX) "$(TORCH)"
	PYTHONWARNINGS=ignore .venv/bin/pip install --quiet --editable ".[dev]"
	touch .venv/ready
