"""The STATUS column of `docker ps`. Pure."""

from __future__ import annotations

from sampan.store.containers import StateRecord
from sampan.types.durations import human_duration
from sampan.types.times import ZERO_TIME, parse_rfc3339_ns


def status_text(state: StateRecord, now_s: float) -> str:
    """`Up 5 minutes (healthy)`, `Exited (0) 2 hours ago`, `Created`, …"""
    if state.status == "created":
        return "Created"
    if state.status in ("removing", "dead"):
        return {"removing": "Removal In Progress", "dead": "Dead"}[state.status]
    if state.status == "restarting":
        return f"Restarting ({state.exit_code}) {_age(now_s, state.finished_at)} ago"
    if state.status == "exited":
        if state.finished_at == ZERO_TIME:
            return "Created"
        return f"Exited ({state.exit_code}) {_age(now_s, state.finished_at)} ago"
    since = _age(now_s, state.started_at)
    if state.status == "paused":
        return f"Up {since} (Paused)"
    if state.health is not None and state.health.status:
        text = "health: starting" if state.health.status == "starting" else state.health.status
        return f"Up {since} ({text})"
    return f"Up {since}"


def _age(now_s: float, since: str) -> str:
    return human_duration(now_s - parse_rfc3339_ns(since) / 1e9)
