from __future__ import annotations

from typing import Any

import pytest

from sampan.engine.config import EngineConfig, Ulimit
from sampan.engine.containers.creation import read_request
from sampan.engine.oci import runtime_config
from sampan.engine.oci.places import Places
from sampan.errors import InvalidArgument, SampanError
from sampan.store.containers import ContainerRecord, MountRecord

ENGINE = EngineConfig(default_ulimits={"nofile": Ulimit("nofile", 100, 200)})


def build(host: dict[str, Any] | None = None, places: Places | None = None, **config: Any) -> dict[str, Any]:
    body = {"Image": "x", "Hostname": "h", **config, "HostConfig": host or {}}
    filled, filled_host, _ = read_request(body, ENGINE, (1, 56))
    record = ContainerRecord("a" * 64, "n", "", 0, "x", "", filled, filled_host, path="sh", args=["-c", "true"])
    return runtime_config.build(record, ENGINE, places or Places())


def namespaces(config: dict[str, Any]) -> set[str]:
    return {each["type"] for each in config["linux"]["namespaces"]}


def test_dockers_defaults() -> None:
    config = build()
    process = config["process"]
    assert process["args"] == ["sh", "-c", "true"]
    assert len(process["capabilities"]["bounding"]) == 14
    assert process["capabilities"]["inheritable"] == []
    assert process["env"] == [runtime_config.DEFAULT_PATH, "HOSTNAME=h"]
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    assert namespaces(config) == {"mount", "network", "pid", "ipc", "uts", "cgroup"}
    assert config["linux"]["cgroupsPath"] == f"/sampan/{'a' * 64}"
    assert "/proc/kcore" in config["linux"]["maskedPaths"]
    assert config["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert [mount["destination"] for mount in config["mounts"]][:3] == ["/proc", "/dev", "/dev/pts"]


def test_capabilities_added_and_dropped() -> None:
    def caps(**host: Any) -> list[str]:
        found: list[str] = build(host)["process"]["capabilities"]["bounding"]
        return found

    assert "CAP_NET_ADMIN" in caps(CapAdd=["net_admin"])
    assert "CAP_CHOWN" not in caps(CapDrop=["CHOWN"])
    assert caps(CapDrop=["ALL"], CapAdd=["KILL"]) == ["CAP_KILL"]
    assert "CAP_CHOWN" not in caps(CapAdd=["ALL"], CapDrop=["CHOWN"])


def test_privileged_opens_everything() -> None:
    config = build({"Privileged": True})
    assert config["linux"]["maskedPaths"] == config["linux"]["readonlyPaths"] == []
    assert config["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert "CAP_SYS_ADMIN" in config["process"]["capabilities"]["effective"]
    assert "ro" not in next(each for each in config["mounts"] if each["destination"] == "/sys")["options"]


def test_host_modes_drop_namespaces() -> None:
    config = build({"PidMode": "host", "IpcMode": "host", "UTSMode": "host", "NetworkMode": "host"}, Hostname="")
    assert namespaces(config) == {"mount", "cgroup"}
    assert "hostname" not in config


def test_joined_namespaces_are_paths() -> None:
    config = build({"PidMode": "container:b"}, Places(joined={"pid": 42}))
    assert {"type": "pid", "path": "/proc/42/ns/pid"} in config["linux"]["namespaces"]


def test_resources() -> None:
    resources = build({"Memory": 64 << 20, "NanoCpus": 1_500_000_000, "PidsLimit": 10, "CpuShares": 512})["linux"][
        "resources"
    ]
    assert resources["memory"] == {"limit": 64 << 20, "swap": 128 << 20}
    assert resources["cpu"] == {"period": 100_000, "quota": 150_000, "shares": 512}
    assert resources["pids"] == {"limit": 10}


def test_environment_of_the_request_wins_and_a_bare_name_removes() -> None:
    env = build(Env=["PATH=/x", "A=1", "HOSTNAME", "A=2"], Tty=True)["process"]["env"]
    assert env == ["PATH=/x", "TERM=xterm", "A=2"]


def test_user_mounts_replace_defaults_and_are_ordered() -> None:
    mounts = [
        MountRecord("bind", "/a/b", source="/1", propagation="rprivate"),
        MountRecord("bind", "/a", source="/2", propagation="rslave", writable=False),
        MountRecord("tmpfs", "/dev/shm", options=["size=1m"]),
    ]
    config = build(places=Places(mounts=mounts, hosts="/h"))
    found = [each["destination"] for each in config["mounts"]]
    assert found.index("/a") < found.index("/a/b")
    assert found.count("/dev/shm") == 1
    assert next(each for each in config["mounts"] if each["destination"] == "/a")["options"] == [
        "rbind",
        "rslave",
        "ro",
    ]
    assert config["linux"]["rootfsPropagation"] == "rslave"


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"Sysctls": {"kernel.panic": "1"}}, 'sysctl "kernel.panic" is not in a separate kernel namespace'),
        (
            {"Sysctls": {"net.core.somaxconn": "1"}, "NetworkMode": "host"},
            'sysctl "net.core.somaxconn" not allowed in host network namespace',
        ),
    ],
)
def test_sysctls_of_the_host_are_refused(host: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        build(host)
    assert caught.value.message == message


def test_devices() -> None:
    device = {"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}
    config = build({"Devices": [device]})
    assert config["linux"]["devices"][0]["path"] == "/dev/x"
    assert {"allow": True, "type": "c", "access": "r", "major": 1, "minor": 3} in config["linux"]["resources"][
        "devices"
    ]
    with pytest.raises(SampanError, match="error gathering device information while adding custom device"):
        build({"Devices": [{"PathOnHost": "/dev/nope"}]})
    with pytest.raises(SampanError, match=r'could not select device driver "" with capabilities: \[\[gpu\]\]'):
        build({"DeviceRequests": [{"Capabilities": [["gpu"]]}]})


def test_init() -> None:
    assert build({"Init": True})["annotations"] == {runtime_config.INIT_ANNOTATION: "true"}
