"""OCI hooks: programs of the host that get the container's state on stdin. Not on the engine's path."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

from sampan.errors import Internal


def run(config: dict[str, Any], kinds: tuple[str, ...], state: dict[str, Any], *, must_succeed: bool = True) -> None:
    """Run the hooks of each kind in order; the first failure raises, unless failures are allowed."""
    for kind in kinds:
        for number, hook in enumerate((config.get("hooks") or {}).get(kind) or []):
            try:
                _run_one(hook, json.dumps(state).encode())
            except (OSError, Internal) as error:
                if must_succeed:
                    raise Internal(f"error running {kind} hook #{number}: {error}") from None


def _run_one(hook: dict[str, Any], text: bytes) -> None:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    environment = dict(entry.partition("=")[::2] for entry in hook.get("env") or [])
    actions = [(os.POSIX_SPAWN_DUP2, reader, 0)]
    try:
        pid = os.posix_spawn(hook["path"], hook.get("args") or [hook["path"]], environment, file_actions=actions)
        os.close(reader)
        reader = -1
        try:
            os.write(writer, text)
        except BrokenPipeError:
            pass
    finally:
        os.close(writer)
        if reader >= 0:
            os.close(reader)
    _await(pid, hook.get("timeout"))


def _await(pid: int, timeout_s: int | None) -> None:
    deadline = time.monotonic() + timeout_s if timeout_s else None
    while True:
        found, status = os.waitpid(pid, os.WNOHANG if deadline else 0)
        if found:
            break
        if deadline and time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise Internal(f"hook ran past specified timeout of {timeout_s}s")
        time.sleep(0.005)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise Internal(f"exit status {code}" if code > 0 else f"signal: {-code}")
