"""Registries that lie, break off, redirect and ask for credentials: small servers on loopback, real stores."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from sampan.content.blobs import BlobStore
from sampan.content.layers import LayerStore
from sampan.errors import SampanError
from sampan.images.progress import Progress
from sampan.images.pull import Pulled, Puller
from sampan.registry.auth import ANONYMOUS, Credentials
from sampan.registry.client import Registry
from sampan.registry.hosts import RegistrySettings
from sampan.types.reference import Reference

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="layers are unpacked as root")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _layer(size: int = 3 << 20) -> tuple[bytes, bytes]:
    """A gzip layer that hardly compresses, and its plain tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("data")
        info.size = size
        archive.addfile(info, io.BytesIO(os.urandom(size)))
    return gzip.compress(out.getvalue(), 1, mtime=0), out.getvalue()


class FakeRegistry:
    """Serves one image `app:1`; `blob` answers the layer and can be replaced."""

    def __init__(self) -> None:
        self.layer, plain = _layer()
        config = {"os": "linux", "architecture": os.uname().machine, "config": {}}
        config["rootfs"] = {"type": "layers", "diff_ids": [_digest(plain)]}
        self.config = json.dumps(config).encode()
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.blob: Handler = self.whole_blob
        self.gate: Callable[[web.Request], web.StreamResponse | None] = lambda request: None
        self.manifest = self.make_manifest()
        self.port = 0

    def make_manifest(self, **layer: Any) -> bytes:
        kind = "application/vnd.oci.image."
        descriptor = {"mediaType": kind + "layer.v1.tar+gzip", "digest": _digest(self.layer), "size": len(self.layer)}
        config = {"mediaType": kind + "config.v1+json", "digest": _digest(self.config), "size": len(self.config)}
        document = {"schemaVersion": 2, "config": config, "layers": [{**descriptor, **layer}]}
        return json.dumps(document).encode()

    async def whole_blob(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self.layer)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path, dict(request.headers)))
        if (refused := self.gate(request)) is not None:
            return refused
        if "/manifests/" in request.path:
            return web.Response(body=self.manifest, content_type="application/vnd.oci.image.manifest.v1+json")
        if request.path.endswith(_digest(self.config)):
            return web.Response(body=self.config)
        return await self.blob(request)

    @property
    def name(self) -> Reference:
        return Reference.parse(f"127.0.0.1:{self.port}/app:1")

    def headers_of(self, part: str) -> list[dict[str, str]]:
        return [headers for _, path, headers in self.requests if part in path]


async def _serve(handle: Handler) -> tuple[web.AppRunner, int]:
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, runner.addresses[0][1]


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    registry = FakeRegistry()
    runner, registry.port = await _serve(registry.handle)
    yield registry
    await runner.cleanup()


class Stores:
    def __init__(self, root: str) -> None:
        self.blobs = BlobStore(f"{root}/content")
        self.layers = LayerStore(f"{root}/layers", self.blobs)
        self.registry = Registry(RegistrySettings(max_attempts=4))
        self.puller = Puller(self.registry, self.blobs, self.layers)
        self.messages: list[dict[str, Any]] = []

    async def pull(self, reference: Reference, credentials: Credentials = ANONYMOUS) -> Pulled:
        progress = Progress()
        try:
            return await self.puller.pull(reference, credentials, None, progress)
        finally:
            progress.end()
            self.messages = [message async for message in progress.messages()]

    def assert_clean(self) -> None:
        assert self.layers.list() == []
        self.layers.wait_idle()
        assert os.listdir(f"{self.layers.root}/tmp") == []


@pytest.fixture
async def stores(tmp_path: Any) -> AsyncIterator[Stores]:
    made = Stores(str(tmp_path))
    yield made
    made.puller.close()
    await made.registry.close()


async def test_an_honest_registry(fake: FakeRegistry, stores: Stores) -> None:
    pulled = await stores.pull(fake.name)
    assert pulled.manifest.content == fake.manifest
    assert len(stores.layers.list()) == 1 and stores.blobs.has(_digest(fake.layer))
    assert [m["status"] for m in stores.messages][-1] == f"Digest: {_digest(fake.manifest)}"


async def test_a_blob_that_is_not_its_digest_is_refused(fake: FakeRegistry, stores: Stores) -> None:
    async def lie(request: web.Request) -> web.StreamResponse:
        return web.Response(body=fake.layer[:-100] + b"\0" * 100)

    fake.blob = lie
    with pytest.raises(SampanError):
        await stores.pull(fake.name)
    stores.assert_clean()
    assert not stores.blobs.has(_digest(fake.layer))


async def test_a_blob_of_a_right_digest_but_another_diff_id_is_refused(fake: FakeRegistry, stores: Stores) -> None:
    fake.layer = _layer()[0]
    fake.manifest = fake.make_manifest()
    with pytest.raises(SampanError, match="diff id"):
        await stores.pull(fake.name)
    stores.assert_clean()


async def test_an_endless_blob_ends_at_its_size(fake: FakeRegistry, stores: Stores) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            await response.write(fake.layer)
            while True:
                await response.write(b"\0" * (1 << 20))
        except (ConnectionError, OSError):
            return response

    fake.blob = flood
    with pytest.raises(SampanError, match="more than"):
        await stores.pull(fake.name)
    stores.assert_clean()


async def test_a_manifest_that_is_not_its_digest_is_refused(fake: FakeRegistry, stores: Stores) -> None:
    wanted = fake.name.with_digest(_digest(b"something else"))
    with pytest.raises(SampanError, match="manifest verification failed"):
        await stores.pull(wanted)


async def test_a_config_that_is_not_its_digest_is_refused(fake: FakeRegistry, stores: Stores) -> None:
    fake.gate = lambda request: (
        web.Response(body=fake.config[:-1] + b" ") if request.path.endswith(_digest(fake.config)) else None
    )
    with pytest.raises(SampanError, match="image config verification failed"):
        await stores.pull(fake.name)


async def test_a_cut_blob_is_resumed_where_it_broke(fake: FakeRegistry, stores: Stores) -> None:
    ranges: list[str] = []

    async def cut(request: web.Request) -> web.StreamResponse:
        ranges.append(request.headers.get("Range", ""))
        start = int(ranges[-1].removeprefix("bytes=").rstrip("-") or 0)
        response = web.StreamResponse(status=206 if start else 200)
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(fake.layer) - 1}/{len(fake.layer)}"
        response.content_length = len(fake.layer) - start
        await response.prepare(request)
        await response.write(fake.layer[start : start + (1 << 20)])
        if request.transport is not None and start + (1 << 20) < len(fake.layer):
            request.transport.close()
        return response

    fake.blob = cut
    await stores.pull(fake.name)
    assert len(ranges) >= 3 and ranges[0] == "" and all(r.startswith("bytes=") for r in ranges[1:])
    assert stores.blobs.size(_digest(fake.layer)) == len(fake.layer)


async def test_a_server_without_ranges_is_read_from_the_start_again(fake: FakeRegistry, stores: Stores) -> None:
    count = 0

    async def cut_once(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        response = web.StreamResponse()
        response.content_length = len(fake.layer)
        await response.prepare(request)
        await response.write(fake.layer[: 1 << 20] if count == 1 else fake.layer)
        if count == 1 and request.transport is not None:
            request.transport.close()
        return response

    fake.blob = cut_once
    await stores.pull(fake.name)
    assert count == 2


async def test_busy_answers_are_waited_out(fake: FakeRegistry, stores: Stores) -> None:
    left = [3]

    def busy(request: web.Request) -> web.StreamResponse | None:
        if "/manifests/" not in request.path or not left[0]:
            return None
        left[0] -= 1
        return web.Response(status=(429, 503, 500)[left[0]])

    fake.gate = busy
    await stores.pull(fake.name)


USER = Credentials(username="user", password="secret")


async def test_a_redirect_to_another_host_carries_no_credentials(fake: FakeRegistry, stores: Stores) -> None:
    seen: list[dict[str, str]] = []

    async def other(request: web.Request) -> web.StreamResponse:
        seen.append(dict(request.headers))
        return web.Response(body=fake.layer)

    runner, port = await _serve(other)

    async def redirect(request: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect(f"http://localhost:{port}/storage")

    def ask(request: web.Request) -> web.StreamResponse | None:
        wanted = "Basic " + base64.b64encode(b"user:secret").decode()
        if request.headers.get("Authorization") == wanted:
            return None
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    fake.gate, fake.blob = ask, redirect
    try:
        await stores.pull(fake.name, USER)
    finally:
        await runner.cleanup()
    assert "Authorization" in fake.headers_of("/blobs/")[-1]
    assert seen and all("Authorization" not in headers for headers in seen)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/"])
async def test_redirects_to_other_schemes_are_refused(fake: FakeRegistry, stores: Stores, target: str) -> None:
    async def redirect(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": target})

    fake.blob = redirect
    with pytest.raises(SampanError, match="refused"):
        await stores.pull(fake.name)


async def test_redirect_circles_end(fake: FakeRegistry, stores: Stores) -> None:
    async def redirect(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": str(request.url)})

    fake.blob = redirect
    with pytest.raises(SampanError, match="redirects"):
        await stores.pull(fake.name)


class TokenService:
    """Gives `good` to user:secret, asks nothing of anonymous ones but their scope."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.issued = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if request.headers.get("Authorization") != "Basic " + base64.b64encode(b"user:secret").decode():
            return web.Response(status=401)
        self.issued += 1
        return web.json_response({"token": f"good{self.issued}", "expires_in": 300})


async def test_bearer_tokens_with_scope_and_renewal_in_the_middle(fake: FakeRegistry, stores: Stores) -> None:
    service = TokenService()
    runner, port = await _serve(service.handle)
    challenge = f'Bearer realm="http://127.0.0.1:{port}/token",service="fake",scope="repository:app:pull"'

    def ask(request: web.Request) -> web.StreamResponse | None:
        # the first token is not accepted for blobs: as if it had expired
        valid = {"Bearer good2"} if "/blobs/" in request.path else {"Bearer good1", "Bearer good2"}
        if request.headers.get("Authorization") in valid:
            return None
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    fake.gate = ask
    try:
        await stores.pull(fake.name, USER)
    finally:
        await runner.cleanup()
    assert service.issued == 2
    assert service.requests[0].query["scope"] == "repository:app:pull"
    assert service.requests[0].query["service"] == "fake"
    assert all(not h.get("Authorization", "").startswith("Basic") for h in fake.headers_of("/"))


async def test_wrong_credentials_are_reported(fake: FakeRegistry, stores: Stores) -> None:
    service = TokenService()
    runner, port = await _serve(service.handle)
    challenge = f'Bearer realm="http://127.0.0.1:{port}/token",service="fake"'
    fake.gate = lambda request: web.Response(status=401, headers={"WWW-Authenticate": challenge})
    try:
        with pytest.raises(SampanError, match="incorrect username or password"):
            await stores.pull(fake.name, Credentials(username="user", password="wrong"))
    finally:
        await runner.cleanup()


async def test_a_foreign_realm_gets_no_credentials(fake: FakeRegistry, stores: Stores) -> None:
    """127.0.0.1 is the registry; the realm's name is not loopback to us, whatever it resolves to."""
    challenge = f'Bearer realm="http://{os.uname().nodename}.invalid/token",service="fake"'
    fake.gate = lambda request: web.Response(status=401, headers={"WWW-Authenticate": challenge})
    with pytest.raises(SampanError, match="token"):
        await stores.pull(fake.name, USER)


async def test_mirrors_are_asked_first_without_credentials_and_skipped_when_broken(
    fake: FakeRegistry, stores: Stores
) -> None:
    mirror = FakeRegistry()
    runner, mirror.port = await _serve(mirror.handle)
    mirror.gate = lambda request: web.Response(status=404)
    domain = fake.name.domain
    settings = RegistrySettings(mirrors={domain: [f"http://127.0.0.1:{mirror.port}"]}, max_attempts=2)
    stores.registry.settings = settings
    try:
        await stores.pull(fake.name, USER)
    finally:
        await runner.cleanup()
    assert mirror.requests and all("Authorization" not in headers for headers in mirror.headers_of("/"))
    assert fake.headers_of("/manifests/")


async def test_a_cancelled_pull_leaves_nothing_but_what_can_be_resumed(fake: FakeRegistry, stores: Stores) -> None:
    ranges: list[str] = []

    async def stall(request: web.Request) -> web.StreamResponse:
        ranges.append(request.headers.get("Range", ""))
        response = web.StreamResponse()
        response.content_length = len(fake.layer)
        await response.prepare(request)
        await response.write(fake.layer[: 2 << 20])
        await asyncio.sleep(2)
        return response

    fake.blob = stall
    task = asyncio.create_task(stores.pull(fake.name))
    partial = f"{stores.blobs.root}/ingest/{_digest(fake.layer).replace(':', '-')}.partial"
    for _ in range(200):
        if os.path.exists(partial) and os.path.getsize(partial) >= 1 << 20:
            break
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stores.assert_clean()
    kept = os.path.getsize(partial)
    assert kept >= 1 << 20

    async def rest(request: web.Request) -> web.StreamResponse:
        ranges.append(request.headers.get("Range", ""))
        headers = {"Content-Range": f"bytes {kept}-{len(fake.layer) - 1}/{len(fake.layer)}"}
        return web.Response(status=206, headers=headers, body=fake.layer[kept:])

    fake.blob = rest
    await stores.pull(fake.name)
    assert ranges == ["", f"bytes={kept}-"]


async def test_two_pulls_at_once_fetch_a_layer_once(fake: FakeRegistry, stores: Stores) -> None:
    await asyncio.gather(stores.pull(fake.name), stores.puller.pull(fake.name, ANONYMOUS, None, Progress()))
    assert len(fake.headers_of(_digest(fake.layer))) == 1
