"""Progress of pull, push, load, import and build: streams of JSON messages, drawn as Docker draws them.

On a terminal every layer has a line of its own, redrawn in place; elsewhere each change of state is one plain line and bars
are left out.
"""

from __future__ import annotations

import os
import time

from sampan.cli import terminal
from sampan.client.streams import json_messages
from sampan.errors import SampanError, from_status
from sampan.types.sizes import decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sampan.client.transport import Response

_BAR_WIDTH = 50
_WIDE_TERMINAL = 110


class Display:
    """Draws messages on `fd`; `on_aux` gets what machines are told ({"ID": …} of a build)."""

    def __init__(self, fd: int = 1, on_aux: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._fd = fd
        self._terminal = terminal.is_terminal(fd)
        self._lines: dict[str, int] = {}
        self._on_aux = on_aux

    def show_all(self, response: Response) -> None:
        """Until the stream ends. Raises the error that the engine reports in it."""
        for message in json_messages(response.chunks()):
            self.show(message)

    def show(self, message: dict[str, Any]) -> None:
        if message.get("aux") is not None:
            if self._on_aux is not None:
                self._on_aux(message["aux"])
            return
        detail = message.get("errorDetail")
        if detail or message.get("error"):
            self._lines.clear()
            detail = detail or {}
            raise _error(
                detail.get("message") or str(message.get("error")),
                int(detail.get("code") or 0),
                str(detail.get("hint", "")),
            )
        identity = message.get("id", "")
        has_progress = bool(message.get("progressDetail")) or bool(message.get("progress"))
        if not self._terminal:
            self._show_plain(message, identity, has_progress)
        elif identity and (has_progress or "progressDetail" in message):
            self._show_line(identity, message)
        else:
            self._lines.clear()  # what is below is no longer ours to redraw
            self._write(_plain_text(message, identity) + ("" if "stream" in message else "\n"))

    def _show_plain(self, message: dict[str, Any], identity: str, has_progress: bool) -> None:
        if has_progress and _bar(message):
            return
        self._write(_plain_text(message, identity) + ("" if "stream" in message else "\n"))

    def _show_line(self, identity: str, message: dict[str, Any]) -> None:
        text = f"{identity}: {message.get('status', '')} {_bar(message)}"
        line = self._lines.get(identity)
        if line is None:
            self._lines[identity] = len(self._lines)
            self._write(f"\x1b[2K\r{text}\n")
            return
        up = len(self._lines) - line
        self._write(f"\x1b[{up}A\x1b[2K\r{text}\r\x1b[{up}B")

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "surrogateescape")
        while data:
            data = data[os.write(self._fd, data) :]


def _plain_text(message: dict[str, Any], identity: str) -> str:
    if "stream" in message:
        return str(message["stream"])
    prefix = f"{identity}: " if identity else ""
    if message.get("time") or message.get("timeNano"):
        prefix = f"{message.get('time')} {prefix}"
    origin = f"(from {message['from']}) " if message.get("from") else ""
    return f"{prefix}{origin}{message.get('status', '')}"


def _bar(message: dict[str, Any]) -> str:
    """`[====>    ]  1.2MB/3.4MB`, or "" for a message without numbers."""
    detail = message.get("progressDetail") or {}
    current, total = int(detail.get("current") or 0), int(detail.get("total") or 0)
    if current <= 0 and total <= 0:
        return ""
    if detail.get("units") == "s":
        return f"{current}s"
    if total <= 0:
        return f"{decimal_size(current):>8}"
    bar = ""
    size = terminal.size()
    if size is None or size[1] > _WIDE_TERMINAL:
        filled = min(int(current * 100 / total), 100) // 2
        bar = f"[{'=' * filled}>{' ' * max(_BAR_WIDTH - filled, 0)}] "
    numbers = decimal_size(current) if detail.get("hidecounts") is None else ""
    tail = f"/{decimal_size(total)}" if current <= total else ""
    left = ""
    if current < total and detail.get("start") and size is not None and size[1] > 50:
        elapsed_s = time.time() - float(detail["start"])
        left = f" {int(elapsed_s / max(current, 1) * (total - current))}s"
    return f"{bar}{numbers:>8}{tail}{left}"


def _error(text: str, code: int, hint: str) -> SampanError:
    """A failed RUN carries the command's exit code, which becomes ours."""
    if code >= 400:
        return from_status(code, text, hint=hint)
    error = SampanError(text, hint=hint)
    if 0 < code < 256:
        error.exit_code = code
    return error
