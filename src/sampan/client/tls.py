"""TLS with the manners of a plain socket: EAGAIN as BlockingIOError, and half-close.

`shutdown(SHUT_WR)` on Python's TLS socket drops TLS altogether, and its `unwrap()` reads from the connection, so that output
which arrives just then is lost. Here TLS works on memory alone: close_notify goes out (RFC 8446, section 6.1), and reading
goes on.
"""

from __future__ import annotations

import ssl

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

_READ_SIZE = 65536
_RECORD_SIZE = 16384


class TlsSocket:
    """What the client uses of a socket, and `pending`. Takes over a connected blocking socket and does the handshake.

    Raises ssl.SSLError (an OSError) when the peer is not who it shall be.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_name: str) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self._clear = b""  # decrypted, not yet asked for
        self._cipher = b""  # encrypted, not yet taken by the socket
        self._in_flight = 0  # how much of the caller's data `_cipher` stands for
        self._handshake()

    def _handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except ssl.SSLError:
                self._flush()  # the alert that says why
                raise

    def _flush(self) -> None:
        self._cipher += self._outgoing.read()
        while self._cipher:
            self._cipher = self._cipher[self._sock.send(self._cipher) :]

    def _try_flush(self) -> None:
        """TLS's own records: what does not fit now goes with the next call."""
        try:
            self._flush()
        except BlockingIOError:
            pass

    def _fill(self) -> None:
        data = self._sock.recv(_READ_SIZE)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def setblocking(self, flag: bool) -> None:
        self._sock.setblocking(flag)

    def fileno(self) -> int:
        return self._sock.fileno()

    def pending(self) -> int:
        """Bytes that have been received already: poll() will not tell of them."""
        return len(self._clear) + self._tls.pending() + self._incoming.pending

    def recv(self, size: int) -> bytes:
        if self._clear:
            piece, self._clear = self._clear[:size], self._clear[size:]
            return piece
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._try_flush()
                self._fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def send(self, data: bytes) -> int:
        """After BlockingIOError the same data must be offered again: its beginning is encrypted already."""
        if not self._in_flight:
            self._in_flight = self._tls.write(data[:_RECORD_SIZE])
        self._flush()
        sent, self._in_flight = self._in_flight, 0
        return sent

    def sendall(self, data: bytes) -> None:
        while data:
            data = data[self.send(data) :]

    def shutdown(self, how: int) -> None:
        """Say that no more input comes; reading goes on."""
        while True:  # unwrap() would throw away what it finds
            try:
                data = self._tls.read(_READ_SIZE)
            except ssl.SSLError:
                break
            if not data:
                break
            self._clear += data
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # our close_notify is out; the engine's comes with the end of the output
        self._try_flush()

    def close(self) -> None:
        self._sock.close()
