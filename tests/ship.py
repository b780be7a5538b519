"""Tasks without an engine: an exec root of its own, specs for containers in it, and the client's end of their streams."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import struct
from pathlib import Path
from typing import Any

from sampan import errors
from sampan.engine.tasks.spec import Attachment, Exit, TaskSpec
from sampan.engine.tasks.task import Task
from sampan.engine.tasks.tasks import Tasks
from sampan.logs.reader import LogReader
from sampan.runtime.zygote_link import ZygoteLink

BUSYBOX = shutil.which("busybox") or "/bin/busybox"
CAPABILITIES = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"]
TIMEOUT_S = 10.0
CGROUP = f"/sampan-test-{os.getpid()}"


def make_root(root: Path) -> Path:
    """A root file system of busybox in the empty directory `root`."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "root"):
        (root / name).mkdir()
    shutil.copy(BUSYBOX, root / "bin/busybox")
    applets = "sh cat echo hostname sleep true false id ls stty head kill tty wc seq readlink"
    for applet in applets.split():
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    return root


class Ship:
    """An exec root with its Tasks, and specs for containers in it."""

    def __init__(self, root: Path, lower: Path) -> None:
        self.root = root
        self.lower = lower
        self.zygote = ZygoteLink.start()
        self.tasks = Tasks(str(root / "run"), self.zygote)

    def spec(self, task_id: str, *command: str, tty: bool = False, **more: Any) -> TaskSpec:
        state = self.root / "state" / task_id
        for name in ("diff", "work"):
            (state / name).mkdir(parents=True, exist_ok=True)
        process = {
            "args": list(command),
            "cwd": "/",
            "env": ["PATH=/bin"],
            "terminal": tty,
            "user": {"uid": 0, "gid": 0},
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
        }
        config = {
            "process": process,
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance"]},
            ],
            "linux": {"namespaces": [{"type": one} for one in ("mount", "pid", "ipc", "uts", "network", "cgroup")]},
        }
        rootfs = {
            "kind": "overlay",
            "lower": [str(self.lower)],
            "upper": str(state / "diff"),
            "work": str(state / "work"),
        }
        return TaskSpec(
            id=task_id,
            config=config,
            rootfs=rootfs,
            state_dir=str(state),
            log={"driver": "local", "path": str(state / "log"), "options": {}},
            tty=tty,
            cgroup_path=f"{CGROUP}/{task_id}",
            **more,
        )

    def log(self, task_id: str) -> bytes:
        reader = LogReader({"driver": "local", "path": str(self.root / "state" / task_id / "log")})
        batches = []
        while (found := reader.read()) is not None:
            batches += found
        batches += reader.finish()
        return b"".join(line for batch in batches for line in batch.lines)

    def shim_pid(self, task_id: str) -> int:
        return int(json.loads((self.root / "run/tasks" / task_id / "task.json").read_text())["shim_pid"])

    async def restart(self) -> list[Task]:
        """As after a kill -9 of sampand: nobody said goodbye to the shims."""
        await self.tasks.close()
        self.zygote = ZygoteLink.start()
        self.tasks = Tasks(str(self.root / "run"), self.zygote)
        return await self.tasks.reattach()

    async def finish(self) -> None:
        for task in list(self.tasks._tasks.values()):
            try:
                await task.signal(signal.SIGKILL)
            except errors.SampanError:
                pass
            await asyncio.wait_for(task.gone.wait(), TIMEOUT_S)
        await self.tasks.close()
        assert os.listdir(self.root / "run/tasks") == []
        for controller in ("", "memory", "pids", "freezer", "unified"):
            group = Path("/sys/fs/cgroup", controller, CGROUP[1:])
            assert not group.exists() or not [one for one in group.iterdir() if one.is_dir()]


class Terminal:
    """The client's end of an attachment."""

    def __init__(self, **options: Any) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.setblocking(False)
        self.attachment = Attachment(fd=theirs.detach(), **options)

    async def read(self) -> bytes:
        """All until EOF."""
        data = b""
        loop = asyncio.get_running_loop()
        while piece := await asyncio.wait_for(loop.sock_recv(self.sock, 65536), TIMEOUT_S):
            data += piece
        return data

    async def read_until(self, end: bytes) -> bytes:
        data = b""
        loop = asyncio.get_running_loop()
        while end not in data:
            data += await asyncio.wait_for(loop.sock_recv(self.sock, 65536), TIMEOUT_S)
        return data


def streams(data: bytes) -> dict[int, bytes]:
    found = {1: b"", 2: b""}
    while data:
        stream, length = struct.unpack(">BxxxI", data[:8])
        found[stream] += data[8 : 8 + length]
        data = data[8 + length :]
    return found


async def ended(task: Task) -> Exit:
    return await asyncio.wait_for(task.wait(), TIMEOUT_S)
