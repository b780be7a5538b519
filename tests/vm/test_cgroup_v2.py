"""The runtime and an engine on a machine that has cgroup v2 alone. Started by `make vm`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.vm.machine import Machine, Unavailable

_IN_THE_GUEST = (
    "-v",
    "--timeout=300",
    "--color=no",
    "tests/vm/guest",
    "tests/integration/test_runtime_cli.py",
    "tests/integration/test_runtime_userns.py",
    "tests/security/test_runtime_escapes.py",
)


@pytest.mark.timeout(1800)
@pytest.mark.skipif(not os.environ.get("SAMPAN_VM"), reason="takes minutes: make vm, or SAMPAN_VM=1")
def test_on_cgroup_v2(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        machine = Machine(tmp_path)
    except Unavailable as error:
        pytest.skip(str(error))
    code, console = machine.run(_IN_THE_GUEST, timeout_s=1500)
    summary = console[console.find("test session starts") :]
    print(summary)
    assert code == 0, summary
