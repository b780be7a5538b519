"""`sampan events`."""

from __future__ import annotations

import sys

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options, filters_of
from sampan.client.streams import json_messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLAGS = """
-f, --filter filter   Only those that match (type=, event=, container=, image=, label=, …)
    --format string   Print through a template: 'json' or 'TEMPLATE' (Go's template language)
    --since string    Those since this time too (2026-01-02T13:23:37Z, or 42m back)
    --until string    Stop at this time
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.human import timestamp

    format = options.text("format")
    template = None
    if format:
        from sampan.cli.template import Template

        template = Template("{{json .}}" if format == "json" else format)
    response = context.engine.system.events(
        since=timestamp(options.text("since")) if options.text("since") else "",
        until=timestamp(options.text("until")) if options.text("until") else "",
        filters=filters_of(options.many("filter")),
    )
    for event in json_messages(response.chunks()):
        sys.stdout.write((template.execute(event) if template else _line(event)) + "\n")
        sys.stdout.flush()
    return 0


def _line(event: dict[str, Any]) -> str:
    actor = event.get("Actor") or {}
    when = _time(event.get("timeNano") or event.get("time", 0) * 10**9)
    text = f"{when} {event['Type']} {event['Action']} {actor.get('ID', '')}"
    attributes = actor.get("Attributes") or {}
    if attributes:
        text += " (" + ", ".join(f"{key}={value}" for key, value in sorted(attributes.items())) + ")"
    return text


def _time(unix_ns: int) -> str:
    """RFC 3339 with nine places, in our time zone."""
    import time

    moment = time.localtime(unix_ns // 10**9)
    zone = time.strftime("%z", moment)
    zone = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment) + f".{unix_ns % 10**9:09d}{zone}"


COMMAND = Command(run, "", 0, 0, FLAGS)
