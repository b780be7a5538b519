"""One build of a BuildKit client: three calls that come in any order, about one reference.

`Control/Solve` says where the result goes and waits for the end, `Control/Status` shows it, `LLBBridge/Solve` (from the
client's own gateway) says what to build, `LLBBridge/Return` ends it. Whoever comes first waits for the others.
"""

from __future__ import annotations

import asyncio

from sampan.build.buildkit.messages import ReturnRequest, SolveRequest
from sampan.build.buildkit.status import StatusLog
from sampan.errors import NotFound

_FORGET_AFTER_S = 60.0


class Job:
    def __init__(self, ref: str) -> None:
        self.ref = ref
        self.log = StatusLog()
        self.request: asyncio.Future[SolveRequest] = asyncio.get_running_loop().create_future()
        self.returned: asyncio.Future[ReturnRequest] = asyncio.get_running_loop().create_future()
        self.image_id = ""
        self.error: BaseException | None = None


class Jobs:
    """By reference. An ended job is kept for a minute: its `Status` may still be on the way."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def get(self, ref: str) -> Job:
        if ref not in self._jobs:
            self._jobs[ref] = Job(ref)
        return self._jobs[ref]

    def drop_unbegun(self, job: Job) -> None:
        """Forget a job that was only asked about: nothing else would end it."""
        if not job.request.done():
            self._jobs.pop(job.ref, None)

    async def begun(self, ref: str, timeout_s: float) -> tuple[Job, SolveRequest]:
        """The job, once its `Control/Solve` has come.

        Raises:
            NotFound: it does not come.
        """
        job = self.get(ref)
        try:
            return job, await asyncio.wait_for(asyncio.shield(job.request), timeout_s)
        except TimeoutError:
            self.drop_unbegun(job)
            raise NotFound(f"no such job {ref}") from None

    def end(self, job: Job) -> None:
        job.log.end()
        asyncio.get_running_loop().call_later(_FORGET_AFTER_S, self._jobs.pop, job.ref, None)
