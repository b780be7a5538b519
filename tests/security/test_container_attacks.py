"""Attacks by a process in a default container (root inside, default capabilities and seccomp profile) and by its image."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import re
import struct
import sys
import tarfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import EngineProcess

Attack = Callable[..., str]


@pytest.fixture
def attack(engine: EngineProcess) -> Attack:
    """Run a shell script in a container; gives all its output."""

    def run(script: str, *, host: dict[str, Any] | None = None, **config: Any) -> str:
        name = f"attack-{uuid.uuid4().hex[:8]}"
        body = {
            "Image": "busybox",
            "Cmd": ["sh", "-c", script],
            "Tty": True,
            **config,
            "HostConfig": {"NetworkMode": "none", **(host or {})},
        }
        status, made = engine.api("POST", f"/containers/create?name={name}", body)
        assert status == 201, made
        status, answer = engine.api("POST", f"/containers/{name}/start")
        if status != 204:
            return str(answer)
        engine.api("POST", f"/containers/{name}/wait")
        return str(engine.api("GET", f"/containers/{name}/logs?stdout=1&stderr=1")[1].decode(errors="replace"))

    return run


@pytest.fixture
def running(engine: EngineProcess) -> Iterator[str]:
    name = f"target-{uuid.uuid4().hex[:8]}"
    body = {"Image": "busybox", "Cmd": ["sleep", "600"], "HostConfig": {"NetworkMode": "none", "Init": True}}
    engine.api("POST", f"/containers/create?name={name}", body)
    assert engine.api("POST", f"/containers/{name}/start")[0] == 204
    yield name
    engine.api("DELETE", f"/containers/{name}?force=1")


def _image(engine: EngineProcess, files: dict[str, tuple[bytes, Any]], entrypoint: list[str] | None = None) -> str:
    """An image of busybox and `files`: name → (tar type, content, link target or device numbers)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        busybox = tarfile.TarInfo("bin/busybox")
        data = Path("/bin/busybox").read_bytes()
        busybox.size, busybox.mode = len(data), 0o755
        archive.addfile(busybox, io.BytesIO(data))
        for name in ("sh", "echo", "id", "cat", "sleep", "ls"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        for name, (kind, value) in files.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = kind, 0o755
            if kind == tarfile.SYMTYPE:
                entry.linkname = value
            elif kind == tarfile.CHRTYPE:
                entry.devmajor, entry.devminor = value
            content = value if kind == tarfile.REGTYPE else b""
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    name = f"hostile-{uuid.uuid4().hex[:8]}"
    changes = [f'ENTRYPOINT ["{entrypoint[0]}"]'] if entrypoint else []
    query = "&".join([f"fromSrc=-&repo={name}", *(f"changes={change}".replace(" ", "%20") for change in changes)])
    status, answer = engine.api(
        "POST", f"/images/create?{query}", buffer.getvalue(), {"Content-Type": "application/x-tar"}
    )
    assert status == 200 and b"error" not in (answer if isinstance(answer, bytes) else b""), answer
    return name


# --- what reaches into the container: descriptors, directory, interpreter

_LIST = ["ls", "-l", "/proc/self/fd"]


def _leaks(listing: str) -> list[str]:
    """Descriptors that lead anywhere but to the standard streams; ls has one of its own on /proc."""
    targets = [line.partition(" -> ")[2].strip() for line in listing.splitlines() if " -> " in line]
    return [one for one in targets if not one.startswith(("pipe:", "/dev/null", "/dev/pts/", "/proc/"))]


@pytest.mark.parametrize("init", [False, True])
def test_no_descriptor_leaks_into_init(attack: Attack, init: bool) -> None:
    listing = attack("ls -l /proc/self/fd", host={"Init": init})
    assert "0 ->" in listing and _leaks(listing) == []


def test_no_descriptor_leaks_into_exec_or_healthcheck(engine: EngineProcess) -> None:
    body = {"Image": "busybox", "Cmd": ["sleep", "60"], "HostConfig": {"NetworkMode": "none"},
            "Healthcheck": {"Test": ["CMD", *_LIST], "Interval": 100_000_000}}  # fmt: skip
    engine.api("POST", "/containers/create?name=leaky", body)
    assert engine.api("POST", "/containers/leaky/start")[0] == 204
    done = engine.sampan("exec", "leaky", *_LIST)
    assert "0 ->" in done.stdout and _leaks(done.stdout) == []
    for _ in range(100):
        if log := (engine.api("GET", "/containers/leaky/json")[1]["State"].get("Health") or {}).get("Log"):
            assert "0 ->" in log[0]["Output"] and _leaks(log[0]["Output"]) == []
            return
        time.sleep(0.05)
    raise AssertionError("the health check never ran")


def test_own_init_shows_nothing_even_to_a_tracer(attack: Attack) -> None:
    listing = attack("ls -l /proc/1/fd; cat /proc/1/environ", host={"Init": True, "CapAdd": ["SYS_PTRACE"]})
    assert _leaks(listing) == []
    assert "denied" in attack("cat /proc/1/environ; ls /proc/1/root", host={"Init": True})


@pytest.mark.parametrize("number", range(3, 12))
def test_exec_directory_through_a_descriptor(engine: EngineProcess, running: str, number: int) -> None:
    """CVE-2024-21626, by `docker exec -w`."""
    done = engine.sampan("exec", "-w", f"/proc/self/fd/{number}", running, "echo", "inside")
    assert done.returncode != 0 and "inside" not in done.stdout


def _overwriting_loader() -> bytes:
    """An ELF file for /lib64/ld-linux-x86-64.so.2 that opens /proc/self/exe for writing and exits with errno."""
    code = (
        b"\xb8\x02\x00\x00\x00" b"\x48\x8d\x3d\x14\x00\x00\x00" b"\xbe\x01\x00\x00\x00" b"\x31\xd2\x0f\x05"
        b"\xf7\xd8\x89\xc7" b"\xb8\x3c\x00\x00\x00" b"\x0f\x05" b"/proc/self/exe\0"
    )  # fmt: skip
    base, start = 0x10000000, 64 + 56
    size = start + len(code)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, base + start, 64, 0, 0, 64, 56, 1, 64, 0, 0
    )  # fmt: skip
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000) + code


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the loader is written for x86-64")
def test_an_image_cannot_write_to_the_interpreter(engine: EngineProcess) -> None:
    """CVE-2019-5736: the entrypoint makes the kernel run what we are, with a loader of the image's."""
    interpreter = Path(os.path.realpath(sys.executable))
    before = hashlib.sha256(interpreter.read_bytes()).digest()
    loader = _overwriting_loader()
    files = {
        "lib64/ld-linux-x86-64.so.2": (tarfile.REGTYPE, loader),
        "entry": (tarfile.REGTYPE, b"#!/proc/self/exe\n"),
    }
    image = _image(engine, files)
    for command in (["/proc/self/exe"], ["/entry"]):
        _, made = engine.api("POST", "/containers/create", {"Image": image, "Cmd": command, "NetworkDisabled": True})
        assert engine.api("POST", f"/containers/{made['Id']}/start")[0] == 204
        _, ended = engine.api("POST", f"/containers/{made['Id']}/wait")
        # a script may also loop; what must not be is 0, or a descriptor's number
        assert ended["StatusCode"] in (1, 26, 30, 127, 126, 255), ended
    assert hashlib.sha256(interpreter.read_bytes()).digest() == before


def test_processes_of_ours_cannot_be_traced_from_the_hosts_pid_namespace(engine: EngineProcess, attack: Attack) -> None:
    shown = attack(
        f"ls /proc/{engine.pid}/fd; cat /proc/{engine.pid}/environ; "
        "for d in /proc/[0-9]*; do grep -q sampan $d/comm && cat $d/environ $d/mem && echo leaked; done",
        host={"PidMode": "host"},
    )
    assert "leaked" not in shown and shown.count("ermission denied") >= 2


# --- what reaches out of the container

REFUSED = {
    "sysrq": "echo h > /proc/sysrq-trigger",
    "core pattern": "echo x > /proc/sys/kernel/core_pattern",
    "module path": "echo x > /proc/sys/kernel/modprobe",
    "kcore": "head -c 1 /proc/kcore | grep -q .",
    "keys": "grep -q . /proc/keys",
    "timer list": "grep -q . /proc/timer_list",
    "uevent helper": "echo x > /sys/kernel/uevent_helper",
    "release agent": "for f in /sys/fs/cgroup/*/release_agent; do echo x > $f && exit 0; done; exit 1",
    "notify on release": "for f in /sys/fs/cgroup/*/notify_on_release; do echo 1 > $f && exit 0; done; exit 1",
    "own cgroup": "mkdir /sys/fs/cgroup/x || mkdir /sys/fs/cgroup/memory/x",
    "mount": "mount -t tmpfs t /mnt",
    "mount proc": "mkdir /p; mount -t proc p /p",
    "remount": "mount -o remount,rw /sys",
    "unmount mask": "umount /proc/kcore",
    "new user namespace": "unshare -U true",
    "new mount namespace": "unshare -m true",
    "chroot by pid 1": "nsenter -t 1 -m -p true",
    "disk": "mknod /disk b 8 0 && head -c 1 /disk | grep -q . || { mknod /vda b 254 0; head -c 1 /vda | grep -q .; }",
    "memory device": "mknod /mem c 1 1 && head -c 1 /mem",
    "kmsg": "mknod /kmsg c 1 11 && head -c 1 /kmsg",
    "load a module": "insmod /bin/busybox",
    "reboot": "reboot -f",
    "set the clock": "date -s 2001-01-01; [ $(date +%Y) = 2001 ]",
    "hostname": "hostname x",
    "swap": "swapoff -a 2>&1 | grep -q x; swapon /bin/busybox",
}


def test_ways_out_are_refused(attack: Attack) -> None:
    attempts = "; ".join(f"( {script} ) >/dev/null 2>&1 && echo 'WORKED: {name}'" for name, script in REFUSED.items())
    assert "WORKED" not in attack(attempts + "; echo done")


def test_no_socket_of_ours_is_abstract_or_reachable(engine: EngineProcess, attack: Attack, running: str) -> None:
    """CVE-2020-15257, with the host's network namespace."""
    shown = attack("cat /proc/net/unix", host={"NetworkMode": "host"})
    assert "@" not in "".join(line for line in shown.splitlines() if "sampan" in line or "shim" in line)
    tasks = Path(engine.exec_root, "tasks")
    assert all(one.stat().st_mode & 0o077 == 0 for one in tasks.iterdir())
    assert Path(engine.socket).stat().st_mode & 0o007 == 0


def test_networks_of_others_are_out_of_reach(engine: EngineProcess) -> None:
    for name in ("walled-a", "walled-b"):
        engine.api("POST", "/networks/create", {"Name": name})
    body = {"Image": "busybox", "Cmd": ["sh", "-c", "echo secret >/s; nc -ll -p 80 -e cat /s"],
            "HostConfig": {"NetworkMode": "walled-a"}}  # fmt: skip
    engine.api("POST", "/containers/create?name=server", body)
    engine.api("POST", "/containers/server/start")
    address = engine.api("GET", "/containers/server/json")[1]["NetworkSettings"]["Networks"]["walled-a"]["IPAddress"]
    try:
        near = ["--network", "walled-a", "busybox", "sh", "-c"]
        wait = f"for i in 1 2 3 4 5 6 7 8 9; do nc -w 1 {address} 80 </dev/null && exit; sleep 0.2; done"
        assert "secret" in engine.sampan("run", "--rm", *near, wait).stdout
        far = engine.sampan("run", "--rm", "--network", "walled-b", "busybox", "nc", "-w", "1", address, "80")
        assert far.returncode != 0 and far.stdout == ""
    finally:
        engine.remove_all_containers()
        for name in ("walled-a", "walled-b"):
            engine.api("DELETE", f"/networks/{name}")


def test_services_on_the_hosts_loopback_are_out_of_reach(engine: EngineProcess, attack: Attack) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        shown = attack(f"nc -w 1 127.0.0.1 {port} && echo REACHED; ip route; "
                       f"gw=$(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'); nc -w 1 $gw {port} && echo REACHED",
                       host={"NetworkMode": "bridge"})  # fmt: skip
    assert "REACHED" not in shown


# --- files of an image that the engine has to do with

FILES: dict[str, tuple[bytes, Any]] = {
    "fifo": (tarfile.FIFOTYPE, None),
    "zeros": (tarfile.CHRTYPE, (1, 5)),
    "watchdog": (tarfile.CHRTYPE, (10, 130)),
    "directory": (tarfile.DIRTYPE, None),
    "link to the host": (tarfile.SYMTYPE, "/proc/1/root/etc/passwd"),
    "absurd numbers": (tarfile.REGTYPE, b"evil:x:" + b"9" * 5000 + b":1::/:\nevil:x:99999999999:1::/:\nneg:x:-1:-1:::\n"),
    "no lines": (tarfile.REGTYPE, b"\xff\0:" * 100_000),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_hostile_passwd_and_group(engine: EngineProcess, kind: str) -> None:
    """Each start, exec and `cp -a` ends soon, and with a word of ours."""
    image = _image(engine, {"etc/passwd": FILES[kind], "etc/group": FILES[kind]})
    assert engine.sampan("run", "--rm", "--network", "none", image, "echo", "ok", timeout=20).stdout == "ok\n"
    for user in ("evil", "neg", "1:evil", "evil:1"):
        done = engine.sampan("run", "--rm", "--network", "none", "-u", user, image, "echo", "ok", timeout=20)
        assert done.returncode == 125 and ("unable to find" in done.stderr or "must be in range" in done.stderr)
    name = f"hostile-{uuid.uuid4().hex[:8]}"
    engine.sampan("run", "-d", "--name", name, "--network", "none", "-u", "7", image, "sleep", "60")
    refused = engine.sampan("exec", "-u", "evil", name, "id", timeout=20)
    assert refused.returncode in (125, 126) and re.search(
        "unable to find|must be in range", refused.stdout + refused.stderr
    )
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("copied"))
    for query in ("path=/&copyUIDGID=1", "path=/"):
        status, _ = engine.api("PUT", f"/containers/{name}/archive?{query}", archive.getvalue())
        assert status == 200
    engine.api("DELETE", f"/images/{image}?force=1")


PLACES = ["proc", "sys", "dev", "etc/resolv.conf", "etc/hosts", "etc/hostname", "data", "data/below"]


@pytest.mark.parametrize("place", PLACES)
def test_mount_points_that_lead_out_of_the_image(engine: EngineProcess, tmp_path: Path, place: str) -> None:
    """CVE-2021-30465 and its kin: a start either fails or stays inside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    climb = "../" * 12 + str(outside).lstrip("/") + "/made"
    parent = place.partition("/")[0] if place == "data/below" else place
    image = _image(engine, {parent: (tarfile.SYMTYPE, climb)})
    engine.sampan(
        "run", "--rm", "--network", "none", "-v", "/" + place, "-v", f"{tmp_path}:/data/below/bind", image, "echo"
    )
    engine.sampan("run", "--rm", "-t", "--network", "none", "--tmpfs", "/data/below", image, "echo")
    assert list(outside.iterdir()) == []
    engine.api("DELETE", f"/images/{image}?force=1")


def test_a_volume_that_is_filled_does_not_look_at_the_host(engine: EngineProcess) -> None:
    image = _image(engine, {"data": (tarfile.SYMTYPE, "/etc")})
    done = engine.sampan("run", "--rm", "--network", "none", "-v", "/data/ssl", image, "ls", "/data/ssl")
    assert done.returncode == 0 and done.stdout == ""
    engine.api("DELETE", f"/images/{image}?force=1")


def test_cp_against_a_racing_container(engine: EngineProcess, running: str) -> None:
    """CVE-2018-15664: the directory of `docker cp` is swapped for a link to / while it is resolved."""
    mark = f"sampan-mark-{uuid.uuid4().hex[:8]}"
    swap = (
        "mkdir /d /d/etc; echo mine > /d/etc/hostname; ln -s / /l; "
        "while true; do mv -T /d /t; mv -T /l /d; mv -T /d /l; mv -T /t /d; done"
    )
    engine.sampan("exec", "-d", running, "sh", "-c", swap)
    host = Path("/etc/hostname").read_text()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(mark))
    for _ in range(60):
        try:
            _, got = engine.api("GET", f"/containers/{running}/archive?path=/d/etc/hostname")
        except http.client.HTTPException:
            continue  # the file vanished after the answer's head had gone out: a torn stream says so
        assert host.strip().encode() not in (got if isinstance(got, bytes) else b"") or host.strip() == "mine"
        engine.api("PUT", f"/containers/{running}/archive?path=/d/etc", archive.getvalue())
    assert not Path("/etc", mark).exists()


def test_cp_opens_no_device(engine: EngineProcess, running: str) -> None:
    """A file that becomes a device between look and open is not read: no device opens in the worker at all."""
    race = "mknod /n c 1 5; echo x >/r; cp -a /r /f; while true; do mv -f /n /f; mknod /n c 1 5; cp /r /q; mv -f /q /f; done"
    engine.sampan("exec", "-d", running, "sh", "-c", race)
    for _ in range(60):
        try:
            _, got = engine.api("GET", f"/containers/{running}/archive?path=/f")
        except http.client.HTTPException:
            continue
        if not isinstance(got, bytes):
            continue
        with tarfile.open(fileobj=io.BytesIO(got)) as tar:
            for entry in tar:
                content = tar.extractfile(entry)
                assert content is None or content.read(2) in (b"x\n", b"")


# --- neighbours: what one container uses up costs the others nothing

SMALL_LOG = {"max-size": "1m", "max-file": "2"}
GREEDY = {
    "fork bomb": ("f() { f | f & }; f; sleep 1", {"PidsLimit": 64}),
    "memory hog": ("head -c 200m /dev/zero | tail", {"Memory": 32 << 20, "MemorySwap": 32 << 20}),
    "descriptors": ("i=3; while [ $i -lt 2000 ]; do eval \"exec $i</dev/null\" || break; i=$((i+1)); done; sleep 1", {}),
    "log flood": ("yes & p=$!; sleep 1; kill -9 $p", {"LogConfig": {"Type": "json-file", "Config": SMALL_LOG}}),
    "files": ("i=0; while [ $i -lt 5000 ]; do : > /tmp/$i; i=$((i+1)); done", {"Tmpfs": {"/tmp": "nr_inodes=1000"}}),
}  # fmt: skip


@pytest.mark.parametrize("kind", GREEDY)
def test_greed_hurts_no_neighbour(engine: EngineProcess, running: str, kind: str) -> None:
    script, host = GREEDY[kind]
    body = {"Image": "busybox", "Cmd": ["sh", "-c", script], "HostConfig": {"NetworkMode": "none", **host}}
    _, made = engine.api("POST", "/containers/create?name=greedy", body)
    assert engine.api("POST", "/containers/greedy/start")[0] == 204
    ended = threading.Event()
    threading.Thread(target=lambda: (engine.api("POST", "/containers/greedy/wait"), ended.set()), daemon=True).start()
    while not ended.wait(0.1):
        assert engine.sampan("exec", running, "echo", "alive").stdout == "alive\n"
    log = Path(engine.data_root, "containers", made["Id"])
    assert sum(one.stat().st_size for one in log.glob("*.log*")) < 8 << 20
    assert engine.sampan("exec", running, "echo", "alive").stdout == "alive\n"


def test_secure_by_default(attack: Attack) -> None:
    """The walls that the others lean on are there without a flag."""
    shown = attack("grep -E 'Seccomp:|CapEff|NoNewPrivs' /proc/self/status; cat /proc/self/uid_map | wc -l")
    assert "Seccomp:\t2" in shown and "CapEff:\t00000000a80425fb" in shown
