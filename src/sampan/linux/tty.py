"""Pseudo-terminals: made from the devpts that the caller names, never by looking up a path (ioctl_tty(2))."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from typing import Final, NamedTuple

_TIOCSPTLCK: Final = 0x40045431
_TIOCGPTPEER: Final = 0x5441
_ONLCR: Final = 0x4


class Pty(NamedTuple):
    master: int
    slave: int


def open_pty(devpts_fd: int) -> Pty:
    """A new pty of the devpts instance whose root directory is `devpts_fd`. Both ends are close-on-exec, not ours."""
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    master = os.open("ptmx", flags | os.O_NOFOLLOW, dir_fd=devpts_fd)
    try:
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        return Pty(master, fcntl.ioctl(master, _TIOCGPTPEER, flags))
    except OSError:
        os.close(master)
        raise


def set_window_size(descriptor: int, height: int, width: int) -> None:
    """Rows and columns; the foreground process group gets SIGWINCH if they changed."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("4H", height, width, 0, 0))


def get_window_size(descriptor: int) -> tuple[int, int]:
    """(height, width)."""
    height, width, _, _ = struct.unpack("4H", fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(8)))
    return height, width


def make_controlling(slave: int) -> None:
    """Make `slave` the controlling terminal of the caller's session, which must have none."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


def clear_newline_translation(descriptor: int) -> None:
    """Write `\\n` as it is, not as `\\r\\n`: the terminal at the other side of the relay does it once already."""
    attributes = termios.tcgetattr(descriptor)
    attributes[1] &= ~_ONLCR
    termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
