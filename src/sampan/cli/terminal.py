"""The terminal that we were started from."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


def is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def size(fd: int = 1) -> tuple[int, int] | None:
    """(height, width) in characters, or None if `fd` is no terminal."""
    try:
        columns, lines = os.get_terminal_size(fd)
    except OSError:
        return None
    return lines, columns


class RawMode:
    """`with RawMode(fd)`: every key goes to the container; the terminal is put back whatever happens."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._saved: list[object] | None = None

    def __enter__(self) -> RawMode:
        import termios
        import tty

        if is_terminal(self._fd):
            self._saved = termios.tcgetattr(self._fd)
            tty.setraw(self._fd, termios.TCSANOW)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._saved is not None:
            import termios

            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)  # type: ignore[arg-type]
            self._saved = None
