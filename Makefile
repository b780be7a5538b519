# Chores. Everything runs in the virtual environment that scripts/setup makes.
VENV := .sampan-dev/venv
PY := $(VENV)/bin/python

.PHONY: setup check test unit bench vm demo clean
setup:
	scripts/setup test
check: setup
	$(VENV)/bin/ruff check src tests bench scripts && $(VENV)/bin/ruff format --check src tests bench scripts
	$(VENV)/bin/mypy && PATH=$(VENV)/bin:$$PATH lint-imports
unit: setup
	$(PY) -m pytest tests/unit tests/contract
test:
	scripts/test
bench: setup
	$(PY) bench/peers.py
vm: setup
	$(PY) -m pytest tests/vm
demo:
	scripts/demo
clean:
	rm -rf .sampan-dev build bench/out
