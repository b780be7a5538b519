"""The API over TLS with client certificates: refusals, hijacked streams, half-close."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import BIN, EngineProcess

PORT = 23761


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def _certificates(home: Path) -> None:
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{home}/ca.key", "-out", f"{home}/ca.pem",
             "-subj", "/CN=ca", "-days", "2")  # fmt: skip
    (home / "extensions").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for name in ("server", "client"):
        _openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{home}/{name}.key", "-out", f"{home}/{name}.csr",
                 "-subj", "/CN=localhost")  # fmt: skip
        _openssl("x509", "-req", "-in", f"{home}/{name}.csr", "-CA", f"{home}/ca.pem", "-CAkey", f"{home}/ca.key",
                 "-CAcreateserial", "-out", f"{home}/{name}.pem", "-days", "2", "-extfile", f"{home}/extensions")  # fmt: skip
    config = home / "config"
    config.mkdir()
    for source, target in (("ca.pem", "ca.pem"), ("client.pem", "cert.pem"), ("client.key", "key.pem")):
        shutil.copy(home / source, config / target)


@pytest.fixture(scope="module")
def tls_home(engine_process: EngineProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    home = tmp_path_factory.mktemp("tls")
    _certificates(home)
    engine_process.stop()
    engine_process.flags = ["-H", f"tcp://127.0.0.1:{PORT}", "--tlsverify", "--tlscacert", f"{home}/ca.pem"]
    engine_process.flags += ["--tlscert", f"{home}/server.pem", "--tlskey", f"{home}/server.key"]
    engine_process.start()
    yield home
    engine_process.stop()
    engine_process.flags = []
    engine_process.start()


def command(client: str, home: Path, *arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    program = str(BIN / "sampan") if client == "sampan" else shutil.which("docker")
    if program is None:
        pytest.skip("the docker CLI is not installed")
    host = f"tcp://localhost:{PORT}"
    tls = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": f"{home}/config", "DOCKER_HOST": host, "SAMPAN_HOST": host}
    return subprocess.run(
        [program, *arguments], input=data, capture_output=True, env={**os.environ, **tls}, timeout=60, check=False
    )


@pytest.mark.parametrize("client", ["sampan", "docker"])
def test_run_over_tls(engine: EngineProcess, tls_home: Path, client: str) -> None:
    done = command(client, tls_home, "run", "--rm", "busybox", "echo", "hi")
    assert (done.returncode, done.stdout) == (0, b"hi\n"), done.stderr


@pytest.mark.parametrize("client", ["sampan", "docker"])
def test_output_goes_on_after_the_input_has_ended(engine: EngineProcess, tls_home: Path, client: str) -> None:
    data = os.urandom(3 << 20)
    done = command(client, tls_home, "run", "-i", "--rm", "busybox", "sh", "-c", "cat; sleep 0.2; echo end", data=data)
    assert done.returncode == 0 and done.stdout == data + b"end\n"


def test_without_a_certificate_nothing_is_answered(engine: EngineProcess, tls_home: Path) -> None:
    import http.client
    import ssl

    context = ssl.create_default_context(cafile=f"{tls_home}/ca.pem")
    connection = http.client.HTTPSConnection("localhost", PORT, context=context, timeout=10)
    with pytest.raises((OSError, http.client.HTTPException)):
        connection.request("GET", "/_ping")
        connection.getresponse()
    assert command("sampan", tls_home, "version").returncode == 0
