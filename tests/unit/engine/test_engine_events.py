"""The event bus: replay and live without a gap, filters, and the form that old clients read."""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec
import pytest

from sampan.engine.events import EventBus, check_filters, matches
from sampan.errors import InvalidArgument


async def collect(
    bus: EventBus, count: int, since: int | None = None, until: int | None = None, **filters: list[str]
) -> list[str]:
    found = []
    async with contextlib.aclosing(bus.subscribe(since, until, filters)) as events:
        async for event in events:
            found.append(event.Action)
            if len(found) == count:
                break
    return found


async def test_replay_then_live_without_gap() -> None:
    bus = EventBus()
    bus.publish("container", "create", "a" * 64)
    task = asyncio.create_task(collect(bus, 3, since=0))
    await asyncio.sleep(0.01)
    bus.publish("container", "start", "a" * 64)
    bus.publish("container", "die", "a" * 64)
    assert await asyncio.wait_for(task, 2) == ["create", "start", "die"]
    assert bus.listeners == 0


async def test_until_ends_the_stream() -> None:
    bus = EventBus()
    bus.publish("image", "pull", "x")
    assert await asyncio.wait_for(collect(bus, 99, until=time.time_ns() + 50_000_000), 2) == ["pull"]


def test_legacy_fields_only_for_containers_and_images() -> None:
    bus = EventBus()
    event = msgspec.to_builtins(bus.publish("container", "die", "c1", {"image": "busybox", "exitCode": "3"}))
    assert (event["status"], event["id"], event["from"]) == ("die", "c1", "busybox")
    assert "status" not in msgspec.to_builtins(bus.publish("network", "connect", "n1"))


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"type": ["container"]}, True),
        ({"type": ["image"]}, False),
        ({"event": ["exec_start"]}, True),
        ({"container": ["web"]}, True),
        ({"container": ["abc"]}, True),
        ({"container": ["other"]}, False),
        ({"image": ["nginx"]}, True),
        ({"label": ["app=shop", "tier"]}, True),
        ({"label": ["app=other"]}, False),
        ({"type": ["container"], "event": ["die"]}, False),
    ],
)
def test_filters(filters: dict[str, list[str]], wanted: bool) -> None:
    attributes = {"name": "web", "image": "nginx:1", "app": "shop", "tier": "front"}
    event = EventBus().publish("container", "exec_start: sh -c true", "abcdef", attributes)
    assert matches(event, filters) is wanted


def test_unknown_filters_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="invalid filter 'bogus'"):
        check_filters({"bogus": ["x"]})
