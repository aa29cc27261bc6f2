# What to run here; `make` alone prints this list.
# make lab needs PORT, ARGS or DIR only to differ from the usual: make lab PORT=9999 ARGS=--no-browser

DIR = my-chapters
PYTHON =
PORT =
ARGS =

# The first Python that runs at all starts the set-up, which looks for one that is new enough by itself.
SET_UP = for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11); do \
	if "$$python" -c "" 2>/dev/null; then exec "$$python" .ci/bootstrap.py $(if $(PYTHON),--only) "$$@"; fi; done; \
	echo "rlbook: error: $(if $(PYTHON),PYTHON=$(PYTHON) does not run,no Python found); install Python 3.11 or newer," \
	"or say where it is with PYTHON=/path/to/python3.11" >&2; exit 1

.PHONY: help lab test bench clean

help:
	@echo "make lab     open the book in JupyterLab (PORT=9999, ARGS=--no-browser, DIR=folder)"
	@echo "make test    run every check: ruff, mypy, pytest"
	@echo "make bench   measure rlbook against its peers"
	@echo "make clean   remove .venv and all caches"
	@echo "The first run makes .venv; PYTHON=/path/to/python3.11 chooses its Python."

lab:
	@set -- book; $(SET_UP)
	@.venv/bin/rlbook lab --dir "$(DIR)" $(if $(PORT),--port $(PORT)) $(if $(ARGS),-- $(ARGS))

test:
	@set -- book deep test; $(SET_UP)
	@.venv/bin/python .ci/check.py $(ARGS)

bench:
	@set -- book deep test bench; $(SET_UP)
	@.venv/bin/python -m benchmarks $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info .artifacts .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
