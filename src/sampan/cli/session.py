"""An attached stream: our standard streams on one side, a hijacked connection on the other.

One thread and poll(): the connection, standard input, and the wake-up pipe of the signals. Input is read only while none
waits to be sent, and output is read whatever happens, so that neither side can block the other. The end of our input is
passed on as a half-close; the session ends when the engine closes, or when the detach keys are typed.
"""

from __future__ import annotations

# The C module: `signal` imports `enum`, which takes 6 ms of every `run`.
import _signal as signal  # type: ignore[import-not-found]
import os
import select

from sampan.cli.detach import DetachScanner
from sampan.client.streams import SYSTEM_ERROR, FrameReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from sampan.client.transport import Hijacked

_READ_SIZE = 32768
_SHUT_WR = 1
# Not for the container: ours to handle, or about our own processes.
_OWN = "SIGCHLD SIGPIPE SIGURG SIGWINCH SIGKILL SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGCONT"
_FATAL = "SIGSEGV SIGBUS SIGFPE SIGILL SIGTRAP SIGABRT SIGSYS"
_NOT_PROXIED = frozenset(int(getattr(signal, name)) for name in f"{_OWN} {_FATAL}".split())
_FIRST_REALTIME = 32


class Signals:
    """`with Signals(…)`: signals become calls, made from `Session.pump` (or `drain`) and never from a handler.

    `on_signal` gets the numbers of those to pass on to the container (all but our own, if `proxy`), `on_resize` is called
    when the terminal has changed its size.
    """

    def __init__(
        self, *, proxy: bool, on_signal: Callable[[int], None], on_resize: Callable[[], None] | None = None
    ) -> None:
        wanted = {int(number) for number in signal.valid_signals() if number < _FIRST_REALTIME} - _NOT_PROXIED
        self._proxied: set[int] = wanted if proxy else set()
        self._on_signal = on_signal
        self._on_resize = on_resize
        self._previous: dict[int, object] = {}
        self.fd = -1
        self._write_fd = -1

    def __enter__(self) -> Signals:
        self.fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        wanted = set(self._proxied) | ({signal.SIGWINCH} if self._on_resize else set())
        for number in wanted:
            self._previous[number] = signal.signal(number, _noticed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(-1)
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        os.close(self.fd)
        os.close(self._write_fd)

    def drain(self) -> None:
        """Act on the signals that have arrived."""
        try:
            numbers = os.read(self.fd, 256)
        except BlockingIOError:
            return
        for number in numbers:
            if number == signal.SIGWINCH and self._on_resize:
                self._on_resize()
            elif number in self._proxied:
                self._on_signal(number)


def signal_name(number: int) -> str:
    """ "TERM" of 15; the number itself for a signal without a name."""
    for name in dir(signal):
        if name.startswith("SIG") and name[3] != "_" and getattr(signal, name) == number:
            return name[3:]
    return str(number)


def _noticed(number: int, frame: object) -> None:
    """The wake-up pipe has the number already."""


class Session:
    """`stdin_fd` None: no input. `framed`: the output is multiplexed. `keys`: the detach sequence, b"" for none."""

    def __init__(
        self,
        link: Hijacked,
        *,
        stdin_fd: int | None,
        framed: bool,
        keys: bytes = b"",
        stdout_fd: int = 1,
        stderr_fd: int = 2,
    ) -> None:
        self._sock = link.sock
        self._stdin_fd = stdin_fd
        self._reader = FrameReader() if framed else None
        self._scanner = DetachScanner(keys)
        self._stdout_fd = stdout_fd
        self._stderr_fd = stderr_fd
        self._pending = b""
        self._preload = link.preload
        self.detached = False

    def pump(self, signals: Signals | None = None) -> None:
        """Carry bytes until the engine closes or the user detaches (`detached`)."""
        self._sock.setblocking(False)
        if self._preload:
            self._show(self._preload)
        poller = select.poll()
        if signals is not None:
            poller.register(signals.fd, select.POLLIN)
        if self._stdin_fd is None:
            self._half_close()
        sock_fd = self._sock.fileno()
        stdin_watched = False
        try:
            if self._hidden() and not self._receive():
                return
            while not self.detached:
                want_stdin = self._stdin_fd is not None and not self._pending
                if want_stdin != stdin_watched:
                    stdin_watched = want_stdin
                    if want_stdin:
                        poller.register(self._stdin_fd, select.POLLIN)  # type: ignore[arg-type]
                    else:
                        poller.unregister(self._last_stdin_fd)
                poller.register(sock_fd, select.POLLIN | (select.POLLOUT if self._pending else 0))
                if not self._turn(dict(poller.poll()), sock_fd, signals):
                    return
        finally:
            self._sock.close()

    def _turn(self, ready: dict[int, int], sock_fd: int, signals: Signals | None) -> bool:
        """Handle what poll() reported; False at the end of the stream."""
        if signals is not None and signals.fd in ready:
            signals.drain()
        happened = ready.get(sock_fd, 0)
        if happened & select.POLLOUT:
            self._send()
        if happened & ~select.POLLOUT and not self._receive():
            return False
        if self._stdin_fd is not None and self._stdin_fd in ready:
            self._read_stdin()
        return True

    def _receive(self) -> bool:
        while True:
            try:
                data = self._sock.recv(_READ_SIZE)
            except BlockingIOError:
                return True
            except ConnectionResetError:
                return False
            if not data:
                return False
            self._show(data)
            if not self._hidden():
                return True

    def _hidden(self) -> bool:
        """Whether TLS holds output that poll() does not see."""
        pending = getattr(self._sock, "pending", None)
        return pending is not None and pending() > 0

    def _show(self, data: bytes) -> None:
        if self._reader is None:
            _write_all(self._stdout_fd, data)
            return
        for stream, payload in self._reader.feed(data):
            _write_all(self._stdout_fd if stream < 2 else self._stderr_fd, payload)
            if stream == SYSTEM_ERROR:
                _write_all(self._stderr_fd, b"\n")

    def _read_stdin(self) -> None:
        assert self._stdin_fd is not None
        try:
            data = os.read(self._stdin_fd, _READ_SIZE)
        except OSError:
            data = b""  # a terminal that has gone away
        if not data:
            self._last_stdin_fd, self._stdin_fd = self._stdin_fd, None
            self._half_close()
            return
        self._pending = self._scanner.feed(data)
        self.detached = self._scanner.detached
        if self._pending:
            self._send()
        self._last_stdin_fd = self._stdin_fd

    def _send(self) -> None:
        try:
            sent = self._sock.send(self._pending)
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            # The container no longer reads; what it writes is still wanted.
            self._pending = b""
            self._stdin_fd = None
            return
        self._pending = self._pending[sent:]

    def _half_close(self) -> None:
        try:
            self._sock.shutdown(_SHUT_WR)
        except OSError:
            pass  # the engine closed first

    _last_stdin_fd = -1


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])
