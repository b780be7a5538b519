"""The messages of BuildKit's API that we read or write, by the names and numbers of its interface definitions:
`control.proto`, `worker.proto`, `gateway.proto`, `caps.proto`, `filesync.proto`, `auth.proto`, `secrets.proto`, fsutil's
`wire.proto` and `stat.proto`, google.rpc.Status.
"""

from __future__ import annotations

import time

from sampan.build.buildkit.wire import BOOL, BYTES, INT, STRING, Message, field, mapping, message, repeated


class Empty(Message):
    pass


class Timestamp(Message):
    seconds: int = field(1, INT)
    nanos: int = field(2, INT)

    @classmethod
    def of_ns(cls, time_ns: int) -> Timestamp:
        return cls(seconds=time_ns // 1_000_000_000, nanos=time_ns % 1_000_000_000)

    @classmethod
    def now(cls) -> Timestamp:
        return cls.of_ns(time.time_ns())


class RpcStatus(Message):
    code: int = field(1, INT)
    message: str = field(2, STRING)


# --- control.proto


class Exporter(Message):
    Type: str = field(1, STRING)
    Attrs: dict[str, str] = mapping(2, STRING)


class SolveRequest(Message):
    Ref: str = field(1, STRING)
    Definition: bytes = field(2, BYTES)
    ExporterDeprecated: str = field(3, STRING)
    ExporterAttrsDeprecated: dict[str, str] = mapping(4, STRING)
    Session: str = field(5, STRING)
    Frontend: str = field(6, STRING)
    FrontendAttrs: dict[str, str] = mapping(7, STRING)
    Internal: bool = field(11, BOOL)
    Exporters: list[Exporter] = repeated(13, message(Exporter))


class SolveResponse(Message):
    ExporterResponse: dict[str, str] = mapping(1, STRING)


class StatusRequest(Message):
    Ref: str = field(1, STRING)


class Vertex(Message):
    digest: str = field(1, STRING)
    inputs: list[str] = repeated(2, STRING)
    name: str = field(3, STRING)
    cached: bool = field(4, BOOL)
    started: Timestamp | None = field(5, message(Timestamp))
    completed: Timestamp | None = field(6, message(Timestamp))
    error: str = field(7, STRING)


class VertexStatus(Message):
    ID: str = field(1, STRING)
    vertex: str = field(2, STRING)
    name: str = field(3, STRING)
    current: int = field(4, INT)
    total: int = field(5, INT)
    timestamp: Timestamp | None = field(6, message(Timestamp))
    started: Timestamp | None = field(7, message(Timestamp))
    completed: Timestamp | None = field(8, message(Timestamp))


class VertexLog(Message):
    vertex: str = field(1, STRING)
    timestamp: Timestamp | None = field(2, message(Timestamp))
    stream: int = field(3, INT)
    msg: bytes = field(4, BYTES)


class StatusResponse(Message):
    vertexes: list[Vertex] = repeated(1, message(Vertex))
    statuses: list[VertexStatus] = repeated(2, message(VertexStatus))
    logs: list[VertexLog] = repeated(3, message(VertexLog))


class Platform(Message):
    Architecture: str = field(1, STRING)
    OS: str = field(2, STRING)
    Variant: str = field(3, STRING)


class BuildkitVersion(Message):
    package: str = field(1, STRING)
    version: str = field(2, STRING)
    revision: str = field(3, STRING)


class WorkerRecord(Message):
    ID: str = field(1, STRING)
    Labels: dict[str, str] = mapping(2, STRING)
    platforms: list[Platform] = repeated(3, message(Platform))
    BuildkitVersion: BuildkitVersion | None = field(5, message(BuildkitVersion))


class ListWorkersResponse(Message):
    record: list[WorkerRecord] = repeated(1, message(WorkerRecord))


class InfoResponse(Message):
    buildkitVersion: BuildkitVersion | None = field(1, message(BuildkitVersion))


class UsageRecord(Message):
    ID: str = field(1, STRING)
    InUse: bool = field(3, BOOL)
    Size: int = field(4, INT)
    CreatedAt: Timestamp | None = field(6, message(Timestamp))
    LastUsedAt: Timestamp | None = field(7, message(Timestamp))
    UsageCount: int = field(8, INT)
    Description: str = field(9, STRING)
    RecordType: str = field(10, STRING)
    Shared: bool = field(11, BOOL)


class DiskUsageResponse(Message):
    record: list[UsageRecord] = repeated(1, message(UsageRecord))


class PruneRequest(Message):
    filter: list[str] = repeated(1, STRING)
    all: bool = field(2, BOOL)
    keepDuration: int = field(3, INT)
    keepBytes: int = field(4, INT)


# --- gateway.proto


class APICap(Message):
    ID: str = field(1, STRING)
    Enabled: bool = field(2, BOOL)


class PongResponse(Message):
    FrontendAPICaps: list[APICap] = repeated(1, message(APICap))
    LLBCaps: list[APICap] = repeated(2, message(APICap))
    Workers: list[WorkerRecord] = repeated(3, message(WorkerRecord))


class GatewaySolveRequest(Message):
    Definition: bytes = field(1, BYTES)
    Frontend: str = field(2, STRING)
    FrontendOpt: dict[str, str] = mapping(3, STRING)


class Ref(Message):
    id: str = field(1, STRING)


class Result(Message):
    refDeprecated: str = field(1, STRING)
    ref: Ref | None = field(3, message(Ref))
    metadata: dict[str, bytes] = mapping(10, BYTES)


class GatewaySolveResponse(Message):
    ref: str = field(1, STRING)
    result: Result | None = field(3, message(Result))


class ReturnRequest(Message):
    result: Result | None = field(1, message(Result))
    error: RpcStatus | None = field(2, message(RpcStatus))


# --- the client's session


class Stat(Message):
    """`mode` is Go's os.FileMode, `modTime` in nanoseconds."""

    path: str = field(1, STRING)
    mode: int = field(2, INT)
    uid: int = field(3, INT)
    gid: int = field(4, INT)
    size: int = field(5, INT)
    modTime: int = field(6, INT)
    linkname: str = field(7, STRING)
    devmajor: int = field(8, INT)
    devminor: int = field(9, INT)
    xattrs: dict[str, bytes] = mapping(10, BYTES)


PACKET_STAT, PACKET_REQ, PACKET_DATA, PACKET_FIN, PACKET_ERR = range(5)


class Packet(Message):
    type: int = field(1, INT)
    stat: Stat | None = field(2, message(Stat))
    ID: int = field(3, INT)
    data: bytes = field(4, BYTES)


class CredentialsRequest(Message):
    Host: str = field(1, STRING)


class CredentialsResponse(Message):
    Username: str = field(1, STRING)
    Secret: str = field(2, STRING)


class GetSecretRequest(Message):
    ID: str = field(1, STRING)


class GetSecretResponse(Message):
    data: bytes = field(1, BYTES)


class BytesMessage(Message):
    data: bytes = field(1, BYTES)
