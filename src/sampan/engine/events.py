"""What happened: a bus from the engine's rooms to `/events`, with a bounded memory for `since`."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager

import msgspec

from sampan.spec.filters import check_known, has_label

_KEPT_EVENTS = 1024
_QUEUE_LIMIT = 4096
_FILTERS = frozenset(
    {"config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret"}
    | {"service", "type", "volume"}
)


class Actor(msgspec.Struct, frozen=True):
    ID: str
    Attributes: dict[str, str]


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """As Docker writes it; `status`, `id` and `from` are the form of before API 1.22, which clients still read."""

    Type: str
    Action: str
    Actor: Actor
    scope: str
    time: int
    timeNano: int
    status: str = ""
    id: str = ""
    from_: str = msgspec.field(default="", name="from")


class EventBus:
    """Publishes to all subscribers; a subscriber that lags by more than 4096 events loses the oldest."""

    def __init__(self) -> None:
        self._kept: deque[Event] = deque(maxlen=_KEPT_EVENTS)
        self._queues: set[asyncio.Queue[Event]] = set()

    @property
    def listeners(self) -> int:
        return len(self._queues)

    def publish(
        self, type_: str, action: str, actor_id: str, attributes: Mapping[str, str] | None = None, scope: str = "local"
    ) -> Event:
        """Tell everybody; gives the event. `attributes` of a container: `name`, `image` and its labels."""
        now = time.time_ns()
        attributes = dict(attributes or {})
        legacy = type_ in ("container", "image")
        event = Event(
            Type=type_,
            Action=action,
            Actor=Actor(actor_id, attributes),
            scope=scope,
            time=now // 1_000_000_000,
            timeNano=now,
            status=action if legacy else "",
            id=actor_id if legacy else "",
            from_=attributes.get("image", "") if type_ == "container" else "",
        )
        self._kept.append(event)
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)
        return event

    @contextmanager
    def queue(self) -> Iterator[asyncio.Queue[Event]]:
        """A live queue of all events for the length of a block."""
        queue: asyncio.Queue[Event] = asyncio.Queue(_QUEUE_LIMIT)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    async def subscribe(
        self, since_ns: int | None, until_ns: int | None, filters: Mapping[str, list[str]]
    ) -> AsyncIterator[Event]:
        """Kept events from `since_ns` on, then live ones until `until_ns`, in order and without a gap.

        Without `since_ns`, but with an `until_ns`, the kept ones are replayed, as Docker does.
        """
        with self.queue() as queue:
            if since_ns is not None or until_ns is not None:
                for event in list(self._kept):
                    in_time = event.timeNano >= (since_ns or 0) and (until_ns is None or event.timeNano <= until_ns)
                    if in_time and matches(event, filters):
                        yield event
            while True:
                try:
                    timeout_s = None if until_ns is None else max(0.0, (until_ns - time.time_ns()) / 1e9)
                    event = await asyncio.wait_for(queue.get(), timeout_s)
                except TimeoutError:
                    return
                if matches(event, filters):
                    yield event


def check_filters(filters: Mapping[str, list[str]]) -> None:
    """
    Raises:
        InvalidArgument: a filter that Docker does not know.
    """
    check_known(filters, _FILTERS)


def matches(event: Event, filters: Mapping[str, list[str]]) -> bool:
    """Whether an event passes all filters; the values of one filter are alternatives, those of `label` all count."""
    return all(_matches_one(event, name, values) for name, values in filters.items() if values)


def _matches_one(event: Event, name: str, values: list[str]) -> bool:
    if name == "type":
        return event.Type in values
    if name == "scope":
        return event.scope in values
    if name == "event":
        # `exec_create: sh -c true` is matched by its verb alone too
        return event.Action in values or event.Action.partition(":")[0] in values
    if name == "label":
        return all(has_label(event.Actor.Attributes, value) for value in values)
    if name in ("container", "volume", "network", "daemon", "plugin", "service", "node", "secret", "config"):
        return event.Type == name and _names_actor(event, values)
    if name == "image":
        attributes = event.Actor.Attributes
        names = {event.Actor.ID, attributes.get("name", "")} if event.Type == "image" else {attributes.get("image", "")}
        names |= {known.partition(":")[0] for known in list(names) if not known.startswith("sha256:")}
        return any(value in names for value in values)
    return True


def _names_actor(event: Event, values: list[str]) -> bool:
    actor = event.Actor
    return any(actor.ID.startswith(value) or actor.Attributes.get("name") == value.lstrip("/") for value in values)
