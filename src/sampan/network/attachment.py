"""Putting containers into networks and taking them out: leases, veths, default route, resolver."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from sampan.errors import Internal, InvalidArgument
from sampan.network import resolver
from sampan.network.links import Links
from sampan.network.model import Endpoint, Network
from sampan.network.registry import Registry
from sampan.network.resolv_conf import upstreams
from sampan.network.resolver import Resolver
from sampan.network.sandbox import Sandbox

_log = logging.getLogger(__name__)
_MAX_INTERFACES = 1024
# runs a blocking function with its arguments in the network thread
Runner = Callable[..., Awaitable[Any]]


class Attachments:
    """Each call either completes or leaves nothing; calls for one container must not overlap."""

    def __init__(self, registry: Registry, links: Links, names: Resolver, run: Runner) -> None:
        self._registry = registry
        self._links = links
        self._resolver = names
        self._run = run

    async def attach(
        self,
        network: Network,
        container_id: str,
        sandbox: Sandbox | None,
        config: Mapping[str, Any],
        names: Sequence[str],
        container_name: str,
        dns: Sequence[str],
    ) -> Endpoint:
        """See `Networks.connect`."""
        endpoint = self._registry.endpoint(network.id, container_id)
        if endpoint is not None and (endpoint.interface or sandbox is None):
            self._registry.require_free(network, container_id, container_name or container_id[:12])
        if endpoint is None:
            _check_config(network, config)
            endpoint = self._registry.reserve(network, container_id, dict(config))
        endpoint.names = list(dict.fromkeys(name.lstrip("/") for name in names if name))
        endpoint.container_name = container_name.lstrip("/") or (endpoint.names[0] if endpoint.names else "")
        try:
            await self._realise(network, endpoint, sandbox)
            if sandbox is not None and network.has_resolver and not self._resolver.serves(container_id):
                await self.serve_names(container_id, sandbox, () if network.internal else upstreams(dns))
        except BaseException as error:
            if endpoint.interface and sandbox is not None:
                await self._run(self._links.delete, endpoint.host_veth)
            self._registry.release(endpoint)
            if isinstance(error, OSError):
                raise Internal(f"failed to connect {container_id[:12]} to network {network.name}: {error}") from error
            raise
        return endpoint

    async def _realise(self, network: Network, endpoint: Endpoint, sandbox: Sandbox | None) -> None:
        if sandbox is None:
            self._registry.save(endpoint)
            return
        others = [each for each in self._registry.endpoints_of(endpoint.container_id) if each is not endpoint]
        taken = {each.interface for each in others}
        endpoint.interface = next(name for name in map("eth{}".format, range(_MAX_INTERFACES)) if name not in taken)
        endpoint.host_veth = self._links.host_veth_name(endpoint.endpoint_id)
        self._registry.save(endpoint)
        leads = gateway_of([*others, endpoint]) is endpoint
        await self._run(self._attach_in_kernel, network, endpoint, sandbox, leads)

    def _attach_in_kernel(self, network: Network, endpoint: Endpoint, sandbox: Sandbox, leads: bool) -> None:
        self._links.attach(network, endpoint, sandbox, endpoint.interface)
        if leads:
            self._links.set_gateway(sandbox, endpoint)

    async def serve_names(self, container_id: str, sandbox: Sandbox, servers: Sequence[str]) -> None:
        """Start the container's resolver.

        Raises:
            OSError: the kernel refused its sockets or rules.
        """
        sockets = await self._run(resolver.open_sockets, sandbox.fd)
        await self._resolver.serve(container_id, sockets, servers)

    async def detach(self, network: Network, container_id: str, sandbox: Sandbox | None) -> Endpoint:
        """See `Networks.disconnect`."""
        endpoint = self._registry.endpoint(network.id, container_id)
        if endpoint is None:
            raise Internal(f"container {container_id} is not connected to network {network.name}")
        others = [each for each in self._registry.endpoints_of(container_id) if each is not endpoint]
        if sandbox is not None and endpoint.host_veth:
            await self._run(self._detach_in_kernel, endpoint, sandbox, gateway_of(others))
        self._registry.release(endpoint)
        if sandbox is None and not others:
            self._resolver.forget(container_id)
        return endpoint

    def _detach_in_kernel(self, endpoint: Endpoint, sandbox: Sandbox, leader: Endpoint | None) -> None:
        self._links.delete(endpoint.host_veth)
        if leader is not None:
            try:
                self._links.set_gateway(sandbox, leader)
            except OSError as error:
                _log.warning("container %s is left without a default route: %s", endpoint.container_id[:12], error)


def gateway_of(endpoints: list[Endpoint]) -> Endpoint | None:
    """The endpoint that holds the default route: highest priority, then the first interface."""
    able = [each for each in endpoints if each.interface and (each.gateway or each.ipv6_gateway)]
    return min(able, key=lambda each: (-each.gateway_priority, each.interface), default=None)


def _check_config(network: Network, config: Mapping[str, Any]) -> None:
    ipam = config.get("IPAMConfig") or {}
    prefix = f"invalid config for network {network.name}: invalid endpoint settings:\n"
    if network.predefined and (ipam.get("IPv4Address") or ipam.get("IPv6Address")):
        raise InvalidArgument(prefix + "user specified IP address is supported on user defined networks only")
    for field, version in (("IPv4Address", 4), ("IPv6Address", 6)):
        if text := ipam.get(field):
            _check_address(network, version, text, prefix)
    for text in ipam.get("LinkLocalIPs") or ():
        _check_link_local(text, prefix)
    if network.predefined and config.get("Aliases"):
        raise InvalidArgument(prefix + "network-scoped aliases are only supported for user-defined networks")


def _check_address(network: Network, version: int, text: str, prefix: str) -> None:
    try:
        address = ip_address(text)
    except ValueError:
        raise InvalidArgument(f"{prefix}invalid IPv{version} address: {text}") from None
    if version == 6 and not network.enable_ipv6:
        return  # as Docker: taken and not used
    subnet = network.subnet(version)
    if subnet is None or address not in subnet.network:
        raise InvalidArgument(f"{prefix}no configured subnet or ip-range contain the IP address {text}")


def _check_link_local(text: str, prefix: str) -> None:
    try:
        valid = ip_address(text).is_link_local and ip_address(text).version == 4
    except ValueError:
        valid = False
    if not valid:
        raise InvalidArgument(f"{prefix}invalid link-local IP address: {text}")
