"""The client's TLS against Python's own."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.client.tls import TlsSocket

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=boat", "-days", "2"]
    command += ["-addext", "subjectAltName=DNS:boat", "-keyout", f"{home}/key", "-out", f"{home}/cert"]
    subprocess.run(command, check=True, capture_output=True)
    return home


@pytest.fixture
def pair(certificate: Path) -> Iterator[tuple[TlsSocket, ssl.SSLSocket]]:
    """(the client's end, the server's end)"""
    near, far = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert", certificate / "key")
    accepted: list[ssl.SSLSocket] = []
    thread = threading.Thread(target=lambda: accepted.append(context.wrap_socket(far, server_side=True)))
    thread.start()
    client = TlsSocket(near, ssl.create_default_context(cafile=str(certificate / "cert")), "boat")
    thread.join()
    yield client, accepted[0]
    client.close()
    accepted[0].close()


def test_output_that_arrives_as_the_input_ends_is_kept(pair: tuple[TlsSocket, ssl.SSLSocket]) -> None:
    client, server = pair
    server.sendall(b"already here")
    client.shutdown(socket.SHUT_WR)
    server.sendall(b", later")
    assert server.recv(100) == b""
    server.unwrap()
    received = b""
    while data := client.recv(100):
        received += data
    assert received == b"already here, later"


def test_a_full_connection_says_so_and_goes_on(pair: tuple[TlsSocket, ssl.SSLSocket]) -> None:
    client, server = pair
    client.setblocking(False)
    data = bytes(range(256)) * (1 << 14)
    rest, received = data, b""
    while len(received) < len(data):
        try:
            rest = rest[client.send(rest) :] if rest else b""
            if rest:
                continue
        except BlockingIOError:
            pass
        received += server.recv(1 << 20)
    assert received == data


def test_a_wrong_name_is_refused(certificate: Path) -> None:
    near, far = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert", certificate / "key")
    server = context.wrap_socket(far, server_side=True, do_handshake_on_connect=False)

    def shake_hands() -> None:
        with pytest.raises(ssl.SSLError):
            server.do_handshake()
            server.recv(1)

    thread = threading.Thread(target=shake_hands)
    thread.start()
    with near, pytest.raises(ssl.SSLCertVerificationError):
        TlsSocket(near, ssl.create_default_context(cafile=str(certificate / "cert")), "ship")
    thread.join()
    server.close()
