"""An engine with `--userns-remap`: root in its containers is nobody on the host, and does not notice."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import BUSYBOX, EngineProcess

_BASE = 3_000_000
_USER = f"sampan-remap-test-{os.getpid()}"  # other runs of the tests may be under way
_FILES = ("/etc/subuid", "/etc/subgid")


@pytest.fixture(scope="module")
def remapped() -> Iterator[EngineProcess]:
    if os.geteuid() != 0 or not os.path.exists(BUSYBOX):
        pytest.skip("needs root and busybox-static")
    root = tempfile.mkdtemp(prefix="sampan-test-", dir="/var/tmp")
    for path in _FILES:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{_USER}:{_BASE}:65536\n")
    engine = EngineProcess(root)
    engine.flags = ["--userns-remap", _USER]
    try:
        engine.start()
        answer = engine.sampan("image", "bootstrap", "busybox")
        assert answer.returncode == 0, answer.stderr + engine.log_tail()
        yield engine
        engine.remove_all_containers()
    finally:
        for path in _FILES:
            lines = _text(path).splitlines(keepends=True)
            Path(path).write_text("".join(line for line in lines if not line.startswith(f"{_USER}:")))
        engine.stop()
        shutil.rmtree(root, ignore_errors=True)


def _text(path: str) -> str:
    """Without what a test run that was killed has left: ranges that overlap are no mapping."""
    lines = Path(path).read_text().splitlines(keepends=True) if os.path.exists(path) else []
    return "".join(line for line in lines if not line.startswith(f"{_USER}:"))


def run(engine: EngineProcess, *arguments: str) -> str:
    done = engine.sampan(*arguments)
    assert done.returncode == 0, done.stderr + engine.log_tail()
    return done.stdout


def test_root_inside_is_nobody_outside(remapped: EngineProcess) -> None:
    name = run(remapped, "run", "-d", "busybox", "sleep", "100").strip()
    try:
        pid = json.loads(run(remapped, "inspect", name))[0]["State"]["Pid"]
        assert os.stat(f"/proc/{pid}/ns").st_uid in (0, _BASE)
        uid = next(line for line in _text(f"/proc/{pid}/status").splitlines() if line.startswith("Uid:"))
        assert uid.split()[1] == str(_BASE)
        owner = "id -u; stat -c %u /bin/busybox /etc/passwd /etc/hosts"
        assert run(remapped, "exec", name, "sh", "-c", owner).split() == ["0"] * 4
    finally:
        run(remapped, "rm", "-f", name)


def test_rights_over_the_network(remapped: EngineProcess) -> None:
    """Root may bind a low port, send raw packets and reach the bridge: the namespace is its own."""
    script = "nc -l -p 80 -e true & ping -c 1 -W 2 127.0.0.1 && ip route | grep -q default && hostname"
    assert run(remapped, "run", "--rm", "--hostname", "inside", "busybox", "sh", "-c", script).endswith("inside\n")
    gateway = "ping -c 1 -W 2 $(ip route | awk '/default/ {print $3}')"
    run(remapped, "run", "--rm", "busybox", "sh", "-c", gateway)


def test_network_administration_needs_its_capability_only(remapped: EngineProcess) -> None:
    run(remapped, "run", "--rm", "--cap-add", "NET_ADMIN", "busybox", "ip", "link", "set", "lo", "mtu", "1400")


def test_copies_keep_the_ids_of_the_container(remapped: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("sent\n")
    name = run(remapped, "run", "-d", "busybox", "sh", "-c", "echo x > /made; chown 12:34 /made; sleep 100").strip()
    try:
        run(remapped, "cp", str(tmp_path / "file"), f"{name}:/sent")
        assert run(remapped, "exec", name, "stat", "-c", "%u", "/sent") == "0\n"
        for _ in ("running", "stopped"):
            run(remapped, "cp", "-a", f"{name}:/made", str(tmp_path / "made"))
            found = (tmp_path / "made").stat()
            assert (found.st_uid, found.st_gid) == (12, 34)
            assert "A /made" in run(remapped, "diff", name)
            run(remapped, "stop", "-t", "0", name)
    finally:
        run(remapped, "rm", "-f", name)


def test_commit_and_build(remapped: EngineProcess, tmp_path: Path) -> None:
    script = "mkdir /d; echo x > /d/f; chown -R 7:8 /d"
    name = run(remapped, "create", "busybox", "sh", "-c", script).strip()
    run(remapped, "start", "-a", name)
    run(remapped, "commit", name, "committed")
    run(remapped, "rm", name)
    (tmp_path / "Dockerfile").write_text(
        "FROM committed\nCOPY --chown=9:9 Dockerfile /c\nRUN id -u && echo y > /r && chown 3 /c && test $(stat -c %u /d/f) = 7\n"
    )
    run(remapped, "build", "-t", "built", str(tmp_path))
    for options in ([], ["--userns", "host"]):
        output = run(remapped, "run", "--rm", *options, "built", "stat", "-c", "%u:%g", "/d/f", "/c", "/r")
        assert output.split() == ["7:8", "3:9", "0:0"]


def test_a_volume_is_shared_with_containers_of_the_host_namespace(remapped: EngineProcess) -> None:
    try:
        run(remapped, "run", "--rm", "-v", "shared:/v", "busybox", "sh", "-c", "echo x > /v/f; chown 5 /v/f")
        output = run(
            remapped, "run", "--rm", "--userns", "host", "-v", "shared:/v", "busybox", "stat", "-c", "%u", "/v/f"
        )
        assert output == "5\n"
    finally:
        run(remapped, "volume", "rm", "shared")


def test_the_way_out(remapped: EngineProcess) -> None:
    identity = ["busybox", "cat", "/proc/self/uid_map"]
    assert run(remapped, "run", "--rm", "--userns", "host", *identity).split()[1] == "0"
    assert run(remapped, "run", "--rm", *identity).split() == ["0", str(_BASE), "65536"]


def test_joining_another_container(remapped: EngineProcess) -> None:
    name = run(remapped, "run", "-d", "--ipc", "shareable", "busybox", "sleep", "100").strip()
    try:
        for option in ("--network", "--pid", "--ipc"):
            script = (
                f"test $(readlink /proc/self/ns/user) && id -u && ps | grep -c {'sleep' if option == '--pid' else 'ps'}"
            )
            output = run(remapped, "run", "--rm", option, f"container:{name}", "busybox", "sh", "-c", script)
            assert output.split()[0] == "0" and int(output.split()[1]) >= 1
        run(remapped, "run", "--rm", "--network", f"container:{name}", "busybox", "ping", "-c", "1", "127.0.0.1")
    finally:
        run(remapped, "rm", "-f", name)


def test_a_terminal(remapped: EngineProcess) -> None:
    assert "/dev/pts/0" in run(remapped, "run", "--rm", "-t", "busybox", "tty")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--privileged"], "privileged mode is incompatible with user namespaces."),
        (["--network", "host"], "cannot share the host's network namespace when user namespaces are enabled"),
        (["--pid", "host"], "cannot share the host PID namespace when user namespaces are enabled"),
    ],
)
def test_what_needs_the_hosts_rights_is_refused(remapped: EngineProcess, options: list[str], message: str) -> None:
    done = remapped.sampan("run", "--rm", *options, "busybox", "true")
    assert done.returncode == 125 and message in done.stderr
    run(remapped, "run", "--rm", "--userns", "host", *options, "busybox", "true")
