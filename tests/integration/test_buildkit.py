"""BuildKit's API as `docker build` uses it: a client of our own in the tests, and the real buildx where it is installed."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler
from grpclib.exceptions import GRPCError
from tests.conftest import EngineProcess

from sampan.build.buildkit import messages as m
from sampan.build.buildkit.rpc import SessionChannel, serve

Entry = tuple[m.Stat, bytes]
_DIRECTORY, _SYMLINK = 1 << 31, 1 << 27


class FileSync:
    """The client's side of FileSync: sends `entries` of the named directory."""

    def __init__(self, directories: dict[str, list[Entry]], secrets: dict[str, bytes]) -> None:
        self.directories = directories
        self.secrets = secrets
        self.asked: list[tuple[str, list[str]]] = []
        self.hosts: list[str] = []
        self.uploads: dict[str, bytes] = {}

    def __mapping__(self) -> dict[str, Handler]:
        return {
            "/moby.filesync.v1.FileSync/DiffCopy": Handler(self.copy, Cardinality.STREAM_STREAM, m.Packet, m.Packet),
            "/moby.buildkit.secrets.v1.Secrets/GetSecret": Handler(
                self.secret, Cardinality.UNARY_UNARY, m.GetSecretRequest, m.GetSecretResponse
            ),
            "/moby.upload.v1.Upload/Pull": Handler(
                self.upload, Cardinality.STREAM_STREAM, m.BytesMessage, m.BytesMessage
            ),
            "/moby.filesync.v1.Auth/Credentials": Handler(
                self.credentials, Cardinality.UNARY_UNARY, m.CredentialsRequest, m.CredentialsResponse
            ),
        }

    async def upload(self, stream: Any) -> None:
        data = self.uploads[stream.metadata["urlpath"]]
        for start in range(0, len(data), 10_000):
            await stream.send_message(m.BytesMessage(data=data[start : start + 10_000]))

    async def credentials(self, stream: Any) -> None:
        request = await stream.recv_message()
        self.hosts.append(request.Host)
        await stream.send_message(m.CredentialsResponse(Username="u", Secret="s"))

    async def secret(self, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(m.GetSecretResponse(data=self.secrets[request.ID]))

    async def copy(self, stream: Any) -> None:
        name = stream.metadata["dir-name"]
        follow = list(stream.metadata.getall("followpaths", []))
        self.asked.append((name, list(stream.metadata.getall("exclude-patterns", []))))
        entries = [entry for entry in self.directories[name] if not follow or entry[0].path in follow]
        for entry, _ in entries:
            await stream.send_message(m.Packet(type=m.PACKET_STAT, stat=entry))
        await stream.send_message(m.Packet(type=m.PACKET_STAT))
        while (packet := await stream.recv_message()) is not None and packet.type != m.PACKET_FIN:
            data = entries[packet.ID][1]
            for start in range(0, len(data), 32768):
                await stream.send_message(m.Packet(type=m.PACKET_DATA, ID=packet.ID, data=data[start : start + 32768]))
            await stream.send_message(m.Packet(type=m.PACKET_DATA, ID=packet.ID))
        await stream.send_message(m.Packet(type=m.PACKET_FIN))


def file(path: str, data: bytes, mode: int = 0o644) -> Entry:
    return m.Stat(path=path, mode=mode, size=len(data), modTime=10**18), data


async def upgraded(engine: EngineProcess, path: str, *headers: str) -> asyncio.Transport:
    """A connection of ours after `101 Switching Protocols`, not read from yet."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(engine.socket)
    head = [f"POST {path} HTTP/1.1", "Host: ", "Connection: Upgrade", "Upgrade: h2c", *headers]
    sock.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
    transport.pause_reading()
    return transport


@asynccontextmanager
async def connected(engine: EngineProcess, sync: FileSync) -> AsyncIterator[Channel]:
    methods = [f"X-Docker-Expose-Session-Grpc-Method: {name}" for name in sync.__mapping__()]
    session = await upgraded(engine, "/session", "X-Docker-Expose-Session-Uuid: s1", *methods)
    serve([sync], session, b"")
    channel = SessionChannel(await upgraded(engine, "/grpc"), b"")
    try:
        yield channel
    finally:
        channel.close()
        session.close()


async def build(
    engine: EngineProcess,
    sync: FileSync,
    ref: str,
    attributes: dict[str, str] | None = None,
    tag: str = "",
    show: bool = True,
) -> tuple[dict[str, str], list[m.StatusResponse]]:
    """As buildx does it; gives the exporter's response and the status messages. Raises GRPCError if the build fails."""
    control, bridge = "/moby.buildkit.v1.Control/", "/moby.buildkit.v1.frontend.LLBBridge/"
    metadata = {"buildkit-controlapi-buildid": ref}
    async with connected(engine, sync) as channel:
        request = m.SolveRequest(Ref=ref, Session="s1", Exporters=[m.Exporter(Type="moby", Attrs={"name": tag})])
        status = UnaryStreamMethod(channel, control + "Status", m.StatusRequest, m.StatusResponse)
        shown = asyncio.create_task(status(m.StatusRequest(Ref=ref)) if show else asyncio.sleep(0, []))
        solve = UnaryUnaryMethod(channel, control + "Solve", m.SolveRequest, m.SolveResponse)
        ended = asyncio.create_task(solve(request))
        asked = m.GatewaySolveRequest(Frontend="dockerfile.v0", FrontendOpt=attributes or {})
        returned = m.ReturnRequest()
        try:
            gateway = UnaryUnaryMethod(channel, bridge + "Solve", m.GatewaySolveRequest, m.GatewaySolveResponse)
            try:
                returned.result = (await gateway(asked, metadata=metadata)).result
            except GRPCError as error:
                returned.error = m.RpcStatus(code=2, message=error.message or "")
            await UnaryUnaryMethod(channel, bridge + "Return", m.ReturnRequest, m.Empty)(returned, metadata=metadata)
            response = await ended
            return response.ExporterResponse, await shown
        finally:
            channel.close()
            await asyncio.gather(ended, shown, return_exceptions=True)


async def test_a_build_with_context_secret_and_output(engine: EngineProcess) -> None:
    dockerfile = (
        b"FROM busybox AS one\nARG V\nRUN echo out-$V\nFROM busybox\nCOPY . /ctx\n"
        b"RUN --mount=type=secret,id=tok test $(cat /run/secrets/tok) = hush\n"
    )
    context = [
        file(".dockerignore", b"# comment\n*.log\n"),
        file("Dockerfile", dockerfile),
        (m.Stat(path="sub", mode=_DIRECTORY | 0o750), b""),
        file("sub/big", os.urandom(100_000), 0o755),
        (m.Stat(path="sub/link", mode=_SYMLINK | 0o777, linkname="big"), b""),
    ]
    sync = FileSync({"dockerfile": context, "context": context}, {"tok": b"hush"})
    response, messages = await build(engine, sync, "ref1", {"build-arg:V": "7", "target": ""}, tag="bk:1")
    assert response["containerimage.config.digest"].startswith("sha256:")
    assert ("context", ["*.log"]) in sync.asked
    names = [vertex.name for message in messages for vertex in message.vertexes if vertex.completed]
    assert "[stage-1 2/3] COPY . /ctx" in names and "exporting to image" in names
    assert not any("[one" in name and "RUN" in name for name in names), "a stage that is not needed does not run"
    listed = engine.sampan(
        "run", "--rm", "bk:1", "sh", "-c", "stat -c '%a %s' /ctx/sub /ctx/sub/big; readlink /ctx/sub/link"
    )
    assert listed.stdout.split()[0] == "750" and listed.stdout.split()[2:] == ["755", "100000", "big"]
    assert engine.sampan("rmi", "-f", "bk:1").returncode == 0


async def test_a_failing_step_shows_its_output_and_fails_the_build(engine: EngineProcess) -> None:
    sync = FileSync({"dockerfile": [file("Dockerfile", b"FROM busybox\nRUN echo bad; exit 3\n")], "context": []}, {})
    with pytest.raises(GRPCError, match="exit code: 3"):
        await build(engine, sync, "ref2")


@pytest.mark.parametrize("mode", ["w", "w:gz", "dockerfile"])
async def test_a_context_from_standard_input(engine: EngineProcess, mode: str) -> None:
    content = b"FROM busybox\n" + (b"COPY big /\n" if mode != "dockerfile" else b"LABEL a=b\n")
    packed = io.BytesIO()
    if mode != "dockerfile":
        with tarfile.open(fileobj=packed, mode=mode) as tar:  # type: ignore[call-overload]
            for name, data in (("Dockerfile", content), ("big", os.urandom(50_000))):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    sync = FileSync({}, {})
    sync.uploads["/u1"] = packed.getvalue() or content
    response, _ = await build(engine, sync, f"ref-{mode}", {"context": "http://buildkit-session/u1"})
    assert response["containerimage.config.digest"].startswith("sha256:")


async def test_credentials_are_asked_for_the_registries_that_are_named(engine: EngineProcess) -> None:
    dockerfile = b"FROM 127.0.0.1:1/base AS a\nFROM busybox\nCOPY --from=a / /x\n"
    sync = FileSync({"dockerfile": [file("Dockerfile", dockerfile)], "context": []}, {})
    with pytest.raises(GRPCError, match=r"127\.0\.0\.1:1"):
        await build(engine, sync, "ref-auth")
    assert sorted(sync.hosts) == ["127.0.0.1:1", "registry-1.docker.io"]


async def test_the_cache_is_listed_and_pruned(engine: EngineProcess) -> None:
    sync = FileSync({"dockerfile": [file("Dockerfile", b"FROM busybox\nRUN echo x > /x\n")], "context": []}, {})
    await build(engine, sync, "ref-cache")
    control = "/moby.buildkit.v1.Control/"
    async with connected(engine, sync) as channel:
        listed = await UnaryUnaryMethod(channel, control + "DiskUsage", m.Empty, m.DiskUsageResponse)(m.Empty())
        assert any(record.Size > 0 for record in listed.record)
        gone = await UnaryStreamMethod(channel, control + "Prune", m.PruneRequest, m.UsageRecord)(
            m.PruneRequest(all=True)
        )
        assert {record.ID for record in gone} == {record.ID for record in listed.record}


@pytest.mark.parametrize(
    "entries",
    [
        [(m.Stat(path="../evil", mode=0o644, size=1), b"x")],
        [(m.Stat(path="/evil", mode=0o644, size=1), b"x")],
        [(m.Stat(path="out", mode=_SYMLINK | 0o777, linkname="/tmp"), b""), file("out/evil", b"x")],
        [(m.Stat(path="a", mode=0o644, linkname="../../evil"), b"")],
        [(m.Stat(path="", mode=0o644), b"")],
        [file("twice", b"1"), file("twice", b"2")],
    ],
    ids=["dots", "absolute", "through a link", "hard link out", "empty", "twice"],
)
async def test_a_hostile_client_writes_nothing_outside(engine: EngineProcess, entries: list[Entry]) -> None:
    sync = FileSync({"dockerfile": [file("Dockerfile", b"FROM busybox\n")], "context": entries}, {})
    with pytest.raises(GRPCError, match=r"invalid path|cannot be stored"):
        await build(engine, sync, f"hostile-{id(entries)}")
    assert not os.path.lexists("/tmp/evil")
    left = Path(engine.data_root, "build-cache/contexts")
    assert list(left.iterdir()) == []


async def test_a_client_that_leaves_leaves_nothing(engine: EngineProcess) -> None:
    sync = FileSync({"dockerfile": [file("Dockerfile", b"FROM busybox\nRUN sleep 60\n")], "context": []}, {})
    job = asyncio.create_task(build(engine, sync, "ref-gone", {"no-cache": ""}))
    await asyncio.sleep(1)
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    for _ in range(100):
        if not list(Path(engine.data_root, "build-cache/contexts").iterdir()) and not _tasks(engine):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"left: {_tasks(engine)}")


def _tasks(engine: EngineProcess) -> list[str]:
    return os.listdir(f"{engine.exec_root}/tasks")


def test_refusals(engine: EngineProcess) -> None:
    assert engine.api("POST", "/grpc") == (500, {"message": "no upgrade proto in request"})
    assert engine.api("POST", "/session") == (400, {"message": "no upgrade proto in request"})
    wrong = {"Connection": "Upgrade", "Upgrade": "tcp"}
    assert engine.api("POST", "/grpc", headers=wrong) == (500, {"message": "protocol tcp not supported"})


def test_the_real_buildx(engine: EngineProcess, tmp_path: Path) -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "buildx", "version"], capture_output=True).returncode
    ):
        pytest.skip("buildx is not installed")
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY file /\nCMD cat /file\n")
    (tmp_path / "file").write_text("by buildx\n")
    environment = {**os.environ, "DOCKER_HOST": engine.host}
    done = subprocess.run(
        ["docker", "build", "-t", "bx:1", str(tmp_path)], capture_output=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert engine.sampan("run", "--rm", "bx:1").stdout == "by buildx\n"
    engine.sampan("rmi", "-f", "bx:1")


async def test_endless_output_that_nobody_reads_is_bounded(engine: EngineProcess) -> None:
    dockerfile = b"FROM busybox\nRUN head -c 60000000 /dev/zero | tr '\\0' 'x' | fold -w 99\n"
    sync = FileSync({"dockerfile": [file("Dockerfile", dockerfile)], "context": []}, {})
    before = _resident_kib(engine.pid)
    await build(engine, sync, "ref-flood", {"no-cache": ""}, show=False)
    assert _resident_kib(engine.pid) - before < 64 * 1024


def _resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


@pytest.mark.parametrize(
    "attributes",
    [{"shm-size": "big"}, {"ulimit": "nofile=x"}, {"shm-size": "9" * 5000}],
    ids=["word", "ulimit", "absurd"],
)
async def test_numbers_of_a_client_are_checked(engine: EngineProcess, attributes: dict[str, str]) -> None:
    sync = FileSync({"dockerfile": [file("Dockerfile", b"FROM busybox\n")], "context": []}, {})
    with pytest.raises(GRPCError, match="is not a number"):
        await build(engine, sync, f"ref-number-{next(iter(attributes.values()))[:5]}", attributes)
