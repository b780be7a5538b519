# Chores. Everything runs as root, in the virtual environment that scripts/setup makes.
PY := .sampan-dev/venv/bin/python

.PHONY: check test unit bench vm demo clean
check:
	scripts/setup test && scripts/check
test:
	scripts/test
unit:
	scripts/test tests/unit tests/contract
# make bench PEER=unix:///var/run/docker.sock
bench:
	scripts/setup test && $(PY) bench/peers.py --peer $(or $(PEER),unix:///var/run/docker.sock)
vm:
	scripts/setup vm && SAMPAN_VM=1 scripts/test -s tests/vm
demo:
	scripts/demo
clean:
	rm -rf .sampan-dev build
