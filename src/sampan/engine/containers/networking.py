"""A container's place in networks: joined at its start, left at its end, changed while it runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sampan.engine.containers import confinement, etc_files
from sampan.engine.containers.model import Container
from sampan.errors import Conflict, Forbidden, Internal, InvalidArgument, NotFound, SampanError

if TYPE_CHECKING:
    from sampan.engine.engine import Engine
    from sampan.network.sandbox import Sandbox

_DEFAULT_NAMES = {"default": "bridge"}
_PREFIX = "failed to set up container networking: "


def has_own_network(mode: str) -> bool:
    """Whether a network mode means networks that the engine connects (not host, none, or another container's)."""
    return mode not in ("host", "none") and not mode.startswith("container:")


async def set_up(engine: Engine, container: Container) -> int | None:
    """The descriptor of the namespace to start in, joined to all networks, ports published; None for the host's.

    `tear_down` undoes it, also after a failure here.

    Raises:
        SampanError: in Docker's words, `failed to set up container networking: …`.
    """
    record = container.record
    mode = record.host_config["NetworkMode"]
    record.endpoint_states, record.ports = {}, {}
    container.network_owner = None
    if mode == "host":
        return None
    if mode.startswith("container:"):
        return _join(engine, container, mode.partition(":")[2])
    _check_links(engine, container)
    container.sandbox = await _sandbox(engine, container)
    if mode == "none" or record.config["NetworkDisabled"]:
        return int(container.sandbox.fd)
    try:
        for name in record.endpoints:
            await _connect(engine, container, name, container.sandbox)
        await _publish(engine, container)
    except NotFound as error:
        raise NotFound(_PREFIX + error.message) from error
    except SampanError as error:
        raise type(error)(_PREFIX + error.message) from error
    return int(container.sandbox.fd)


def _check_links(engine: Engine, container: Container) -> None:
    """In the default network a link needs its target running, and there. (Others resolve links by name, when asked.)"""
    if container.host_config["NetworkMode"] != "bridge":
        return
    for link in container.host_config["Links"] or ():
        name, _, alias = link.partition(":")
        name, alias = name.lstrip("/"), (alias or name).rpartition("/")[2]
        target = engine.containers.find(name)
        if target is None or not target.running:
            raise InvalidArgument(f"Cannot link to a non running container: /{name} AS /{container.name}/{alias}")
        if "bridge" not in target.record.endpoints:
            raise SampanError(f"Cannot link to /{target.name}, as it does not belong to the default network")


async def _sandbox(engine: Engine, container: Container) -> Sandbox:
    maps = confinement.id_mappings(container.host_config, engine.config)
    if maps is None:
        return await engine.networks.sandbox()
    owner = confinement.user_namespace_owner(engine, container)
    return await engine.networks.adopt_sandbox(*await engine.tasks.namespaces(maps, owner.pid if owner else 0))


def _join(engine: Engine, container: Container, target: str) -> int:
    owner = engine.containers.get(target)
    if not owner.running or not owner.pid:
        raise Conflict(f"cannot join network namespace of a non running container: container {owner.id} is not running")
    container.network_owner = owner.network_owner or owner
    container.record.config["Hostname"] = container.network_owner.config["Hostname"]
    container.record.config["Domainname"] = container.network_owner.config["Domainname"]
    return os.open(f"/proc/{owner.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


async def _connect(engine: Engine, container: Container, name: str, sandbox: Any) -> Any:
    settings = container.record.endpoints[name]
    try:
        network = engine.networks.get(name)
    except NotFound:
        raise NotFound(f"network {name} not found") from None
    aliases = [*(settings.get("Aliases") or ())]
    names = [container.name, *aliases, container.short_id]
    if container.config["Hostname"] and container.config["Hostname"] not in names:
        names.append(container.config["Hostname"])
    config = dict(settings)
    if container.config.get("MacAddress") and not config.get("MacAddress") and name == _primary(container):
        config["MacAddress"] = container.config["MacAddress"]
    endpoint = await engine.networks.connect(
        network.id,
        container.id,
        sandbox,
        config,
        names,
        container_name=container.name,
        dns=container.host_config["Dns"] or (),
    )
    container.record.endpoint_states[name] = endpoint.to_docker()
    return endpoint


def _primary(container: Container) -> str:
    mode: str = container.record.host_config["NetworkMode"]
    return _DEFAULT_NAMES.get(mode, mode)


async def _publish(engine: Engine, container: Container) -> None:
    record = container.record
    wanted = record.host_config["PortBindings"] or {}
    exposed = record.config["ExposedPorts"] or {}
    everything = bool(record.host_config["PublishAllPorts"])
    record.ports = dict.fromkeys(exposed)
    if not wanted and not (everything and exposed):
        return
    found = [each for each in engine.networks.endpoints_of(container.id) if each.interface]
    if not found:
        return
    primary = next((each for each in found if each.network_name == _primary(container)), found[0])
    record.ports = await engine.networks.publish(container.id, primary, wanted, exposed, everything)


def forget_sandbox(container: Container) -> None:
    """The container's init lives in the namespace now: our own hold on it can go."""
    if container.sandbox is not None:
        container.sandbox.close()
        container.sandbox = None


async def tear_down(engine: Engine, container: Container) -> None:
    """Give ports and addresses back; the interfaces go with the namespace."""
    record = container.record
    forget_sandbox(container)
    if record.ports:
        record.ports = {}
        await engine.networks.unpublish(container.id)
    if record.endpoint_states:
        record.endpoint_states = {}
    for endpoint in list(engine.networks.endpoints_of(container.id)):
        try:
            await engine.networks.disconnect(endpoint.network_id, container.id)
        except SampanError:
            pass  # the network is gone already


def write_files(engine: Engine, container: Container) -> None:
    """The three files, as of now."""
    files = etc_files.paths(container)
    if container.network_owner is not None:
        return
    states = list(container.record.endpoint_states.values())
    addresses = [state[key] for state in states for key in ("IPAddress", "GlobalIPv6Address")]
    gateway = engine.config.host_gateway_ip or _bridge_gateway(engine)
    linked = etc_files.links(container, engine.containers.find) if container.host_config["Links"] else []
    etc_files.write(files.hosts, etc_files.hosts(container, addresses, gateway, linked))
    etc_files.write(files.hostname, container.config["Hostname"] + "\n")
    etc_files.write(files.resolv_conf, _resolv_conf(engine, container))


def _resolv_conf(engine: Engine, container: Container) -> str:
    """A user-defined network's names win over the default one's."""
    host = container.host_config
    joined = [engine.networks.get(name) for name in container.record.endpoint_states]
    joined.sort(key=lambda network: not network.has_resolver)
    network_id = joined[0].id if joined else host["NetworkMode"]
    return engine.networks.resolv_conf(network_id, host["Dns"] or (), host["DnsSearch"] or (), host["DnsOptions"] or ())


def _bridge_gateway(engine: Engine) -> str:
    try:
        subnet = engine.networks.get("bridge").subnet(4)
    except SampanError:
        return ""
    return subnet.gateway if subnet is not None else ""


def _live_sandbox(engine: Engine, container: Container) -> Sandbox | None:
    """The namespace of a running container; None if it does not run, or has just ended and nobody has noticed yet."""
    if not container.running or not container.pid:
        return None
    try:
        return engine.networks.sandbox_of(container.pid)
    except Internal:
        return None


async def connect(engine: Engine, container: Container, network_name: str, settings: dict[str, Any]) -> None:
    """`docker network connect`.

    Raises:
        Forbidden, Conflict: connected already, or the container's network is the host's or another's.
    """
    mode = container.host_config["NetworkMode"]
    async with container.lock:
        network = engine.networks.get(network_name)
        if mode == "host":
            raise InvalidArgument(
                "cannot attach container to a network when it is in the host network mode: container cannot be "
                "disconnected from host network or connected to host network"
            )
        if mode.startswith("container:"):
            raise Conflict("container sharing network namespace with another container or host cannot be connected")
        if network.driver == "host":
            raise InvalidArgument("container cannot be disconnected from host network or connected to host network")
        if network.driver == "null":
            raise InvalidArgument(
                "container cannot be connected to multiple networks with one of the networks in private (none) mode"
            )
        if network.name in container.record.endpoints:
            raise Forbidden(f"endpoint with name {container.name} already exists in network {network.name}")
        before = dict(container.record.endpoints)
        container.record.endpoints.pop("none", None)
        container.record.endpoints[network.name] = settings
        sandbox = _live_sandbox(engine, container)
        if sandbox is not None:
            try:
                await _connect(engine, container, network.name, sandbox)
            except BaseException:
                container.record.endpoints = before
                raise
            finally:
                sandbox.close()
        if mode == "none":
            container.record.host_config["NetworkMode"] = network.name
        if sandbox is not None:
            write_files(engine, container)
        engine.containers.save(container)


async def disconnect(engine: Engine, container: Container, network_name: str, *, force: bool = False) -> None:
    """`docker network disconnect`.

    Raises:
        Internal: it is not connected.
    """
    async with container.lock:
        network = engine.networks.get(network_name)
        if network.name not in container.record.endpoints:
            raise Internal(f"container {container.id} is not connected to network {network.name}")
        sandbox = _live_sandbox(engine, container)
        if sandbox is not None:
            try:
                await engine.networks.disconnect(network.id, container.id, sandbox)
            finally:
                sandbox.close()
        elif any(each.network_id == network.id for each in engine.networks.endpoints_of(container.id)):
            await engine.networks.disconnect(network.id, container.id)  # it is just ending
        del container.record.endpoints[network.name]
        container.record.endpoint_states.pop(network.name, None)
        if sandbox is not None:
            write_files(engine, container)
        engine.containers.save(container)
