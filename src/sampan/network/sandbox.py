"""Network namespaces for containers, made before they are needed.

Making one costs half a millisecond, which the pool's thread spends ahead of time. A sandbox lives by its descriptor and by
the processes in it; the kernel frees it, and the veths in it, with the last of them.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from sampan.linux.netlink import netns, rtnetlink
from sampan.linux.netlink.channel import Channel

# What Docker sets in every container's namespace, and: interfaces start without IPv6 until a network brings it.
_SYSCTLS = (
    ("net/ipv4/ip_unprivileged_port_start", "0"),
    ("net/ipv4/ping_group_range", "0 2147483647"),
    ("net/ipv6/conf/default/disable_ipv6", "1"),
)
_LOOPBACK_INDEX = 1


class Sandbox:
    """A network namespace: `fd` holds it (close-on-exec, owned by this object), `channel` is an rtnetlink socket in it.
    `userns_fd` holds the user namespace that it belongs to, where that is not the host's."""

    def __init__(self, fd: int, channel: Channel, userns_fd: int | None = None) -> None:
        self.fd = fd
        self.channel = channel
        self.userns_fd = userns_fd

    def close(self) -> None:
        """Let go of it. Its processes keep it alive; calling twice is harmless."""
        if self.fd >= 0:
            self.channel.close()
            os.close(self.fd)
            self.fd = -1
        if self.userns_fd is not None:
            os.close(self.userns_fd)
            self.userns_fd = None


def create() -> Sandbox:
    """A new namespace with `lo` up. Blocks for about half a millisecond.

    Raises:
        OSError: the kernel refused (no privilege, too many namespaces).
    """

    return Sandbox(*netns.create(_prepare))


def _prepare() -> Channel:
    for name, value in _SYSCTLS:
        netns.write_sysctl(name, value)
    channel = Channel()
    channel.batch([rtnetlink.set_link_up(_LOOPBACK_INDEX)])
    return channel


def adopt(fd: int, userns_fd: int) -> Sandbox:
    """A new namespace that belongs to a user namespace, made by somebody else; both descriptors become the sandbox's."""
    return Sandbox(fd, netns.within(fd, _prepare), userns_fd)


def open_existing(pid: int) -> Sandbox:
    """The namespace in which process `pid` lives.

    Raises:
        OSError: no such process.
    """
    fd = netns.open_of(pid)
    try:
        return Sandbox(fd, netns.within(fd, Channel))
    except BaseException:
        os.close(fd)
        raise


class SandboxPool:
    """Keeps `size` sandboxes ready."""

    def __init__(self, size: int = 4) -> None:
        self._size = size
        self._ready: deque[Sandbox] = deque()
        self._thread = ThreadPoolExecutor(1, "sandbox-pool")
        self._refill: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        self._schedule()

    async def take(self) -> Sandbox:
        """
        Raises:
            OSError: none was ready and the kernel refused to make one.
        """
        sandbox = self._ready.popleft() if self._ready else await self._create()
        self._schedule()
        return sandbox

    async def _create(self) -> Sandbox:
        return await asyncio.get_running_loop().run_in_executor(self._thread, create)

    def _schedule(self) -> None:
        if not self._closed and (self._refill is None or self._refill.done()):
            self._refill = asyncio.create_task(self._fill())

    async def _fill(self) -> None:
        # A start is under way when one is taken: leave it the processors for a moment.
        if self._ready:
            await asyncio.sleep(0.005)
        try:
            while len(self._ready) < self._size and not self._closed:
                self._ready.append(await self._create())
        except OSError:
            return  # `take` meets the same refusal and reports it

    async def close(self) -> None:
        self._closed = True
        if self._refill is not None:
            self._refill.cancel()
            await asyncio.gather(self._refill, return_exceptions=True)
        self._thread.shutdown(wait=True)
        while self._ready:
            self._ready.pop().close()
