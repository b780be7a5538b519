"""Who is called what in which network: the look-up behind the resolver. Memory only."""

from __future__ import annotations

from sampan.network import dns
from sampan.network.model import Endpoint
from sampan.network.registry import Registry


class Names:
    """Answers from the registry's endpoints; an index per network is rebuilt when the registry has changed."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._version = -1
        self._index: dict[str, dict[str, list[Endpoint]]] = {}

    def lookup(self, container_id: str, question: dns.Question) -> list[tuple[int, bytes]] | None:
        """Records for a name of a container that shares a user-defined network with the asker; None if there is none. A
        name that exists, but not with the asked type, gives an empty list."""
        if question.kind == dns.PTR:
            return self._reverse(container_id, dns.address_of_reverse(question.name))
        found: list[Endpoint] = []
        for mine in self._registry.endpoints_of(container_id):
            links = _links(mine).get(question.name)
            for name in links or [question.name]:
                found += self._of(mine.network_id).get(name, [])
        if not found:
            return None
        addresses = [text for each in found for text in (each.ipv4, each.ipv6) if text]
        records = [dns.address_record(text) for text in dict.fromkeys(addresses)]
        return [record for record in records if question.kind in (record[0], dns.ANY)]

    def _reverse(self, container_id: str, address: str) -> list[tuple[int, bytes]] | None:
        if not address:
            return None
        for mine in self._registry.endpoints_of(container_id):
            for each in self._registry.endpoints(mine.network_id):
                if address in (each.ipv4, each.ipv6) and each.interface:
                    return [dns.name_record(f"{each.container_name}.{each.network_name}")]
        return None

    def _of(self, network_id: str) -> dict[str, list[Endpoint]]:
        if self._version != self._registry.version:
            self._index.clear()
            self._version = self._registry.version
        known = self._index.get(network_id)
        if known is None:
            known = self._index[network_id] = self._build(network_id)
        return known

    def _build(self, network_id: str) -> dict[str, list[Endpoint]]:
        index: dict[str, list[Endpoint]] = {}
        for endpoint in self._registry.endpoints(network_id):
            if endpoint.interface:
                for name in endpoint.names:
                    for form in (name.lower(), f"{name}.{endpoint.network_name}".lower()):
                        index.setdefault(form, []).append(endpoint)
        return index


def _links(endpoint: Endpoint) -> dict[str, list[str]]:
    """`--link other:alias` in a user-defined network: alias → names."""
    found: dict[str, list[str]] = {}
    for link in endpoint.config.get("Links") or []:
        name, _, alias = str(link).partition(":")
        found.setdefault((alias or name).lower(), []).append(name.lower())
    return found
