"""Networks as the engine uses them: create, connect, publish, and find again after a restart.

The way of a bridged `run`: `sandbox()` gives a ready network namespace, `connect()` leases an address and puts one end of
a veth pair into it, `publish()` adds an element per port to the firewall's maps. At the end `unpublish()` and
`disconnect(…, None)` give ports and addresses back; the veth dies with the namespace, which costs nobody's time.

Blocking rtnetlink work is done by one thread; a deletion may hold the kernel's lock for tens of milliseconds.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sampan.errors import Forbidden, Internal, SampanError
from sampan.linux.netlink import conntrack, netns
from sampan.network import foreign, ports, predefined, resolv_conf, sandbox
from sampan.network.attachment import Attachments
from sampan.network.definition import define
from sampan.network.firewall import Firewall
from sampan.network.kernel_thread import KernelThread
from sampan.network.links import Links
from sampan.network.model import Endpoint, Network, NetworkSettings, Publication
from sampan.network.names import Names
from sampan.network.publisher import Publisher
from sampan.network.registry import Registry
from sampan.network.relay import Relay
from sampan.network.resolver import Resolver
from sampan.network.sandbox import Sandbox, SandboxPool
from sampan.store.database import Database

_log = logging.getLogger(__name__)
_NetworkList = list[Network]
_EndpointList = list[Endpoint]
_StringList = list[str]
# (action, network id, attributes): told when a network is created, connected to, left or destroyed
EventSink = Callable[[str, str, Mapping[str, str]], object]


class Networks:
    """All networks of one engine. Belongs to the event loop that called `start`."""

    def __init__(self, database: Database, settings: NetworkSettings, on_event: EventSink | None = None) -> None:
        self._settings = settings
        self._registry = Registry(database)
        self._on_event: EventSink = on_event or (lambda action, network_id, attributes: None)
        self._links = Links(settings.instance)
        self._pool = SandboxPool()
        self._kernel = KernelThread()
        self._resolver = Resolver(Names(self._registry).lookup)
        self._attachments = Attachments(self._registry, self._links, self._resolver, self._kernel.run)
        self._firewall = Firewall(settings.table_name) if settings.enable_firewall else None
        self._publisher = Publisher(self._firewall)
        self._relay: Relay | None = None
        self.warnings: _StringList = []

    async def start(self) -> None:
        """Make the predefined networks, the bridges of all others and, where there is none yet, the firewall's table; start
        the pool. A table of an earlier life goes on working until `restore`.

        Raises:
            Conflict: no address range is left for the default bridge.
            Internal: the kernel refused.
        """
        if self._settings.ip_forward:
            netns.write_sysctl("net/ipv4/ip_forward", "1")
        try:
            predefined.ensure(self._registry, self._links, self._settings)
            for network in self._bridged():
                self._links.ensure_bridge(network)
            await self._look_at_foreign()
            if self._firewall is not None and not self._firewall.exists():
                self._firewall.reset(self._bridged(), [])
        except OSError as error:
            raise Internal(f"failed to set up the networks: {error}") from error
        await self._pool.start()

    async def _look_at_foreign(self) -> None:
        drop = foreign.find_forward_drop(self._settings.table_name)
        if drop is None or self._firewall is None:
            return
        self.warnings.append(drop.warning(self._settings.bridge_name))
        _log.warning("%s", self.warnings[-1])
        if drop.of_docker:
            self._relay = Relay(self._bridged)
            await self._relay.start()
            self._firewall.relay_ports = (self._relay.tcp_port, self._relay.dns_port)

    def _bridged(self) -> _NetworkList:
        return [network for network in self._registry.networks() if network.driver == "bridge"]

    async def close(self) -> None:
        """Stop. Interfaces, rules and leases stay for the containers that go on running; if there are none, all goes."""
        await self._pool.close()
        await self._kernel.idle()
        if not any(endpoint.interface for endpoint in self._registry.all_endpoints()):
            await self._quietly_remove_all()
        self._resolver.close()
        self._publisher.close()
        if self._relay is not None:
            self._relay.close()
        self._kernel.close()
        self._links.close()
        if self._firewall is not None:
            self._firewall.close()

    async def _quietly_remove_all(self) -> None:
        try:
            await self.remove_all()
        except OSError as error:
            _log.warning("network clean-up failed: %s", error)

    async def remove_all(self) -> None:
        """Delete every bridge, veth and table of this engine: for tests and for the package's removal."""
        bridges = [network.bridge for network in self._bridged()]
        for name in [*await self._kernel.run(self._links.own_veths), *bridges]:
            await self._kernel.run(self._links.delete, name)
        if self._firewall is not None:
            self._firewall.remove()

    # --- networks

    def get(self, name_or_id: str) -> Network:
        """By full id, name, or the beginning of an id; `default` is the default bridge.

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

    async def create(self, body: Mapping[str, Any]) -> Network:
        """A new user-defined network from the body of Docker's `POST /networks/create`.

        Raises:
            InvalidArgument, Forbidden, Conflict, NotFound: see `definition.define`.
            Internal: the kernel refused; nothing is left.
        """
        own = predefined.own_bridges(self._registry, self._settings)
        host = await self._kernel.run(self._links.occupied, own)
        network = define(body, self._registry, host, self._settings)
        self._registry.add(network)
        try:
            await self._kernel.run(self._links.ensure_bridge, network)
            if self._firewall is not None:
                self._firewall.update_networks(self._bridged())
        except BaseException as error:
            self._registry.forget(network)
            await self._kernel.run(self._links.delete, network.bridge)
            if isinstance(error, OSError):
                raise Internal(f"failed to create network {network.name}: {error}") from error
            raise
        self._tell("create", network)
        return network

    async def remove(self, name_or_id: str) -> None:
        """
        Raises:
            NotFound: no such network.
            Forbidden: predefined, or containers are in it.
        """
        network = self.get(name_or_id)
        if network.predefined:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        if active := self._registry.endpoints(network.id):
            listed = ", ".join(f'name:"{each.container_name}" id:"{each.endpoint_id[:12]}"' for each in active)
            raise Forbidden(
                f"error while removing network: network {network.name} id {network.id} has active endpoints ({listed})"
            )
        self._registry.forget(network)
        try:
            if self._firewall is not None:
                self._firewall.update_networks(self._bridged())
        finally:
            self._kernel.later(self._links.delete, network.bridge)
        self._tell("destroy", network)

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

    async def adopt_sandbox(self, userns_fd: int, netns_fd: int) -> Sandbox:
        """As `sandbox`, of a fresh namespace that belongs to a user namespace; it owns the descriptors, also after errors.

        Raises:
            Internal: the kernel refused.
        """
        try:
            return await self._kernel.run(sandbox.adopt, netns_fd, userns_fd)
        except OSError as error:
            os.close(netns_fd)
            os.close(userns_fd)
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
        dns: Sequence[str] = (),
    ) -> Endpoint:
        """Put a container into a network; with `sandbox` None only reserve its place (a later call completes it).

        `endpoint_config` is Docker's EndpointSettings; `names` are those by which others find the container there: its
        name, short id, aliases; `dns` are servers for its resolver instead of the host's. On failure nothing is left.

        Raises:
            NotFound: no such network.
            Forbidden: already connected, or the fixed address is taken.
            InvalidArgument: a fixed address outside the network.
            Conflict: no address left.
            Internal: the kernel refused.
        """
        network = self.get(network_id)
        if network.driver != "bridge":
            raise Forbidden(f"container cannot be connected to {network.name} network")
        endpoint = await self._attachments.attach(
            network, container_id, sandbox, endpoint_config or {}, names, container_name, dns or self._settings.dns
        )
        if sandbox is not None:
            self._tell("connect", network, container_id)
        return endpoint

    async def disconnect(self, network_id: str, container_id: str, sandbox: Sandbox | None = None) -> None:
        """Take a container out of a network. Without `sandbox` the container is dead or dying and its interface goes with
        its namespace; with it, the interface is gone when this returns. Ports published through it are given back.

        Raises:
            Internal: it is not connected.
        """
        network = self.get(network_id)
        published = self._registry.endpoint(network.id, container_id)
        if published is not None and published.publications:
            await self.unpublish(container_id)
        await self._attachments.detach(network, container_id, sandbox)
        self._tell("disconnect", network, container_id)

    def rename(self, container_id: str, old: str, new: str) -> None:
        """A container got another name: its networks answer to the new one."""
        old, new = old.lstrip("/"), new.lstrip("/")
        for endpoint in self._registry.endpoints_of(container_id):
            endpoint.container_name = new
            endpoint.names = [new if name == old else name for name in endpoint.names]
            self._registry.save(endpoint)

    def _tell(self, action: str, network: Network, container_id: str = "") -> None:
        attributes = {"name": network.name, "type": network.driver}
        if container_id:
            attributes["container"] = container_id
        self._on_event(action, network.id, attributes)

    # --- ports

    async def publish(
        self,
        container_id: str,
        endpoint: Endpoint,
        port_bindings: Mapping[str, Any] | None,
        exposed: Iterable[str] = (),
        publish_all: bool = False,
    ) -> dict[str, Any]:
        """Publish a container's ports through an attached endpoint; gives `NetworkSettings.Ports`, in which exposed ports
        that are not published are None. All or none.

        Raises:
            InvalidArgument: bad notation.
            Internal: a port is taken (Docker's words, and its status 500).
        """
        exposed = list(exposed)
        network = self.get(endpoint.network_id)
        default_ip = network.host_ip or self._settings.publish_ip
        default_ip = "" if default_ip == "0.0.0.0" else default_ip
        wanted = ports.requests(port_bindings, exposed, publish_all=publish_all, default_ip=default_ip)
        if wanted and not network.internal:
            endpoint.publications = self._publisher.publish(endpoint, wanted)
            self._registry.save(endpoint)
            self._forget_flows(endpoint.publications)
            if endpoint.host_veth:
                self._kernel.later(self._links.set_hairpin, endpoint.host_veth)
        return ports.to_docker(endpoint.publications, exposed)

    def published(self, container_id: str, exposed: Iterable[str]) -> dict[str, Any]:
        """`NetworkSettings.Ports` of a container that was connected in an earlier life of the engine."""
        found = [each for endpoint in self._registry.endpoints_of(container_id) for each in endpoint.publications]
        return ports.to_docker(found, list(exposed))

    async def unpublish(self, container_id: str) -> None:
        """Give a container's published ports back; none is fine."""
        try:
            self._publisher.unpublish(container_id)
        except OSError as error:
            _log.warning("published ports of %s: the firewall refused to forget them: %s", container_id[:12], error)
        for endpoint in self._registry.endpoints_of(container_id):
            if endpoint.publications:
                self._forget_flows(endpoint.publications)
                endpoint.publications = []
                self._registry.save(endpoint)

    def _forget_flows(self, publications: Iterable[Publication]) -> None:
        """UDP has no end of connection: a client that keeps its port would go on to whoever had the port before."""
        changed = {each.host_port for each in publications if each.protocol == "udp"}
        if changed:
            self._kernel.later(conntrack.forget_flows, socket.AF_INET, socket.IPPROTO_UDP, changed)

    # --- names

    def resolv_conf(
        self,
        network_id: str,
        dns: Sequence[str] = (),
        search: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> str:
        """The text of a container's /etc/resolv.conf in a network; the engine's own settings stand in for empty ones."""
        network = self.get(network_id)
        search = search or self._settings.dns_search
        options = options or self._settings.dns_options
        if network.has_resolver:
            return resolv_conf.for_user_network(search, options).text()
        servers = dns or self._settings.dns
        if network.driver == "bridge":
            return resolv_conf.for_default_network(servers, search, options).text()
        return resolv_conf.for_host_network(servers, search, options).text()

    # --- after a restart

    async def host_ends(self) -> frozenset[str]:
        """The host ends of all veths of this engine that exist."""
        return frozenset(await self._kernel.run(self._links.own_veths))

    async def restore(self, live: Mapping[str, int], dns: Mapping[str, Sequence[str]] | None = None) -> None:
        """Keep what belongs to the running containers in `live` (id → pid of init): leases, ports, rules, resolvers.
        Collect all else of this engine: leases, rules, veths that no lease names, bridges of removed networks. `dns` are
        containers' own servers."""
        for endpoint in self._registry.all_endpoints():
            if endpoint.container_id not in live:
                self._registry.release(endpoint)
            elif endpoint.publications:
                self._publisher.adopt(endpoint.publications, endpoint)
        if self._firewall is not None:
            self._firewall.reset(self._bridged(), self._publisher.publications())
        for container_id, pid in live.items():
            await self._restore_resolver(container_id, pid, (dns or {}).get(container_id, ()))
        wanted = {endpoint.host_veth for endpoint in self._registry.all_endpoints()}
        wanted |= {network.bridge for network in self._bridged()}
        for name in [*await self._kernel.run(self._links.own_veths), *await self._kernel.run(self._links.own_bridges)]:
            if name not in wanted:
                self._kernel.later(self._links.delete, name)

    async def _restore_resolver(self, container_id: str, pid: int, dns: Sequence[str]) -> None:
        networks = [self.get(each.network_id) for each in self._registry.endpoints_of(container_id) if each.interface]
        if not any(network.has_resolver for network in networks):
            return
        servers = () if all(network.internal for network in networks) else resolv_conf.upstreams(dns)
        try:
            found = self.sandbox_of(pid)
        except SampanError:
            return
        try:
            await self._attachments.serve_names(container_id, found, servers)
        except OSError as error:
            _log.warning("container %s is left without its resolver: %s", container_id[:12], error)
        finally:
            found.close()


__all__ = ["Endpoint", "Network", "NetworkSettings", "Networks", "Sandbox"]
