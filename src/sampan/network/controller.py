"""Networks as the engine uses them: create, connect, publish, and find again after a restart.

The way of a bridged `run`: `sandbox()` gives a ready network namespace, `connect()` leases an address and puts one end of
a veth pair into it, `publish()` adds an element per port to the firewall's maps. At the end `unpublish()` and
`disconnect(…, None)` give ports and addresses back; the veth dies with the namespace, which costs nobody's time.

Blocking kernel work is done by one thread, since rtnetlink is one lock anyway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from sampan.errors import Forbidden, Internal, InvalidArgument, SampanError
from sampan.linux.netlink import netns
from sampan.network import predefined, sandbox
from sampan.network.links import Links
from sampan.network.model import Endpoint, Network, NetworkSettings
from sampan.network.registry import Registry
from sampan.network.sandbox import Sandbox, SandboxPool
from sampan.store.database import Database

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_NetworkList = list[Network]
_EndpointList = list[Endpoint]
# (action, network id, attributes): told when a network is created, connected to, left or destroyed
EventSink = Callable[[str, str, Mapping[str, str]], object]


class Networks:
    """All networks of one engine. Belongs to the event loop that called `start`."""

    def __init__(self, database: Database, settings: NetworkSettings, on_event: EventSink | None = None) -> None:
        self._settings = settings
        self._registry = Registry(database)
        self._on_event = on_event or (lambda action, network_id, attributes: None)
        self._links = Links(settings.instance)
        self._pool = SandboxPool()
        self._thread = ThreadPoolExecutor(1, "network")
        self._background: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Make the predefined networks and the bridges of all others; start the pool.

        Raises:
            Conflict: no address range is left for the default bridge.
        """
        self._prepare_host()
        await self._pool.start()

    def _prepare_host(self) -> None:
        if self._settings.ip_forward:
            netns.write_sysctl("net/ipv4/ip_forward", "1")
        predefined.ensure(self._registry, self._links, self._settings)
        for network in self._registry.networks():
            if network.driver == "bridge":
                self._links.ensure_bridge(network)

    async def close(self) -> None:
        """Stop. Interfaces, rules and leases stay for the containers that go on running."""
        await self._pool.close()
        if self._background:
            await asyncio.gather(*self._background, return_exceptions=True)
        self._thread.shutdown(wait=True)
        self._links.close()

    async def _run(self, action: Callable[..., _Result], *arguments: Any) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(action, *arguments))

    def _later(self, action: Callable[..., None], *arguments: Any) -> None:
        """Do kernel work that nobody waits for."""
        task = asyncio.create_task(self._quietly(action, *arguments))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _quietly(self, action: Callable[..., None], *arguments: Any) -> None:
        try:
            await self._run(action, *arguments)
        except OSError as error:
            _log.warning("network clean-up failed: %s", error)

    # --- looking

    def get(self, name_or_id: str) -> Network:
        """
        Raises:
            NotFound: `network x not found`.
        """
        return self._registry.get("bridge" if name_or_id == "default" else name_or_id)

    def list(self) -> _NetworkList:
        return self._registry.networks()

    def endpoints(self, network_id: str) -> _EndpointList:
        """The containers in a network: running ones, and those with a reservation."""
        return self._registry.endpoints(network_id)

    def endpoints_of(self, container_id: str) -> _EndpointList:
        return self._registry.endpoints_of(container_id)

    # --- sandboxes

    async def sandbox(self) -> Sandbox:
        """A fresh namespace with `lo` up; the caller closes it once the container's init lives in it.

        Raises:
            Internal: the kernel refused.
        """
        try:
            return await self._pool.take()
        except OSError as error:
            raise Internal(f"failed to create a network namespace: {error.strerror}") from error

    def sandbox_of(self, pid: int) -> Sandbox:
        """The namespace of a running process; the caller closes it.

        Raises:
            Internal: the process is gone.
        """
        try:
            return sandbox.open_existing(pid)
        except OSError as error:
            raise Internal(f"failed to open the network namespace of process {pid}: {error.strerror}") from error

    # --- connecting

    async def connect(
        self,
        network_id: str,
        container_id: str,
        sandbox: Sandbox | None,
        endpoint_config: Mapping[str, Any] | None = None,
        names: Sequence[str] = (),
        *,
        container_name: str = "",
    ) -> Endpoint:
        """Put a container into a network; with `sandbox` None only reserve its place (a later call completes it).

        `endpoint_config` is Docker's EndpointSettings, `names` are those by which others find the container there: its
        name, short id, aliases. On failure nothing is left.

        Raises:
            NotFound: no such network.
            Forbidden: already connected, or the fixed address is taken.
            InvalidArgument: a fixed address outside the network.
            Conflict: no address left.
            Internal: the kernel refused.
        """
        network = self.get(network_id)
        if network.driver != "bridge":
            raise Forbidden(f'container cannot be connected to network of driver "{network.driver}" while it is running')
        endpoint = self._registry.endpoint(network.id, container_id)
        if endpoint is not None and (endpoint.interface or sandbox is None):
            self._registry.require_free(network, container_id, container_name or container_id[:12])
        if endpoint is None:
            config = dict(endpoint_config or {})
            _check_config(network, config)
            endpoint = self._registry.reserve(network, container_id, config)
        endpoint.names = list(dict.fromkeys(name for name in names if name))
        endpoint.container_name = container_name.lstrip("/") or (endpoint.names[0] if endpoint.names else "")
        try:
            await self._attach(network, endpoint, sandbox)
        except BaseException as error:
            self._registry.release(endpoint)
            if isinstance(error, OSError):
                raise Internal(f"failed to connect {container_id[:12]} to network {network.name}: {error}") from error
            raise
        if sandbox is not None:
            self._tell("connect", network, container_id)
        return endpoint

    async def _attach(self, network: Network, endpoint: Endpoint, sandbox: Sandbox | None) -> None:
        if sandbox is None:
            self._registry.save(endpoint)
            return
        others = [each for each in self._registry.endpoints_of(endpoint.container_id) if each is not endpoint]
        taken = {each.interface for each in others}
        endpoint.interface = next(name for name in (f"eth{n}" for n in range(1024)) if name not in taken)
        endpoint.host_veth = self._links.host_veth_name(endpoint.endpoint_id)
        self._registry.save(endpoint)
        leads = _gateway_of([*others, endpoint]) is endpoint
        await self._run(self._attach_in_kernel, network, endpoint, sandbox, leads)

    def _attach_in_kernel(self, network: Network, endpoint: Endpoint, sandbox: Sandbox, leads: bool) -> None:
        self._links.attach(network, endpoint, sandbox, endpoint.interface)
        if leads:
            try:
                self._links.set_gateway(sandbox, endpoint)
            except OSError:
                self._links.delete(endpoint.host_veth)
                raise

    async def disconnect(self, network_id: str, container_id: str, sandbox: Sandbox | None = None) -> None:
        """Take a container out of a network. Without `sandbox` the container is dead or dying and its interface goes with
        its namespace; with it, the interface is gone when this returns.

        Raises:
            Internal: it is not connected.
        """
        network = self.get(network_id)
        endpoint = self._registry.endpoint(network.id, container_id)
        if endpoint is None:
            raise Internal(f"container {container_id} is not connected to network {network.name}")
        if sandbox is not None and endpoint.host_veth:
            others = [each for each in self._registry.endpoints_of(container_id) if each is not endpoint]
            await self._run(self._detach_in_kernel, endpoint, sandbox, _gateway_of(others))
        self._registry.release(endpoint)
        self._tell("disconnect", network, container_id)

    def _detach_in_kernel(self, endpoint: Endpoint, sandbox: Sandbox, leader: Endpoint | None) -> None:
        self._links.delete(endpoint.host_veth)
        if leader is not None:
            try:
                self._links.set_gateway(sandbox, leader)
            except OSError as error:
                _log.warning("container %s is left without a default route: %s", endpoint.container_id[:12], error)

    def rename(self, container_id: str, old: str, new: str) -> None:
        """A container got another name: its networks answer to the new one."""
        for endpoint in self._registry.endpoints_of(container_id):
            endpoint.container_name = new.lstrip("/")
            endpoint.names = [new.lstrip("/") if name == old.lstrip("/") else name for name in endpoint.names]
            self._registry.save(endpoint)

    def _tell(self, action: str, network: Network, container_id: str = "") -> None:
        attributes = {"name": network.name, "type": network.driver}
        if container_id:
            attributes["container"] = container_id
        self._on_event(action, network.id, attributes)

    # --- after a restart

    async def restore(self, live: Iterable[str]) -> None:
        """Keep what belongs to the containers in `live` (ids of running ones); collect all else of this engine: leases,
        and veths that no lease names."""
        alive = set(live)
        for endpoint in self._registry.all_endpoints():
            if endpoint.container_id not in alive:
                self._registry.release(endpoint)
        wanted = {endpoint.host_veth for endpoint in self._registry.all_endpoints()}
        for name in await self._run(self._links.own_veths):
            if name not in wanted:
                self._later(self._links.delete, name)


def _gateway_of(endpoints: list[Endpoint]) -> Endpoint | None:
    """The endpoint that holds the default route: highest priority, then the first by the network's name."""
    able = [each for each in endpoints if each.interface and (each.gateway or each.ipv6_gateway)]
    return min(able, key=lambda each: (-each.gateway_priority, each.interface), default=None)


def _check_config(network: Network, config: dict[str, Any]) -> None:
    ipam = config.get("IPAMConfig") or {}
    if network.predefined and (ipam.get("IPv4Address") or ipam.get("IPv6Address")):
        raise InvalidArgument(
            f"invalid config for network {network.name}: invalid endpoint settings:\n"
            "user specified IP address is supported on user defined networks only"
        )
    if network.predefined and config.get("Aliases"):
        raise InvalidArgument(
            f"invalid config for network {network.name}: invalid endpoint settings:\n"
            "network-scoped aliases are only supported for user-defined networks"
        )


__all__ = ["Endpoint", "Network", "NetworkSettings", "Networks", "SampanError", "Sandbox"]
