"""One thread for blocking rtnetlink work, since rtnetlink is one lock in the kernel anyway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class KernelThread:
    """Belongs to an event loop. What is given to it is done in order."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "network")
        self._background: set[asyncio.Task[None]] = set()

    async def run(self, action: Callable[..., _Result], *arguments: Any) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, partial(action, *arguments))

    def later(self, action: Callable[..., object], *arguments: Any) -> None:
        """Do what nobody waits for; a failure is logged."""
        task = asyncio.create_task(self._quietly(action, *arguments))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _quietly(self, action: Callable[..., object], *arguments: Any) -> None:
        try:
            await self.run(action, *arguments)
        except OSError as error:
            _log.warning("network clean-up failed: %s", error)

    async def idle(self) -> None:
        """Wait for all that was put off."""
        if self._background:
            await asyncio.gather(*self._background, return_exceptions=True)

    def close(self) -> None:
        self._executor.shutdown(wait=True)
