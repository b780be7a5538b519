"""kill -9 at random moments: `python -m tests.faults.storm --rounds 300 --seed 1` as root.

In each round some pieces of work begin at once, one of the engine's processes is killed somewhere in the middle, and when
all clients have had their answer every invariant must hold. From time to time everything is removed, after which nothing
but the engine itself may be there; and at the end the engine is stopped, after which nothing at all may be.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from http.client import HTTPException

from tests.conftest import EngineProcess
from tests.faults import invariants
from tests.faults.footprint import Footprint
from tests.faults.work import Work

_ROLES = ("sampand", "zygote", "spare", "launcher", "reserve", "shim")
_CLIENT_TIMEOUT_S = 60.0


class Storm:
    def __init__(self, engine: EngineProcess, seed: int, pieces: int) -> None:
        self.engine = engine
        self.random = random.Random(seed)
        self.pieces = pieces
        self.killed: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self.hung: list[str] = []

    def round(self, work: Work) -> None:
        """Work and one kill; then the invariants."""
        names = [self.random.choice(sorted(work.kinds)) for _ in range(self.pieces)]
        threads = [threading.Thread(target=self._piece, args=(work, name), daemon=True) for name in names]
        for thread in threads:
            thread.start()
        time.sleep(self.random.expovariate(1 / 0.06))
        self._kill(self.random.choice(_ROLES))
        for thread, name in zip(threads, names, strict=True):
            thread.join(_CLIENT_TIMEOUT_S)
            if thread.is_alive():
                self.hung.append(f"{name}: {work.under_way}")
        try:
            assert not self.hung, f"clients that never got an answer: {self.hung}"
            assert not self.failures, self.failures
            if self.engine.process is None or self.engine.process.poll() is not None:
                self.engine.start()
            invariants.check(self.engine)
        except AssertionError as error:
            raise AssertionError(f"in a round of {names}, kills so far {dict(self.killed)}:\n{error}") from None

    def _piece(self, work: Work, name: str) -> None:
        try:
            work.kinds[name](random.Random(self.random.random()))
            self.done[name] += 1
        except (OSError, HTTPException):
            pass  # the engine was killed under it
        except Exception:
            self.failures.append(f"{name}: {traceback.format_exc()}")

    def _kill(self, role: str) -> None:
        footprint = Footprint(self.engine)
        found = [pid for pid, each in footprint.processes().items() if each == role]
        if not found:
            return
        pid = self.random.choice(found)
        self.killed[role] += 1
        if role == "sampand" and self.random.random() < 0.5:
            self.engine.kill()
            self.engine.start()
            return
        if role == "sampand":
            self.engine.stop()
            assert self.engine.process is not None
            assert self.engine.process.returncode == 0, f"SIGTERM ended it with {self.engine.process.returncode}"
            self.engine.start()
            return
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Registry:
    """The distribution's registry server, on loopback."""

    def __init__(self, root: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        os.makedirs(root)
        storage = {"filesystem": {"rootdirectory": f"{root}/data"}}
        config = {"version": "0.1", "log": {"level": "error"}, "storage": storage, "http": {"addr": self.address}}
        with open(f"{root}/config.yml", "w", encoding="utf-8") as file:
            json.dump(config, file)  # JSON is YAML
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(
            ["docker-registry", "serve", f"{root}/config.yml"], stdin=quiet, stdout=quiet, stderr=quiet
        )

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def make_engine(prefix: str) -> EngineProcess:
    """A fresh engine of its own, with the image `busybox`."""
    root = tempfile.mkdtemp(prefix=prefix, dir="/var/tmp")
    os.chmod(root, 0o711)
    engine = EngineProcess(root)
    engine.start()
    answer = engine.sampan("image", "bootstrap", "busybox")
    assert answer.returncode == 0, answer.stderr + engine.log_tail()
    return engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--pieces", type=int, default=4, help="pieces of work at once")
    parser.add_argument("--keep", action="store_true", help="keep the engine's roots when it fails")
    parser.add_argument("--only", default="", help="comma-separated kinds of work")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    engine = make_engine("sampan-storm-")
    storm = Storm(engine, options.seed, options.pieces)
    failed = True
    registry = Registry(f"{engine.root}/registry") if shutil.which("docker-registry") else None
    try:
        work = Work(engine, registry.address if registry is not None else "")
        if options.only:
            work.kinds = {name: work.kinds[name] for name in options.only.split(",")}
        for number in range(1, options.rounds + 1):
            storm.round(work)
            if number % 10 == 0:
                work.remove_all()
                invariants.check_empty(engine)
                kinds = sum(storm.done.values())
                print(f"{number} rounds, {kinds} pieces done, kills {dict(storm.killed)}", flush=True)
        work.remove_all()
        engine.stop()
        invariants.check_stopped(engine)
        print(f"done: {dict(storm.done)}")
        failed = False
    finally:
        if registry is not None:
            registry.stop()
        if failed and options.keep:
            shutil.copytree(engine.data_root, f"{engine.root}/kept", symlinks=True, ignore=_only_metadata)
            print(f"kept: {engine.root}", file=sys.stderr)
        if failed:
            if engine.process is not None and engine.process.poll() is not None:
                engine.start()
            engine.remove_all_containers()
            engine.stop()
        if not (failed and options.keep):
            shutil.rmtree(engine.root, ignore_errors=True)


def _only_metadata(directory: str, names: list[str]) -> set[str]:
    return {"layers", "merged", "upper", "work"} & set(names)


if __name__ == "__main__":
    main()
