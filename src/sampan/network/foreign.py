"""Firewalls of others on this host. Looked at, never changed.

In netfilter a packet must pass every base chain of a hook: our accept cannot undo another table's drop. A Docker Engine
beside us, and many a host firewall, sets the policy of iptables' FORWARD chain to DROP; then nothing that is forwarded to or
from our bridges passes (and with bridge-nf-call-iptables, not even frames between two ports of one bridge). What does not
cross FORWARD still works: host to container, and published ports from the host itself.
"""

from __future__ import annotations

from typing import NamedTuple

from sampan.linux.netlink import netns
from sampan.linux.netlink.channel import NetlinkError
from sampan.linux.nft import requests as nft


class ForwardDrop(NamedTuple):
    """A chain of another table whose policy drops forwarded IPv4 packets."""

    table: str
    chain: str
    bridged_too: bool
    of_docker: bool = False

    def warning(self, bridge: str) -> str:
        """What is broken, and what an administrator can do about it."""
        reach = "or between containers, " if self.bridged_too else ""
        if self.of_docker:
            return (
                f"Docker drops what is forwarded (nftables table ip {self.table}, chain {self.chain}): TCP and DNS of "
                f"containers go through a relay in the engine, other protocols do not leave the host. "
                f"Sampan does not change Docker's rules; to let traffic pass: {self._remedy(bridge)}"
            )
        return (
            f"another firewall (nftables table ip {self.table}, chain {self.chain}) drops forwarded packets by policy: "
            f"containers will not reach the outside, {reach}nor be reached from it, unless its rules accept them. "
            f"Sampan does not change others' rules; to allow it: {self._remedy(bridge)}"
        )

    def _remedy(self, bridge: str) -> str:
        return (
            f"iptables -I {self._place()} -i {bridge} -j ACCEPT; "
            f"iptables -I {self._place()} -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT"
        )

    def _place(self) -> str:
        return "DOCKER-USER" if self.of_docker else "FORWARD"


def find_forward_drop(own_table: str) -> ForwardDrop | None:
    """The first foreign base chain in the forward hook with policy drop; None if there is none (tables of the old
    iptables-legacy are not visible here). Blocking, under a millisecond."""
    channel = nft.open_channel()
    try:
        for family in (nft.FAMILY_IPV4, nft.FAMILY_INET):
            for chain in nft.base_chains(channel, family):
                if chain.hook == nft.FORWARD and chain.drops and chain.table != own_table:
                    bridged = netns.read_sysctl("net/bridge/bridge-nf-call-iptables") == "1"
                    docker = family == nft.FAMILY_IPV4 and "DOCKER-USER" in nft.chain_names(
                        channel, family, chain.table
                    )
                    return ForwardDrop(chain.table, chain.name, bridged, docker)
    except NetlinkError:
        return None
    finally:
        channel.close()
    return None
