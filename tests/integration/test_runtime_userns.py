"""Containers in a user namespace of their own: overlays and binds with mapped ids, on a forked launcher as in the engine."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.errors import SampanError
from sampan.linux import pidfd
from sampan.linux.cgroup import Cgroup, open_cgroup
from sampan.runtime.launch.container import Stdio, launch
from sampan.runtime.oci_cli import spec

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/bin/busybox").exists(), reason="needs root and busybox-static"
)
_BASE = 1_100_000
_MAPS = [{"containerID": 0, "hostID": _BASE, "size": 65536}]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Two layers and a place for a writable one."""
    binaries = tmp_path / "base/bin"
    binaries.mkdir(parents=True)
    shutil.copy("/bin/busybox", binaries / "busybox")
    for name in ("sh", "cat", "id", "touch", "chown", "rm", "stat", "mkdir", "mv", "echo", "chmod", "grep", "setpriv"):
        (binaries / name).symlink_to("busybox")
    for name in ("base/etc", "base/root", "base/proc", "base/sys", "base/dev", "top/home/bob", "own/upper", "own/work"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "base/etc/conf").write_text("old\n")
    (tmp_path / "top/home/bob/file").write_text("bob's\n")
    os.chown(tmp_path / "top/home/bob", 1000, 1000)
    os.chown(tmp_path / "top/home/bob/file", 1000, 1000)
    tmp_path.chmod(0o700)  # nobody but the host's root may pass here
    return tmp_path


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    group = open_cgroup(f"/sampan-test-{uuid.uuid4().hex[:8]}")
    group.create()
    yield group
    group.kill_all()
    group.remove()


def overlay(image: Path, **changes: Any) -> dict[str, Any]:
    lower = [str(image / "top"), str(image / "base")]
    own = {"upper": str(image / "own/upper"), "work": str(image / "own/work")}
    return {"kind": "overlay", "lower": lower, "readonly": False, "volatile": False, **own, **changes}


def configuration(*command: str, mounts: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    config = spec.default_config()
    config["process"] |= {"args": list(command), "terminal": False}
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"] |= {"uidMappings": _MAPS, "gidMappings": _MAPS}
    config["root"]["readonly"] = False
    for capabilities in config["process"]["capabilities"].values():
        capabilities += ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID"]
    config["mounts"] += mounts or []
    return config


def run(config: dict[str, Any], rootfs: dict[str, Any], cgroup: Cgroup | None = None) -> tuple[int, str]:
    """(exit code, output) of the container, launched from a process of its own as the shim does."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            launched = launch(config, rootfs=rootfs, stdio=Stdio(-1, writing, writing), cgroup=cgroup)
            code = pidfd.reap(launched.pidfd).exit_code
        except SampanError as error:
            os.write(writing, error.message.encode())
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as stream:
        output = stream.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), output


def test_files_belong_to_whom_the_image_says(image: Path) -> None:
    code, output = run(configuration("sh", "-c", "stat -c %u:%g /etc/conf /home/bob/file; id -u"), overlay(image))
    assert (code, output.split()) == (0, ["0:0", "1000:1000", "0"])


def test_the_map_is_in_force(image: Path) -> None:
    code, output = run(configuration("cat", "/proc/self/uid_map"), overlay(image))
    assert (code, output.split()) == (0, ["0", str(_BASE), "65536"])


def test_changes_lie_on_disk_with_the_ids_of_the_image(image: Path) -> None:
    script = (
        "echo new > /etc/conf; touch /a; chown 7:8 /a; rm /home/bob/file; mkdir /d; mv /bin/touch /d; chmod 4755 /a"
    )
    code, output = run(configuration("sh", "-c", script), overlay(image))
    assert (code, output) == (0, "")
    upper = image / "own/upper"
    assert (upper / "etc/conf").read_text() == "new\n"
    assert (upper / "etc/conf").stat().st_uid == 0
    assert ((upper / "a").stat().st_uid, (upper / "a").stat().st_gid) == (7, 8)
    gone = (upper / "home/bob/file").stat()
    assert gone.st_rdev == 0 and (gone.st_mode & 0o170000) == 0o020000, "a whiteout as any engine reads it"
    assert (upper / "home/bob").stat().st_uid == 1000


def test_root_inside_is_nobody_outside(image: Path) -> None:
    (image / "outside").mkdir()
    (image / "outside/secret").write_text("host's")
    (image / "outside/secret").chmod(0o600)
    bind = {"destination": "/mnt", "type": "bind", "source": str(image / "outside"), "options": ["rbind", "rprivate"]}
    code, output = run(configuration("sh", "-c", "cat /mnt/secret; echo x > /mnt/y", mounts=[bind]), overlay(image))
    assert code != 0
    assert output.count("ermission denied") == 2, output
    assert not (image / "outside/y").exists()


def test_an_idmapped_bind_is_the_container_roots(image: Path) -> None:
    (image / "volume").mkdir(mode=0o700)
    bind = {"destination": "/vol", "type": "bind", "source": str(image / "volume"), "options": ["rbind", "idmap"]}
    code, output = run(configuration("sh", "-c", "echo x > /vol/y; chown 5 /vol/y", mounts=[bind]), overlay(image))
    assert (code, output) == (0, "")
    assert (image / "volume/y").stat().st_uid == 5


def test_own_cgroup_with_a_limit_of_one_process(image: Path, cgroup: Cgroup) -> None:
    cgroup.apply({"pids": {"limit": 1}})
    code, output = run(configuration("cat", "/proc/self/cgroup"), overlay(image), cgroup)
    assert code == 0, output
    assert "/" in output and cgroup.path not in output, "a cgroup namespace of its own"


def test_all_namespaces_belong_to_the_user_namespace(image: Path) -> None:
    """Root has its rights over them: a hostname, a sysctl, a raw socket."""
    config = configuration("sh", "-c", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/hostname")
    config["hostname"] = "inside"
    config["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "0"}
    assert run(config, overlay(image)) == (0, "0\ninside\n")


def test_a_readonly_overlay_and_a_single_layer(image: Path) -> None:
    bare = {"upper": None, "work": None}
    config = configuration("sh", "-c", "stat -c %u /etc/conf; echo x > /etc/conf")
    for rootfs in (overlay(image, **bare), overlay(image, lower=[str(image / "base")], **bare)):
        code, output = run(config, rootfs)
        assert code == 1 and output.startswith("0\n") and "ead-only" in output, output


def test_a_joined_user_namespace(image: Path) -> None:
    from sampan.linux import user_namespace

    descriptor = user_namespace.create(_MAPS, _MAPS)[0]
    try:
        config = configuration("cat", "/proc/self/uid_map")
        config["linux"]["namespaces"][-1]["path"] = f"/proc/{os.getpid()}/fd/{descriptor}"
        code, output = run(config, overlay(image))
    finally:
        os.close(descriptor)
    assert (code, output.split()) == (0, ["0", str(_BASE), "65536"])


def test_a_missing_bind_source_is_named(image: Path) -> None:
    bind = {"destination": "/mnt", "type": "bind", "source": "/nowhere/at/all", "options": ["rbind"]}
    code, output = run(configuration("true", mounts=[bind]), overlay(image))
    assert code == 99
    assert 'error mounting "/nowhere/at/all" to rootfs at "/mnt"' in output
