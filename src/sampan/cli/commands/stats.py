"""`sampan stats`: one thread per container reads its stream, the main one draws twice a second."""

from __future__ import annotations

import sys
import threading
import time

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.cli.stats_rows import Sample, stats_listing
from sampan.client.streams import json_messages
from sampan.errors import NotFound, SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.cli.listing import Listing

FLAGS = """
-a, --all             Stopped containers too
    --format string   Print through a template: 'json', 'table', 'table TEMPLATE' or 'TEMPLATE' (Go's template language)
    --no-stream       Print one measurement and end
    --no-trunc        Do not shorten ids
"""
_DRAW_S = 0.5
_RELIST_S = 2.0


class _Watcher:
    """The latest sample of one container."""

    def __init__(self, context: Context, name: str, *, stream: bool) -> None:
        self.sample = Sample(name)
        self.error: SampanError | None = None
        self.ended = False
        self.seen = threading.Event()
        self._context = context.another()
        self._stream = stream
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def _follow(self) -> None:
        try:
            response = self._context.engine.containers.stats(self.sample.asked_for, stream=self._stream)
            for answer in json_messages(response.chunks()):
                self.sample.update(answer)
                if not self._stream or self.sample.updates > 1 or not answer.get("read", "").startswith("20"):
                    self.seen.set()
        except SampanError as error:
            self.error = error
        except OSError as error:
            self.error = SampanError(str(error))
        self.ended = True
        self.seen.set()


def run(context: Context, options: Options, arguments: list[str]) -> int:
    format = options.text("format") or context.config.get("statsFormat")
    listing = stats_listing(truncate=not options.on("no-trunc"))
    stream = not options.on("no-stream")
    names = arguments or _running(context, every=options.on("all"))
    watchers = {name: _Watcher(context, name, stream=stream) for name in names}
    for watcher in watchers.values():
        watcher.seen.wait(3 if stream else None)
    if arguments:
        failed = [watcher.error for watcher in watchers.values() if watcher.error is not None]
        if failed:
            for error in failed:
                context.failed(error)
            return 1
    if not stream:
        _draw(listing, watchers, format, live=False)
        return 0
    return _follow(context, options, watchers, listing, format, fixed=bool(arguments))


def _follow(
    context: Context, options: Options, watchers: dict[str, _Watcher], listing: Listing, format: str, *, fixed: bool
) -> int:
    listed_s = time.monotonic()
    while True:
        _draw(listing, watchers, format, live=True)
        if fixed and all(watcher.ended for watcher in watchers.values()):
            return 0
        time.sleep(_DRAW_S)
        if not fixed and time.monotonic() - listed_s > _RELIST_S:
            listed_s = time.monotonic()
            now = _running(context, every=options.on("all"))
            for name in [name for name in watchers if name not in now]:
                del watchers[name]
            for name in now:
                if name not in watchers:
                    watchers[name] = _Watcher(context, name, stream=True)


def _running(context: Context, *, every: bool) -> list[str]:
    return [found["Id"] for found in context.engine.containers.list(all=every)]


def _draw(listing: Listing, watchers: dict[str, _Watcher], format: str, *, live: bool) -> None:
    from sampan.cli.listing import show

    samples = [watcher.sample for watcher in watchers.values() if not isinstance(watcher.error, NotFound)]
    if not live:
        show(listing, samples, format)
        return
    import contextlib
    import io

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        show(listing, samples, format)
    if sys.stdout.isatty():
        # Home, each line erased to its end, then the rest of the screen: no flicker.
        sys.stdout.write("\x1b[H" + text.getvalue().replace("\n", "\x1b[K\n") + "\x1b[J")
    else:
        sys.stdout.write(text.getvalue())
    sys.stdout.flush()


COMMAND = Command(run, "[CONTAINER...]", 0, UNLIMITED, FLAGS, completes="containers")
