"""What the builder needs of the engine around it. The engine implements these; tests do too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sampan.build.copying import Download
from sampan.build.nodes import Run
from sampan.build.plan import BaseImage


@dataclass(frozen=True)
class RunRequest:
    """A RUN that is ready to go.

    `lower` are the directories below, topmost first; `upper` and `work` exist and are empty. `mounts` are OCI mounts whose
    targets exist in the tree. `output` is awaited for every piece of output and may hold the process back.
    """

    task_id: str
    run: Run
    environment: list[str]
    lower: list[str]
    upper: str
    work: str
    mounts: list[dict[str, Any]]
    output: Callable[[int, bytes], Awaitable[None]]


class Runner(Protocol):
    """Runs a process on an overlay.

    Contract: returns the exit code (128+n for a death by signal n) after all output was handed over; raises the errors
    tree if the process could not be started. When the caller is cancelled the process is dead before `run` returns. No
    mount, cgroup, interface or file of its own outlives the call.
    """

    async def run(self, request: RunRequest) -> int: ...


class Images(Protocol):
    """Where base images come from."""

    async def resolve(self, reference: str, platform: str) -> BaseImage:
        """The image, pulled if it is not here (or if the build asks for that). Raises the errors tree."""
        ...


class Fetcher(Protocol):
    """Downloads for ADD."""

    async def fetch(self, url: str, directory: str) -> Download:
        """The URL's body as a file in `directory`. Raises `InvalidArgument`, in Docker's words where it has some."""
        ...
