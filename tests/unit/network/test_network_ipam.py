from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.errors import Conflict, Forbidden, InvalidArgument
from sampan.network.ipam import DEFAULT_POOLS, Leases, choose_subnet, complete
from sampan.network.model import AddressPool, Subnet


def test_first_free_pool_is_dockers_order() -> None:
    assert str(choose_subnet(DEFAULT_POOLS, [])) == "172.17.0.0/16"
    taken = [ip_network(f"172.{second}.0.0/16") for second in range(17, 32)]
    assert str(choose_subnet(DEFAULT_POOLS, taken)) == "192.168.0.0/20"
    assert str(choose_subnet(DEFAULT_POOLS, [ip_network("172.16.0.0/12")])) == "192.168.0.0/20"
    with pytest.raises(Conflict, match="all predefined address pools"):
        choose_subnet([AddressPool("10.0.0.0/24", 24)], [ip_network("10.0.0.0/8")])


def test_complete() -> None:
    assert complete(Subnet("10.1.0.0/24")).gateway == "10.1.0.1"
    assert complete(Subnet("10.1.0.0/24", ip_range="10.1.0.128/25")).gateway == "10.1.0.129"
    assert complete(Subnet("fd00::/64")).gateway == "fd00::1"
    with pytest.raises(InvalidArgument, match=r"invalid subnet 10.99.0.5/24: it should be 10.99.0.0/24"):
        complete(Subnet("10.99.0.5/24"))
    for bad in (
        Subnet("10.1.0.0/24", "10.2.0.1"),
        Subnet("10.1.0.0/24", ip_range="10.1.0.0/16"),
        Subnet("10.1.0.0/24", auxiliary={"x": "10.9.0.1"}),
        Subnet("nonsense"),
    ):
        with pytest.raises(InvalidArgument):
            complete(bad)


def test_a_freed_address_rests() -> None:
    leases = Leases(Subnet("10.1.0.0/29", "10.1.0.1"))
    assert [str(leases.take()) for _ in range(3)] == ["10.1.0.2", "10.1.0.3", "10.1.0.4"]
    leases.release("10.1.0.2")
    assert str(leases.take()) == "10.1.0.5"
    assert str(leases.take()) == "10.1.0.6"
    assert str(leases.take()) == "10.1.0.2"
    with pytest.raises(Conflict, match="no available"):
        leases.take()


def test_claims() -> None:
    leases = Leases(Subnet("10.1.0.0/24", "10.1.0.1", "10.1.0.128/25", {"printer": "10.1.0.129"}))
    assert str(leases.take()) == "10.1.0.128"
    assert str(leases.take()) == "10.1.0.130"
    assert str(leases.claim("10.1.0.7")) == "10.1.0.7"  # outside the range, inside the subnet
    for taken in ("10.1.0.7", "10.1.0.1", "10.1.0.129", "10.1.0.0", "10.1.0.255"):
        with pytest.raises(Forbidden):
            leases.claim(taken)
    with pytest.raises(InvalidArgument):
        leases.claim("10.2.0.1")


@given(st.lists(st.integers(0, 20), max_size=200))
def test_no_address_twice(choices: list[int]) -> None:
    """A random mix of takes and releases never gives an address that somebody has."""
    leases, held = Leases(Subnet("10.1.0.0/28", "10.1.0.1")), []
    for choice in choices:
        if choice < 12 and held:
            leases.release(held.pop(choice % len(held)))
            continue
        try:
            address = str(leases.take())
        except Conflict:
            assert len(held) == 13
            continue
        assert address not in held
        assert ip_address(address) in ip_network("10.1.0.0/28")
        held.append(address)
