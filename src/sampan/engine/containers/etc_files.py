"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container: files in its own directory, bound into it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sampan.engine.containers.model import Container

_HOSTS_HEAD = (
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)


class FilePaths(NamedTuple):
    hosts: str
    hostname: str
    resolv_conf: str


def paths(container: Container) -> FilePaths:
    """Where a container's files are; those of the container whose network it joined, if it did."""
    owner = container.network_owner or container
    directory = owner.directory
    return FilePaths(f"{directory}/hosts", f"{directory}/hostname", f"{directory}/resolv.conf")


def write(path: str, text: str) -> None:
    """In place: the file may be bound into a running container."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def hosts(container: Container, addresses: Iterable[str], gateway: str, linked: Sequence[tuple[str, str]]) -> str:
    """The text of /etc/hosts: Docker's head, `--add-host`, links, and the container's own name for each address."""
    host = container.host_config
    if host["NetworkMode"] == "host":
        text = _read("/etc/hosts") or _HOSTS_HEAD
    else:
        text = _HOSTS_HEAD
    lines = []
    for entry in host["ExtraHosts"] or ():
        name, _, address = entry.partition("=" if "=" in entry else ":")
        address = gateway if address == "host-gateway" else address.strip("[]")
        if address:
            lines.append(f"{address}\t{name}\n")
    lines += [f"{address}\t{names}\n" for address, names in linked]
    names = container.config["Hostname"]
    if container.config["Domainname"]:
        names = f"{names}.{container.config['Domainname']}"
    if "." in names:
        names = f"{names} {names.partition('.')[0]}"
    lines += [f"{address}\t{names}\n" for address in addresses if address]
    return text + "".join(lines)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def links(container: Container, resolve: Any) -> list[tuple[str, str]]:
    """(address, names) of the containers in `Links` that run; `resolve` finds a container by name, or gives None."""
    found = []
    for link in container.host_config["Links"] or ():
        name, _, alias = link.partition(":")
        target = resolve(name.lstrip("/"))
        if target is None:
            continue
        alias = alias.rpartition("/")[2] or name.lstrip("/")
        for state in target.record.endpoint_states.values():
            if state.get("IPAddress"):
                found.append((state["IPAddress"], f"{alias} {target.config['Hostname']} {target.name}"))
                break
    return found
