"""Base images without a registry: from a distribution's packages by mmdebstrap, or busybox from its one static program.

The same packages give the same image: mmdebstrap sorts and clamps every time to the date of the suite's release, and what is
of this machine (its name, its resolver, logs, caches, machine-id) is taken out.
"""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import AsyncIterator
from typing import cast

from sampan.content.pipeline import Produced
from sampan.errors import Internal, Unavailable
from sampan.images.apt_sources import (
    Distribution,
    Source,
    choose,
    find,
    for_image,
    one_line,
    packages,
    render_settings,
    render_sources,
    settings,
)
from sampan.images.busybox import BUSYBOX_CHANGES, busybox_tar, find_busybox
from sampan.images.commit import import_image
from sampan.images.image import Image
from sampan.images.progress import Progress
from sampan.images.store import ImageStore
from sampan.tar.reader import Readable
from sampan.types.reference import Reference

_DOWNLOAD_TIMEOUT_S = 60
_TOOLS = {"mmdebstrap": "mmdebstrap", "unshare": "util-linux", "setpriv": "util-linux", "apt-get": "apt"}
_DISTRIBUTION_CHANGES = [
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    'CMD ["bash"]',
]
# what only makes sense on a machine that keeps its packages' archives (apt.conf(5))
_CONTAINER_APT_CONFIG = """\
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::GzipIndexes "true";
Acquire::Languages "none";
Apt::AutoRemove::SuggestsImportant "false";
"""
_NO_SERVICES = "#!/bin/sh\nexit 101\n"  # invoke-rc.d: packages must not start their services while they are installed


async def bootstrap(store: ImageStore, name: str, progress: Progress) -> Image:
    """Make the image `busybox`, `debian:<suite>` or `ubuntu:<suite>` and name it so.

    The last message is the image's id, as import does.

    Raises:
        NotFound: no such distribution or suite. Unavailable: a host package is missing (the hint names it).
        Internal: mmdebstrap failed; the message ends with what it said.
    """
    reference = Reference.parse(name).with_default_tag()
    base = reference.path.rpartition("/")[2]
    release = reference.tag or "latest"
    if base == "busybox":
        progress.status(f"Making {reference.familiar()} of the machine's busybox")
        image = await _busybox(store, reference)
    else:
        distribution, suite = find(base, release)
        job = _Bootstrap(store, distribution, suite, reference)
        async for line in job.run():
            progress.status(line)
        image = cast(Image, job.image)
    store.event("import", image, reference.familiar())
    progress.status(image.id)
    return image


async def _busybox(store: ImageStore, reference: Reference) -> Image:
    path = find_busybox()
    if path is None:
        raise Unavailable("there is no static busybox on this machine", hint="apt-get install busybox-static")
    stream = Produced(lambda out: busybox_tar(path, out))
    try:
        return await import_image(
            store,
            cast(Readable, stream),
            changes=BUSYBOX_CHANGES,
            message="busybox from the distribution's package busybox-static",
            reference=reference,
            created_ns=os.stat(path).st_mtime_ns // 1_000_000_000 * 1_000_000_000,
        )
    finally:
        stream.close()


class _Bootstrap:
    def __init__(self, store: ImageStore, distribution: Distribution, suite: str, reference: Reference) -> None:
        self._store = store
        self._distribution = distribution
        self._suite = suite
        self._reference = reference
        self.image: Image | None = None

    async def run(self) -> AsyncIterator[str]:
        """Progress lines; `image` is set at the end."""
        for tool, package in (
            ("mmdebstrap", "mmdebstrap"),
            ("unshare", "util-linux"),
            ("setpriv", "util-linux"),
            ("apt-get", "apt"),
        ):
            if shutil.which(tool) is None:
                raise Unavailable(f"{tool} is not on this machine", hint=f"apt-get install {package}")
        if not os.path.exists(self._distribution.keyring):
            package = self._distribution.keyring_package
            raise Unavailable(
                f"the keys of {self._distribution.name} are not on this machine", hint=f"apt-get install {package}"
            )
        targets = await _output(
            "apt-get", "indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)", "Created-By: Packages"
        )
        dump = await _output("apt-config", "dump")
        sources = choose(self._distribution, self._suite, targets)
        yield f"Packages of {self._distribution.name} {self._suite} from {sources[0].uri}"
        work = tempfile.mkdtemp(prefix="bootstrap-", dir=os.path.join(self._store.layers.root, "tmp"))
        try:
            os.chmod(work, 0o755)  # apt fetches as the user _apt
            epoch = await self._release_date(sources[0], work)
            command = self._command(work, sources, dump)
            async for line in self._mmdebstrap(command, work, epoch):
                yield line
        finally:
            await asyncio.to_thread(shutil.rmtree, work, True)

    async def _release_date(self, source: Source, work: str) -> int:
        """The date of the suite's Release file (Unix time): it changes only when the suite does."""
        target = os.path.join(work, "Release")
        uri = f"{source.uri}/dists/{source.suite}/Release"
        try:
            await _output("/usr/lib/apt/apt-helper", "download-file", uri, target, timeout_s=_DOWNLOAD_TIMEOUT_S)
            with open(target, encoding="utf-8", errors="replace") as file:
                match = re.search(r"^Date: (.+)$", file.read(1 << 16), re.MULTILINE)
        except (Internal, FileNotFoundError) as error:
            raise Unavailable(f"cannot fetch {uri}: {error}") from None
        moment = email.utils.parsedate_to_datetime(match[1].replace(" UTC", " +0000")) if match else None
        return int((moment or datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)).timestamp())

    def _command(self, work: str, sources: list[Source], dump: str) -> list[str]:
        inside = for_image(sources, self._distribution)
        files = {
            f"etc/apt/sources.list.d/{self._distribution.name}.sources": render_sources(
                inside, self._distribution.keyring
            ),
            "etc/apt/apt.conf.d/90container": _CONTAINER_APT_CONFIG,
            "etc/apt/apt.conf.d/95mirror": render_settings(settings(dump, for_container=True)),
            "usr/sbin/policy-rc.d": _NO_SERVICES,
        }
        hooks = [f"--customize-hook={hook}" for hook in _clean_hooks()]
        for number, (target, text) in enumerate(files.items()):
            if not text:
                continue
            staged = os.path.join(work, f"file-{number}")
            with open(staged, "w", encoding="utf-8") as file:
                file.write(text)
            mode = "0755" if target.endswith("policy-rc.d") else "0644"
            hooks.append(f'--customize-hook=install -D -m {mode} {shlex.quote(staged)} "$1"/{target}')
        options = [f"--aptopt={key} {shlex.quote(value)}" for key, value in settings(dump, for_container=False).items()]
        lines = [one_line(source, self._distribution.keyring) for source in sources]
        # namespaces of its own for mounts and processes, and death with the engine: nothing stays, whatever ends this
        return [
            "setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
            "mmdebstrap", "--mode=root", "--format=tar", f"--variant={self._distribution.variant}",
            f"--include={','.join(packages(inside))}", *options, *hooks, self._suite, "-", *lines,
        ]  # fmt: skip

    async def _mmdebstrap(self, command: list[str], work: str, epoch: int) -> AsyncIterator[str]:
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "SOURCE_DATE_EPOCH": str(epoch),
            "TMPDIR": work,
        }
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=write_end,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        os.close(write_end)
        said: list[str] = []
        importing = asyncio.create_task(self._import(read_end, epoch))
        try:
            assert process.stderr is not None
            async for raw in process.stderr:
                line = raw.decode(errors="replace").strip()
                said = [*said[-20:], line]
                if line.startswith("I: ") and not line.startswith("I: running --customize-hook"):
                    yield line[3:]
            if await process.wait() != 0:
                faults = [line for line in said if line.startswith("E: ")] or said[-3:]
                raise Internal(f"mmdebstrap failed: {'; '.join(faults)}")
            self.image = await importing
            self._store.tag(self.image, self._reference)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            if not importing.done() or self.image is None:
                await asyncio.gather(importing, return_exceptions=True)
                if (
                    importing.done()
                    and not importing.cancelled()
                    and importing.exception() is None
                    and self.image is None
                ):
                    self._store.forget(importing.result())

    async def _import(self, fd: int, epoch: int) -> Image:
        with open(fd, "rb", buffering=0) as file:
            image = await import_image(
                self._store,
                cast(Readable, file),
                changes=_DISTRIBUTION_CHANGES,
                message=f"{self._distribution.name} {self._suite}, {self._distribution.variant}, by mmdebstrap",
                created_ns=epoch * 1_000_000_000,
            )
        return image


def _clean_hooks() -> list[str]:
    """Take out of the tree what differs from run to run or is this machine's."""
    return [
        'rm -f "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/etc/apt/sources.list "$1"/etc/apt/apt.conf.d/99mmdebstrap',
        'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/* "$1"/var/cache/ldconfig/aux-cache',
        'rm -f "$1"/etc/machine-id "$1"/var/lib/dbus/machine-id "$1"/var/lib/systemd/random-seed',
        'mkdir -p "$1"/var/lib/apt/lists/partial "$1"/var/cache/apt/archives/partial "$1"/var/log/apt',
        'find "$1" -name "*-old" -path "*/var/cache/debconf/*" -delete; rm -f "$1"/etc/*- "$1"/var/lib/dpkg/*-old',
    ]


async def _output(*command: str, timeout_s: float = 30) -> str:
    """What a short command prints. Raises Internal with its errors."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Internal(f"{command[0]} did not answer within {timeout_s:.0f} s") from None
    if process.returncode:
        raise Internal(f"{command[0]} failed: {errors.decode(errors='replace').strip()[-500:]}")
    return output.decode(errors="replace")
