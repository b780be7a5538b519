from __future__ import annotations

import pytest

from sampan.errors import InvalidArgument
from sampan.network.model import Publication
from sampan.network.ports import PortRequest, parse_host_port, parse_port, requests, to_docker


def test_notation() -> None:
    assert parse_port("80") == (80, "tcp")
    assert parse_port("53/UDP") == (53, "udp")
    assert parse_host_port("") == (0, 0)
    assert parse_host_port("8080") == (8080, 8080)
    assert parse_host_port("8000-8010") == (8000, 8010)


@pytest.mark.parametrize("text", ["", "x", "0", "65536", "-1", "80/icmp", "٣"])
def test_bad_ports(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_port(text)


@pytest.mark.parametrize("text", ["x", "9-8", "1-", "70000"])
def test_bad_host_ports(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_host_port(text)


def test_explicit_ports_come_before_random_ones() -> None:
    found = requests(
        {"80/tcp": [{}], "81": [{"HostPort": "9000", "HostIp": "127.0.0.1"}]}, ["82/udp"], publish_all=True
    )
    assert found == [
        PortRequest("tcp", 81, "127.0.0.1", 9000, 9000),
        PortRequest("tcp", 80, "", 0, 0),
        PortRequest("udp", 82, "", 0, 0),
    ]
    assert requests({"80/tcp": None}) == [PortRequest("tcp", 80, "", 0, 0)]
    assert requests(None) == []


def test_docker_form() -> None:
    one = Publication(protocol="tcp", host_ip="0.0.0.0", host_port=8080, container_ip="10.0.0.2", container_port=80)
    two = Publication(protocol="tcp", host_ip="::", host_port=8080, container_ip="", container_port=80)
    assert to_docker([one, two], ["443"]) == {
        "443/tcp": None,
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
    }
