"""A registry on loopback with an image of a given weight, for timing pulls: Debian's docker-registry."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import random
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator

_ENTRIES, _BYTES = 8743, 162 << 20


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """Run the registry for a block; gives `127.0.0.1:port`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    root = tempfile.mkdtemp(prefix="sampan-bench-registry-")
    with open(f"{root}/config.yml", "w", encoding="utf-8") as file:
        file.write(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {root}/data}}}}\n")
        file.write(f"http: {{addr: '{address}'}}\n")
    process = subprocess.Popen(
        ["docker-registry", "serve", f"{root}/config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://{address}/v2/", timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(root)


def heavy_layer() -> tuple[bytes, str]:
    """A gzip layer of about 60 MB and 8,743 entries, half text and half noise, and the digest of its plain tar."""
    noise = random.Random(1)
    text = b" ".join(noise.choice((b"sampan", b"river", b"oar", b"junk", b"harbour")) for _ in range(40000))
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number in range(_ENTRIES):
            if number % 20 == 0:
                folder = tarfile.TarInfo(f"data/{number // 20}")
                folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(folder)
                continue
            size = min(_BYTES // _ENTRIES * noise.choice((0, 0, 1, 1, 2, 2)), 1 << 17)
            body = noise.randbytes(size) if number % 3 == 0 else (text * (size // len(text) + 1))[:size]
            member = tarfile.TarInfo(f"data/{number // 20}/file-{number}")
            member.size, member.mode, member.mtime = size, 0o644, 1_700_000_000
            archive.addfile(member, io.BytesIO(body))
    data = plain.getvalue()
    return gzip.compress(data, 6), "sha256:" + hashlib.sha256(data).hexdigest()


def push(address: str, name: str, layer: bytes, diff_id: str) -> None:
    """Put an image of one layer into the registry, by the distribution API alone."""
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    ).encode()
    media = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": media,
        "config": _blob(address, name, config, "application/vnd.docker.container.image.v1+json"),
        "layers": [_blob(address, name, layer, "application/vnd.docker.image.rootfs.diff.tar.gzip")],
    }
    body = json.dumps(manifest).encode()
    _request("PUT", f"http://{address}/v2/{name}/manifests/latest", body, media)


def _blob(address: str, name: str, data: bytes, media: str) -> dict[str, object]:
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    location = _request("POST", f"http://{address}/v2/{name}/blobs/uploads/", b"", "application/octet-stream")
    joiner = "&" if "?" in location else "?"
    _request("PUT", f"{location}{joiner}digest={digest}", data, "application/octet-stream")
    return {"mediaType": media, "digest": digest, "size": len(data)}


def _request(method: str, url: str, data: bytes, media: str) -> str:
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": media})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers.get("Location") or ""
