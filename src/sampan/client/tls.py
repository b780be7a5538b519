"""A hijacked connection over TLS with the manners of a plain socket: EAGAIN as BlockingIOError, and half-close.

`shutdown(SHUT_WR)` on Python's TLS socket drops TLS altogether; here it sends close_notify and goes on reading (RFC 8446,
section 6.1).
"""

from __future__ import annotations

import socket
import ssl


class TlsSocket:
    """Wraps the connected socket; what the session uses of a socket, and `pending`."""

    def __init__(self, sock: socket.socket) -> None:
        assert isinstance(sock, ssl.SSLSocket)
        self._sock = sock

    def setblocking(self, flag: bool) -> None:
        self._sock.setblocking(flag)

    def fileno(self) -> int:
        return self._sock.fileno()

    def pending(self) -> int:
        """Bytes that are decrypted already: poll() will not tell of them."""
        return self._sock.pending()

    def recv(self, size: int) -> bytes:
        try:
            return self._sock.recv(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ssl.SSLZeroReturnError:
            return b""

    def send(self, data: bytes) -> int:
        try:
            return self._sock.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def shutdown(self, how: int) -> None:
        """Say that no more input comes; reading goes on."""
        try:
            self._sock.unwrap()
        except ssl.SSLError:
            pass  # our close_notify is out; the engine's comes with the end of the output

    def close(self) -> None:
        self._sock.close()
