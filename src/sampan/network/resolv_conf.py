"""A container's /etc/resolv.conf (resolv.conf(5)). Pure but for reading the host's own."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple

RESOLVER_ADDRESS = "127.0.0.11"
_HOST_FILE = "/etc/resolv.conf"
_SYSTEMD_FILE = "/run/systemd/resolve/resolv.conf"
_LAST_RESORT = ("8.8.8.8", "8.8.4.4")


class ResolvConf(NamedTuple):
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def text(self) -> str:
        lines = [f"nameserver {address}" for address in self.nameservers]
        if self.search:
            lines.append("search " + " ".join(self.search))
        if self.options:
            lines.append("options " + " ".join(self.options))
        return "\n".join(lines) + "\n"


def parse(text: str) -> ResolvConf:
    nameservers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        keyword, *values = line.split("#")[0].split(";")[0].split() or [""]
        if keyword == "nameserver" and values:
            nameservers.append(values[0])
        elif keyword in ("search", "domain"):
            search = values
        elif keyword == "options":
            options += values
    return ResolvConf(tuple(nameservers), tuple(search), tuple(options))


def read_host(path: str = _HOST_FILE) -> ResolvConf:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return parse(file.read())
    except OSError:
        return ResolvConf()


def for_host_network(dns: Sequence[str] = (), search: Sequence[str] = (), options: Sequence[str] = ()) -> ResolvConf:
    """A container in the host's namespace: the host's file, but for what the user says."""
    return _override(read_host(), dns, search, options)


def for_default_network(dns: Sequence[str] = (), search: Sequence[str] = (), options: Sequence[str] = ()) -> ResolvConf:
    """The default bridge: the host's servers without those that only the host reaches at its loopback; where
    systemd-resolved listens there, the servers behind it."""
    host = read_host()
    servers = tuple(address for address in host.nameservers if not _is_loopback(address))
    if not servers:
        servers = tuple(each for each in read_host(_SYSTEMD_FILE).nameservers if not _is_loopback(each))
    return _override(host._replace(nameservers=servers or _LAST_RESORT), dns, search, options)


def for_user_network(search: Sequence[str] = (), options: Sequence[str] = ()) -> ResolvConf:
    """A user-defined network: the resolver in the container's own loopback, which knows the servers."""
    host = read_host()
    kept = [option for option in (options or host.options) if not option.startswith("ndots:")]
    dots = next((option for option in options if option.startswith("ndots:")), "ndots:0")
    wanted = tuple(each for each in search if each != ".") if search else host.search
    return ResolvConf((RESOLVER_ADDRESS,), wanted, (*kept, dots))


def upstreams(dns: Sequence[str] = ()) -> tuple[str, ...]:
    """Where the embedded resolver asks: the user's servers, else the host's, at its loopback too: it runs on the host."""
    return tuple(dns) or read_host().nameservers or _LAST_RESORT


def _override(base: ResolvConf, dns: Sequence[str], search: Sequence[str], options: Sequence[str]) -> ResolvConf:
    return ResolvConf(
        tuple(dns) or base.nameservers,
        tuple(each for each in search if each != ".") if search else base.search,
        tuple(options) or base.options,
    )


def _is_loopback(text: str) -> bool:
    try:
        return ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return True
