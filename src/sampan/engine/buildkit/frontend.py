"""The `dockerfile.v0` frontend: from a client's attributes to an image, over the client's session."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sampan.build import context as contexts
from sampan.build.buildkit.filesync import Wanted, fetch
from sampan.build.buildkit.messages import SolveRequest
from sampan.build.buildkit.session import ClientSession
from sampan.build.buildkit.status import StatusBuild, StatusLog, StatusReport
from sampan.build.options import BuildOptions, Limits
from sampan.build.unpack import is_archive
from sampan.engine.builds.builder import PreparedBuild
from sampan.errors import InvalidArgument, NotSupported, SampanError
from sampan.spec.dockerfile import ignore
from sampan.types.reference import Reference

if TYPE_CHECKING:
    from sampan.engine.builds.builder import Builder

_UPLOADED = "http://buildkit-session/"
_EXPORTERS = ("", "moby", "image")
_IMAGE = re.compile(rb"(?im)(?:^\s*FROM\s+(?:--\S+\s+)*|--from=|,from=)([^\s,$]+)(?=[\s,]|$)")
_SECRET = re.compile(rb"--mount=\S*type=secret\S*")
_SECRET_ID = re.compile(rb"[=,](?:id|source|src)=([^,\s]+)|[=,](?:target|dst|destination)=\S*?([^/,\s]+)(?=[,\s]|$)")


def options_of(request: SolveRequest, attributes: Mapping[str, str]) -> BuildOptions:
    """What the client asks for, in the builder's terms.

    Raises:
        NotSupported: another exporter, a remote context, several platforms.
    """
    exporter = request.Exporters[0] if request.Exporters else None
    kind = exporter.Type if exporter else request.ExporterDeprecated
    names = (exporter.Attrs if exporter else request.ExporterAttrsDeprecated).get("name", "")
    if kind not in _EXPORTERS:
        raise NotSupported(f"exporter {kind} is not supported by this engine's BuildKit API; the image exporter is")
    if not attributes.get("context", _UPLOADED).startswith(_UPLOADED):
        raise NotSupported(f"building from {attributes['context']} is not supported by this engine's BuildKit API")
    platform = attributes.get("platform", "")
    if "," in platform:
        raise NotSupported("building for several platforms at once is not supported")
    return BuildOptions(
        dockerfile=attributes.get("filename", "") or "Dockerfile",
        tags=[name for name in names.split(",") if name],
        target=attributes.get("target", ""),
        build_args=_prefixed(attributes, "build-arg:"),
        labels=_prefixed(attributes, "label:"),
        network=attributes.get("force-network-mode", "") or "default",
        extra_hosts=[entry.replace("=", ":", 1) for entry in attributes.get("add-hosts", "").split(",") if entry],
        no_cache="no-cache" in attributes,
        pull=attributes.get("image-resolve-mode") == "pull",
        platform=platform,
        copy_keeps_owner=True,
        limits=_limits(attributes),
    )


def _prefixed(attributes: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in attributes.items() if name.startswith(prefix)}


def _limits(attributes: Mapping[str, str]) -> Limits:
    ulimits = []
    for entry in filter(None, attributes.get("ulimit", "").split(",")):
        name, _, values = entry.partition("=")
        soft, _, hard = values.partition(":")
        ulimits.append({"Name": name, "Soft": _number("ulimit", soft), "Hard": _number("ulimit", hard or soft)})
    return Limits(
        shm_size_bytes=_number("shm-size", attributes.get("shm-size") or str(Limits.shm_size_bytes)),
        cgroup_parent=attributes.get("cgroup-parent", ""),
        ulimits=ulimits,
    )


def _number(name: str, text: str) -> int:
    """A client's number, which the kernel must be able to take.

    Raises:
        InvalidArgument: no number of 64 bits.
    """
    if len(text) <= 19 and text.removeprefix("-").isascii() and text.removeprefix("-").isdigit():
        return int(text)
    raise InvalidArgument(f"invalid {name}: {text[:64]!r} is not a number")


async def build(
    builder: Builder, session: ClientSession, log: StatusLog, options: BuildOptions, attributes: Mapping[str, str]
) -> str:
    """Build; gives the image's id. Nothing of the build is left on disk, however it ends."""
    fetching = _Fetching(session, log, attributes)
    prepared = await builder.prepare_with(options, fetching.receive)
    try:
        prepared.options = replace(
            options, secrets=await fetching.secrets(), registry_auth=await fetching.registry_auth()
        )
        report = StatusReport(_nobody, prepared.options)

        def shown(*arguments: object) -> StatusBuild:
            found = StatusBuild(*arguments)  # type: ignore[arg-type]  # the builder's own, passed on
            found.log = log
            return found

        image_id, _ = await builder.solve(prepared, report, shown)
        with log.step("exporting to image"):
            return image_id
    finally:
        await builder.discard(prepared)


async def _nobody(message: object) -> None:
    """There is no classic stream."""


class _Fetching:
    """What a build takes from its client."""

    def __init__(self, session: ClientSession, log: StatusLog, attributes: Mapping[str, str]) -> None:
        self._session = session
        self._log = log
        self._attributes = attributes
        self._dockerfile = b""

    async def receive(self, prepared: PreparedBuild) -> bytes:
        """Fetch Dockerfile, ignore files and context, in this order; gives the Dockerfile."""
        if "context" in self._attributes:
            return await self._receive_upload(prepared, self._attributes["context"])
        name = prepared.options.dockerfile
        home = f"{prepared.directory}/dockerfile"
        os.mkdir(home, 0o700)
        with self._log.step(f"[internal] load build definition from {os.path.basename(name)}") as vertex:
            follow = (name, f"{name}.dockerignore", name.lower())
            size = await self._fetch(self._attributes.get("dockerfilekey", "dockerfile"), home, follow=follow)
            await vertex.output(1, f"transferring dockerfile: {size}B done\n".encode())
            self._dockerfile = contexts.read_dockerfile(home, name)
        local = self._attributes.get("contextkey", "context")
        with self._log.step("[internal] load .dockerignore"):
            await self._fetch(local, home, follow=(".dockerignore",))
            patterns = _ignored(home, name)
        with self._log.step("[internal] load build context") as vertex:
            size = await self._fetch(local, prepared.context, exclude=patterns)
            await vertex.output(1, f"transferring context: {size}B done\n".encode())
        return self._dockerfile

    async def _receive_upload(self, prepared: PreparedBuild, url: str) -> bytes:
        """What the client read from its standard input: an archive of the context, or the Dockerfile alone."""
        parts, path = urlsplit(url), f"{prepared.directory}/downloads/context"
        with self._log.step("[internal] load remote build context"), open(path, "wb") as file:
            await self._session.upload(parts.path, parts.netloc, file)
        if is_archive(path):
            with open(path, "rb") as file:
                await asyncio.to_thread(contexts.unpack_context, file, prepared.context)
            self._dockerfile = contexts.read_dockerfile(prepared.context, prepared.options.dockerfile)
            await asyncio.to_thread(contexts.apply_ignore, prepared.context, prepared.options.dockerfile)
        else:
            with open(path, "rb") as file:
                self._dockerfile = contexts.require_content(file.read(4 << 20), prepared.options.dockerfile)
        return self._dockerfile

    async def _fetch(
        self, name: str, destination: str, *, follow: tuple[str, ...] = (), exclude: Sequence[str] = ()
    ) -> int:
        return await fetch(self._session.channel, Wanted(name, exclude, follow), destination)

    async def secrets(self) -> dict[str, bytes]:
        """The secrets that the Dockerfile's RUN lines name, as far as the client has them."""
        found: dict[str, bytes] = {}
        for mount in _SECRET.findall(self._dockerfile):
            match = _SECRET_ID.search(mount)
            if match is None:
                continue
            secret_id = (match[1] or match[2]).decode("utf-8", "replace")
            content = await self._session.secret(secret_id)
            if content is not None:
                found[secret_id] = content
        return found

    async def registry_auth(self) -> dict[str, dict[str, str]]:
        """The client's credentials for the registries of the images that the Dockerfile names, by domain."""
        found: dict[str, dict[str, str]] = {}
        for match in _IMAGE.finditer(self._dockerfile):
            try:
                domain = Reference.parse(match[1].decode("utf-8", "replace")).domain
            except SampanError:
                continue  # a stage, or a name that the planner will complain of
            if domain in found:
                continue
            credentials = await self._session.credentials("registry-1.docker.io" if domain == "docker.io" else domain)
            if credentials is not None:
                name, secret = credentials
                found[domain] = {"username": name, "password": secret} if name else {"identitytoken": secret}
        return found


def _ignored(home: str, dockerfile: str) -> list[str]:
    """The patterns of `<Dockerfile>.dockerignore`, or else of `.dockerignore`."""
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        path = os.path.join(home, name)
        if os.path.isfile(path) and not os.path.islink(path):
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                return ignore.read(file.read(1 << 20))
    return []


def check_frontend(name: str) -> None:
    """
    Raises:
        NotSupported: not ours.
    """
    if name != "dockerfile.v0":
        raise NotSupported(f"frontend {name or 'LLB definition'} is not supported: this engine builds Dockerfiles")


def check_session(session_id: str) -> None:
    if not session_id:
        raise InvalidArgument("the build names no session")
