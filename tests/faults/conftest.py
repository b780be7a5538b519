"""Engines that tests may hurt: each with roots of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator

import pytest
from tests.conftest import BUSYBOX, EngineProcess

EngineMaker = Callable[[], EngineProcess]


@pytest.fixture
def make_engine() -> Iterator[EngineMaker]:
    """Makes engines with the image `busybox`, started; each must be without anything of its on the host in the end."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not os.path.exists(BUSYBOX):
        pytest.skip("needs busybox-static")
    made: list[EngineProcess] = []

    def make() -> EngineProcess:
        root = tempfile.mkdtemp(prefix="sampan-faults-", dir="/var/tmp")
        os.chmod(root, 0o711)
        engine = EngineProcess(root)
        made.append(engine)
        engine.start()
        answer = engine.sampan("image", "bootstrap", "busybox")
        assert answer.returncode == 0, answer.stderr + engine.log_tail()
        return engine

    yield make
    for engine in made:
        if engine.process is None or engine.process.poll() is not None:
            engine.start()
        engine.remove_all_containers()
        engine.stop()
        shutil.rmtree(engine.root, ignore_errors=True)


@pytest.fixture
def own_engine(make_engine: EngineMaker) -> EngineProcess:
    return make_engine()
