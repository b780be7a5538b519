"""`sampan port`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.errors import NotFound


def run(context: Context, options: Options, arguments: list[str]) -> int:
    ports = context.engine.containers.inspect(arguments[0])["NetworkSettings"]["Ports"] or {}
    if len(arguments) > 1:
        wanted, _, protocol = arguments[1].partition("/")
        key = f"{wanted}/{protocol or 'tcp'}"
        if not ports.get(key):
            raise NotFound(f"no public port '{key}' published for {arguments[0]}")
        for binding in ports[key]:
            context.out(_address(binding))
        return 0
    for port in sorted(ports, key=lambda text: (int(text.partition("/")[0]), text)):
        for binding in ports[port] or []:
            context.out(f"{port} -> {_address(binding)}")
    return 0


def _address(binding: dict[str, str]) -> str:
    host = binding["HostIp"]
    return f"[{host}]:{binding['HostPort']}" if ":" in host else f"{host}:{binding['HostPort']}"


COMMAND = Command(run, "CONTAINER [PRIVATE_PORT[/PROTO]]", 1, 2, completes="containers")
