"""Engines that tests may hurt: each with roots of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest
from tests.conftest import BUSYBOX, EngineProcess


class EngineMaker(Protocol):
    def __call__(self, prepare: Callable[[EngineProcess], None] | None = None, /) -> EngineProcess:
        """A started engine. `prepare` may change what it starts with."""


@pytest.fixture
def make_engine() -> Iterator[EngineMaker]:
    """Makes engines with the image `busybox`, started; each must be without anything of its on the host in the end."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not os.path.exists(BUSYBOX):
        pytest.skip("needs busybox-static")
    made: list[EngineProcess] = []

    def make(prepare: Callable[[EngineProcess], None] | None = None, /) -> EngineProcess:
        root = tempfile.mkdtemp(prefix="sampan-faults-", dir="/var/tmp")
        os.chmod(root, 0o711)
        engine = EngineProcess(root)
        if prepare is not None:
            prepare(engine)
        made.append(engine)
        engine.start()
        answer = engine.sampan("image", "bootstrap", "busybox")
        assert answer.returncode == 0, answer.stderr + engine.log_tail()
        return engine

    yield make
    for engine in made:
        if not os.path.ismount(engine.data_root) and not os.path.exists(f"{engine.data_root}/sampan.db"):
            shutil.rmtree(engine.root, ignore_errors=True)  # the test took its disk away
            continue
        if engine.process is None or engine.process.poll() is not None:
            engine.start()
        engine.remove_all_containers()
        engine.stop()
        shutil.rmtree(engine.root, ignore_errors=True)


@pytest.fixture
def own_engine(make_engine: EngineMaker) -> EngineProcess:
    return make_engine()
