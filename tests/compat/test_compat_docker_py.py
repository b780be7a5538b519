"""docker-py and testcontainers, unchanged."""

from __future__ import annotations

import io
import tarfile
import time
from typing import Any

import pytest
from tests.conftest import EngineProcess

docker = pytest.importorskip("docker")


def test_run_returns_output(docker_client: Any) -> None:
    assert docker_client.containers.run("busybox", ["echo", "hi"], remove=True) == b"hi\n"
    with pytest.raises(docker.errors.ContainerError) as failed:
        docker_client.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    assert failed.value.exit_status == 3 and b"bad" in failed.value.stderr


def test_missing_things_are_not_found(docker_client: Any) -> None:
    with pytest.raises(docker.errors.NotFound):
        docker_client.containers.get("no-such")
    with pytest.raises(docker.errors.ImageNotFound):
        docker_client.images.get("no-such:1")


def test_life_exec_logs_stats(docker_client: Any) -> None:
    container = docker_client.containers.run("busybox", ["sh", "-c", "echo out; sleep 60"], detach=True, name="py")
    code, output = container.exec_run(["sh", "-c", "echo from exec; exit 4"])
    assert (code, output) == (4, b"from exec\n")
    code, (stdout, stderr) = container.exec_run(["sh", "-c", "echo a; echo b >&2"], demux=True)
    assert (code, stdout, stderr) == (0, b"a\n", b"b\n")
    assert container.logs() == b"out\n"
    assert container.stats(stream=False)["memory_stats"]["usage"] > 0
    assert container.top()["Processes"]
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    container.stop(timeout=0)
    assert container.wait()["StatusCode"] == 137
    container.remove()


def test_attach_socket_both_ways(docker_client: Any) -> None:
    container = docker_client.containers.create("busybox", "cat", stdin_open=True)
    sock = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    sock._sock.sendall(b"ping\n")
    assert sock._sock.recv(100)[8:] == b"ping\n"
    sock._sock.close()
    container.remove(force=True)


def test_archives(docker_client: Any) -> None:
    container = docker_client.containers.create("busybox", "true")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        info = tarfile.TarInfo("hello")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"world"))
    assert container.put_archive("/tmp", packed.getvalue())
    chunks, stat = container.get_archive("/tmp/hello")
    assert stat["name"] == "hello" and stat["size"] == 5
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        member = tar.extractfile("hello")
        assert member is not None and member.read() == b"world"
    container.remove()


def test_build_with_modern_dockerfile(docker_client: Any) -> None:
    dockerfile = b"FROM busybox\nRUN <<EOT\necho one > /f\necho two >> /f\nEOT\nCMD cat /f\n"
    image, log = docker_client.images.build(fileobj=io.BytesIO(dockerfile), tag="pybuilt:1")
    assert any("Successfully built" in line.get("stream", "") for line in log)
    assert docker_client.containers.run("pybuilt:1", remove=True) == b"one\ntwo\n"
    docker_client.images.remove(image.id, force=True)


def test_cache_from_an_image_that_is_not_here_means_no_cache(docker_client: Any) -> None:
    dockerfile = b"FROM busybox\nENV FOO=bar\nRUN touch /baz\n"

    def hits(**options: Any) -> int:
        _, log = docker_client.images.build(fileobj=io.BytesIO(dockerfile), tag="pycached", **options)
        return sum("Using cache" in line.get("stream", "") for line in log)

    hits()
    assert hits(cache_from=["pycached"]) == 2
    assert hits(cache_from=["no-such-image"]) == 0
    docker_client.images.remove("pycached", force=True)


def test_log_right_after_start_has_the_first_output(docker_client: Any) -> None:
    container = docker_client.containers.create("busybox", "echo first words")
    container.start()
    assert container.logs() == b"first words\n"
    container.remove(force=True)


def test_network_details_before_the_start(docker_client: Any) -> None:
    pools = [docker.types.IPAMPool(subnet="2001:389::1/64", gateway="2001:389::ffff")]
    network = docker_client.networks.create("pymac", ipam=docker.types.IPAMConfig(pool_configs=pools))
    container = docker_client.containers.create("busybox", "true")
    network.connect(container, mac_address="02:42:ac:11:00:02")
    container.reload()
    assert container.attrs["NetworkSettings"]["Networks"]["pymac"]["MacAddress"] == "02:42:ac:11:00:02"
    container.remove()
    address = docker.types.EndpointConfig(version="1.45", ipv6_address="2001:389::f00d")
    container = docker_client.containers.run(
        "busybox", "sleep 60", detach=True, network="pymac", networking_config={"pymac": address}
    )
    container.reload()
    assert container.attrs["NetworkSettings"]["Networks"]["pymac"]["IPAMConfig"]["IPv6Address"] == "2001:389::f00d"
    container.remove(force=True)
    network.remove()


def test_events_since(docker_client: Any) -> None:
    start = time.time()
    docker_client.containers.run("busybox", "true", remove=True)
    actions = [event["Action"] for event in docker_client.events(since=start, until=time.time(), decode=True)]
    assert {"create", "start", "die", "destroy"} <= set(actions)


def test_networks_and_volumes(docker_client: Any) -> None:
    network = docker_client.networks.create("pynet", labels={"a": "b"})
    container = docker_client.containers.create("busybox", "sleep 60")
    network.connect(container, aliases=["other"])
    container.start()
    container.reload()
    assert set(container.attrs["NetworkSettings"]["Networks"]) == {"bridge", "pynet"}
    network.disconnect(container)
    container.remove(force=True)
    network.remove()
    volume = docker_client.volumes.create("pyvol")
    assert volume.attrs["Driver"] == "local"
    volume.remove()


def test_testcontainers(engine: EngineProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("testcontainers")
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.core.container import DockerContainer

    with DockerContainer("busybox").with_command(["sh", "-c", "echo ready; sleep 60"]) as container:
        code, output = container.exec(["echo", "inside"])
        assert (code, output) == (0, b"inside\n")
