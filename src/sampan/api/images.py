"""`/images`, `/distribution`, `/auth`, `/commit`, and `/sampan/images/bootstrap`."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from sampan.api.routing import Json, Request, Route, Status
from sampan.engine.builds.downloads import HttpFetcher
from sampan.engine.commit import commit
from sampan.engine.images import in_stream
from sampan.errors import InvalidArgument
from sampan.images.progress import Progress, error_message
from sampan.registry.auth import Credentials, credentials_from, decode_header
from sampan.spec.requests import RUN_CONFIG
from sampan.tar.reader import Readable
from sampan.types.platform import Platform

if TYPE_CHECKING:
    from sampan.engine.engine import Engine

_DEFAULT_SEARCH_LIMIT = 25


async def list_images(engine: Engine, request: Request) -> list[dict[str, Any]]:
    filters = request.filters()
    if request.has_query("filter"):  # before 1.25
        filters.setdefault("reference", []).append(request.query("filter"))
    return engine.image_service.summaries(
        filters,
        request.api_version,
        all_images=request.query_bool("all"),
        shared_size=request.query_bool("shared-size"),
    )


async def inspect_image(engine: Engine, request: Request) -> dict[str, Any]:
    return engine.image_service.inspect(request.path("name"), request.api_version, _platform(request))


async def image_history(engine: Engine, request: Request) -> list[dict[str, Any]]:
    return engine.image_service.history(request.path("name"), _platform(request))


async def tag_image(engine: Engine, request: Request) -> Status:
    engine.image_service.tag(request.path("name"), request.query("repo"), request.query("tag"))
    return Status(201)


async def delete_image(engine: Engine, request: Request) -> list[dict[str, str]]:
    return engine.image_service.delete(
        request.path("name"), force=request.query_bool("force"), prune_parents=not request.query_bool("noprune")
    )


async def prune_images(engine: Engine, request: Request) -> dict[str, Any]:
    return engine.image_service.prune(request.filters())


async def create_image(engine: Engine, request: Request) -> None:
    """Pull (`fromImage`) or import (`fromSrc`)."""
    platform = Platform.parse(request.query("platform")) if request.query("platform") else None
    if request.has_query("fromSrc"):
        await _import_image(engine, request, platform)
        return
    credentials = _credentials(request)
    name, tag = request.query("fromImage"), request.query("tag")
    await _stream(request, lambda progress: engine.image_service.pull(name, tag, platform, credentials, progress))


async def _import_image(engine: Engine, request: Request, platform: Platform | None) -> None:
    source = request.query("fromSrc")

    async def work(progress: Progress) -> None:
        if source == "-":
            await import_from(request.body.as_file(), progress)
            return
        url = source if "://" in source else f"http://{source}"
        progress.status(f"Downloading from {url}")
        with tempfile.TemporaryDirectory(prefix="import-", dir=engine.image_service.scratch) as directory:
            download = await HttpFetcher(purpose="").fetch(url, directory)
            with open(download.path, "rb") as file:
                await import_from(file, progress)

    async def import_from(archive: Readable, progress: Progress) -> None:
        await engine.image_service.import_tar(
            archive,
            request.query("repo"),
            request.query("tag"),
            platform=platform,
            changes=request.query_list("changes"),
            message=request.query("message"),
            progress=progress,
        )

    await _stream(request, work)


async def push_image(engine: Engine, request: Request) -> None:
    credentials, platform = _credentials(request), _platform(request)
    name, tag = request.path("name"), request.query("tag")

    async def work(progress: Progress) -> None:
        await engine.image_service.push(name, tag, platform, credentials, progress)

    await _stream(request, work)


async def save_images(engine: Engine, request: Request) -> None:
    """`GET /images/get?names=…`, which may be none."""
    await _save(engine, request, request.query_list("names"))


async def save_image(engine: Engine, request: Request) -> None:
    """`GET /images/{name}/get`."""
    await _save(engine, request, request.query_list("names") or [request.path("name")])


async def _save(engine: Engine, request: Request, joined: list[str]) -> None:
    names = [name for text in joined for name in text.split(",") if name]
    platforms = [_parse_platform(text) for text in request.query_list("platform") if text]
    archive = await engine.image_service.save(names, platforms)
    try:
        async with request.stream("application/x-tar") as stream:
            while data := await asyncio.to_thread(archive.read, 1 << 20):
                await stream.send(data)
    finally:
        await asyncio.to_thread(archive.close)


async def load_images(engine: Engine, request: Request) -> None:
    quiet = request.query_bool("quiet")

    async def work(progress: Progress) -> None:
        await engine.image_service.load(request.body.as_file(), quiet=quiet, progress=progress)

    await _stream(request, work, always=True)


async def search_images(engine: Engine, request: Request) -> list[dict[str, Any]]:
    limit = request.query_int("limit") or _DEFAULT_SEARCH_LIMIT
    return await engine.image_service.search(request.query("term"), limit, _credentials(request))


async def inspect_distribution(engine: Engine, request: Request) -> dict[str, Any]:
    return await engine.image_service.distribution(request.path("name"), _credentials(request))


async def check_credentials(engine: Engine, request: Request) -> dict[str, str]:
    return await engine.image_service.login(credentials_from(await request.json()))


async def commit_container(engine: Engine, request: Request) -> Json:
    config = await request.json(RUN_CONFIG, name="CreateRequest", required=False)
    image_id = await commit(
        engine,
        request.query("container"),
        request.query("repo"),
        request.query("tag"),
        author=request.query("author"),
        message=request.query("comment"),
        changes=request.query_list("changes"),
        config=config,
        pause=request.query_bool("pause", default=True),
    )
    return Json(201, {"Id": image_id})


async def bootstrap_image(engine: Engine, request: Request) -> None:
    """Ours: a base image out of a distribution's packages, without any registry."""

    async def work(progress: Progress) -> None:
        await engine.image_service.bootstrap(request.query("name"), progress)

    await _stream(request, work)


def _platform(request: Request) -> Platform | None:
    text = request.query("platform")
    return _parse_platform(text) if text else None


def _parse_platform(text: str) -> Platform:
    """A platform as newer endpoints take it: an OCI platform in JSON."""
    if not text.startswith("{"):
        return Platform.parse(text)
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"failed to parse platform: {error}") from None
    if not found.get("os") or not found.get("architecture"):
        raise InvalidArgument("both OS and Architecture must be provided")
    return Platform.of(*(str(found.get(key) or "") for key in ("os", "architecture", "variant")))


def _credentials(request: Request) -> Credentials:
    return decode_header(request.header("X-Registry-Auth"))


async def _stream(request: Request, work: Callable[[Progress], Awaitable[object]], *, always: bool = False) -> None:
    """Answer with `work`'s progress. An error before the first message is an HTTP status (unless `always`), a later one
    the stream's last message. A client that leaves cancels the work, and the request ends when the work has cleaned up."""
    progress = Progress()
    task = asyncio.create_task(in_stream(lambda: work(progress), progress))
    try:
        messages = progress.messages()
        first = await anext(messages, None)
        if first is None and not always and (error := await task) is not None:
            raise error
        async with request.stream("application/json") as stream:
            if first is not None:
                await stream.send_json(first)
            async for message in messages:
                await stream.send_json(message)
            if (error := await task) is not None:
                await stream.send_json(error_message(error.message, error.hint))
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


async def image_attestations(engine: Engine, request: Request) -> list[Any]:
    """None: what a registry keeps beside an image is not fetched, and builds here make no attestations."""
    engine.images.get(request.path("name"))
    return []


ROUTES = [
    Route("GET", "/images/json", list_images),
    Route("GET", "/images/search", search_images),
    Route("GET", "/images/get", save_images),
    Route("POST", "/images/create", create_image),
    Route("POST", "/images/load", load_images),
    Route("POST", "/images/prune", prune_images),
    Route("GET", "/images/{name:.*}/json", inspect_image),
    Route("GET", "/images/{name:.*}/history", image_history),
    Route("GET", "/images/{name:.*}/attestations", image_attestations),
    Route("GET", "/images/{name:.*}/get", save_image),
    Route("POST", "/images/{name:.*}/push", push_image),
    Route("POST", "/images/{name:.*}/tag", tag_image),
    Route("DELETE", "/images/{name:.*}", delete_image),
    Route("GET", "/distribution/{name:.*}/json", inspect_distribution),
    Route("POST", "/auth", check_credentials),
    Route("POST", "/commit", commit_container),
    Route("POST", "/sampan/images/bootstrap", bootstrap_image),
]
