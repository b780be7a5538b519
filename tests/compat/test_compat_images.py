"""Image commands of the unchanged docker CLI: what a user sees of archives, platforms and refusals."""

from __future__ import annotations

import http.server
import io
import tarfile
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.conftest import EngineProcess


def _archive(size_bytes: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("file")
        info.size = size_bytes
        tar.addfile(info, io.BytesIO(bytes(size_bytes)))
    return buffer.getvalue()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _served(directory: Path) -> Iterator[str]:
    handler = partial(_Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_platform_that_the_image_does_not_have_is_an_error(engine: EngineProcess) -> None:
    wanted = urllib.parse.quote('{"os": "linux", "architecture": "s390x"}')
    for path in ("/images/busybox/json", "/images/busybox/history", "/images/busybox/get"):
        status, answer = engine.api("GET", f"{path}?platform={wanted}")
        assert status == 404 and "does not match the specified platform: wanted linux/s390x" in answer["message"]


def test_import_from_a_url(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(_archive(10))
    with _served(tmp_path) as address:
        done = engine.docker("import", f"{address}/root.tar", "from-url:1")
        assert done.returncode == 0 and "sha256:" in done.stdout, done.stderr
        missing = engine.docker("import", f"{address}/nothing")
        assert missing.returncode == 1 and "with status 404" in missing.stderr
    assert engine.docker("rmi", "from-url:1").returncode == 0


def test_a_refusal_reaches_a_client_that_is_still_sending(engine: EngineProcess) -> None:
    done = engine.docker("import", "--change", "RUN x", "-", "refused:1", input=_archive(4 << 20))
    assert "Error response from daemon: RUN is not a valid change command" in done.stderr


def test_names_of_an_image_are_sorted(engine: EngineProcess) -> None:
    for name in ("names-b:1", "names-a:2", "names-a:1"):
        assert engine.docker("tag", "busybox", name).returncode == 0
    shown = engine.docker("image", "inspect", "-f", "{{.RepoTags}}", "busybox").stdout
    assert shown.index("names-a:1") < shown.index("names-a:2") < shown.index("names-b:1")
    assert engine.docker("rmi", "names-a:1", "names-a:2", "names-b:1").returncode == 0


def test_a_dockerfile_on_stdin_beside_a_context(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the context")
    done = engine.docker(
        "build", "-t", "stdin:1", "-f", "-", str(tmp_path), input=b"FROM busybox\nCOPY file /f\nRUN cat /f\n"
    )
    assert done.returncode == 0 and "of the context" in done.stdout, done.stderr
    assert engine.docker("rmi", "stdin:1").returncode == 0


def test_disk_usage_counts_a_layer_once(engine: EngineProcess) -> None:
    def usage() -> tuple[int, int]:
        body = engine.api("GET", "/system/df")[1]
        return body["LayersSize"], sum(entry["Size"] for entry in body["BuildCache"] if not entry["Shared"])

    layers, cache = usage()
    dockerfile = b"FROM busybox AS a\nRUN head -c 5000 /dev/zero >/a\nFROM busybox\nCOPY --from=a /bin/true /t\n"
    assert engine.docker("build", "-t", "df:1", "-", input=dockerfile).returncode == 0
    of_image = int(engine.docker("image", "inspect", "-f", "{{.Size}}", "df:1").stdout)
    of_base = int(engine.docker("image", "inspect", "-f", "{{.Size}}", "busybox").stdout)
    assert usage() == (layers + of_image - of_base, cache + 5000)
    assert engine.docker("rmi", "df:1").returncode == 0
