"""BuildKit's gRPC services for one engine, as far as `docker buildx build` and `docker build` need them.

What is missing answers UNIMPLEMENTED, which clients take as "an older BuildKit". Without the worker label
`org.mobyproject.buildkit.worker.snapshotter` clients themselves refuse outputs other than an image in the engine.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from sampan import __version__
from sampan.build.buildkit import messages as m
from sampan.build.buildkit.session import Sessions
from sampan.build.buildkit.status import error_text
from sampan.build.buildkit.wire import Message
from sampan.engine import host
from sampan.engine.buildkit import frontend
from sampan.engine.buildkit.jobs import Job, Jobs
from sampan.engine.builds.builder import size_bytes
from sampan.errors import SampanError, from_os_error

if TYPE_CHECKING:
    from grpclib.server import Stream

    from sampan.engine.builds.builder import Builder

_BRIDGE_WAIT_S, _SESSION_WAIT_S = 3.0, 10.0
_BUILD_ID = "buildkit-controlapi-buildid"


class _Call(NamedTuple):
    name: str
    handler: Any
    cardinality: Cardinality
    request: type[Message]
    reply: type[Message]


def _mapping(service: str, calls: list[_Call]) -> dict[str, Handler]:
    return {
        f"/{service}/{name}": Handler(func, cardinality, taken, reply)
        for name, func, cardinality, taken, reply in calls
    }


class BuildKit:
    """Sessions and builds of all BuildKit clients of an engine."""

    def __init__(self, builder: Builder, engine_id: str) -> None:
        self.sessions = Sessions()
        self._builder = builder
        self._jobs = Jobs()
        platform = m.Platform(Architecture=host.architecture(), OS="linux")
        version = m.BuildkitVersion(package="sampan", version=__version__)
        self._worker = m.WorkerRecord(ID=engine_id, platforms=[platform], BuildkitVersion=version)

    def services(self) -> list[Any]:
        """For `rpc.serve`."""
        return [_Control(self, self._jobs), _Bridge(self, self._jobs)]

    async def build(self, job: Job, request: m.SolveRequest, asked: m.GatewaySolveRequest) -> str:
        """Carry out what a client's gateway asks for; gives the image's id."""
        frontend.check_frontend(asked.Frontend)
        frontend.check_session(request.Session)
        options = frontend.options_of(request, asked.FrontendOpt)
        session = await self.sessions.wait(request.Session, _SESSION_WAIT_S)
        return await frontend.build(self._builder, session, job.log, options, asked.FrontendOpt)

    def cache_records(self) -> list[m.UsageRecord]:
        return [
            m.UsageRecord(
                ID=entry.key,
                Size=size_bytes(entry),
                CreatedAt=m.Timestamp.of_ns(entry.created_ns),
                LastUsedAt=m.Timestamp.of_ns(entry.used_ns) if entry.uses else None,
                UsageCount=entry.uses,
                Description=entry.description,
                RecordType="regular",
            )
            for entry in self._builder.cache.list()
        ]

    async def prune_cache(self, request: m.PruneRequest) -> list[str]:
        """The keys of what was removed."""
        filters = {"until": [f"{request.keepDuration // 1_000_000_000}s"]} if request.keepDuration else {}
        done = await self._builder.prune(filters, all_entries=request.all, keep_bytes=request.keepBytes)
        return list(done["CachesDeleted"] or [])

    @property
    def worker(self) -> m.WorkerRecord:
        return self._worker


class _Control:
    def __init__(self, buildkit: BuildKit, jobs: Jobs) -> None:
        self._buildkit = buildkit
        self._jobs = jobs

    def __mapping__(self) -> dict[str, Handler]:
        one, stream = Cardinality.UNARY_UNARY, Cardinality.UNARY_STREAM
        return _mapping(
            "moby.buildkit.v1.Control",
            [
                _Call("ListWorkers", self.list_workers, one, m.Empty, m.ListWorkersResponse),
                _Call("Info", self.info, one, m.Empty, m.InfoResponse),
                _Call("DiskUsage", self.disk_usage, one, m.Empty, m.DiskUsageResponse),
                _Call("Prune", self.prune, stream, m.PruneRequest, m.UsageRecord),
                _Call("Solve", self.solve, one, m.SolveRequest, m.SolveResponse),
                _Call("Status", self.status, stream, m.StatusRequest, m.StatusResponse),
            ],
        )

    async def list_workers(self, stream: Stream[m.Empty, m.ListWorkersResponse]) -> None:
        await stream.recv_message()
        await stream.send_message(m.ListWorkersResponse(record=[self._buildkit.worker]))

    async def info(self, stream: Stream[m.Empty, m.InfoResponse]) -> None:
        await stream.recv_message()
        await stream.send_message(m.InfoResponse(buildkitVersion=self._buildkit.worker.BuildkitVersion))

    async def disk_usage(self, stream: Stream[m.Empty, m.DiskUsageResponse]) -> None:
        await stream.recv_message()
        await stream.send_message(m.DiskUsageResponse(record=self._buildkit.cache_records()))

    async def prune(self, stream: Stream[m.PruneRequest, m.UsageRecord]) -> None:
        """Streams what went."""
        request = await stream.recv_message()
        assert request is not None
        records = {record.ID: record for record in self._buildkit.cache_records()}
        for key in await self._buildkit.prune_cache(request):
            await stream.send_message(records[key])

    async def solve(self, stream: Stream[m.SolveRequest, m.SolveResponse]) -> None:
        """Ends with `LLBBridge/Return`, or with the client's connection."""
        request = await stream.recv_message()
        assert request is not None
        job = self._jobs.get(request.Ref)
        if not job.request.done():
            job.request.set_result(request)
        try:
            returned = await asyncio.shield(job.returned)
        finally:
            self._jobs.end(job)
        if returned.error is not None and returned.error.code:
            raise GRPCError(Status.UNKNOWN, returned.error.message)
        response = {}
        if job.image_id:
            name = next((each.Attrs.get("name", "") for each in request.Exporters), "")
            response = {"containerimage.config.digest": job.image_id, "containerimage.digest": job.image_id}
            if name:
                response["image.name"] = name
        await stream.send_message(m.SolveResponse(ExporterResponse=response))

    async def status(self, stream: Stream[m.StatusRequest, m.StatusResponse]) -> None:
        request = await stream.recv_message()
        assert request is not None
        await stream.send_initial_metadata()
        job = self._jobs.get(request.Ref)
        try:
            async for message in job.log.messages():
                await stream.send_message(message)
        finally:
            self._jobs.drop_unbegun(job)


class _Bridge:
    def __init__(self, buildkit: BuildKit, jobs: Jobs) -> None:
        self._buildkit = buildkit
        self._jobs = jobs

    def __mapping__(self) -> dict[str, Handler]:
        one = Cardinality.UNARY_UNARY
        return _mapping(
            "moby.buildkit.v1.frontend.LLBBridge",
            [
                _Call("Ping", self.ping, one, m.Empty, m.PongResponse),
                _Call("Solve", self.solve, one, m.GatewaySolveRequest, m.GatewaySolveResponse),
                _Call("Return", self.finish, one, m.ReturnRequest, m.Empty),
            ],
        )

    async def _job(self, stream: Any) -> tuple[Job, m.SolveRequest]:
        try:
            return await self._jobs.begun(str(stream.metadata.get(_BUILD_ID, "")), _BRIDGE_WAIT_S)
        except SampanError as error:
            raise GRPCError(Status.NOT_FOUND, error.message) from None

    async def ping(self, stream: Stream[m.Empty, m.PongResponse]) -> None:
        await stream.recv_message()
        # without `return` a client never says that it is done
        capabilities = [m.APICap(ID="return", Enabled=True)]
        await stream.send_message(m.PongResponse(FrontendAPICaps=capabilities, Workers=[self._buildkit.worker]))

    async def solve(self, stream: Stream[m.GatewaySolveRequest, m.GatewaySolveResponse]) -> None:
        asked = await stream.recv_message()
        assert asked is not None
        job, request = await self._job(stream)
        try:
            job.image_id = await self._buildkit.build(job, request, asked)
        except SampanError as error:
            raise GRPCError(Status.UNKNOWN, error_text(error)) from None
        except ConnectionError:
            raise  # the client is gone: nobody to tell
        except OSError as error:  # a full disk, no more descriptors
            raise GRPCError(Status.UNKNOWN, from_os_error(error).message) from None
        ref = m.Ref(id=job.image_id)
        await stream.send_message(m.GatewaySolveResponse(ref=job.image_id, result=m.Result(ref=ref)))

    async def finish(self, stream: Stream[m.ReturnRequest, m.Empty]) -> None:
        returned = await stream.recv_message()
        assert returned is not None
        job, _ = await self._job(stream)
        if not job.returned.done():
            job.returned.set_result(returned)
        await stream.send_message(m.Empty())
