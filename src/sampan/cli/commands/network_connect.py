"""`sampan network connect`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.cli.parse.environment import pairs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLAGS = """
    --alias strings           Further name on the network
    --driver-opt strings      Option of the network's driver
    --gw-priority int         The network with the highest gives the default route
    --ip string               IPv4 address
    --ip6 string              IPv6 address
    --link list               Link to another container
    --link-local-ip strings   Link-local address
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    endpoint: dict[str, Any] = {}
    ipam: dict[str, Any] = {}
    for flag, key in (("ip", "IPv4Address"), ("ip6", "IPv6Address")):
        if options.text(flag):
            ipam[key] = options.text(flag)
    if options.many("link-local-ip"):
        ipam["LinkLocalIPs"] = options.many("link-local-ip")
    endpoint["IPAMConfig"] = ipam
    endpoint["Links"] = options.many("link") or None
    endpoint["Aliases"] = options.many("alias") or None
    endpoint["DriverOpts"] = pairs(options.many("driver-opt"), "driver option")
    if options.changed("gw-priority"):
        endpoint["GwPriority"] = options.number("gw-priority")
    context.engine.networks.connect(arguments[0], arguments[1], endpoint)
    return 0


COMMAND = Command(run, "NETWORK CONTAINER", 2, 2, FLAGS, completes="networks")
