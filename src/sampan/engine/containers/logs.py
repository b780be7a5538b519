"""`logs`: from a container's log to what the client reads."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from sampan.errors import InvalidArgument, NotSupported
from sampan.logs.decode import Lines
from sampan.logs.reader import LogReader, readable
from sampan.types.times import rfc3339_fixed

if TYPE_CHECKING:
    from sampan.engine.containers.model import Container
    from sampan.engine.tasks.task import Task


class LogOptions(NamedTuple):
    """What a client wants to see. Times are in nanoseconds, 0 is no limit; `tail` < 0 is everything."""

    follow: bool = False
    stdout: bool = True
    stderr: bool = True
    timestamps: bool = False
    details: bool = False
    since_ns: int = 0
    until_ns: int = 0
    tail: int = -1


def parse_time_ns(text: str) -> int:
    """`seconds[.nanoseconds]`, as clients send `since` and `until`; empty is 0.

    Raises:
        InvalidArgument: in the words of Go's strconv.
    """
    if not text:
        return 0
    seconds, _, fraction = text.partition(".")
    try:
        whole = int(seconds) * 1_000_000_000
        return whole + int(fraction[:9].ljust(9, "0")) if fraction else whole
    except ValueError:
        raise InvalidArgument(f'strconv.ParseInt: parsing "{seconds}": invalid syntax') from None


def log_spec(container: Container) -> dict[str, Any]:
    """The log of a container as `sampan.logs` takes it."""
    return {
        "driver": container.log_config["Type"],
        "path": container.log_path,
        "options": container.log_config.get("Config") or {},
    }


def check_readable(container: Container) -> None:
    """
    Raises:
        NotSupported: the log goes where it cannot be read back.
    """
    if not readable(log_spec(container)):
        raise NotSupported("configured logging driver does not support reading")


class _Headers(dict[int, bytes]):
    """Frame headers of one stream by payload length: most lines share a few lengths."""

    def __init__(self, stream: int) -> None:
        self._pack = struct.Struct(">BxxxI").pack
        self._stream = stream

    def __missing__(self, length_bytes: int) -> bytes:
        header = self._pack(self._stream, length_bytes)
        if len(self) < 4096:
            self[length_bytes] = header
        return header


_FIRST_OUTPUT_S = 0.05
"""What a program may take to say its first words. Scripts ask for the log right after `start`, which with Docker takes
that long itself; here it is back before the program has written anything."""
_HEADERS = {1: _Headers(1), 2: _Headers(2)}


def render(batch: Lines, options: LogOptions, *, framed: bool, attributes: bytes = b"") -> bytes:
    """The bytes for the client: one frame for each line, with time and attributes in front if asked."""
    prefix = b""
    if options.timestamps:
        prefix = rfc3339_fixed(batch.time_ns).encode() + b" "
    if options.details:
        prefix += (details(batch.attributes) if batch.attributes else attributes) + b" "
    if not framed:
        return b"".join(batch.lines) if not prefix else b"".join([prefix + line for line in batch.lines])
    headers = _HEADERS[batch.stream]
    if not prefix:
        return b"".join([piece for line in batch.lines for piece in (headers[len(line)], line)])
    extra = len(prefix)
    return b"".join([piece for line in batch.lines for piece in (headers[len(line) + extra], prefix, line)])


def details(attributes: dict[str, str]) -> bytes:
    """`key=value,…` of the attributes, percent-encoded and sorted as Docker prints them."""
    return ",".join(
        f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in sorted(attributes.items())
    ).encode()


def wanted_attributes(container: Container) -> dict[str, str]:
    """Labels, environment and tag that the log options ask to keep with every record."""
    options = container.log_config.get("Config") or {}
    attributes: dict[str, str] = {}
    for label in filter(None, options.get("labels", "").split(",")):
        if label in container.labels:
            attributes[label] = container.labels[label]
    environment = dict(entry.partition("=")[::2] for entry in container.config.get("Env") or [])
    for name in filter(None, options.get("env", "").split(",")):
        if name in environment:
            attributes[name] = environment[name]
    if "tag" in options:
        tag = options["tag"].replace("{{.ID}}", container.short_id).replace("{{.FullID}}", container.id)
        attributes["tag"] = tag.replace("{{.Name}}", container.name).replace("{{.ImageName}}", container.record.image)
    return attributes


async def read_logs(container: Container, options: LogOptions) -> AsyncIterator[bytes]:
    """What the client of `logs` reads, in pieces. Following ends with the container's run, or at `until_ns`.

    Raises:
        NotSupported: the driver's log cannot be read.
    """
    framed = not container.tty
    if not options.follow:
        await _first_output(container)
    attributes = details(wanted_attributes(container)) if options.details else b""
    task = container.task if options.follow else None
    reader = await asyncio.to_thread(
        LogReader, log_spec(container), since_ns=options.since_ns, until_ns=options.until_ns, tail=options.tail
    )
    seen = -1
    try:
        while True:
            ended = task is None or task.exit is not None
            async for piece in _to_present(reader, options, framed, attributes):
                yield piece
            if reader.past_until or ended or task is None or not await _more(task, options):
                break
            seen = await _wait(task, seen, options)
        rest = _render_all(reader.finish(), options, framed, attributes)
        if rest:
            yield rest
    finally:
        reader.close()


async def _first_output(container: Container) -> None:
    """Give a container that has only just been started until its end, or `_FIRST_OUTPUT_S` after its start."""
    task = container.task
    if task is None or task.exit is not None:
        return
    rest_s = task.started_at_ns / 1e9 + _FIRST_OUTPUT_S - time.time()
    if 0 < rest_s <= _FIRST_OUTPUT_S:
        try:
            await asyncio.wait_for(task.wait(), rest_s)
        except TimeoutError:
            pass  # it is no quick one: what is there is what the client gets


async def _more(task: Task, options: LogOptions) -> bool:
    return not options.until_ns or time.time_ns() < options.until_ns


async def _wait(task: Task, seen: int, options: LogOptions) -> int:
    if not options.until_ns:
        return await task.log_written(seen)
    try:
        timeout_s = max(0.0, (options.until_ns - time.time_ns()) / 1e9)
        return await asyncio.wait_for(task.log_written(seen), timeout_s)
    except TimeoutError:
        return seen


async def _to_present(reader: LogReader, options: LogOptions, framed: bool, attributes: bytes) -> AsyncIterator[bytes]:
    def step() -> bytes | None:
        batches = reader.read()
        return None if batches is None else _render_all(batches, options, framed, attributes)

    while (piece := await asyncio.to_thread(step)) is not None:
        if piece:
            yield piece
        if reader.past_until:
            return


def _render_all(batches: list[Lines], options: LogOptions, framed: bool, attributes: bytes) -> bytes:
    return b"".join(
        [
            render(batch, options, framed=framed, attributes=attributes)
            for batch in batches
            if (options.stdout if batch.stream == 1 else options.stderr)
        ]
    )
