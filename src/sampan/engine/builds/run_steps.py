"""RUN on the engine's own runtime: the same zygote, shim, network and defaults as a container has.

A step is no container of the engine's: nothing of it is recorded, and nothing outlives it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from sampan.build.interfaces import RunRequest
from sampan.build.options import Limits
from sampan.engine.config import EngineConfig
from sampan.engine.containers.confinement import seccomp_filter
from sampan.engine.containers.model import MASKED_PATHS, READONLY_PATHS
from sampan.engine.containers.request import fields
from sampan.engine.oci import runtime_config
from sampan.engine.oci.places import Places
from sampan.engine.subordinate_ids import Mapping, mappings
from sampan.engine.tasks.spec import Attachment, TaskSpec
from sampan.engine.tasks.task import Task
from sampan.engine.tasks.tasks import Tasks
from sampan.errors import CommandNotExecutable, CommandNotFound, InvalidArgument, NotFound, SampanError

if TYPE_CHECKING:
    from sampan.network.controller import Networks
    from sampan.network.sandbox import Sandbox

_CHUNK_BYTES = 1 << 16
_HEADER = struct.Struct(">BxxxI")
_SIGKILL = 9
# What dockerd says through containerd and runc; clients look for the end of it.
_LAUNCH_PREFIX = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: "
    "runc create failed: unable to start container process: "
)
_HOSTS = (
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)


class TaskRunner:
    """`build.interfaces.Runner` by `Tasks` and `Networks`. `stubs` is the directory of mount points to put below all."""

    def __init__(self, config: EngineConfig, tasks: Tasks, networks: Networks, stubs: str) -> None:
        self._config = config
        self._tasks = tasks
        self._networks = networks
        self._stubs = stubs

    async def run(self, request: RunRequest) -> int:
        """See the contract of `Runner`."""
        state = os.path.join(os.path.dirname(request.upper), "state")
        os.mkdir(state, 0o700)
        async with AsyncExitStack() as stack:
            sandbox, address = await self._network(request, stack)
            places = Places(
                hosts=_write(state, "hosts", self._hosts(request, address)),
                hostname=_write(state, "hostname", request.task_id[:12] + "\n"),
                resolv_conf=_write(state, "resolv.conf", self._resolv_conf(request)),
                own_network=request.run.network != "host",
                id_mappings=self._id_mappings(request),
            )
            reader = await self._start(request, places, sandbox, state, stack)
            return await reader.finish()

    async def _start(
        self,
        request: RunRequest,
        places: Places,
        sandbox: Sandbox | None,
        state: str,
        stack: AsyncExitStack,
    ) -> _Output:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stack.callback(ours.close)
        run = request.run
        asked = _host_config(run.limits, "host" if run.network == "host" else "default", run.insecure)
        host = fields.fill(asked, fields.HOST_FIELDS, "HostConfig")
        config = self._oci_config(request, host, places)
        spec = TaskSpec(
            id=request.task_id,
            config=config,
            rootfs={
                "kind": "overlay",
                "lower": [*request.lower, self._stubs],
                "upper": request.upper,
                "work": request.work,
                "readonly": False,
                "volatile": True,
            },
            state_dir=state,
            netns_fd=sandbox.fd if sandbox is not None else None,
            userns_fd=sandbox.userns_fd if sandbox is not None else None,
            attachments=[Attachment(fd=theirs.detach(), framed=True)],
            seccomp_bpf=seccomp_filter(host, self._config),
            cgroup_path=config["linux"]["cgroupsPath"],
        )
        try:
            task = await self._tasks.start(spec)
        except (CommandNotFound, CommandNotExecutable) as error:
            raise type(error)(f"{_LAUNCH_PREFIX}{error.message}: unknown") from None
        stack.push_async_callback(_end, task)
        return _Output(task, ours, request)

    # --- the process

    def _oci_config(self, request: RunRequest, host: dict[str, Any], places: Places) -> dict[str, Any]:
        run = request.run
        config = runtime_config.build_step_config(
            step_id=request.task_id,
            args=list(run.arguments),
            env=[*(f"{name}={value}" for name, value in run.hidden_environment.items()), *request.environment],
            cwd=run.directory,
            user=run.user,
            hostname=request.task_id[:12],
            engine=self._config,
            host_config=host,
            config=fields.fill({}, fields.CONFIG_FIELDS, "Config"),
            places=places,
        )
        config["mounts"] = [*config["mounts"], *request.mounts]
        return config

    # --- the network

    async def _network(self, request: RunRequest, stack: AsyncExitStack) -> tuple[Sandbox | None, str]:
        """The step's network namespace (None: the host's) and its address, taken back when `stack` ends."""
        mode = request.run.network
        if mode == "host":
            return None, ""
        if mode.startswith("container:"):
            raise InvalidArgument("building in another container's network is not supported")
        network_id = "" if mode == "none" else self._network_id(mode)
        sandbox = await self._sandbox(request)
        stack.callback(sandbox.close)
        if not network_id:
            return sandbox, ""
        endpoint = await self._networks.connect(network_id, request.task_id, sandbox, {}, [request.task_id[:12]])
        stack.push_async_callback(self._disconnect, network_id, request.task_id)
        return sandbox, endpoint.ipv4

    def _id_mappings(self, request: RunRequest) -> tuple[list[Mapping], list[Mapping]] | None:
        """The step's user namespace; a step with the host's own rights has none."""
        if not self._config.userns_remap or request.run.insecure or request.run.network == "host":
            return None
        return mappings(self._config.userns_remap)

    async def _sandbox(self, request: RunRequest) -> Sandbox:
        maps = self._id_mappings(request)
        if maps is None:
            return await self._networks.sandbox()
        return await self._networks.adopt_sandbox(*await self._tasks.namespaces(maps))

    def _network_id(self, name: str) -> str:
        try:
            return self._networks.get("bridge" if name == "default" else name).id
        except NotFound:
            raise NotFound(f"network {name} not found") from None

    async def _disconnect(self, network_id: str, task_id: str) -> None:
        try:
            await self._networks.disconnect(network_id, task_id)
        except SampanError:
            pass  # the network went away under us, and the endpoint with it

    def _hosts(self, request: RunRequest, address: str) -> str:
        lines = [_HOSTS]
        for entry in request.run.extra_hosts:
            name, _, target = entry.partition("=") if "=" in entry else entry.partition(":")
            if target == "host-gateway":
                target = self._config.host_gateway_ip or self._gateway()
            lines.append(f"{target.strip('[]')}\t{name}\n")
        if address:
            lines.append(f"{address.partition('/')[0]}\t{request.task_id[:12]}\n")
        return "".join(lines)

    def _gateway(self) -> str:
        subnet = self._networks.get("bridge").subnet(4)
        return subnet.gateway if subnet is not None else ""

    def _resolv_conf(self, request: RunRequest) -> str:
        mode = request.run.network
        network = {"default": "bridge", "none": "bridge"}.get(mode, mode)
        return self._networks.resolv_conf(self._network_id(network))


class _Output:
    """Reads a step's framed output to the end."""

    def __init__(self, task: Task, connection: socket.socket, request: RunRequest) -> None:
        self._task = task
        self._connection = connection
        self._request = request

    async def finish(self) -> int:
        loop = asyncio.get_running_loop()
        buffer = bytearray()
        while data := await loop.sock_recv(self._connection, _CHUNK_BYTES):
            buffer += data
            while len(buffer) >= _HEADER.size:
                stream, size = _HEADER.unpack_from(buffer)
                end = _HEADER.size + size
                if len(buffer) < end:
                    break
                await self._request.output(stream, bytes(buffer[_HEADER.size : end]))
                del buffer[:end]
        ended = await self._task.wait()
        return ended.exit_code


async def _end(task: Task) -> None:
    """Make sure that the process is dead before its directories are taken away."""
    if task.exit is not None:
        return
    try:
        await task.signal(_SIGKILL)
    except SampanError:
        pass  # its shim is gone; the exit follows
    await task.wait()


def _host_config(limits: Limits, network: str, privileged: bool) -> dict[str, Any]:
    return {
        "NetworkMode": network,
        "Privileged": privileged,
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_swap_bytes,
        "CpuShares": limits.cpu_shares,
        "CpuPeriod": limits.cpu_period_us,
        "CpuQuota": limits.cpu_quota_us,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "ShmSize": limits.shm_size_bytes,
        "CgroupParent": limits.cgroup_parent,
        "Ulimits": limits.ulimits,
        "MaskedPaths": MASKED_PATHS,
        "ReadonlyPaths": READONLY_PATHS,
    }


def _write(directory: str, name: str, text: str) -> str:
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o644)
    return path
