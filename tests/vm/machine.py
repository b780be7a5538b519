"""A virtual machine with Debian's kernel and cgroup v2 alone, emulated in software (no KVM is needed).

    base      Debian with Python, made once by mmdebstrap and kept below .sampan-dev/vm
    kernel    Debian's cloud kernel, unpacked from its package, never installed
    project   src, tests and the wheels of this interpreter, put on a disk of its own for each run

The guest runs pytest on what it is told to and says how it went on the serial console.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from sampan.linux.netlink import netns
from tests import conftest

PROJECT = Path(__file__).parents[2]
HERE = Path(__file__).parent
CACHE = PROJECT / ".sampan-dev/vm"
_KERNEL_PACKAGE = "linux-image-cloud-amd64"
_BASE_PACKAGES = "python3,libseccomp2,busybox-static,iproute2,iputils-ping,kmod,ca-certificates"
_BASE_SIZE, _PROJECT_SIZE = "1500M", "400M"
_BOOT_MODULES = ("virtio_pci", "virtio_blk")
_NOT_NEEDED = shutil.ignore_patterns(
    "__pycache__", "mypy*", "*__mypyc*", "pip*", "setuptools*", "ruff*", "grimp*", "hypothesis-*", "pkg_resources"
)
_VERDICT = re.compile(r"^SAMPAN-VM exit=(\d+)", re.MULTILINE)


class Unavailable(Exception):
    """Something that the machine is made of cannot be had here."""


class Machine:
    """One boot at a time; the disks of a run are thrown away."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        for tool, package in (
            ("qemu-system-x86_64", "qemu-system-x86"),
            ("mke2fs", "e2fsprogs"),
            ("busybox", "busybox-static"),
        ):
            if shutil.which(tool) is None:
                raise Unavailable(f"{tool} is not installed (Debian package {package})")
        CACHE.mkdir(parents=True, exist_ok=True)
        self._kernel = _unpacked_kernel()
        self._base = _base_disk()

    def run(self, arguments: Sequence[str], *, timeout_s: float) -> tuple[int, str]:
        """(exit code of pytest in the guest, everything that its console showed).

        Raises:
            subprocess.TimeoutExpired: the guest did not come to an end.
            AssertionError: it ended without a verdict.
        """
        initramfs = self._initramfs()
        project = self._project_disk(arguments)
        console = self._scratch / "console"
        command = [
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1536",
            "-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", f"file:{console}",
            "-kernel", str(next((self._kernel / "boot").glob("vmlinuz-*"))), "-initrd", str(initramfs),
            "-append", "console=ttyS0 quiet panic=-1 cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1",
            "-drive", f"file={self._base},format=raw,if=virtio,snapshot=on",
            "-drive", f"file={project},format=raw,if=virtio",
        ]  # fmt: skip
        try:
            subprocess.run(command, check=True, timeout=timeout_s, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"the guest does not come to an end:\n{_tail(console)}") from error
        output = console.read_text(errors="replace").replace("\r\n", "\n")
        verdict = _VERDICT.search(output)
        assert verdict is not None, f"the guest ended without a verdict:\n{_tail(console)}"
        return int(verdict[1]), output

    def _initramfs(self) -> Path:
        """busybox and what it takes to reach the first disk."""
        root = self._scratch / "initramfs"
        for name in ("bin", "proc", "sys", "dev", "root", "modules"):
            (root / name).mkdir(parents=True)
        shutil.copy(str(shutil.which("busybox")), root / "bin/busybox")
        shutil.copy(HERE / "initramfs_init", root / "init")
        (root / "init").chmod(0o755)  # whatever became of the bit in the tree
        for number, module in enumerate(self._modules(_BOOT_MODULES)):
            shutil.copy(module, root / f"modules/{number:02}-{module.name}")
        archive = self._scratch / "initramfs.cpio"
        with archive.open("wb") as file:
            listing = "\n".join(str(one.relative_to(root)) for one in sorted(root.rglob("*")))
            subprocess.run(
                ["busybox", "cpio", "-o", "-H", "newc"], cwd=root, input=listing.encode(), stdout=file, check=True
            )
        return archive

    def _modules(self, wanted: Sequence[str]) -> list[Path]:
        """The files of the modules, each after those that it depends on."""
        (home,) = (self._kernel / "lib/modules").iterdir()
        depends = dict(line.split(":", 1) for line in (home / "modules.dep").read_text().splitlines())
        by_name = {Path(path).name.partition(".")[0]: path for path in depends}
        found: list[Path] = []
        for name in wanted:
            for path in [*reversed(depends[by_name[name]].split()), by_name[name]]:
                if home / path not in found:
                    found.append(home / path)
        return found

    def _project_disk(self, arguments: Sequence[str]) -> Path:
        tree = self._scratch / "project"
        for name in ("src", "tests", "examples"):
            shutil.copytree(PROJECT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(PROJECT / name, tree / name)
        shutil.copytree(sysconfig.get_path("purelib"), tree / "wheels", ignore=_NOT_NEEDED, symlinks=True)
        shutil.copytree(self._kernel / "lib/modules", tree / "modules")
        shutil.copy(HERE / "guest_init", tree / "guest_init")
        (tree / "arguments").write_text("\n".join(arguments))
        return _disk(tree, self._scratch / "project.ext4", _PROJECT_SIZE)


def _unpacked_kernel() -> Path:
    """The kernel's package with its dependency of the real name, unpacked and its modules indexed."""
    shown = _try(["apt-cache", "depends", "--important", _KERNEL_PACKAGE])
    names = re.findall(r"Depends: (linux-image-\S+)", shown)
    if not names:
        raise Unavailable(f"apt knows no package {_KERNEL_PACKAGE}")
    place = CACHE / names[0]
    if (place / "complete").exists():
        return place
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    _try(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", names[0]], cwd=place)
    (package,) = place.glob("*.deb")
    _try(["dpkg", "-x", str(package), str(place)])
    package.unlink()
    (modules,) = (place / "lib/modules").iterdir()
    _try(["busybox", "depmod", "-b", str(place), modules.name])
    (place / "complete").touch()
    return place


def _base_disk() -> Path:
    disk = CACHE / "base.ext4"
    if disk.exists():
        return disk
    tree = CACHE / "base"
    shutil.rmtree(tree, ignore_errors=True)
    _try(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_BASE_PACKAGES}", "bookworm", str(tree)])
    (tree / "project").mkdir()
    unfinished = _disk(tree, CACHE / "base.ext4.new", _BASE_SIZE)
    shutil.rmtree(tree)
    return unfinished.rename(disk)


def _disk(tree: Path, disk: Path, size: str) -> Path:
    disk.unlink(missing_ok=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(disk), size], check=True)
    return disk


def _try(command: list[str], cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            check=True,
            capture_output=True,
            text=True,
            env=_environment(),
            preexec_fn=_to_host_network,
        )
    except FileNotFoundError as error:
        raise Unavailable(f"{command[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"{' '.join(command)}: {error.stderr[-500:]}") from error
    return done.stdout


def _to_host_network() -> None:
    """Packages are downloaded, which the network of the tests cannot."""
    if conftest.HOST_NETWORK >= 0:
        netns.enter(conftest.HOST_NETWORK)


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}


def _tail(console: Path) -> str:
    return console.read_text(errors="replace")[-8000:] if console.exists() else "(nothing on the console)"
