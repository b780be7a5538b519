"""What a program started by `docker run` finds inside its container, and what `docker` says when it cannot be started:
each of these was seen to differ from dockerd once."""

from __future__ import annotations

import json
import shutil
import time

import pytest
from tests.conftest import EngineProcess

GROUPS = "grep ^Groups: /proc/self/status"


def run(engine: EngineProcess, *arguments: str) -> str:
    done = engine.docker("run", "--rm", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def refused(engine: EngineProcess, *arguments: str) -> str:
    done = engine.docker(*arguments)
    assert done.returncode, done.stdout
    return done.stderr.splitlines()[0].removeprefix("docker: ").removeprefix("Error response from daemon: ")


@pytest.mark.parametrize(
    ("options", "groups"),
    [
        ([], ["0", "10"]),  # root is in wheel, as the image's group file says
        (["-u", "1000"], ["0"]),
        (["-u", "1000:1001"], ["1001"]),
        (["-u", "65534", "--group-add", "7", "--group-add", "wheel"], ["7", "10", "65534"]),
    ],
)
def test_supplementary_groups_hold_the_primary_one(
    engine: EngineProcess, options: list[str], groups: list[str]
) -> None:
    assert run(engine, *options, "busybox", "sh", "-c", GROUPS).split()[1:] == groups


def test_exec_has_the_groups_of_the_container(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "groups", "busybox", "sleep", "100")
    assert engine.docker("exec", "groups", "sh", "-c", GROUPS).stdout.split()[1:] == ["0", "10"]


def test_an_init_does_not_show_its_interpreter(engine: EngineProcess) -> None:
    shown = run(engine, "--init", "busybox", "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline; cat /proc/1/comm; true")
    assert shown.startswith("/sbin/docker-init -- sh -c tr") and shown.endswith("docker-init")


def test_hosts_has_the_full_and_the_bare_name(engine: EngineProcess) -> None:
    hosts = run(engine, "--hostname", "a.b", "--domainname", "dom.x", "busybox", "cat", "/etc/hosts")
    assert hosts.splitlines()[-1].split()[1:] == ["a.b.dom.x", "a"]


def test_a_volume_on_etc_does_not_hide_hosts(engine: EngineProcess) -> None:
    try:
        assert "localhost" in run(engine, "-v", "etcvolume:/etc:nocopy", "busybox", "cat", "/etc/hosts")
    finally:
        engine.docker("volume", "rm", "etcvolume")


def test_a_tmpfs_where_the_image_has_nothing_is_for_all(engine: EngineProcess) -> None:
    assert run(engine, "--tmpfs", "/fresh", "-u", "1000", "busybox", "stat", "-c", "%a", "/fresh") == "1777"


def test_stop_timeout_zero_is_not_the_default(engine: EngineProcess) -> None:
    engine.docker("create", "--name", "zero", "--stop-timeout", "0", "--init=false", "busybox")
    found = json.loads(engine.docker("inspect", "zero").stdout)[0]
    assert (found["Config"]["StopTimeout"], found["HostConfig"]["Init"], found["Config"]["Volumes"]) == (0, False, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "-w", "/etc/passwd", "busybox"], "Cannot mkdir: /etc/passwd is not a directory"),
        (["run", "--group-add", "x", "busybox"], "Unable to find group x: no matching entries in group file"),
        (["run", "--tmpfs", "/x:bogus", "busybox"], 'invalid tmpfs option "bogus"'),
        (["run", "--security-opt", "bogus=1", "busybox"], 'invalid --security-opt 2: "bogus=1"'),
        (
            ["run", "--log-opt", "max-size=x", "busybox"],
            "failed to create task for container: failed to initialize logging driver: invalid size: 'x'",
        ),
        (
            ["run", "--log-opt", "max-file=0", "busybox"],
            "failed to create task for container: failed to initialize logging driver: max-file cannot be less than 1",
        ),
        (["kill", "nosuch"], "cannot kill container: nosuch: No such container: nosuch"),
        (
            ["volume", "create", "--driver", "x", "v1"],
            'create v1: error looking up volume plugin x: plugin "x" not found',
        ),
    ],
)
def test_refusals_in_dockers_words(engine: EngineProcess, arguments: list[str], message: str) -> None:
    assert refused(engine, *arguments) == message


def test_exec_in_a_missing_directory(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "cwd", "busybox", "sleep", "100")
    done = engine.docker("exec", "-w", "/nosuch", "cwd", "pwd")
    text = 'chdir to cwd ("/nosuch") set in config.json failed: no such file or directory'
    assert text in done.stdout + done.stderr and done.returncode == 126


def test_bad_signals(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "signals", "busybox", "sleep", "100")
    assert refused(engine, "stop", "-s", "x", "signals") == "cannot stop container: signals: invalid signal: x"
    engine.docker("kill", "signals")
    assert engine.docker("stop", "-s", "x", "signals").returncode == 0  # it is stopped already


def test_links_of_the_default_network(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "target", "busybox", "sleep", "100")
    engine.docker("run", "-d", "--name", "owner", "--link", "target:db", "busybox", "sleep", "100")
    links = engine.docker("inspect", "-f", "{{json .HostConfig.Links}}", "owner").stdout
    assert json.loads(links) == ["/target:/owner/db"]
    engine.docker("kill", "target")
    text = refused(engine, "run", "--name", "late", "--link", "target:db", "busybox")
    assert text == "Cannot link to a non running container: /target AS /late/db"


def test_a_link_into_another_network_is_refused(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "apart", "--network", "none", "busybox", "sleep", "100")
    text = refused(engine, "run", "--link", "apart:x", "busybox")
    assert text == "Cannot link to /apart, as it does not belong to the default network"


def test_the_network_of_an_ended_container_is_known(engine: EngineProcess) -> None:
    """Compose compares it with the network that it expects, and makes the container anew if they differ."""
    engine.docker("run", "--name", "ended", "busybox", "true")
    known = engine.docker("inspect", "-f", "{{.NetworkSettings.Networks.bridge.NetworkID}}", "ended").stdout.strip()
    assert known == engine.docker("network", "inspect", "-f", "{{.Id}}", "bridge").stdout.strip()


def test_networks_of_the_host_cannot_be_connected(engine: EngineProcess) -> None:
    engine.docker("create", "--name", "joins", "busybox")
    host = "container cannot be disconnected from host network or connected to host network"
    assert refused(engine, "network", "connect", "host", "joins") == host
    none = "container cannot be connected to multiple networks with one of the networks in private (none) mode"
    assert refused(engine, "network", "connect", "none", "joins") == none


def test_ports_in_the_host_network_are_warned_of(engine: EngineProcess) -> None:
    done = engine.docker("run", "--rm", "--network", "host", "-p", "80:80", "busybox", "true")
    assert "Published ports are discarded when using host network mode" in done.stderr and done.returncode == 0


def test_a_broken_name_pattern_matches_nothing(engine: EngineProcess) -> None:
    done = engine.docker("ps", "-a", "-q", "--filter", "name=[")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_reservation_may_be_updated_above_the_limit(engine: EngineProcess) -> None:
    engine.docker("run", "-d", "--name", "reserved", "-m", "64m", "busybox", "sleep", "100")
    done = engine.docker("update", "--memory-reservation", "1g", "reserved")
    assert done.returncode == 0, done.stderr


def test_a_start_period_does_not_slow_the_first_check(engine: EngineProcess) -> None:
    check = ["--health-cmd", "true", "--health-interval", "100ms", "--health-start-period", "60s"]
    engine.docker("run", "-d", "--name", "checked", *check, "busybox", "sleep", "100")
    for _ in range(40):
        status = engine.docker("inspect", "-f", "{{.State.Health.Status}}", "checked").stdout.strip()
        if status == "healthy":
            return
    pytest.fail(f"still {status}")


def test_events_of_names(engine: EngineProcess) -> None:
    """A tag tells the name that came; an untag, a save and a load the image alone."""
    before = f"{time.time():.3f}"
    engine.docker("create", "--name", "source", "busybox")
    image = engine.docker("commit", "source", "named:1").stdout.strip()
    engine.docker("tag", "named:1", "named:2")
    engine.docker("rmi", "named:1", "named:2")
    shown = ["--since", before, "--until", f"{time.time():.3f}", "--filter", "type=image"]
    listed = engine.docker("events", *shown, "--format", "{{.Action}} {{.Actor.Attributes.name}}").stdout.splitlines()
    assert listed == ["tag named:1", "tag named:2", f"untag {image}", f"untag {image}", f"delete {image}"]


def test_event_of_top(engine: EngineProcess) -> None:
    before = f"{time.time():.3f}"
    engine.docker("run", "-d", "--name", "watched", "busybox", "sleep", "100")
    engine.docker("top", "watched")
    shown = [
        "--since",
        before,
        "--until",
        f"{time.time():.3f}",
        "--filter",
        "event=top",
        "--filter",
        "container=watched",
    ]
    assert engine.docker("events", *shown, "--format", "{{.Action}}").stdout == "top\n"


def test_link_local_addresses(engine: EngineProcess) -> None:
    engine.docker("network", "create", "linklocal")
    try:
        options = ["--network", "linklocal", "--link-local-ip", "169.254.8.8"]
        assert "169.254.8.8/16" in run(engine, *options, "busybox", "ip", "-o", "addr", "show", "eth0")
    finally:
        engine.docker("network", "rm", "linklocal")


def test_a_container_drives_the_engine_through_its_socket(engine: EngineProcess) -> None:
    """As testcontainers' Ryuk: the socket is bound into a container, which lists and removes others."""
    client = shutil.which("docker")
    if client is None:
        pytest.skip("needs the docker CLI")
    mounts = ["-v", f"{client}:/docker:ro", "-v", f"{engine.socket}:/var/run/docker.sock"]
    engine.docker("run", "-d", "--name", "victim", "--label", "reap=1", "busybox", "sleep", "100")
    command = "/docker rm -f $(/docker ps -q --filter label=reap=1) && /docker ps -q --filter label=reap=1"
    done = engine.docker("run", "--rm", *mounts, "busybox", "sh", "-c", command)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 1
