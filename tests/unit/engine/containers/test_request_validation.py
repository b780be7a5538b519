from __future__ import annotations

from typing import Any

import pytest

from sampan.engine.config import EngineConfig
from sampan.engine.containers.creation import merge_image, read_request
from sampan.engine.containers.request import validation
from sampan.engine.containers.request.cpu_lists import online
from sampan.errors import InvalidArgument, SampanError

ENGINE = EngineConfig()


def validate(host: dict[str, Any] | None = None, **config: Any) -> list[str]:
    body = {"Image": "busybox", "Cmd": ["true"], **config, "HostConfig": host or {}}
    filled, filled_host, _ = read_request(body, ENGINE, (1, 56))
    return validation.validate(filled, filled_host, ENGINE)


def test_an_ordinary_request_passes_without_warnings() -> None:
    assert validate() == []


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"Memory": 1024}, "Minimum memory limit allowed is 6MB"),
        (
            {"Memory": 64 << 20, "MemorySwap": 32 << 20},
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            {"MemorySwap": 64 << 20},
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        ({"MemorySwappiness": 101}, "Invalid value: 101, valid memory swappiness range is 0-100"),
        (
            {"NanoCpus": 1000, "CpuPeriod": 100000},
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ),
        ({"CpuQuota": 10}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        ({"CpusetCpus": "1-42,,"}, "Invalid value 1-42,, for cpuset cpus: invalid format: 1-42,,"),
        ({"BlkioWeight": 5}, "Range of blkio weight is from 10 to 1000"),
        ({"OomScoreAdj": 2000}, "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
        ({"IpcMode": "x"}, "invalid IPC mode: x"),
        ({"PidMode": "x"}, "invalid PID mode: x"),
        ({"UTSMode": "x"}, "invalid UTS mode: x"),
        ({"CgroupnsMode": "x"}, "invalid cgroup namespace mode: x"),
        ({"CapAdd": ["NOPE"]}, 'invalid CapAdd: unknown capability: "CAP_NOPE"'),
        (
            {"RestartPolicy": {"Name": "x"}},
            "invalid restart policy: unknown policy 'x'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        ),
        (
            {"AutoRemove": True, "RestartPolicy": {"Name": "always"}},
            "can't create 'AutoRemove' container with restart policy",
        ),
        ({"LogConfig": {"Type": "asdf"}}, 'error looking up logging plugin asdf: plugin "asdf" not found'),
        (
            {"LogConfig": {"Type": "json-file", "Config": {"bogus": "1"}}},
            "unknown log opt 'bogus' for json-file log driver",
        ),
        ({"Runtime": "x"}, "unknown or invalid runtime name: x"),
        ({"Ulimits": [{"Name": "x", "Soft": 1, "Hard": 1}]}, "invalid ulimit type: x"),
        ({"PortBindings": {"x/tcp": []}}, 'invalid port specification: "x"'),
        ({"ExtraHosts": ["a:b"]}, 'invalid IP address in add-host: "b"'),
        ({"CpuPercent": 10}, "invalid option: CpuPercent is only supported on Windows"),
        ({"KernelMemory": 1 << 30}, "kernel memory limits are not supported"),
    ],
)
def test_host_config_is_refused_in_dockers_words(host: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate(host)
    assert caught.value.message.startswith(message)


def test_a_security_option_is_named_by_its_place() -> None:
    with pytest.raises(SampanError) as caught:
        validate({"SecurityOpt": ["no-new-privileges", "foo=bar"]})
    assert (caught.value.status, caught.value.message) == (500, 'invalid --security-opt 2: "foo=bar"')


def test_cpus_that_the_host_does_not_have() -> None:
    with pytest.raises(InvalidArgument, match=r"Requested CPUs are not available - requested 999, available: "):
        validate({"CpusetCpus": "999"})
    assert validate({"CpusetCpus": str(min(online("cpu")))}) == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"Env": ["=foo"]}, "invalid environment variable: =foo"),
        ({"WorkingDir": "x"}, "the working directory 'x' is invalid, it needs to be an absolute path"),
        ({"StopSignal": "SIG42"}, "invalid signal: SIG42"),
        ({"Healthcheck": {"Test": ["CMD", "x"], "Interval": 5}}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"Memory": "x", "Tty": "x"}, "invalid JSON: json: cannot unmarshal string into Go struct field Config.Tty"),
    ],
)
def test_config_is_refused_in_dockers_words(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate(**config)
    assert caught.value.message.startswith(message)


def test_container_network_mode_conflicts() -> None:
    with pytest.raises(InvalidArgument, match="conflicting options: hostname and the network mode"):
        validate({"NetworkMode": "container:x"}, Hostname="h")


def test_warning_for_a_disabled_oom_killer() -> None:
    assert validate({"OomKillDisable": True})[0].startswith("OOM killer is disabled for the container")


def test_an_empty_body_and_the_old_limit_of_one_endpoint() -> None:
    with pytest.raises(InvalidArgument, match="config cannot be empty in order to create a container"):
        read_request({}, ENGINE, (1, 56))
    body = {"Image": "x", "NetworkingConfig": {"EndpointsConfig": {"n1": {}, "n2": None}}}
    with pytest.raises(InvalidArgument, match="multiple network endpoints: n1, n2"):
        read_request(body, ENGINE, (1, 43))
    assert set(read_request(body, ENGINE, (1, 44))[2]) == {"bridge", "n1", "n2"}


def test_keys_match_in_any_case_as_in_go() -> None:
    config, host, _ = read_request({"image": "x", "HostConfig": {"memory": 8 << 20}}, ENGINE, (1, 56))
    assert (config["Image"], host["Memory"], host["MemorySwap"]) == ("x", 8 << 20, 16 << 20)


def test_entrypoint_drops_the_images_command() -> None:
    image = {"Entrypoint": ["/e"], "Cmd": ["c"], "Env": ["A=1", "B=2"], "Labels": {"x": "1"}}
    config, _, _ = read_request({"Image": "x", "Entrypoint": ["/mine"], "Env": ["B=3"]}, ENGINE, (1, 56))
    merge_image(config, image)
    assert (config["Entrypoint"], config["Cmd"], config["Env"]) == (["/mine"], None, ["B=3", "A=1"])
    config, _, _ = read_request({"Image": "x", "Cmd": ["d"]}, ENGINE, (1, 56))
    merge_image(config, image)
    assert (config["Entrypoint"], config["Cmd"], config["Labels"]) == (["/e"], ["d"], {"x": "1"})
