"""What `run`, `start -a`, `attach` and `exec` share around a `Session`: raw terminal, resizing, signals, exit status."""

from __future__ import annotations

import sys

from sampan.cli import terminal
from sampan.cli.detach import DEFAULT_KEYS, parse_keys
from sampan.cli.session import Session, Signals, signal_name
from sampan.client import wire
from sampan.errors import InvalidArgument, SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.cli.context import Context
    from sampan.client.transport import Hijacked, Response


def detach_keys(context: Context, chosen: str) -> tuple[str, bytes]:
    """--detach-keys or `detachKeys` of the configuration as text for the engine, and as bytes, ctrl-p,ctrl-q if neither.

    The engine must know a chosen sequence though we never send it: it would act on its own default.
    """
    text = chosen or context.config.get("detachKeys")
    return text, parse_keys(text or DEFAULT_KEYS)


class NoTerminal(InvalidArgument):
    """-t was asked for, and our input is no terminal."""


def require_terminal(*, attach_stdin: bool, tty: bool) -> None:
    """A tty without a terminal on our side cannot work. Raises NoTerminal, as Docker does."""
    if attach_stdin and tty and not terminal.is_terminal(0):
        raise NoTerminal("the input device is not a TTY", hint="leave -t out when the input is a pipe or a file")


class Attachment:
    """One session with its surroundings; `resize` and `send_signal` act on the container or the exec."""

    def __init__(
        self,
        link: Hijacked,
        *,
        stdin: bool,
        tty: bool,
        keys: bytes,
        proxy_signals: bool,
        resize: Callable[[int, int], None] | None,
        send_signal: Callable[[str], None],
    ) -> None:
        self._tty = tty
        self._stdin = stdin
        self._resize = resize
        self._send_signal = send_signal
        self._size: tuple[int, int] | None = None
        keys = keys if stdin and tty and terminal.is_terminal(0) else b""
        self.session = Session(link, stdin_fd=0 if stdin else None, framed=not tty, keys=keys)
        self.signals = Signals(
            proxy=proxy_signals, on_signal=self._on_signal, on_resize=self.fit if tty and resize else None
        )

    def fit(self, *, twice: bool = False) -> None:
        """Give the container the size of our terminal; `twice` makes a full-screen program draw itself anew."""
        size = terminal.size()
        if size is None or self._resize is None or (size == self._size and not twice):
            return
        self._size = size
        try:
            if twice:
                self._resize(size[0] + 1, size[1] + 1)
            self._resize(*size)
        except SampanError:
            self._size = None  # it may just not run yet, or no longer

    def _on_signal(self, number: int) -> None:
        try:
            self._send_signal(signal_name(number))
        except SampanError:
            pass  # it has ended; so will the session

    def pump(self) -> bool:
        """Until the stream ends. True if the user has detached."""
        sys.stdout.flush()
        with terminal.RawMode(0) if self._tty and self._stdin else _Nothing():
            self.session.pump(self.signals)
        if self.session.detached:
            sys.stdout.write("\n")
            return True
        return False


class _Nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def exit_status(waiting: Response) -> int:
    """The container's exit code from the answer of /wait."""
    answer = wire.loads(waiting.read())
    error = (answer.get("Error") or {}).get("Message")
    if error:
        sys.stderr.write(f"sampan: error waiting for container: {error}\n")
        return 125
    return int(answer["StatusCode"])


def start_failure_code(message: str) -> int:
    """126 or 127 if the container's command is to blame for a failed start, else 125. Engines say so in words only."""
    if "is a directory" in message or "permission denied" in message:
        return 126
    if "executable file not found" in message or "no such file or directory" in message:
        return 127
    return 125
