from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sampan.cli import create_options, detach, flags
from sampan.cli.parse import devices, environment, mounts, networks, ports
from sampan.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("80", [("80/tcp", "", "")]),
        ("8080:80", [("80/tcp", "", "8080")]),
        ("127.0.0.1:81:82/udp", [("82/udp", "127.0.0.1", "81")]),
        ("127.0.0.1::7", [("7/tcp", "127.0.0.1", "")]),
        ("[::1]:5:6", [("6/tcp", "::1", "5")]),
        ("90-91:80-81", [("80/tcp", "", "90"), ("81/tcp", "", "91")]),
        ("1000-1010:99", [("99/tcp", "", "1000-1010")]),
        ("5-6", [("5/tcp", "", ""), ("6/tcp", "", "")]),
        ("target=80,published=8080,protocol=udp", [("80/udp", "", "8080")]),
    ],
)
def test_publish(text: str, published: list[tuple[str, str, str]]) -> None:
    assert [(port, b["HostIp"], b["HostPort"]) for port, b in ports.parse_publish(text)] == published


@pytest.mark.parametrize("text", ["", "x", "99999:80", "1-3:5-6", "a.b.c:1:2", "80/icmp", "1:", "3-1:3-1", "1:2:3:4"])
def test_publish_refuses(text: str) -> None:
    with pytest.raises(InvalidArgument):
        ports.parse_publish(text)


def test_expose() -> None:
    exposed, bindings = ports.parse_published(["80:80"], ["40-41/udp", "80"])
    assert exposed == ["80/tcp", "40/udp", "41/udp"]
    assert list(bindings) == ["80/tcp"]


def test_volumes() -> None:
    binds, anonymous = mounts.split_volumes(["/a:/b", "c:/d:ro", "/anon", "./rel:/x:ro,z"])
    assert binds == ["/a:/b", "c:/d:ro", f"{os.getcwd()}/rel:/x:ro,z"]
    assert anonymous == ["/anon"]
    with pytest.raises(InvalidArgument):
        mounts.split_volumes([":/x"])


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        (
            "type=bind,src=/a,dst=/b,ro,bind-propagation=rslave",
            {
                "Type": "bind",
                "Source": "/a",
                "Target": "/b",
                "ReadOnly": True,
                "BindOptions": {"Propagation": "rslave"},
            },
        ),
        ("dst=/q", {"Type": "volume", "Target": "/q"}),
        (
            "type=tmpfs,target=/t,tmpfs-size=10m,tmpfs-mode=1770",
            {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 10 << 20, "Mode": 0o1770}},
        ),
        (
            'type=volume,source=v,target=/w,volume-nocopy,"volume-opt=o=a,b",volume-driver=local',
            {
                "Type": "volume",
                "Source": "v",
                "Target": "/w",
                "VolumeOptions": {"NoCopy": True, "DriverConfig": {"Name": "local", "Options": {"o": "a,b"}}},
            },
        ),
    ],
)
def test_mounts(text: str, mount: dict[str, Any]) -> None:
    assert mounts.parse_mount(text) == mount


@pytest.mark.parametrize(
    "text",
    [
        "type=bind",
        "foo=bar,dst=/x",
        "dst",
        "type=bind,dst=/x,volume-nocopy",
        "dst=/x,ro=maybe",
        "type=tmpfs,dst=/x,tmpfs-mode=9",
    ],
)
def test_mounts_refuse(text: str) -> None:
    with pytest.raises(InvalidArgument):
        mounts.parse_mount(text)


def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOO", "foo")
    monkeypatch.delenv("NOPE", raising=False)
    file = tmp_path / "env"
    file.write_bytes(b"\xef\xbb\xbf# comment\nA=1\n\n  B=2 \nFOO\nNOPE\nC=x=y\r\n")
    assert environment.read_variables([str(file)], ["D=4", "FOO", "NOPE"]) == [
        "A=1",
        "B=2 ",
        "FOO=foo",
        "C=x=y",
        "D=4",
        "FOO=foo",
        "NOPE",
    ]
    for wrong in (b"=x\n", b"A B=1\n", b"\xff=1\n"):
        file.write_bytes(wrong)
        with pytest.raises(InvalidArgument):
            environment.read_variables([str(file)], [])
    with pytest.raises(InvalidArgument, match="no such file"):
        environment.read_variables([str(tmp_path / "none")], [])


def test_networks() -> None:
    assert networks.parse_network("name=n,alias=a,ip=1.2.3.4,gw-priority=3") == (
        "n",
        {"Aliases": ["a"], "IPAMConfig": {"IPv4Address": "1.2.3.4"}, "GwPriority": 3},
    )
    assert networks.parse_network("plain") == ("plain", {})
    with pytest.raises(InvalidArgument):
        networks.parse_network("alias=x")


def test_devices_and_ulimits() -> None:
    assert devices.parse_device("/dev/a:rw")["CgroupPermissions"] == "rw"
    assert devices.parse_device("/dev/a:/dev/b:r") == {
        "PathOnHost": "/dev/a",
        "PathInContainer": "/dev/b",
        "CgroupPermissions": "r",
    }
    assert devices.parse_ulimit("nofile=10:20") == {"Name": "nofile", "Soft": 10, "Hard": 20}
    for wrong in ("nofile", "nofile=x", "nofile=20:10"):
        with pytest.raises(InvalidArgument):
            devices.parse_ulimit(wrong)
    with pytest.raises(InvalidArgument):
        devices.parse_device("/dev/a:/dev/b:q")


def body(*words: str) -> dict[str, Any]:
    options, arguments, _ = flags.parse(
        flags.declare(create_options.FLAGS), list(words), interspersed=False, synonyms=create_options.SYNONYMS
    )
    return create_options.container_body(options, arguments[0], arguments[1:])


def test_body() -> None:
    made = body(
        "-it",
        "-m",
        "64m",
        "--cpus",
        "1.5",
        "--net",
        "foo",
        "--net-alias",
        "bar",
        "--entrypoint",
        "",
        "img",
        "sh",
        "-c",
        "x",
    )
    assert made["Cmd"] == ["sh", "-c", "x"]
    assert made["Entrypoint"] == [""]
    assert made["AttachStdin"] and made["StdinOnce"] and made["Tty"]
    assert made["HostConfig"]["Memory"] == 64 << 20
    assert made["HostConfig"]["NanoCpus"] == 1_500_000_000
    assert made["HostConfig"]["NetworkMode"] == "foo"
    assert made["NetworkingConfig"]["EndpointsConfig"] == {"foo": {"Aliases": ["bar"]}}
    assert made["HostConfig"]["PidsLimit"] is None
    assert "Init" not in made["HostConfig"]


def test_body_health_and_conflicts() -> None:
    check = body("--health-cmd", "true", "--health-start-interval", "500ms", "img")["Healthcheck"]
    assert check["Test"] == ["CMD-SHELL", "true"]
    assert check["StartInterval"] == 500_000_000
    assert body("--no-healthcheck", "img")["Healthcheck"] == {"Test": ["NONE"]}
    for wrong in (
        ["--no-healthcheck", "--health-cmd", "x"],
        ["--rm", "--restart", "always"],
        ["-a", "nothing"],
        ["--restart", ":3"],
    ):
        with pytest.raises(InvalidArgument):
            body(*wrong, "img")


def test_detach_keys() -> None:
    assert detach.parse_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert detach.parse_keys("a,ctrl-@,ctrl-[") == b"a\x00\x1b"
    for wrong in ("ctrl-", "ab", "ctrl-1", ""):
        with pytest.raises(InvalidArgument):
            detach.parse_keys(wrong)


def test_detach_scanner_holds_back_only_what_may_belong() -> None:
    scanner = detach.DetachScanner(b"\x10\x11")
    assert scanner.feed(b"a\x10") == b"a"
    assert scanner.feed(b"b") == b"\x10b"
    assert scanner.feed(b"\x10\x10") == b"\x10"
    assert not scanner.detached
    assert scanner.feed(b"\x11c") == b""
    assert scanner.detached
