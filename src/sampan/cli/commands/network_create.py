"""`sampan network create`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLAGS = """
    --attachable           Let containers join by hand
    --aux-address map      Address that is not to be given out (name=address)
    --config-from string   Network to take the configuration from
    --config-only          Only keep the configuration
-d, --driver string        Driver of the network (default "bridge")
    --gateway strings      Gateway of a subnet
    --ingress              Accepted for Docker's sake
    --internal             No way out of the network
    --ip-range strings     Give out addresses from this part of a subnet
    --ipam-driver string   Driver that manages addresses (default "default")
    --ipam-opt map         Option of that driver
    --ipv4                 Give out IPv4 addresses (default true)
    --ipv6                 Give out IPv6 addresses
    --label list           Label (key=value)
-o, --opt map              Option of the driver
    --scope string         How far the network reaches
    --subnet strings       Subnet in CIDR notation
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.parse.environment import pairs, read_labels

    if options.on("config-only") and options.text("config-from"):
        raise InvalidArgument("conflicting options: --config-from cannot be used with --config-only")
    body: dict[str, Any] = {
        "Name": arguments[0],
        "Driver": options.text("driver"),
        "Options": pairs(options.many("opt"), "driver option"),
        "IPAM": {
            "Driver": options.text("ipam-driver"),
            "Options": pairs(options.many("ipam-opt"), "ipam option"),
            "Config": _pools(options),
        },
        "Internal": options.on("internal"),
        "Attachable": options.on("attachable"),
        "Ingress": options.on("ingress"),
        "Scope": options.text("scope"),
        "ConfigOnly": options.on("config-only"),
        "Labels": read_labels([], options.many("label")),
    }
    if options.text("config-from"):
        body["ConfigFrom"] = {"Network": options.text("config-from")}
    for family in ("ipv4", "ipv6"):
        if options.changed(family):
            body[f"EnableIP{family[2:]}"] = options.on(family)
    answer = context.engine.networks.create(body)
    if answer.get("Warning"):
        context.warn(f"WARNING: {answer['Warning']}")
    context.out(answer["Id"])
    return 0


def _pools(options: Options) -> list[dict[str, Any]]:
    """Subnets with the range, gateway and reserved addresses that lie in each. Raises InvalidArgument for strays."""
    import ipaddress

    pools: list[tuple[Any, dict[str, Any]]] = []
    try:
        for text in options.many("subnet"):
            network = ipaddress.ip_network(text, strict=False)
            if any(network.version == other.version and network.overlaps(other) for other, _ in pools):
                raise InvalidArgument("multiple overlapping subnet configuration is not supported")
            pools.append((network, {"Subnet": text}))
        extras = [("IPRange", text, text.partition("/")[0]) for text in options.many("ip-range")]
        extras += [("Gateway", text, text) for text in options.many("gateway")]
        for key, text, address in extras:
            _pool_of(pools, address, text)[key] = text
        for name, address in pairs_of(options.many("aux-address")).items():
            _pool_of(pools, address, address).setdefault("AuxiliaryAddresses", {})[name] = address
    except ValueError as error:
        raise InvalidArgument(f"invalid address: {error}") from None
    return [pool for _, pool in pools]


def pairs_of(texts: list[str]) -> dict[str, str]:
    return dict(text.partition("=")[::2] for text in texts)


def _pool_of(pools: list[tuple[Any, dict[str, Any]]], address: str, text: str) -> dict[str, Any]:
    import ipaddress

    wanted = ipaddress.ip_address(address)
    for network, pool in pools:
        if wanted in network:
            return pool
    raise InvalidArgument(f"no matching subnet for {text}", hint="give its --subnet too")


COMMAND = Command(run, "NETWORK", 1, 1, FLAGS)
