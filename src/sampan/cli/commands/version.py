"""`sampan version`."""

from __future__ import annotations

import os
import sys

from sampan import __version__
from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.client.engine import API_VERSION
from sampan.client.transport import EngineUnreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLAGS = """
-f, --format string   Print through a template: 'json' or 'TEMPLATE' (Go's template language)
"""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def client_line() -> str:
    return f"Sampan version {__version__}"


def run(context: Context, options: Options, arguments: list[str]) -> int:
    engine = context.engine
    server: dict[str, Any] | None = None
    unreachable: EngineUnreachable | None = None
    try:
        server = engine.system.version()
    except EngineUnreachable as error:
        unreachable = error
    client = _client(engine.version if server else "")
    if options.text("format"):
        from sampan.cli.template import print_value

        for component in (server or {}).get("Components") or []:
            details = component.get("Details") or {}
            if details.get("BuildTime"):
                details["BuildTime"] = _build_time(details["BuildTime"])
        print_value(options.text("format"), {"Client": client, "Server": server})
    else:
        sys.stdout.write(_client_text(client, engine.server_version))
        if server is not None:
            sys.stdout.write("\n" + _server_text(server))
    if unreachable is not None:
        raise unreachable
    return 0


def _client(api_version: str) -> dict[str, Any]:
    machine = os.uname()
    ours = ".".join(str(part) for part in API_VERSION)
    return {
        "Version": __version__,
        "ApiVersion": api_version or ours,
        "DefaultAPIVersion": ours,
        "GitCommit": "",
        "PythonVersion": sys.version.partition(" ")[0],
        "Os": "linux",
        "Arch": _ARCHITECTURES.get(machine.machine, machine.machine),
        "BuildTime": "",
        "Context": "default",
    }


def _client_text(client: dict[str, Any], server_version: str) -> str:
    api = client["ApiVersion"]
    if server_version and api != client["DefaultAPIVersion"]:
        api += f" (downgraded from {client['DefaultAPIVersion']})"
    return (
        f"Client:\n Version:           {client['Version']}\n API version:       {api}\n"
        f" Python version:    {client['PythonVersion']}\n OS/Arch:           {client['Os']}/{client['Arch']}\n"
        f" Context:           {client['Context']}\n"
    )


def _server_text(server: dict[str, Any]) -> str:
    name = (server.get("Platform") or {}).get("Name")
    lines = [f"Server: {name}" if name else "Server:"]
    for component in server.get("Components") or [{"Name": "Engine", "Version": server["Version"], "Details": server}]:
        details = component.get("Details") or {}
        lines.append(f" {component['Name']}:")
        lines.append(f"  Version:          {component['Version']}")
        if details.get("ApiVersion"):
            lines.append(
                f"  API version:      {details['ApiVersion']} (minimum version {details.get('MinAPIVersion')})"
            )
        for key, label in (("GoVersion", "Go version:"), ("PythonVersion", "Python version:")):
            if details.get(key):
                lines.append(f"  {label:<17} {details[key]}")
        if "GitCommit" in details:
            lines.append(f"  Git commit:       {details['GitCommit']}")
        if details.get("BuildTime"):
            lines.append(f"  Built:            {_build_time(details['BuildTime'])}")
        if details.get("Os"):
            lines.append(f"  OS/Arch:          {details['Os']}/{details.get('Arch')}")
        if "Experimental" in details:
            lines.append(f"  Experimental:     {str(details['Experimental']).lower()}")
    return "\n".join(lines) + "\n"


def _build_time(text: str) -> str:
    from sampan.cli.human import parse_time

    try:
        moment = parse_time(text)
    except ValueError:
        return text
    import time

    return time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(moment))


COMMAND = Command(run, "", 0, 0, FLAGS)
