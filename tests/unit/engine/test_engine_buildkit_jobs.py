"""Jobs of BuildKit clients: who comes first waits, and what was only asked about is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from sampan.build.buildkit.messages import SolveRequest
from sampan.engine.buildkit.jobs import Jobs
from sampan.errors import NotFound


async def test_the_bridge_waits_for_its_solve() -> None:
    jobs = Jobs()
    waiting = asyncio.create_task(jobs.begun("r", 5))
    await asyncio.sleep(0)
    jobs.get("r").request.set_result(SolveRequest(Ref="r"))
    job, request = await waiting
    assert job is jobs.get("r") and request.Ref == "r"


async def test_a_job_that_never_begins_is_forgotten() -> None:
    jobs = Jobs()
    asked = jobs.get("r")
    with pytest.raises(NotFound, match="no such job r"):
        await jobs.begun("r", 0.01)
    assert jobs.get("r") is not asked
    asked = jobs.get("r")
    jobs.drop_unbegun(asked)
    assert jobs.get("r") is not asked


async def test_a_job_under_way_is_kept() -> None:
    jobs = Jobs()
    job = jobs.get("r")
    job.request.set_result(SolveRequest(Ref="r"))
    jobs.drop_unbegun(job)
    assert jobs.get("r") is job
