"""From the domain of a reference to the URLs that serve it: mirrors, insecure registries, Docker Hub's real host."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

import msgspec

from sampan.registry.auth import is_loopback
from sampan.types.reference import DEFAULT_DOMAIN

_HUB_URL = "https://registry-1.docker.io"


class RegistrySettings(msgspec.Struct, frozen=True):
    """`mirrors`: domain → URLs that are asked before the registry itself, for pulls only. `insecure`: hosts
    (`name[:port]`) and networks (CIDR) whose certificate is not checked and that may speak plain HTTP; this machine
    itself always counts as one."""

    mirrors: dict[str, list[str]] = {}
    insecure: tuple[str, ...] = ()
    max_concurrent_downloads: int = 6
    max_concurrent_uploads: int = 5
    max_attempts: int = 5

    def is_insecure(self, domain: str) -> bool:
        host, name = domain.lower(), _host_of(domain.lower())
        if is_loopback(name) or host in self.insecure or name in self.insecure:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return any("/" in entry and address in ipaddress.ip_network(entry, strict=False) for entry in self.insecure)


class Endpoint(NamedTuple):
    """A base URL (no trailing slash). `mirror`: not the registry itself, so it never sees the user's credentials."""

    url: str
    verify_tls: bool = True
    mirror: bool = False


def endpoints(settings: RegistrySettings, domain: str, *, push: bool = False) -> list[Endpoint]:
    """Where to try a request for `domain`, in order."""
    result: list[Endpoint] = []
    if not push:
        for url in settings.mirrors.get(domain, []):
            result.append(Endpoint(url.rstrip("/"), not settings.is_insecure(url.partition("://")[2]), mirror=True))
    if domain == DEFAULT_DOMAIN:
        result.append(Endpoint(_HUB_URL))
    elif settings.is_insecure(domain):
        result += [Endpoint(f"https://{domain}", verify_tls=False), Endpoint(f"http://{domain}", verify_tls=False)]
    else:
        result.append(Endpoint(f"https://{domain}"))
    return result


def _host_of(domain: str) -> str:
    domain = domain.partition("/")[0]
    if domain.startswith("["):
        return domain[1:].partition("]")[0]
    return domain.partition(":")[0]
